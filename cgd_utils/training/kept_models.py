"""Models kept along one training run, so that the choice among them can be studied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

KEPT = "kept"  # in a model's artifact: a folder a step, each a model as ``model`` is


def kept_steps(steps: int, keep: int) -> list[int]:
    """The optimizer steps after which a model is kept, evenly spaced over ``steps``; the last step's is the model itself."""
    return sorted({round(steps * i / keep) for i in range(1, keep)} - {0, steps}) if keep else []


def keeper(save: Callable[[Path], None], folder: Path, steps: Sequence[int]) -> Any:
    """Callback: saves the model after each of ``steps``; after a kill, those past the resumed checkpoint are saved anew."""
    from transformers import TrainerCallback

    class Keeper(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in steps:
                save(folder / KEPT / str(state.global_step))

    return Keeper()
