"""Intervals, tests and corrections: arrays in, numbers out. `bootstrap`, `many_samples` and `effect_sizes` build on it.

Conventions of all four: a difference is always a - b; accuracies are shares from 0 to 1 (only
`effect_sizes.minimum_detectable_difference` speaks in points); a number that the data cannot give is ``nan``, never a crash and
never a warning. A sample without spread shows no certainty: no interval has zero width. Every random draw comes from
``numpy.random.default_rng(seed)``, so the same call gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import asin, inf, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval; ``n`` counts what was sampled (items, questions or seeds)."""

    estimate: float
    low: float
    high: float
    level: float
    n: int


@dataclass(frozen=True)
class Test:
    """A difference a - b with its interval and two-sided p; ``statistic`` and ``effect`` as each function says."""

    __test__ = False  # pytest collects classes by this name

    difference: float
    low: float
    high: float
    level: float
    p: float
    n: int
    statistic: float = nan
    effect: float = nan


@dataclass(frozen=True)
class Summary:
    """A mean over seeds with its interval: `summary`.

    Attributes:
        value: the mean over the seeds.
        sd: standard deviation over the seeds; ``nan`` for one.
        ci_low, ci_high: the interval; ``nan`` where nothing shows how far the value can be trusted.
        seeds: how many models.
        n: questions (or other items) that each model was measured on, the mean over the seeds.
        over: what the interval is over: ``seeds and questions``, ``seeds``, ``questions``, or nothing.
    """

    value: float
    sd: float
    ci_low: float
    ci_high: float
    seeds: int
    n: int
    over: str


def told(value: float, low: float = nan, high: float = nan, form: str = ".1f") -> str:
    """A value with its interval as people read it: ``12.3 [10.1, 14.8]``; the value alone where there is no interval."""
    if value != value:
        return ""
    known = low == low and high == high
    return f"{value:{form}} [{low:{form}}, {high:{form}}]" if known else f"{value:{form}}"


# --- one accuracy, one mean ------------------------------------------------------------------------------------------
def wilson(correct: float, n: int, level: float = 0.95) -> Interval:
    """Wilson score interval of an accuracy, ``correct`` of ``n`` items (Wilson 1927; statsmodels' ``proportion_confint``).

    ``correct`` may be a sum of scores between 0 and 1: no such scores vary more than 0/1 ones of the same mean.

    Raises:
        ValueError: n < 1, or correct outside 0..n.
    """
    from statsmodels.stats.proportion import proportion_confint

    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"wilson: {correct} correct of {n} items - needs n >= 1 and 0 <= correct <= n")
    low, high = proportion_confint(correct, n, alpha=1 - checked_level(level), method="wilson")
    share = correct / n  # rounding can leave a bound beyond it
    return Interval(share, min(float(low), share), max(float(high), share), level, int(n))


def mean_t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of ``values`` (n,), one per seed, with Student's t interval; ``nan`` bounds for one value or equal ones.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    x = array("mean_t_interval: values", values)
    sd = sd_of(x)
    half = _quantile(checked_level(level), len(x) - 1) * sd / sqrt(len(x)) if sd > 0 else nan
    mean = float(x.mean())
    return Interval(mean, mean - half, mean + half, level, len(x))


def summary(
    values: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    n: ArrayLike,
    level: float = 0.95,
    limits: tuple[float, float] = (-inf, inf),
) -> Summary:
    """Mean over seeds with one interval over what varied, seeds and questions.

    Seeds give Student's t interval, where there are several that differ. Questions give the models' own intervals: the mean
    distances of their bounds from their values, undivided by the number of seeds, since all seeds answer the same questions.
    The two are independent sources, so their distances add in quadrature on each side (Zou and Donner 2008,
    doi 10.1002/sim.3095). Noise that belongs to neither alone is counted twice: on the wide side.

    Args:
        values: (seeds,), one a model.
        lows: (seeds,), lower bounds of each model's interval over questions; ``nan``, or equal to the upper: unknown.
        highs: (seeds,), the upper bounds.
        n: (seeds,), questions of each model.
        level: of the interval, and of the models' own.
        limits: the smallest and the largest value there can be; the interval ends there.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    x, low, high = array("summary: values", values), np.asarray(lows, float), np.asarray(highs, float)
    mean, seeds = float(x.mean()), mean_t_interval(x, level)
    known = high > low
    over = [name for name, there in (("seeds", seeds.high > seeds.low), ("questions", known.any())) if there]
    spread = mean - seeds.low if "seeds" in over else 0.0
    down, up = (float(side[known].mean()) if known.any() else 0.0 for side in (x - low, high - x))
    return Summary(
        value=mean,
        sd=sd_of(x),
        ci_low=max(limits[0], mean - sqrt(spread**2 + down**2)) if over else nan,
        ci_high=min(limits[1], mean + sqrt(spread**2 + up**2)) if over else nan,
        seeds=len(x),
        n=round(float(np.mean(np.asarray(n, float)))),
        over=" and ".join(over),
    )


def least_noise(difference: float, n: int, level: float = 0.95) -> float:
    """Half-width of the interval of a paired difference of two accuracies, at the least that the difference allows.

    Two accuracies that differ by k of ``n`` questions (``difference`` = k / n, a share) disagree on k questions or more; this
    is Bonett and Price's adjusted Wald interval (2012, doi 10.3102/1076998611411915) for just k, all one way. It leaves out 0
    from 6 questions on, as the exact sign test does at 95%, and of 100 questions or fewer from 5 on.
    """
    k = abs(difference) * n
    return _quantile(checked_level(level), inf) * sqrt(k + 2 - k**2 / (n + 2)) / (n + 2)


# --- two methods on the same seeds or items --------------------------------------------------------------------------
def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Test:
    """Paired t-test of two methods over the same seeds: ``a`` and ``b`` (seeds,), one figure per seed in the same order.

    ``statistic`` is t with n - 1 degrees of freedom, ``effect`` Cohen's d_z = mean / sd of the differences. Without
    spread there is no noise to compare with, and no interval: all differences 0 gives p = 1 and effect 0; all equal but
    not 0, or a single seed, gives ``nan`` for p, statistic and effect.

    Raises:
        ValueError: different lengths, no values, or a value that is not finite.
    """
    from scipy.stats import t

    d = differences("paired_difference", a, b)
    mean, sd = float(d.mean()), sd_of(d, scale=max(np.abs(a).max(), np.abs(b).max()))
    if sd == 0 and abs(mean) <= 1e-12 * np.abs(a).max():  # equal up to rounding
        return Test(0.0, nan, nan, checked_level(level), 1.0, len(d), 0.0, 0.0)
    if not sd > 0:
        return Test(mean, nan, nan, checked_level(level), nan, len(d))
    interval, effect = mean_t_interval(d, level), mean / sd
    statistic = effect * sqrt(len(d))
    return Test(
        mean, interval.low, interval.high, level, 2 * float(t.sf(abs(statistic), len(d) - 1)), len(d), statistic, effect
    )


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> Test:
    """McNemar's exact test of two methods on the same items: ``a`` and ``b`` (items,), True where the answer is right.

    Binomial test on the items that only one method got right (McNemar 1947). ``statistic`` is the smaller of the two
    counts, ``effect`` their odds only-a / only-b (``inf`` if only-b is 0, ``nan`` if both are). The exact p errs on the
    safe side. No interval: `paired_bootstrap` gives one.

    Raises:
        ValueError: different lengths, no items, or values other than 0 and 1.
    """
    from scipy.stats import binomtest

    d = differences("mcnemar", a, b)
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("mcnemar: values other than True and False - use paired_bootstrap for real-valued scores")
    only_a, only_b = int((d > 0).sum()), int((d < 0).sum())
    fewer, total = min(only_a, only_b), only_a + only_b
    p = float(binomtest(fewer, total).pvalue) if total else 1.0
    effect = only_a / only_b if only_b else (float("inf") if only_a else nan)
    return Test(float(d.mean()), nan, nan, nan, p, len(d), float(fewer), effect)


# --- two independent samples -----------------------------------------------------------------------------------------
def independent_difference(correct_a: float, n_a: int, correct_b: float, n_b: int, level: float = 0.95) -> Test:
    """Difference of two accuracies when it is not known who got which item right: interval and test.

    Newcombe's hybrid score interval (1998, method 10; statsmodels), and the pooled two-proportion z test.
    ``statistic`` is z, ``effect`` Cohen's h, n the smaller sample. For two methods on the same items this is the cautious choice: their shared items usually make
    the true noise smaller.

    Raises:
        ValueError: n < 1, or correct outside 0..n.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

    for correct, n in ((correct_a, n_a), (correct_b, n_b)):
        if n < 1 or not 0 <= correct <= n:
            raise ValueError(f"independent_difference: {correct} correct of {n} - needs n >= 1 and 0 <= correct <= n")
    p_a, p_b = correct_a / n_a, correct_b / n_b
    counts = (correct_a, n_a, correct_b, n_b)
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - checked_level(level))
    statistic, p = 0.0, 1.0  # where both are 0 or both 1, the score statistic is 0/0
    if not (p_a == p_b and p_a in (0, 1)):
        statistic, p = map(float, proportions_ztest([correct_a, correct_b], [n_a, n_b]))
    return Test(p_a - p_b, float(low), float(high), level, p, min(n_a, n_b), statistic, cohens_h(p_a, p_b))


# --- many tests, the size of a difference ----------------------------------------------------------------------------
def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm-corrected p-values in the order given (Holm 1979); ``nan`` stays ``nan`` and counts for no test.

    statsmodels' ``multipletests`` gives the same, but collects the process's garbage at every call: 50 ms, ten times that beside models.
    """
    p = np.asarray(p_values, float)
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError(f"holm: p-values {p.tolist()} - must lie between 0 and 1")
    out = p.copy()
    order = np.flatnonzero(known)[np.argsort(p[known])]
    stepped = np.arange(len(order), 0, -1) * p[order]
    out[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return out


def cohens_h(p_a: float, p_b: float) -> float:
    """Cohen's h = 2 asin sqrt(p_a) - 2 asin sqrt(p_b) of two shares (Cohen 1988, ch. 6)."""
    if not (0 <= p_a <= 1 and 0 <= p_b <= 1):
        raise ValueError(f"cohens_h: {p_a} and {p_b} - give shares from 0 to 1, not percent")
    return 2 * asin(sqrt(p_a)) - 2 * asin(sqrt(p_b))


# --- shared ----------------------------------------------------------------------------------------------------------
def array(name: str, values: object, ndim: int = 1) -> np.ndarray:
    x = np.asarray(values, float)
    if x.ndim != ndim or x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"{name}: shape {x.shape} - needs {ndim} dimension(s), at least one value, and all finite")
    return x


def differences(name: str, a: object, b: object) -> np.ndarray:
    x, y = array(f"{name}: a", a), array(f"{name}: b", b)
    if len(x) != len(y):
        raise ValueError(f"{name}: {len(x)} values against {len(y)} - pair the same items or seeds in the same order")
    return x - y


def sd_of(x: np.ndarray, scale: float | None = None) -> float:
    """Sample sd, ``nan`` of one value; exactly 0 where the spread is only rounding error of values as large as ``scale``."""
    if len(x) < 2:
        return nan
    sd = float(x.std(ddof=1))
    return sd if sd > 1e-12 * (np.abs(x).max() if scale is None else scale) else 0.0


def ratio(a: float, b: float) -> float:
    return a / b if b else (0.0 if a == 0 else nan)


@cache
def _quantile(level: float, freedom: float) -> float:
    """How many standard errors an interval of this level reaches to either side: Student's t, the normal for ``inf``."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level = {level} - must lie between 0 and 1, such as 0.95")
    return level
