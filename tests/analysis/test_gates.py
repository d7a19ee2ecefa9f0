"""Gates before a comparison: what the base and a pilot seed must show."""

import pytest

from cgd_utils.analysis import gates, internals
from cgd_utils.core import store
from cgd_utils.training import rate_search


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    changes = {
        "training.methods": ["distilled_sft"], "training.seeds": [0], "training.select": "validation",
        "training.learning_rate": [1e-7, 1e-4, 1e-3],
    }  # fmt: skip
    return store.open_run("smoke", tmp_path_factory.mktemp("out"), changes)


def test_each_gate_says_what_it_measured_and_what_it_wants(run):
    found = gates.gates(run, "llama")
    assert [g["gate"] for g in found] == [
        "the student reads critiques", "there is something to learn", "no best rate at an edge"
    ]  # fmt: skip
    reads, learns, inside = found
    assert reads["n"] == run.profile.analyses.rows
    assert reads["ci_low"] < reads["value"] < reads["ci_high"]
    assert reads["passed"] is (reads["value"] >= gates.READS)
    base, points = rate_search.base_accuracy(run, "llama"), rate_search.search(run, "llama", "distilled_sft").rows()
    best = next(p for p in points if p["chosen"])
    assert learns["value"] == pytest.approx(best["accuracy"] - base["accuracy"])
    assert learns["ci_low"] <= learns["value"] <= learns["ci_high"]
    assert inside["passed"] is (best["learning_rate"] == 1e-4)


def test_a_critique_that_is_not_read_fails_the_gate(run, monkeypatch):
    """Every record is as likely given another's critique as given its own."""

    class Same:
        def rows(self, _):
            shown = (internals.WITH_CRITIQUE, internals.ANOTHER)
            return [{"id": str(i), "condition": c, "nll": 1.0 + i / 10} for c in shown for i in range(5)]

    monkeypatch.setattr(gates, "internals", lambda *_: Same())
    gate = gates.reads_critiques(run, "llama")
    assert gate["value"] == 0
    assert gate["passed"] is False


def test_what_a_profile_does_not_search_is_not_measured(tmp_path):
    plain = store.open_run("smoke", tmp_path)
    for gate in (gates.something_to_learn(plain, "llama"), gates.rates_inside(plain, "llama")):
        assert gate["passed"] is None
        assert gate["value"] is None
        assert gate["reading"].startswith("not measured")


def test_points_become_result_rows_that_name_their_rate(run):
    rows = rate_search.result_rows(rate_search.points(run))
    assert [r["method"] for r in rows] == [f"distilled_sft [rate {x:g}]" for x in (1e-7, 1e-4, 1e-3)]
    assert {(r["benchmark"], r["metric"], r["seed"]) for r in rows} == {("validation", "accuracy", 1000)}
