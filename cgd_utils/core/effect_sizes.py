"""Sizes of effects, and the smallest effect that a benchmark can show."""

from __future__ import annotations

from collections.abc import Sequence
from math import asin, nan, pi, sin, sqrt

import numpy as np

from .statistics import Interval, array, checked_level, ratio


def cohens_d(a: Sequence[float], b: Sequence[float]) -> float:
    """Cohen's d of two independent samples with the pooled sd (Cohen 1988, ch. 2); ``nan`` where nothing varies."""
    x, y = array("cohens_d: a", a), array("cohens_d: b", b)
    freedom = len(x) + len(y) - 2
    if freedom < 1:
        return nan
    pooled = sqrt((len(x) * x.var() + len(y) * y.var()) / freedom)
    return ratio(float(x.mean() - y.mean()), pooled)


def odds_ratio(correct_a: int, n_a: int, correct_b: int, n_b: int, level: float = 0.95) -> Interval:
    """Odds ratio of two independent accuracies with Woolf's interval on the log scale (statsmodels ``Table2x2``).

    Where one of the four counts is 0, one half is added to each (Haldane 1956, Anscombe 1956).
    """
    from statsmodels.stats.contingency_tables import Table2x2

    if not (0 <= correct_a <= n_a and 0 <= correct_b <= n_b) or n_a < 1 or n_b < 1:
        raise ValueError(f"odds_ratio: {correct_a} of {n_a} and {correct_b} of {n_b} - needs 0 <= correct <= n, n >= 1")
    table = Table2x2(np.array([[correct_a, n_a - correct_a], [correct_b, n_b - correct_b]], float), shift_zeros=True)
    low, high = table.oddsratio_confint(1 - checked_level(level))
    return Interval(float(table.oddsratio), float(low), float(high), level, n_a + n_b)


def minimum_detectable_difference(
    n: int, p: float, power: float = 0.8, level: float = 0.05, correlation: float = 0.0
) -> float:
    """Smallest accuracy difference, in points (0 to 100), that ``n`` questions show with the given power.

    Cohen 1988, ch. 6: h = (z[1 - level/2] + z[power]) sqrt(2 (1 - correlation) / n), turned back into a share from
    ``p``, the baseline accuracy (a share), towards one half, the wider and so the cautious side. ``level`` is the
    two-sided test's; ``correlation`` that of the two methods' 0/1 scores over the same questions (0: independent
    samples). ``nan``: no difference on the scale is large enough.

    Raises:
        ValueError: n < 1, p outside 0..1, power or level outside 0..1 (exclusive), correlation outside -1..1.
    """
    from scipy.stats import norm

    if n < 1 or not 0 <= p <= 1 or not 0 < power < 1 or not 0 < level < 1 or not -1 <= correlation <= 1:
        raise ValueError(
            f"minimum_detectable_difference: n={n}, p={p}, power={power}, level={level}, correlation={correlation} - "
            "needs n >= 1, p in 0..1, power and level between 0 and 1, correlation in -1..1"
        )
    h = float(norm.ppf(1 - level / 2) + norm.ppf(power)) * sqrt(2 * (1 - correlation) / n)
    base = min(p, 1 - p)
    angle = asin(sqrt(base)) + h / 2
    return nan if angle > pi / 2 else 100 * (sin(angle) ** 2 - base)
