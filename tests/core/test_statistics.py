"""Statistics against published values, scipy and statsmodels, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from cgd_utils.core import bootstrap, effect_sizes, many_samples, statistics

RUNS = 4000
# of 4,000 simulated data sets: 95% ± 2 points for coverage, 5% ± 1 point for errors of the first kind, as asked of them
COVERAGE = pytest.approx(0.95, abs=0.02)
ERROR = pytest.approx(0.05, abs=0.01)


# ---------------------------------------------------------------- known values
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_statsmodels_wilson(counts):
    i = statistics.wilson(*counts)
    assert (i.low, i.high) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-9)
    assert 0 <= i.low <= i.estimate + 1e-12
    assert i.estimate - 1e-12 <= i.high <= 1


def test_wilson_of_newcombes_example():
    i = statistics.wilson(81, 263)  # Newcombe 1998, Statistics in Medicine 17, table I: 0.2553 to 0.3662
    assert (round(i.low, 4), round(i.high, 4)) == (0.2553, 0.3662)


def test_the_paired_t_test_is_scipys():
    a, b = [3.1, 4.2, 5.5, 6.1, 4.4], [2.0, 4.0, 4.9, 6.3, 3.1]
    mine, reference = statistics.paired_difference(a, b), scipy_stats.ttest_rel(a, b)
    assert mine.p == pytest.approx(reference.pvalue)
    assert mine.statistic == pytest.approx(reference.statistic)
    assert (mine.low, mine.high) == pytest.approx(tuple(reference.confidence_interval()))


def test_students_sleep_data():
    """Student 1908: extra hours of sleep under two drugs, t = 4.0621 with 9 degrees of freedom, p = 0.0028."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    test = statistics.paired_difference(two, one)
    assert test.difference == pytest.approx(1.58)
    assert test.statistic == pytest.approx(4.0621, abs=1e-4)
    assert test.p == pytest.approx(0.00283, abs=1e-5)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_statsmodels_exact_test(only_a, only_b):
    a = [True] * only_a + [False] * only_b + [True] * 3
    b = [False] * only_a + [True] * only_b + [True] * 3
    expected = reference_mcnemar([[3, only_a], [only_b, 0]], exact=True).pvalue if only_a + only_b else 1.0
    assert statistics.mcnemar(a, b).p == pytest.approx(expected)


def test_mcnemar_of_fagerlands_example():
    """Fagerland, Lydersen and Laake 2013, table 1: 1 and 7 discordant pairs, exact p = 0.070."""
    a, b = [True] + [False] * 7 + [True] * 13, [False] + [True] * 7 + [True] * 13
    assert statistics.mcnemar(a, b).p == pytest.approx(0.0703, abs=1e-4)


def test_the_interval_of_newcombes_example():
    """Newcombe 1998, Statistics in Medicine 17, 873-890, table II: 56/70 − 48/80, method 10: 0.0524 to 0.3339."""
    test = statistics.independent_difference(56, 70, 48, 80)
    assert (round(test.low, 4), round(test.high, 4)) == (0.0524, 0.3339)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_interval_of_a_difference_holds_it_and_turns_with_the_sides(n, m, data):
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    test, turned = statistics.independent_difference(a, n, b, m), statistics.independent_difference(b, m, a, n)
    assert test.low - 1e-12 <= test.difference <= test.high + 1e-12
    assert (test.low, test.p) == pytest.approx((-turned.high, turned.p))


def test_holm_of_a_worked_example():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_gap = statistics.holm([0.01, math.nan, 0.04])
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(with_gap[1])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_is_that_of_statsmodels(p, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # which statsmodels calls each time
    assert statistics.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_cohens_examples():
    assert statistics.cohens_h(0.5, 0.3) == pytest.approx(0.4115, abs=1e-4)
    assert effect_sizes.cohens_d([2, 4, 6], [1, 3, 5]) == pytest.approx(0.5)


def test_the_detectable_difference_matches_statsmodels_power():
    from statsmodels.stats.power import NormalIndPower

    points = effect_sizes.minimum_detectable_difference(30, 0.2)
    h = statistics.cohens_h(0.2 + points / 100, 0.2)
    assert NormalIndPower().power(h, 30, 0.05, ratio=1) == pytest.approx(0.8, abs=1e-3)
    assert effect_sizes.minimum_detectable_difference(1319, 0.8) < 6 < 30 < points


# ---------------------------------------------------------------- Pass@k
@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(case):
    n, c, k = case
    assert many_samples.pass_at_k(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))


def test_pass_at_k_does_not_overflow_and_grows():
    curve = many_samples.pass_at_k_curve([0, 1, 500, 1000], 1000, [1, 10, 1000], draws=500)
    values = [curve[k].estimate for k in (1, 10, 1000)]
    assert values == sorted(values)
    assert values[0] == pytest.approx((0 + 0.001 + 0.5 + 1) / 4)
    assert values[-1] == 0.75


def test_the_majority_of_all_answers_is_the_plurality_and_ties_share():
    answers, correct = [["4", "4", "5"], ["1", "2", None]], [[1, 1, 0], [1, 0, 0]]
    assert many_samples.majority_at_k(answers, correct, 3).estimate == pytest.approx((1 + 0.5) / 2)
    assert many_samples.majority_at_k(answers, correct, 1, draws=4000).estimate == pytest.approx(
        (2 / 3 + 1 / 3) / 2, abs=0.02
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.wilson(3, 2), "3 correct of 2"),
        (lambda: statistics.wilson(0, 0), "n >= 1"),
        (lambda: statistics.paired_difference([1], [1, 2]), "pair the same"),
        (lambda: statistics.paired_difference([math.nan], [1.0]), "finite"),
        (lambda: statistics.mcnemar([0.5], [1]), "other than True and False"),
        (lambda: many_samples.pass_at_k(4, 2, 5), "k = 5"),
        (lambda: many_samples.pass_at_k(4, 5, 1), "0 <= c <= n"),
        (lambda: statistics.holm([1.5]), "between 0 and 1"),
        (lambda: effect_sizes.minimum_detectable_difference(0, 0.5), "n >= 1"),
        (lambda: statistics.mean_t_interval([1, 2], level=95), "such as 0.95"),
        (lambda: many_samples.majority_at_k([["a"]], [[True]], 2), "k = 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_spread_gives_no_false_certainty():
    same = statistics.paired_difference([2.0, 3.0], [1.0, 2.0])
    assert same.difference == 1
    assert math.isnan(same.p)
    assert statistics.paired_difference([1.0, 2.0], [1.0, 2.0]).p == 1
    assert math.isnan(statistics.mean_t_interval([4.0]).low)
    assert math.isnan(statistics.mean_t_interval([4.0, 4.0]).low)


# ---------------------------------------------------------------- no certainty from a sample
@given(st.integers(1, 60), st.integers(0, 8), st.sampled_from([1, 2, 4, 8]))
def test_questions_that_are_all_alike_leave_pass_at_k_an_interval(questions, right, k):
    i = many_samples.pass_at_k_curve([right] * questions, 8, [k], draws=50)[k]
    assert 0 <= i.low <= i.estimate + 1e-12 and i.estimate - 1e-12 <= i.high <= 1
    assert i.high - i.low > 0.01


def test_a_majority_that_is_always_right_leaves_an_interval():
    i = many_samples.majority_at_k([["4", "4"]] * 10, [[True, True]] * 10, 2)
    assert (i.estimate, i.high) == (1.0, 1.0) and i.low == pytest.approx(statistics.wilson(10, 10).low)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_answers_leave_a_paired_difference_an_interval(value):
    test = bootstrap.paired_bootstrap([value] * 30, [value] * 30, draws=100)
    assert test.low < test.difference == 0 < test.high
    one = bootstrap.hierarchical_bootstrap([[value] * 30] * 2, draws=100)
    assert one.high - one.low > 0.05


@given(st.integers(0, 40).filter(lambda k: k != 5), st.integers(100, 400))
def test_the_least_noise_leaves_out_0_where_the_sign_test_does(k, n):
    """k questions of n, all one way: the exact test's p falls below 5% from 6 on; at 5 of few the two differ."""
    p = statistics.mcnemar([True] * k + [False] * (n - k), [False] * n).p
    assert (k / n > statistics.least_noise(k / n, n)) == (p < 0.05)


def test_coverage_of_the_summary_over_seeds_and_questions():
    """Seeds and questions both vary: five seeds, 100 questions that all of them answer; on the wide side."""
    r = rng("summary")
    hits = []
    for _ in range(600):
        skill = r.normal(0, 0.03, (5, 1)) + np.clip(r.normal(0.5, 0.3, (1, 100)), 0.05, 0.95)
        right = r.random((5, 100)) < skill
        intervals = [statistics.wilson(int(x.sum()), 100) for x in right]
        s = statistics.summary(right.mean(axis=1), [i.low for i in intervals], [i.high for i in intervals], [100] * 5)
        hits.append(s.ci_low <= 0.5 <= s.ci_high)
    assert np.mean(hits) >= 0.94


def test_a_value_is_told_with_its_interval():
    assert statistics.told(12.345, 10.0, 15.0) == "12.3 [10.0, 15.0]"
    assert statistics.told(1.0, -0.5, 2.5, "+.1f") == "+1.0 [-0.5, +2.5]"
    assert statistics.told(1.0) == "1.0" and statistics.told(math.nan) == ""


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.randoms())
def test_swapping_the_methods_turns_the_sign(a, random):
    b = a[:]
    random.shuffle(b)
    one, two = bootstrap.paired_bootstrap(a, b, draws=200), bootstrap.paired_bootstrap(b, a, draws=200)
    assert one.difference == pytest.approx(-two.difference)
    assert statistics.mcnemar(a, b).p == statistics.mcnemar(b, a).p


# ---------------------------------------------------------------- simulation
def rng(name):
    return np.random.default_rng([ord(c) for c in name])


def test_coverage_of_wilson():
    counts = rng("wilson").binomial(200, 0.37, RUNS)
    cache = {c: statistics.wilson(int(c), 200) for c in set(counts)}
    assert np.mean([cache[c].low <= 0.37 <= cache[c].high for c in counts]) == COVERAGE


def test_coverage_and_error_of_the_t_interval_over_five_seeds():
    x = rng("seeds").normal(0, 1, (RUNS, 5))
    tests = [statistics.paired_difference(row, np.zeros(5)) for row in x]
    assert np.mean([t.low <= 0 <= t.high for t in tests]) == COVERAGE
    assert np.mean([t.p < 0.05 for t in tests]) == ERROR


def paired_items(name, runs, items):
    """Two methods of the same accuracy with correlated answers: (runs, items) each."""
    r = rng(name)
    shared = r.random((runs, items)) < 0.5
    answers = [np.where(shared, r.random((runs, items)) < 0.4, 0) for _ in range(2)]
    base = np.where(shared, 0, r.random((runs, items)) < 0.4)
    return [a + base for a in answers]


def test_coverage_and_error_of_the_paired_bootstrap():
    tests = [
        bootstrap.paired_bootstrap(a, b, draws=1000) for a, b in zip(*paired_items("boot", 2000, 200), strict=True)
    ]
    assert np.mean([t.low <= 0 <= t.high for t in tests]) == COVERAGE
    assert np.mean([t.p < 0.05 for t in tests]) == pytest.approx(0.05, abs=0.015)


def test_error_of_mcnemar():
    a, b = paired_items("mcnemar", RUNS, 400)
    assert np.mean([statistics.mcnemar(x, y).p < 0.05 for x, y in zip(a, b, strict=True)]) <= 0.05  # exact: never above


def test_coverage_and_error_of_the_independent_difference():
    r = rng("independent")
    pairs = list(zip(r.binomial(40, 0.3, 1000), r.binomial(40, 0.3, 1000), strict=True))
    cache = {p: statistics.independent_difference(int(p[0]), 40, int(p[1]), 40) for p in set(pairs)}
    assert np.mean([cache[p].low <= 0 <= cache[p].high for p in pairs]) == COVERAGE
    assert np.mean([cache[p].p < 0.05 for p in pairs]) == pytest.approx(0.05, abs=0.015)


def test_coverage_of_the_hierarchical_bootstrap():
    """Seeds and items both vary: 12 seeds, 100 items."""
    r = rng("hierarchical")
    runs, seeds, items = 1000, 12, 100
    values = 1 + r.normal(0, 0.1, (runs, seeds, 1)) + r.normal(0, 1, (runs, 1, items))
    made = [bootstrap.hierarchical_bootstrap(v, draws=500) for v in values]
    assert np.mean([i.low <= 1 <= i.high for i in made]) == pytest.approx(0.95, abs=0.025)


def test_error_of_holm_over_a_family(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects garbage at every call: 20 ms each
    p = rng("holm").random((RUNS, 8))
    assert np.mean([(statistics.holm(row) < 0.05).any() for row in p]) == ERROR
