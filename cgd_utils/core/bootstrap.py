"""Intervals and tests by resampling seeds and items; conventions as in `statistics`."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np

from .statistics import Interval, Test, array, checked_level, differences, least_noise, ratio, sd_of, wilson

DRAWS = 10_000
# cells of one block of resampling weights: bounds memory (8 bytes a cell) whatever the number of draws and items
BLOCK = 4_000_000


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Test:
    """Difference of means of two methods on the same items, ``a`` and ``b`` (items,), by resampling items.

    Percentile interval; p = 2 min(share of draws <= 0, share >= 0) with one added to both counts, so that p is never 0
    and p < 1 - level where the interval leaves out 0 (Efron and Tibshirani 1993, ch. 13 and 16). ``effect`` is Cohen's
    d_z over items. Scores may be 0/1 or real, such as a mean over samples.

    Raises:
        ValueError: different lengths, no items, a value that is not finite, or draws < 1.
    """
    d = differences("paired_bootstrap", a, b)
    resampled = resampled_means(d[None], draws, np.random.default_rng(seed))[:, 0]
    return _bootstrap_test(float(d.mean()), resampled, level, len(d), ratio(float(d.mean()), sd_of(d)))


def hierarchical_bootstrap(
    a: Sequence[Sequence[float]],
    b: Sequence[Sequence[float]] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | Test:
    """Mean over seeds and items by resampling both: ``a`` and ``b`` are (seeds, items), seeds and items paired.

    Without ``b`` the mean of ``a`` as an `Interval`, with ``b`` the paired difference as a `Test`; n is the number of
    items. Every seed answers the same items, so a draw takes one resample of the seeds and one of the items, shared by
    all seeds (the pigeonhole bootstrap, Owen 2007, doi 10.1214/07-AOAS122); resampling items anew within each seed
    would take the benchmark's questions for seeds x items independent ones. Noise that belongs to neither seed nor item
    is counted more than once (too wide), and fewer than about ten seeds are too few to show the whole spread between
    seeds (too narrow where that spread dominates: look at `paired_difference` over seeds too). One seed: items only.

    Raises:
        ValueError: not two-dimensional, different shapes, empty, a value that is not finite, or draws < 1.
    """
    x = array("hierarchical_bootstrap: a", a, ndim=2)
    if b is not None:
        y = array("hierarchical_bootstrap: b", b, ndim=2)
        if x.shape != y.shape:
            raise ValueError(f"hierarchical_bootstrap: a is {x.shape}, b is {y.shape} - pair the same seeds and items")
        x = x - y
    seeds, items = x.shape
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_draws(draws)) / seeds
    resampled = (resampled_means(x, draws, rng) * weights).sum(axis=1)
    made = bootstrap_interval if b is None else _bootstrap_test
    return made(float(x.mean()), resampled, level, items)


def resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Mean of each row of ``values`` (rows, items) in ``draws`` resamples of the items: (draws, rows).

    Equal columns are one category of a multinomial, which is the same distribution as drawing item by item: 0/1 scores
    cost the same for 30 questions as for 12,000.
    """
    columns, counts = np.unique(values, axis=1, return_counts=True)
    n = values.shape[1]
    block = max(1, BLOCK // len(counts))
    sizes = [min(block, _draws(draws) - start) for start in range(0, draws, block)]
    return np.concatenate([rng.multinomial(n, counts / n, size=size) @ columns.T / n for size in sizes])


def bootstrap_interval(mean: float, resampled: np.ndarray, level: float, n: int) -> Interval:
    """The percentile interval of a mean over ``n`` items. Where no resample differs: Wilson's of scores from 0 to 1, else none."""
    low, high = _bounds(resampled, level)
    if high - low > 1e-12:
        return Interval(mean, float(low), float(high), level, n)
    inside = -1e-12 <= mean <= 1 + 1e-12
    return wilson(min(max(mean, 0.0), 1.0) * n, n, level) if inside else Interval(mean, nan, nan, level, n)


def _bootstrap_test(estimate: float, resampled: np.ndarray, level: float, n: int, effect: float = nan) -> Test:
    low, high = _bounds(resampled, level)
    if high - low < 1e-12:  # no item differs from another
        half = least_noise(estimate, n, level) if abs(estimate) <= 1 else nan
        low, high = estimate - half, estimate + half
    zero = 1e-12  # sums of thirds miss 0 by rounding
    fewer = min((resampled <= zero).sum(), (resampled >= -zero).sum())
    p = min(1.0, 2 * (int(fewer) + 1) / (len(resampled) + 1))
    return Test(estimate, float(low), float(high), level, p, n, effect=effect)


def _bounds(resampled: np.ndarray, level: float) -> np.ndarray:
    return np.quantile(resampled, [(1 - checked_level(level)) / 2, (1 + level) / 2], axis=0)


def _draws(draws: int) -> int:
    if draws < 1:
        raise ValueError(f"draws = {draws} - must be at least 1, 10,000 for a published figure")
    return draws
