"""Which of the processes of torchrun this one is."""

from __future__ import annotations

import os


def processes() -> int:
    """Processes that train together (torchrun's WORLD_SIZE); 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))
