"""Differences question by question, from what ``results.csv`` keeps of them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core.crossed import crossed_difference, crossed_mean
from cgd_utils.evaluation.figures import BY_QUESTION, shares, written
from cgd_utils.evaluation.results import by_question
from cgd_utils.paper import claims
from cgd_utils.reporting import result_rows

RIGHT = {
    ("base", None, "a"): [0, 1, 0, 0, 1, 0],
    ("base", None, "b"): [0, 0, 1, 1],
    ("sft", 0, "a"): [1, 1, 0, 0, 1, 0],
    ("sft", 1, "a"): [1, 1, 0, 1, 1, 0],
    ("sft", 0, "b"): [0, 0, 1, 1],
    ("sft", 1, "b"): [1, 0, 1, 1],
    ("cgd", 0, "a"): [1, 1, 1, 1, 1, 0],
    ("cgd", 1, "a"): [1, 0, 1, 1, 1, 1],
    ("cgd", 0, "b"): [1, 0, 0, 1],
    ("cgd", 1, "b"): [0, 1, 1, 1],
}


def frame(right=RIGHT):
    columns = [*result_rows.COLUMNS, BY_QUESTION]
    rows = [
        ("f", m, s, b, "accuracy", 100 * np.mean(x), len(x), 0.0, 100.0, written(x)) for (m, s, b), x in right.items()
    ]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


def scores(method, benchmark):
    return [RIGHT[method, s, benchmark] for s in (0, 1)]


@given(st.integers(1, 35).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1, max_size=9))))
def test_what_is_written_is_read_back(case):
    samples, right = case
    assert shares(written(right, samples)) == pytest.approx([k / samples for k in right])


def test_a_table_of_numbers_keeps_it_as_text(tmp_path):
    frame().to_csv(tmp_path / "results.csv", index=False)
    back = pd.read_csv(tmp_path / "results.csv")
    assert list(back[BY_QUESTION]) == list(frame()[BY_QUESTION])


def test_counts_that_no_digit_holds_and_rows_without_a_record_are_none():
    assert written([40], 64) == ""
    assert not len(shares("")) and not len(shares(float("nan")))


def test_scores_of_single_questions():
    graded = [{"id": i, "correct": c} for i, c in (("q1", True), ("q2", None), ("q1", False), ("q2", True))]
    assert by_question(graded) == "11/2"
    assert by_question([{"id": "i", "strict": [True, False]}, {"id": "j", "strict": [True, True]}]) == "01/1"


def test_one_benchmark_is_the_crossed_difference_of_its_scores():
    test, over = result_rows.question_scores(frame()).contrast({"cgd": 1, "sft": -1}, ["a"])
    known = crossed_difference(scores("cgd", "a"), scores("sft", "a"))
    assert (test.difference, test.low, test.high) == pytest.approx(
        (100 * known.difference, 100 * known.low, 100 * known.high)
    )
    assert (test.p, test.n, over) == (known.p, 6, "seeds × questions")


def test_the_base_stands_beside_every_seed():
    test, _ = result_rows.question_scores(frame()).contrast({"cgd": 1, "base": -1}, ["b"])
    known = crossed_difference(scores("cgd", "b"), [RIGHT["base", None, "b"]] * 2)
    assert (test.low, test.high) == pytest.approx((100 * known.low, 100 * known.high))


def test_the_mean_weighs_benchmarks_alike():
    test, _ = result_rows.question_scores(frame()).contrast({"cgd": 1, "sft": -1}, ["a", "b"])
    tables = [np.subtract(scores("cgd", b), scores("sft", b)) for b in "ab"]
    assert test.difference == pytest.approx(100 * np.mean([t.mean() for t in tables]))
    assert test.n == 10


def test_one_model_a_side_is_judged_by_its_questions():
    one = {k: x for k, x in RIGHT.items() if k[1] in (None, 0)}
    assert result_rows.question_scores(frame(one)).contrast({"cgd": 1, "sft": -1}, ["a"])[1] == "questions"


@pytest.mark.parametrize(
    "spoilt",
    [
        {k: x for k, x in RIGHT.items() if k != ("sft", 1, "a")},
        RIGHT | {("sft", 1, "a"): [1, 0]},
        {k: x for k, x in RIGHT.items() if k[0] != "sft"},
    ],
)
def test_what_is_not_paired_is_not_compared(spoilt):
    assert result_rows.question_scores(frame(spoilt)).contrast({"cgd": 1, "sft": -1}, ["a"]) is None
    assert result_rows.question_scores(frame().drop(columns=BY_QUESTION)).contrast({"cgd": 1, "sft": -1}, ["a"]) is None


def test_headline_claims_and_grids_use_it_and_say_so():
    results = frame()
    table = result_rows.headline(results).set_index(["method", "benchmark"])
    test, over = result_rows.question_scores(results).contrast({"cgd": 1, "sft": -1}, ["a", "b"])
    cell = table.loc["sft", "mean"]
    assert (cell["difference_low"], cell["difference_high"]) == pytest.approx((test.low, test.high))
    assert (cell["p"], cell["difference_over"]) == (test.p, over)
    trained = results[results["method"] == "sft"]
    told = claims.claims(pd.concat([results, *(trained.assign(method=m) for m in ("distilled_sft", "cft"))]))
    (mine,) = told[(told["id"] == "C1") & told["measured"].str.contains("distilled")].itertuples()
    assert (mine.ci_low, mine.ci_high) == pytest.approx((test.low, test.high))


def simulated(rng, seeds, items, seed_sd):
    """Right or wrong answers of two methods on two benchmarks; a seed's model is good or bad on both."""
    luck = rng.normal(0, seed_sd, (2, seeds, 1))
    hard = [rng.normal(-0.5, 1.5, n) for n in items]
    apart = [rng.normal(0, 0.7, n) for n in items]
    return [
        np.subtract(*((rng.random((seeds, len(h))) < 1 / (1 + np.exp(-(h + s * d / 2 + luck[i])))).astype(float)
                      for i, s in enumerate((1, -1))))
        for h, d in zip(hard, apart, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seeds", "items", "seed_sd"), [(3, (100, 200), 0.0), (3, (100, 200), 0.2), (5, (60, 300), 0.1)]
)
def test_coverage_and_error_of_the_first_kind_of_a_mean_of_benchmarks(seeds, items, seed_sd):
    rng = np.random.default_rng([seeds, *items])
    tests = [crossed_mean(simulated(rng, seeds, items, seed_sd)) for _ in range(1000)]
    assert np.mean([t.low <= 0 <= t.high for t in tests]) == pytest.approx(0.95, abs=0.025)
    assert np.mean([t.p < 0.05 for t in tests]) == pytest.approx(0.05, abs=0.025)


def test_components_add_over_benchmarks():
    """Items alone vary: the variance of the mean is the sum of the benchmarks' own, over their number squared."""
    items = [np.array([0.3, -0.1, 0.1, 0.0, 0.2]), np.array([0.5, -0.5, 0.2])]
    test = crossed_mean([np.tile(x, (3, 1)) for x in items])
    variance = sum(x.var(ddof=1) / len(x) for x in items) / 4
    assert test.difference / test.statistic == pytest.approx(variance**0.5)


def test_tables_of_other_seeds_are_refused():
    with pytest.raises(ValueError, match="crossed_mean: tables of"):
        crossed_mean([np.zeros((2, 3)), np.zeros((3, 3))])
