"""Measurement rows: kept once, summed over seeds and questions, averaged and compared."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core import statistics, store
from cgd_utils.reporting import summaries


def row(seed=0, value=50.0, analysis="cost", metric="accuracy", condition="b", method="cgd", half=5.0, n=40):
    return {"analysis": analysis, "family": "f", "method": method, "seed": seed, "condition": condition, "metric": metric, "value": value,
            "n": n, "ci_low": value - half, "ci_high": value + half}  # fmt: skip


def test_rows_about_the_same_count_once():
    assert len(summaries.frame([row(0), row(1)], [row(0, 60.0)])) == 2
    assert summaries.frame([row(0)], [row(0, 60.0)])["value"].tolist() == [60.0]


def test_an_analysis_replaces_its_own_rows_whenever_it_is_kept(tmp_path):
    run = store.open_run("smoke", tmp_path)
    drift, cost = [row(analysis="drift")], [row(s, analysis="cost") for s in range(3)]
    summaries.keep(run, ["drift"], drift)
    summaries.keep(run, ["cost"], cost)
    once = summaries.path(run).read_bytes()
    for names, rows in ((["cost"], cost), (["drift"], drift), (["cost"], cost)):
        summaries.keep(run, names, rows)
        assert summaries.path(run).read_bytes() == once
    summaries.keep(run, ["cost"], [])
    assert list(summaries.read(run)["analysis"]) == ["drift"]
    with pytest.raises(ValueError, match="rows of \\['drift'\\], which are not among"):
        summaries.keep(run, ["cost"], drift)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_a_summary_of_shares_holds_its_value_has_width_and_stays_a_share(counts):
    rows = []
    for seed, k in enumerate(counts):
        i = statistics.wilson(k, 30)
        rows.append(row(seed, 100 * k / 30) | {"ci_low": 100 * i.low, "ci_high": 100 * i.high, "n": 30})
    (s,) = summaries.over_seeds(summaries.frame(rows)).itertuples()
    assert 0 <= s.ci_low <= s.value + 1e-9 and s.value - 1e-9 <= s.ci_high <= 100
    assert s.ci_high - s.ci_low > 1
    assert s.over == ("seeds and questions" if len(set(counts)) > 1 else "questions")


def test_more_seeds_do_not_make_the_questions_more():
    one, many = (summaries.over_seeds(summaries.frame([row(s) for s in range(k)])).iloc[0] for k in (1, 9))
    assert (one["ci_low"], one["ci_high"]) == (many["ci_low"], many["ci_high"]) == (45.0, 55.0)


def test_what_shows_no_noise_has_no_interval():
    same = summaries.frame([row(s, half=0.0) for s in range(3)])
    (s,) = summaries.over_seeds(same).itertuples()
    assert np.isnan(s.ci_low) and np.isnan(s.ci_high) and s.over == ""
    assert summaries.table(same).loc[0, "b"] == "50.00"


def test_a_difference_of_percentages_may_be_negative():
    rows = summaries.frame([row(s, -1.0 + s, condition=summaries.PAIRED) for s in range(3)])
    assert summaries.over_seeds(rows)["ci_low"].iloc[0] < -4


def test_an_average_is_of_independent_benchmarks():
    rows = summaries.frame([row(value=40.0, half=3.0, condition="a"), row(value=60.0, half=4.0, condition="b")])
    (mean,) = summaries.average(rows, "condition", "mean").itertuples()
    assert (mean.value, mean.n, mean.condition) == (50.0, 80, "mean")
    assert mean.ci_high - mean.value == pytest.approx(5.0 / 2)
    unknown = rows.assign(ci_low=[np.nan, 56.0])
    assert np.isnan(summaries.average(unknown, "condition", "mean")["ci_low"].iloc[0])


def test_a_difference_pairs_seeds_and_lets_the_base_stand_for_each():
    ours = summaries.frame([row(s, 50.0 + s) for s in range(3)])
    base = summaries.frame([row(None, 40.0, method="base")])
    theirs = summaries.frame([row(s, 30.0 + 2 * s, method="cft") for s in (0, 2, 3)])
    assert summaries.minus(ours, base, ["condition"])[["seed", "value"]].to_numpy().tolist() == [
        [0, 10],
        [1, 11],
        [2, 12],
    ]
    turned = summaries.minus(base, ours, ["condition"])
    assert sorted(turned["value"]) == [-12, -11, -10] and sorted(turned["seed"]) == [0, 1, 2]
    assert summaries.minus(ours, theirs, ["condition"])[["seed", "value"]].to_numpy().tolist() == [[0, 20], [2, 18]]


def test_the_noise_of_one_seeds_difference_is_that_of_independent_samples():
    ours, theirs = summaries.frame([row(0, half=3.0)]), summaries.frame([row(0, half=4.0, method="cft")])
    alone = summaries.minus(ours, theirs, ["condition"]).iloc[0]
    assert alone["ci_high"] - alone["value"] == pytest.approx(5.0)
    several = summaries.minus(*(pd.concat([x, x.assign(seed=1)]) for x in (ours, theirs)), ["condition"]).iloc[0]
    assert several["ci_high"] - several["value"] == pytest.approx(100 * statistics.least_noise(0, 40))


@pytest.mark.parametrize(
    ("metric", "k"), [("pass@1", 1), ("pass@16", 16), ("accuracy", None), ("maj@8", None), ("pass@8 (%)", None)]
)
def test_a_metric_is_read_whole(metric, k):
    assert summaries.samples_of(metric) == k


def test_a_layer_is_read_whole():
    assert [summaries.layer_of(c) for c in ("layer 0", "layer 12", "first layer", "weights")] == [0, 12, None, None]
