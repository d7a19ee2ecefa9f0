"""Intervals, paired tests, corrections and Pass@k: arrays in, numbers out.

Conventions: a difference is always a - b; accuracies are shares from 0 to 1 (only `minimum_detectable_difference` speaks
in points); a number that the data cannot give is ``nan``, never a crash and never a warning. A sample without spread shows
no certainty: no interval has zero width. Every random draw comes from ``numpy.random.default_rng(seed)``, so the same call
gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import asin, inf, nan, pi, sin, sqrt

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 10_000
# cells of one block of resampling weights: bounds memory (8 bytes a cell) whatever the number of draws and items
BLOCK = 4_000_000


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
    low, high = proportion_confint(correct, n, alpha=1 - _level(level), method="wilson")
    share = correct / n  # rounding can leave a bound beyond it
    return Interval(share, min(float(low), share), max(float(high), share), level, int(n))


def mean_t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of ``values`` (n,), one per seed, with Student's t interval; ``nan`` bounds for one value or equal ones.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    x = _array("mean_t_interval: values", values)
    sd = _sd(x)
    half = _quantile(_level(level), len(x) - 1) * sd / sqrt(len(x)) if sd > 0 else nan
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
    x, low, high = _array("summary: values", values), np.asarray(lows, float), np.asarray(highs, float)
    mean, seeds = float(x.mean()), mean_t_interval(x, level)
    known = high > low
    over = [name for name, there in (("seeds", seeds.high > seeds.low), ("questions", known.any())) if there]
    spread = mean - seeds.low if "seeds" in over else 0.0
    down, up = (float(side[known].mean()) if known.any() else 0.0 for side in (x - low, high - x))
    return Summary(
        value=mean,
        sd=_sd(x),
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
    return _quantile(_level(level), inf) * sqrt(k + 2 - k**2 / (n + 2)) / (n + 2)


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

    d = _differences("paired_difference", a, b)
    mean, sd = float(d.mean()), _sd(d, scale=max(np.abs(a).max(), np.abs(b).max()))
    if sd == 0 and abs(mean) <= 1e-12 * np.abs(a).max():  # equal up to rounding
        return Test(0.0, nan, nan, _level(level), 1.0, len(d), 0.0, 0.0)
    if not sd > 0:
        return Test(mean, nan, nan, _level(level), nan, len(d))
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

    d = _differences("mcnemar", a, b)
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("mcnemar: values other than True and False - use paired_bootstrap for real-valued scores")
    only_a, only_b = int((d > 0).sum()), int((d < 0).sum())
    fewer, total = min(only_a, only_b), only_a + only_b
    p = float(binomtest(fewer, total).pvalue) if total else 1.0
    effect = only_a / only_b if only_b else (float("inf") if only_a else nan)
    return Test(float(d.mean()), nan, nan, nan, p, len(d), float(fewer), effect)


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
    d = _differences("paired_bootstrap", a, b)
    resampled = _resampled_means(d[None], draws, np.random.default_rng(seed))[:, 0]
    return _bootstrap_test(float(d.mean()), resampled, level, len(d), _ratio(float(d.mean()), _sd(d)))


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
    x = _array("hierarchical_bootstrap: a", a, ndim=2)
    if b is not None:
        y = _array("hierarchical_bootstrap: b", b, ndim=2)
        if x.shape != y.shape:
            raise ValueError(f"hierarchical_bootstrap: a is {x.shape}, b is {y.shape} - pair the same seeds and items")
        x = x - y
    seeds, items = x.shape
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_draws(draws)) / seeds
    resampled = (_resampled_means(x, draws, rng) * weights).sum(axis=1)
    made = _bootstrap_interval if b is None else _bootstrap_test
    return made(float(x.mean()), resampled, level, items)


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
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - _level(level))
    statistic, p = 0.0, 1.0  # where both are 0 or both 1, the score statistic is 0/0
    if not (p_a == p_b and p_a in (0, 1)):
        statistic, p = map(float, proportions_ztest([correct_a, correct_b], [n_a, n_b]))
    return Test(p_a - p_b, float(low), float(high), level, p, min(n_a, n_b), statistic, cohens_h(p_a, p_b))


# --- many tests, effect sizes, what a benchmark can show -------------------------------------------------------------
def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm-corrected p-values in the order given (Holm 1979); ``nan`` stays ``nan`` and counts for no test."""
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, float)
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError(f"holm: p-values {p.tolist()} - must lie between 0 and 1")
    out = p.copy()
    if known.any():
        out[known] = multipletests(p[known], method="holm")[1]
    return out


def cohens_h(p_a: float, p_b: float) -> float:
    """Cohen's h = 2 asin sqrt(p_a) - 2 asin sqrt(p_b) of two shares (Cohen 1988, ch. 6)."""
    if not (0 <= p_a <= 1 and 0 <= p_b <= 1):
        raise ValueError(f"cohens_h: {p_a} and {p_b} - give shares from 0 to 1, not percent")
    return 2 * asin(sqrt(p_a)) - 2 * asin(sqrt(p_b))


def cohens_d(a: Sequence[float], b: Sequence[float]) -> float:
    """Cohen's d of two independent samples with the pooled sd (Cohen 1988, ch. 2); ``nan`` where nothing varies."""
    x, y = _array("cohens_d: a", a), _array("cohens_d: b", b)
    freedom = len(x) + len(y) - 2
    if freedom < 1:
        return nan
    pooled = sqrt((len(x) * x.var() + len(y) * y.var()) / freedom)
    return _ratio(float(x.mean() - y.mean()), pooled)


def odds_ratio(correct_a: int, n_a: int, correct_b: int, n_b: int, level: float = 0.95) -> Interval:
    """Odds ratio of two independent accuracies with Woolf's interval on the log scale (statsmodels ``Table2x2``).

    Where one of the four counts is 0, one half is added to each (Haldane 1956, Anscombe 1956).
    """
    from statsmodels.stats.contingency_tables import Table2x2

    if not (0 <= correct_a <= n_a and 0 <= correct_b <= n_b) or n_a < 1 or n_b < 1:
        raise ValueError(f"odds_ratio: {correct_a} of {n_a} and {correct_b} of {n_b} - needs 0 <= correct <= n, n >= 1")
    table = Table2x2(np.array([[correct_a, n_a - correct_a], [correct_b, n_b - correct_b]], float), shift_zeros=True)
    low, high = table.oddsratio_confint(1 - _level(level))
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


# --- many samples a question -----------------------------------------------------------------------------------------
def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> np.ndarray:
    """Unbiased Pass@k of each question: 1 - C(n-c, k) / C(n, k) with ``c`` of ``n`` samples right, shapes (questions,).

    In product form, as Chen et al. 2021 (arXiv 2107.03374) advise; ``n`` and ``c`` may be numbers and broadcast.

    Raises:
        ValueError: k < 1, k > n (sample more answers), or c outside 0..n.
    """
    sampled, right = np.broadcast_arrays(np.asarray(n), np.asarray(c))
    if ((right < 0) | (right > sampled)).any():
        raise ValueError(f"pass_at_k: c = {right.tolist()} right of n = {sampled.tolist()} - needs 0 <= c <= n")
    if sampled.size == 0 or not 1 <= k <= sampled.min():
        least = sampled.min() if sampled.size else "no questions"
        raise ValueError(f"pass_at_k: k = {k}, n = {least} - needs 1 <= k <= n")
    fail = np.ones(sampled.shape)
    for j in range(k):
        fail *= np.maximum(sampled - right - j, 0) / (sampled - j)
    return 1 - fail


def pass_at_k_curve(
    counts: Sequence[int], n: int, ks: Sequence[int], draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> dict[int, Interval]:
    """Mean Pass@k over questions for each k: ``counts`` (questions,) right answers of ``n`` samples each.

    Percentile intervals from resampling questions, the same resamples for every k; Wilson's where all questions are alike.
    """
    each = np.array([pass_at_k(n, np.asarray(counts), k) for k in ks])
    resampled = _resampled_means(each, draws, np.random.default_rng(seed))
    return {
        int(k): _bootstrap_interval(float(each[i].mean()), resampled[:, i], level, each.shape[1])
        for i, k in enumerate(ks)
    }


def majority_at_k(
    answers: Sequence[Sequence[object]],
    correct: Sequence[Sequence[bool]],
    k: int,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Expected accuracy of the majority of ``k`` answers: ``answers`` and ``correct`` are (questions, n samples).

    For each question, ``draws`` times, k of its n answers without replacement; the most frequent answer is taken.
    Answers vote as equal if they are equal as values, so give extracted, normalised ones. Tied answers share the point
    (what a random choice among them scores on average); ``None`` and "" do not vote, and no votes at all are wrong. The
    interval resamples questions.

    Raises:
        ValueError: shapes differ, no questions, or k outside 1..n.
    """
    shapes = [(len(row), len(right)) for row, right in zip(answers, correct, strict=True)]
    if not shapes or any(pair != (shapes[0][0],) * 2 for pair in shapes):
        raise ValueError(f"majority_at_k: answers and correct hold {shapes[:3]} - give n of both for every question")
    n = shapes[0][0]
    if not 1 <= k <= n:
        raise ValueError(f"majority_at_k: k = {k}, n = {n} - needs 1 <= k <= n")
    rng = np.random.default_rng(seed)
    each = np.array([_majority(row, right, k, draws, rng) for row, right in zip(answers, correct, strict=True)])
    return _bootstrap_interval(float(each.mean()), _resampled_means(each[None], DRAWS, rng)[:, 0], level, len(each))


def _majority(row: Sequence[object], right: Sequence[bool], k: int, draws: int, rng: np.random.Generator) -> float:
    voted = [x for x in dict.fromkeys(row) if x is not None and x != ""]
    if not voted:
        return 0.0
    ballots = np.array([[x == candidate for candidate in voted] for x in row], float)
    share_right = np.asarray(right, float) @ ballots / ballots.sum(axis=0)
    chosen = rng.random((1 if k == len(row) else draws, len(row))).argsort(axis=1).argsort(axis=1) < k
    votes = chosen @ ballots
    winners = (votes == votes.max(axis=1, keepdims=True)) & (votes > 0)
    return float(((winners * share_right).sum(axis=1) / np.maximum(winners.sum(axis=1), 1)).mean())


# --- shared ----------------------------------------------------------------------------------------------------------
def _resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Mean of each row of ``values`` (rows, items) in ``draws`` resamples of the items: (draws, rows).

    Equal columns are one category of a multinomial, which is the same distribution as drawing item by item: 0/1 scores
    cost the same for 30 questions as for 12,000.
    """
    columns, counts = np.unique(values, axis=1, return_counts=True)
    n = values.shape[1]
    block = max(1, BLOCK // len(counts))
    sizes = [min(block, _draws(draws) - start) for start in range(0, draws, block)]
    return np.concatenate([rng.multinomial(n, counts / n, size=size) @ columns.T / n for size in sizes])


def _bootstrap_interval(mean: float, resampled: np.ndarray, level: float, n: int) -> Interval:
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
    return np.quantile(resampled, [(1 - _level(level)) / 2, (1 + level) / 2], axis=0)


def _array(name: str, values: object, ndim: int = 1) -> np.ndarray:
    x = np.asarray(values, float)
    if x.ndim != ndim or x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"{name}: shape {x.shape} - needs {ndim} dimension(s), at least one value, and all finite")
    return x


def _differences(name: str, a: object, b: object) -> np.ndarray:
    x, y = _array(f"{name}: a", a), _array(f"{name}: b", b)
    if len(x) != len(y):
        raise ValueError(f"{name}: {len(x)} values against {len(y)} - pair the same items or seeds in the same order")
    return x - y


def _sd(x: np.ndarray, scale: float | None = None) -> float:
    """Sample sd, ``nan`` of one value; exactly 0 where the spread is only rounding error of values as large as ``scale``."""
    if len(x) < 2:
        return nan
    sd = float(x.std(ddof=1))
    return sd if sd > 1e-12 * (np.abs(x).max() if scale is None else scale) else 0.0


def _ratio(a: float, b: float) -> float:
    return a / b if b else (0.0 if a == 0 else nan)


@cache
def _quantile(level: float, freedom: float) -> float:
    """How many standard errors an interval of this level reaches to either side: Student's t, the normal for ``inf``."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level = {level} - must lie between 0 and 1, such as 0.95")
    return level


def _draws(draws: int) -> int:
    if draws < 1:
        raise ValueError(f"draws = {draws} - must be at least 1, 10,000 for a published figure")
    return draws
