"""Rows as the kit passes them on: one JSON object each."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]
