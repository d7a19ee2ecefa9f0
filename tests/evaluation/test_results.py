"""From scores to result rows."""

import pytest

from cgd_utils.core.errors import BadInput
from cgd_utils.data import benchmarks
from cgd_utils.evaluation import answering, results, scores


def loaded(rule="exact"):
    return benchmarks.Loaded("b", [], rule, "accuracy", "")


def scored(right, samples=1):
    return [{"id": str(i // samples), "sample": i % samples, "correct": c, "extracted": str(c), "status": "ok"}
            for i, c in enumerate(right)]  # fmt: skip


def test_one_sample_a_question_gives_an_accuracy_with_a_wilson_interval():
    ((metric, i),) = results._quality(loaded(), scored([True] * 30 + [False] * 10), 0.95).items()
    assert (metric, i.estimate, i.n) == ("accuracy", 75, 40)
    assert 50 < i.low < 75 < i.high < 90


def test_an_ungraded_answer_is_not_right():
    found = results._quality(loaded(), scored([True, None]), 0.95)
    assert found["accuracy"].estimate == 50


def test_several_samples_give_pass_and_majority_at_k():
    found = results._quality(loaded(), scored([True, False, False, False] * 10, samples=4), 0.95)
    assert list(found) == ["accuracy", "pass@2", "pass@4", "maj@2", "maj@4"]
    assert [found[m].estimate for m in ("accuracy", "pass@2", "pass@4")] == pytest.approx([25, 50, 100])
    assert found["maj@4"].estimate == 0  # three wrong votes agree
    assert all(i.n == 10 for i in found.values())


def test_answers_that_are_equal_vote_together():
    rows = [
        {"id": "0", "sample": i, "correct": a != "3", "extracted": a, "status": "ok"}
        for i, a in enumerate(["0.5", "1/2", "3", "3"])
    ]
    rows[3] |= {"extracted": "4", "correct": False}
    assert results._quality(loaded(), rows, 0.95)["maj@4"].estimate == 100


def test_steps_are_those_a_text_numbers_else_its_lines():
    assert results.steps("1. Add.\n2. Subtract.\nSo the\nanswer is\n3") == 2
    assert results.steps("**Step 1:** a\n\n**Step 2:** b\nc") == 2
    assert results.steps("12+5=17\n\n17-3=14\nAnswer: 14") == 3
    assert results.steps("") == 0


QUESTIONS = [
    {"id": "1", "question": "What is 1 + 1?", "answer": "2"},
    {"id": "2", "question": "What is 2 + 2?", "answer": "4"},
]


def generation(i, **changes):
    asked = QUESTIONS[i]["question"] + "\nAnswer in a box."
    return {"benchmark": "b", "id": QUESTIONS[i]["id"], "sample": 0, "prompt": asked, "text": "Answer: 2"} | changes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([generation(0), generation(1, prompt="What is 2 + 3?")], "'2' was asked another question"),
        ([generation(0)], "question '2' has no answer"),
        ([generation(0), generation(1), generation(1, id="9")], "has no question '9'"),
        ([generation(0), generation(1), generation(1)], "sample 0, occurs twice"),
        ([generation(0), generation(1, benchmark="c")], "benchmark 'c'|has no answer"),
    ],
)
def test_generations_of_another_version_are_refused(rows, message):
    known = {"b": benchmarks.Loaded("b", QUESTIONS, "exact", "accuracy", "")}
    with pytest.raises(BadInput, match=message):
        scores.check_version(rows, known)
        scores.score(rows, known)


def test_stored_generations_of_another_version_are_refused(tmp_path, monkeypatch):
    """The same ids, another question: the hash of the questions differs."""
    from cgd_utils.core import files, store

    chosen = {"evaluation.benchmarks": ["lab-k2"], "evaluation.lab_rows": 4}
    run = store.open_run("smoke", tmp_path, chosen)
    (before,) = benchmarks.benchmarks(run)
    changed = [{**q, "question": q["question"] + " "} for q in before.problems]
    folder = tmp_path / "made"
    folder.mkdir()
    files.write_json(folder / answering.VERSIONS, {"lab-k2": before.version})
    made = store.Artifact(folder=folder, key="k", manifest={})
    after = benchmarks.Loaded("lab-k2", changed, "exact", "accuracy", "")
    monkeypatch.setattr(scores, "benchmarks", lambda run: [after])
    with pytest.raises(BadInput, match="another version of benchmark 'lab-k2'"):
        scores.scores(run, "llama-base", made)


def test_every_result_row_has_n_and_an_interval(smoke_run):
    from cgd_utils.reporting import result_rows

    rows = result_rows.read_results(smoke_run)
    assert rows[["value", "n"]].notna().all().all()
    # a count of which every answer has the same is no sample: only shares and means that vary have an interval
    without = rows[rows[["ci_low", "ci_high"]].isna().any(axis=1)]
    assert set(without["metric"]) <= {"tokens", "words", "lines", "steps"}
    rows = rows.drop(without.index)
    assert {"tokens", "words", "lines", "truncated", "no_answer", "unparsable", "timeout"} <= set(rows["metric"])
    assert (rows["ci_low"] <= rows["value"] + 1e-6).all()
    assert (rows["value"] <= rows["ci_high"] + 1e-6).all()


def test_several_samples_go_through_a_run(tmp_path):
    from cgd_utils.core import store

    chosen = {
        "evaluation.sampling.n": 4,
        "evaluation.sampling.temperature": 1.0,
        "evaluation.benchmarks": ["lab-k2"],
        "evaluation.lab_rows": 6,
    }
    rows = results.evaluate(store.open_run("smoke", tmp_path, chosen), "llama", "base")
    by_metric = {r["metric"]: r for r in rows}
    assert {"accuracy", "pass@2", "pass@4", "maj@2", "maj@4"} <= set(by_metric)
    assert by_metric["pass@4"]["value"] >= by_metric["pass@2"]["value"] >= by_metric["accuracy"]["value"]
    assert by_metric["tokens"]["n"] == 24
