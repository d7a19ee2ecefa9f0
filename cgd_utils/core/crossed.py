"""A difference over seeds and questions at once: variance components of a crossed design; conventions as in `statistics`."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt

import numpy as np

from .statistics import Test, array, checked_level, least_noise, paired_difference


def crossed_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], level: float = 0.95) -> Test:
    """Mean of a − b over seeds and items, both drawn from larger populations: interval and test.

    ``a`` and ``b`` are (seeds, items), scores from 0 to 1, paired. The differences follow d = mean + seed + item + rest, every seed
    answering every item. Unbiased for the variance of their mean is (MS seeds + MS items − MS rest) / (seeds × items), with the mean
    squares of the two-way table; it is taken no smaller than the larger of the first two alone gives. Degrees of freedom are
    Satterthwaite's (1946, doi 10.2307/3002019) for that sum, and no fewer than those of the smaller side. Two seeds cover about 90%. ``statistic`` is t, n the number of items, ``effect`` the
    difference over the items' standard deviation. One seed: Student's t over the items, and nothing is said of other seeds.

    Where nothing varies the interval has the least noise that the items allow, see `statistics.least_noise`.

    Raises:
        ValueError: not two-dimensional, different shapes, empty, or a value that is not finite.
    """
    from scipy.stats import t

    x, y = array("crossed_difference: a", a, ndim=2), array("crossed_difference: b", b, ndim=2)
    if x.shape != y.shape:
        raise ValueError(f"crossed_difference: a is {x.shape}, b is {y.shape} - pair the same seeds and items")
    d = x - y
    items = d.shape[1]
    mean = float(d.mean())
    variance, freedom = _variance_of_mean(d)
    spread = float(d.mean(axis=0).std(ddof=1)) if items > 1 else nan
    if not variance > 1e-18:
        half = least_noise(mean, items, level)
        p = paired_difference(list(d.mean(axis=0)), [0.0] * items, level).p
        return Test(mean, mean - half, mean + half, level, p, items)
    error = sqrt(variance)
    half = float(t.ppf((1 + checked_level(level)) / 2, freedom)) * error
    p = float(2 * t.sf(abs(mean) / error, freedom))
    return Test(mean, mean - half, mean + half, level, p, items, mean / error, mean / spread if spread else nan)


def _variance_of_mean(d: np.ndarray) -> tuple[float, float]:
    """Variance of the grand mean of (seeds, items), and its degrees of freedom."""
    seeds, items = d.shape
    if items < 2:
        return 0.0, nan
    by_item, by_seed = d.mean(axis=0), d.mean(axis=1)
    of_items = seeds * float(by_item.var(ddof=1))
    if seeds < 2:
        return of_items / items, items - 1
    of_seeds = items * float(by_seed.var(ddof=1))
    residual = d - by_item[None] - by_seed[:, None] + d.mean()
    of_rest = float((residual**2).sum()) / ((seeds - 1) * (items - 1))
    both = of_seeds + of_items - of_rest
    larger, freedom = max((of_items, items - 1), (of_seeds, seeds - 1))
    if both <= larger * (1 + 1e-9):  # the smaller component is lost in the rest
        return larger / (seeds * items), freedom
    below = of_seeds**2 / (seeds - 1) + of_items**2 / (items - 1) + of_rest**2 / ((seeds - 1) * (items - 1))
    return both / (seeds * items), max(both**2 / below, min(seeds, items) - 1)
