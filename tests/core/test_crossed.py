"""Differences over seeds and questions: right values, and coverage by simulation."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cgd_utils.core.crossed import crossed_difference

LEVEL = 0.95


def simulated(rng, seeds, items, seed_sd, shift=0.0):
    """Right or wrong answers of two methods: questions of different difficulty for each, and models that differ by seed."""
    hard, apart = rng.normal(-0.8, 1.5, items), rng.normal(0, 0.7, items)
    sides = []
    for sign in (1, -1):
        logit = hard + sign * (apart + shift) / 2 + rng.normal(0, seed_sd, (seeds, 1))
        sides.append((rng.random((seeds, items)) < 1 / (1 + np.exp(-logit))).astype(float))
    return sides


@pytest.mark.parametrize(("seeds", "items", "seed_sd"), [(3, 300, 0.0), (3, 300, 0.2), (5, 300, 0.2), (4, 150, 0.1)])
def test_coverage_and_error_of_the_first_kind(seeds, items, seed_sd):
    rng = np.random.default_rng([seeds, items])
    tests = [crossed_difference(*simulated(rng, seeds, items, seed_sd)) for _ in range(1000)]
    assert np.mean([t.low <= 0 <= t.high for t in tests]) == pytest.approx(LEVEL, abs=0.025)
    assert np.mean([t.p < 1 - LEVEL for t in tests]) == pytest.approx(1 - LEVEL, abs=0.025)


def test_it_is_the_plain_formula_of_a_two_way_table():
    """Two seeds, three items, by hand: d = [[1, 0, 1], [1, 1, 1]]; mean 5/6."""
    a, b = [[1, 0, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]
    t = crossed_difference(a, b)
    of_seeds, of_items, of_rest = 1 / 6, 1 / 6, 1 / 6
    assert of_seeds + of_items - of_rest == pytest.approx(1 / 6)
    assert t.difference == pytest.approx(5 / 6)
    assert t.difference / t.statistic == pytest.approx((1 / 6 / 6) ** 0.5)


def test_components_add_where_both_are_there():
    """Seed and item effects without a rest: the variance of the mean is that of both means."""
    seed, item = np.array([-1.0, 0.0, 1.0]), np.array([-0.3, 0.1, 0.2, 0.0])
    d = 0.1 * seed[:, None] + item[None]
    t = crossed_difference(d, np.zeros_like(d))
    variance = (0.1 * seed).var(ddof=1) / 3 + item.var(ddof=1) / 4
    assert t.difference / t.statistic == pytest.approx(variance**0.5)


def test_one_seed_is_a_paired_t_test_over_questions():
    a, b = [[1, 1, 0, 1, 1, 1, 0, 1]], [[0, 1, 0, 0, 1, 0, 1, 0]]
    found = stats.ttest_rel(a[0], b[0])
    t = crossed_difference(a, b)
    assert t.p == pytest.approx(found.pvalue)
    assert (t.low, t.high) == pytest.approx(found.confidence_interval(LEVEL))


@given(st.integers(1, 5), st.integers(1, 12), st.randoms(use_true_random=False))
def test_no_interval_has_zero_width_and_the_mirror_is_its_mirror(seeds, items, random):
    a, b = ([[random.randint(0, 1) for _ in range(items)] for _ in range(seeds)] for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t, back = crossed_difference(a, b), crossed_difference(b, a)
    assert t.low < t.high and t.low <= t.difference <= t.high
    assert (back.low, back.high) == pytest.approx((-t.high, -t.low))


@pytest.mark.parametrize(("a", "b"), [([[1, 0]], [[1]]), ([1, 0], [1, 0]), ([[]], [[]]), ([[float("nan")]], [[1]])])
def test_bad_input_is_refused(a, b):
    with pytest.raises(ValueError, match="crossed_difference"):
        crossed_difference(a, b)
