"""One set of answers, two graders: scores, result rows, counts and the list of disagreements."""

from dataclasses import replace

import pytest

from cgd_utils.core import files, profile_files, store
from cgd_utils.core.errors import ProfileError
from cgd_utils.core.store import Artifact
from cgd_utils.data import benchmarks
from cgd_utils.evaluation import compare, scores, second_grading

QUESTIONS = [{"id": str(i), "question": f"q{i}?", "answer": gold} for i, gold in enumerate(["0.33", "7", "25"])]
TEXTS = {"base": ["Answer: 0.3", "Answer: 7", "Answer: 24"], "cgd": ["Answer: 0.33", "Answer: 8", "Answer: 0.25"]}
LOADED = [
    benchmarks.Loaded("sums", QUESTIONS, "math", "accuracy", "k"),
    benchmarks.Loaded(
        "obeys", [{"id": "0", "question": "sing", "answer": "-", "meta": {}}], None, "instruction_following", "k"
    ),
]


def asked_under(run, rule=None):
    rule = rule or run.profile.evaluation.rule
    return [replace(b, rule=rule) if rule != "own" and b.rule else b for b in LOADED]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(second_grading, "benchmarks", asked_under)
    run = store.open_run("smoke", tmp_path, {"evaluation.also_grade": ["authors"], "training.methods": ["cgd"]})
    for method, texts in TEXTS.items():
        answers = [{"benchmark": "sums", "id": str(i), "sample": 0, "text": t} for i, t in enumerate(texts)]
        answers.append({"benchmark": "obeys", "id": "0", "sample": 0, "text": "la"})
        folder = run.folder / "artifacts" / "generations" / method
        files.write_jsonl(folder / "rows.jsonl", answers)
        own = run.folder / "artifacts" / "scores" / f"{method}-own.jsonl"
        files.write_jsonl(own, scores.score(answers[:-1], {"sums": LOADED[0]}))
        again = second_grading.regrade(run, method, Artifact(folder, method, {}), "authors")
        rows = second_grading.results(run, {"family": "llama", "method": method, "seed": 0}, "authors", again)
        entry = {
            "family": "llama", "method": method, "seed": 0, "rows": str(own.relative_to(run.folder)),
            second_grading.ALSO: {"authors": str((again.folder / "rows.jsonl").relative_to(run.folder))}, "results": rows,
        }  # fmt: skip
        files.write_json(run.folder / compare.INDEX / f"{method}.json", entry)
    return run


def test_each_method_is_graded_again_and_counted(run):
    table = second_grading.by_method(run).set_index("method")
    assert list(table["rule"]) == ["authors"] * 2 and list(table["answers"]) == [3, 3]
    assert table.loc["base", ["run's rule %", "other rule %", "difference"]].tolist() == pytest.approx(
        [100 / 3, 200 / 3, 100 / 3]
    )
    assert table.loc["cgd", ["only run's", "only other"]].tolist() == [0, 1]


def test_each_disagreement_is_listed_with_both_verdicts(run):
    cases = second_grading.disagreements(run)
    assert cases[["method", "id", "gold", "read out"]].values.tolist() == [
        ["base", "0", "0.33", "0.3"],
        ["cgd", "2", "25", "0.25"],
    ]
    assert cases[["rule", "says", "other rule", "other says"]].values.tolist() == [["math", False, "authors", True]] * 2


def test_results_have_a_metric_of_their_own(run):
    [base, cgd] = [e["results"] for e in compare.index(run.folder)]
    assert [(r["benchmark"], r["metric"], r["n"]) for r in base] == [("sums", "accuracy_authors", 3)]
    assert cgd[0]["value"] == pytest.approx(200 / 3) and cgd[0]["ci_low"] < cgd[0]["value"] < cgd[0]["ci_high"]


def test_a_rule_that_is_a_benchmarks_own_and_an_unknown_one(run, tmp_path):
    assert second_grading.under(run, "math") == second_grading.under(run, "own") == {}
    lenient = replace(run, profile=profile_files.changed(run.profile, {"evaluation.rule": "authors"}))
    assert {b.rule for b in second_grading.under(lenient, "own").values()} == {"math"}
    assert second_grading.under(lenient, "authors") == {}
    with pytest.raises(ProfileError, match=r"evaluation\.also_grade.*lenient"):
        store.open_run("smoke", tmp_path, {"evaluation.also_grade": ["lenient"]})
