"""Gates before a comparison: what the base and a pilot seed must show."""

import json

import pandas
import pytest

from cgd_utils.analysis import gates, internals
from cgd_utils.core import provenance, store
from cgd_utils.reporting import result_rows
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


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),  # smoke trains CGD
        ({"training.methods": ["distilled_sft", "cft"]}, False),
        ({"training.methods": ["distilled_sft"], "training.select": "validation"}, True),
    ],
)
def test_gates_are_read_where_a_critique_is_learnt_from_or_a_rate_is_searched(tmp_path, changes, expected):
    assert gates.measurable(store.open_run("smoke", tmp_path, changes)) is expected


def test_notebook_05_shows_the_search_and_the_gates(run, capsys):
    """Its own cells, after notebook 04's results; papermill runs the whole notebook without a search elsewhere."""
    about = {"family": "llama", "method": "distilled_sft", "seed": 0, "benchmark": "a", "metric": "accuracy"}
    result_rows.write_results(run, [{**about, "value": 1.0, "n": 10, "ci_low": 0.0, "ci_high": 5.0}])
    notebook = json.loads((provenance.PROJECT / "notebooks" / "05_ablations.ipynb").read_text(encoding="utf-8"))
    sources = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    names = {"run": run, "pd": pandas, "display": print}
    exec(sources["gates-rates"], names)
    exec(sources["gates-read"], names)
    assert len(names["points"]) == 3
    assert len(pandas.read_csv(run.tables / "gates.csv")) == 3
    assert len(pandas.read_csv(run.tables / "learning_rates.csv")) == 3
    rows = pandas.read_csv(run.results_csv)
    assert list(rows["metric"]) == ["accuracy", *["validation_accuracy"] * 3]
    assert "gate" in capsys.readouterr().out


def test_points_become_result_rows_that_name_their_rate(run):
    rows = rate_search.result_rows(rate_search.points(run))
    assert [r["method"] for r in rows] == [f"distilled_sft [rate {x:g}]" for x in (1e-7, 1e-4, 1e-3)]
    assert {(r["benchmark"], r["metric"], r["seed"]) for r in rows} == {("validation", "validation_accuracy", 1000)}
