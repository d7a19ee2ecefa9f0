"""Checkpoints of a training run: which are whole, and what is said when training cannot go on."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..core.errors import BadInput
from ..core.files import read_jsonl
from .torchrun import rank

COMPLETE = "complete.json"


class TrainingFailed(RuntimeError):
    """Training cannot go on; the last good checkpoint is kept (exit code 1)."""


def last_checkpoint(checkpoints: Path) -> str | None:
    """The newest checkpoint that is whole; unfinished ones (a kill, a full disk) are removed."""
    whole = []
    for folder in sorted(checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2])):
        try:
            sizes = read_jsonl(folder / COMPLETE)[0]
        except (BadInput, IndexError):
            sizes = None
        if sizes and all((folder / n).is_file() and (folder / n).stat().st_size == b for n, b in sizes.items()):
            whole.append(str(folder))
        elif rank() == 0:
            shutil.rmtree(folder, ignore_errors=True)
    return whole[-1] if whole else None


def kept(checkpoints: Path) -> str:
    """From where training goes on, in words."""
    last = last_checkpoint(checkpoints)
    return f"it goes on from {Path(last).name}" if last else "no checkpoint was kept (training.save_steps)"


def first_line(error: Exception) -> str:
    """What an error says first; its name where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
