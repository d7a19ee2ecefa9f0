"""Ablations: grids of methods that share one synthesis and the base model's evaluation."""

from __future__ import annotations

from typing import Any

from . import evaluation, training
from .artifacts import BadInput, Run

Record = dict[str, Any]
# name -> methods compared; a cell that the main comparison already trained is loaded, not trained again
GRIDS = {
    "critique_content": ("cgd", "cgd_irrelevant", "cgd_generic", "cgd_no_critique", "cgd_masked", "refined_sft"),
    "critique_error_rate": ("cgd_noisy(0.0)", "cgd_noisy(0.25)", "cgd_noisy(0.5)", "cgd_noisy(0.75)", "cgd_noisy(1.0)"),
    "replay": ("cgd", "cgd_replay(0.25)", "cgd_replay(0.5)", "cgd_replay(0.75)"),
}


def run_grid(run: Run, family: str, grid: str) -> list[Record]:
    """Trains and evaluates every cell of a grid; result rows as in `evaluation.results`.

    Raises:
        BadInput: unknown grid.
    """
    if grid not in GRIDS:
        raise BadInput(f"ablations.grids: unknown grid {grid!r}; known: {', '.join(GRIDS)}")
    return train_and_evaluate(run, family, GRIDS[grid], run.profile.ablations.seeds or run.profile.training.seeds)


def train_and_evaluate(run: Run, family: str, methods: Any, seeds: list[int]) -> list[Record]:
    """Every method with every seed: trains (or loads) and evaluates."""
    return [
        row
        for method in methods
        for seed in seeds
        for row in evaluation.evaluate(run, family, method, seed, training.fine_tune(run, family, method, seed))
    ]
