"""Which of a training run's checkpoints is reported: the last, the best on validation, or the best on the test set itself.

The authors chose on MATH-500, a test set. What that choice adds by chance alone is its optimism: best on the test set less
best on validation, the same method, seeds and questions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ..core.records import Record
from ..core.store import Artifact, Run
from ..evaluation import results, trained_models
from ..reporting import result_rows
from ..training import rate_search
from ..training.kept_models import KEPT

CHOICES = ("last", "best on validation", "best on the test set")


def checkpoints(run: Run, family: str, method: str, seed: int, model: Artifact) -> dict[int, Artifact]:
    """Optimizer step → the model kept there (``training.keep``), the last one among them, in the order of the steps."""
    label, last = trained_models.label(family, method, seed), model.manifest["facts"]["steps"]
    found = {}
    for folder in sorted((model.folder / KEPT).glob("*"), key=lambda p: int(p.name)):

        def build(into: Path, kept: Path = folder) -> None:
            shutil.copytree(kept, into / "model", dirs_exist_ok=True)

        settings = {"step": int(folder.name)}
        found[int(folder.name)] = run.make(
            "checkpoints", f"{label}-{folder.name}", build, settings=settings, inputs=[model.key]
        )
    return {**found, last: model}


def choose(run: Run, family: str, method: str, seed: int, model: Artifact, by: str) -> Artifact:
    """The checkpoint that one of `CHOICES` reports; of several that are equally good the latest."""
    kept = checkpoints(run, family, method, seed, model)
    judge: dict[str, Callable[[int], float]] = {
        "last": float,
        "best on validation": lambda step: rate_search.validation_accuracy(run, family, method, seed, kept[step]),
        "best on the test set": lambda step: _test_accuracy(run, family, method, seed, step, kept[step]),
    }
    return kept[max(kept, key=lambda step: (judge[by](step), step))]


def _test_accuracy(run: Run, family: str, method: str, seed: int, step: int, model: Artifact) -> float:
    """Percent right on the mean of the accuracy benchmarks."""
    import pandas as pd

    rows: list[Record] = results.evaluate(run, family, f"{method} [step {step}]", seed, model)
    quality = result_rows.quality(pd.DataFrame(rows), run.profile.evaluation.headline)
    return float(quality.loc[quality["benchmark"] == "mean", "value"].iloc[0])
