"""A mean or difference over seeds and questions at once: variance components of a crossed design; conventions as in `statistics`."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike

from .statistics import Test, array, checked_level, least_noise


def crossed_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], level: float = 0.95) -> Test:
    """Mean of a − b over seeds and items, both drawn from larger populations: interval and test, see `crossed_mean`.

    ``a`` and ``b`` are (seeds, items), scores from 0 to 1, paired.

    Raises:
        ValueError: not two-dimensional, different shapes, empty, or a value that is not finite.
    """
    x, y = array("crossed_difference: a", a, ndim=2), array("crossed_difference: b", b, ndim=2)
    if x.shape != y.shape:
        raise ValueError(f"crossed_difference: a is {x.shape}, b is {y.shape} - pair the same seeds and items")
    return crossed_mean([x - y], level)


def crossed_mean(tables: Sequence[ArrayLike], level: float = 0.95) -> Test:
    """Plain mean of the tables' means, over seeds and items, both drawn from larger populations: interval and test.

    Each table is (seeds, items) of differences (or another contrast) of scores from 0 to 1; it belongs to a benchmark, whose items are
    its own, while the seeds are the same in all. The benchmarks are taken as fixed. In a table values follow d = mean + seed + item + rest,
    every seed answering every item. Unbiased for the variance of the mean over one table is (MS seeds + MS items − MS rest) /
    (seeds × items), with the mean squares of the two-way table. Over several, the seeds' part comes from each seed's mean over the tables;
    the items' and the rest's parts add up, over the square of the number of tables. The sum is taken no smaller than the larger of the
    seeds' and the items' part alone. Degrees of freedom are Satterthwaite's (1946, doi 10.2307/3002019) for that sum, and no fewer than
    those of the smallest side. Two seeds cover about 90%. ``statistic`` is t, n the number of items, ``effect`` the mean over the items'
    standard deviation. One seed: Student's t over the items, and nothing is said of other seeds.

    Where nothing varies the interval has the least noise that the items allow, see `statistics.least_noise`.

    Raises:
        ValueError: no table, one that is not two-dimensional, is empty or holds a value that is not finite, or another number of seeds.
    """
    from scipy.stats import t

    parts = [array("crossed_mean: table", table, ndim=2) for table in tables]
    if len({len(d) for d in parts}) != 1:
        raise ValueError(
            f"crossed_mean: tables of {[len(d) for d in parts]} seeds - give one or more of the same seeds"
        )
    items = sum(d.shape[1] for d in parts)
    mean = float(np.mean([d.mean() for d in parts]))
    variance, freedom = _variance_of_mean(parts)
    if not variance > 1e-18:
        noise = [least_noise(float(d.mean()), d.shape[1], level) for d in parts]
        half = float(np.linalg.norm(noise)) / len(parts)
        return Test(mean, mean - half, mean + half, level, 1.0 if abs(mean) < 1e-12 else nan, items)
    error = sqrt(variance)
    half = float(t.ppf((1 + checked_level(level)) / 2, freedom)) * error
    p = float(2 * t.sf(abs(mean) / error, freedom))
    spread = sqrt(float(np.mean([d.mean(axis=0).var(ddof=1) for d in parts if d.shape[1] > 1])))
    return Test(mean, mean - half, mean + half, level, p, items, mean / error, mean / spread if spread else nan)


def _variance_of_mean(tables: Sequence[np.ndarray]) -> tuple[float, float]:
    """Variance of the mean of the means of (seeds, items) tables, and its degrees of freedom."""
    seeds, wide = len(tables[0]), [d for d in tables if d.shape[1] > 1]  # one item shows no spread
    if not wide:
        return 0.0, nan
    freedoms = np.array([d.shape[1] - 1 for d in wide])
    each_item = np.array([d.mean(axis=0).var(ddof=1) / d.shape[1] for d in wide]) / len(tables) ** 2
    of_items = float(each_item.sum())
    below_items = float((each_item**2 / freedoms).sum())
    items_freedom = of_items**2 / below_items if below_items else float(freedoms.sum())
    if seeds < 2:
        return of_items, items_freedom
    of_seeds = float(np.mean([d.mean(axis=1) for d in tables], axis=0).var(ddof=1)) / seeds
    residuals = [d - d.mean(axis=0) - d.mean(axis=1)[:, None] + d.mean() for d in wide]
    squares = [float((r**2).sum()) / (r.size * (seeds - 1) * (r.shape[1] - 1)) for r in residuals]
    each_rest = np.array(squares) / len(tables) ** 2
    both = of_seeds + of_items - float(each_rest.sum())
    larger, freedom = max((of_items, items_freedom), (of_seeds, seeds - 1))
    if both <= larger * (1 + 1e-9):  # the smaller component is lost in the rest
        return larger, freedom
    below = of_seeds**2 / (seeds - 1) + below_items + float((each_rest**2 / freedoms).sum()) / (seeds - 1)
    return both, max(both**2 / below, min(seeds - 1, int(freedoms.min())))
