"""What methods differ by, question by question: of the column ``by_question`` of ``results.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..core.crossed import crossed_mean
from ..core.statistics import Test
from ..evaluation.figures import BY_QUESTION, shares

OVER = {True: "seeds × questions", False: "questions"}  # whether there are several seeds
_NONE = np.array([])


class Scores:
    """The scores of one family's models on each question, read once.

    Args:
        rows: of ``results.csv``, of one family, one metric a benchmark.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self._seeds: dict[str, set[int | None]] = {}
        self._kept: dict[tuple[str, int | None, str], np.ndarray] = {}
        for method, seed, benchmark, text in rows[["method", "seed", "benchmark", BY_QUESTION]].itertuples(index=False):
            model = None if pd.isna(seed) else int(seed)
            self._seeds.setdefault(method, set()).add(model)
            self._kept[method, model, benchmark] = shares(text)

    def contrast(
        self, weights: Mapping[str, float], benchmarks: Sequence[str], level: float = 0.95
    ) -> tuple[Test, str] | None:
        """Σ weight × method in points, on the plain mean of benchmarks: interval and p over seeds and questions, and `OVER`.

        Args:
            weights: method → its weight, such as ``{"cgd": 1, "cft": -1}``. Seeds that all trained methods have are used; the base,
                one model, stands beside each of them.
            benchmarks: to take the mean of.
            level: of the interval, see `core.crossed.crossed_mean`.

        Returns:
            None where a method, a benchmark or the record of its questions is missing, or methods answered other numbers of questions.
        """
        trained = [own for m in weights if (own := self._seeds.get(m, set())) != {None}]
        seeds = sorted(set.intersection(*trained), key=str) if trained else [None]
        tables = []
        for benchmark in benchmarks:
            each = [[self._of(m, s, benchmark) for s in seeds] for m in weights]
            lengths = {len(scores) for of_method in each for scores in of_method}
            if len(lengths) != 1 or 0 in lengths:
                return None
            tables.append(np.tensordot(list(weights.values()), np.array(each), axes=1))
        if not tables:
            return None
        test = crossed_mean(tables, level)
        bounds = 100 * test.low, 100 * test.high
        points = Test(100 * test.difference, *bounds, level, test.p, test.n, test.statistic, test.effect)
        return points, OVER[len(seeds) > 1]

    def _of(self, method: str, seed: int | None, benchmark: str) -> np.ndarray:
        """Scores of a model, (questions,); of the base where the method has no seeds; empty where there are none."""
        return self._kept.get((method, seed, benchmark), self._kept.get((method, None, benchmark), _NONE))
