"""The seed of one text: what every engine draws it with."""

from __future__ import annotations

import hashlib


def row_seed(seed: int, request: str, sample: int) -> int:
    """The seed of one text: independent of the batch it is in, 63 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{request}/{sample}".encode()).digest()[:8], "big") >> 1
