"""From scores to result rows."""

import pytest

from cgd_utils import benchmarks, evaluation


def loaded(rule="exact"):
    return benchmarks.Loaded("b", [], rule, "accuracy", "")


def scored(right, samples=1):
    return [{"id": str(i // samples), "sample": i % samples, "correct": c, "extracted": str(c), "status": "ok"}
            for i, c in enumerate(right)]  # fmt: skip


def test_one_sample_a_question_gives_an_accuracy_with_a_wilson_interval():
    ((metric, i),) = evaluation._quality(loaded(), scored([True] * 30 + [False] * 10), 0.95).items()
    assert (metric, i.estimate, i.n) == ("accuracy", 75, 40)
    assert 50 < i.low < 75 < i.high < 90


def test_an_ungraded_answer_is_not_right():
    found = evaluation._quality(loaded(), scored([True, None]), 0.95)
    assert found["accuracy"].estimate == 50


def test_several_samples_give_pass_and_majority_at_k():
    found = evaluation._quality(loaded(), scored([True, False, False, False] * 10, samples=4), 0.95)
    assert list(found) == ["accuracy", "pass@2", "pass@4", "maj@2", "maj@4"]
    assert [found[m].estimate for m in ("accuracy", "pass@2", "pass@4")] == pytest.approx([25, 50, 100])
    assert found["maj@4"].estimate == 0  # three wrong votes agree
    assert all(i.n == 10 for i in found.values())


def test_every_result_row_has_n_and_an_interval(smoke_run):
    from cgd_utils import reporting

    rows = reporting.read_results(smoke_run)
    assert rows[["value", "n", "ci_low", "ci_high"]].notna().all().all()
    assert {"tokens", "words", "lines", "truncated", "no_answer", "unparsable", "timeout"} <= set(rows["metric"])
    assert (rows["ci_low"] <= rows["value"] + 1e-6).all()
    assert (rows["value"] <= rows["ci_high"] + 1e-6).all()


def test_several_samples_go_through_a_run(tmp_path):
    from cgd_utils import artifacts

    chosen = {
        "evaluation.sampling.n": 4,
        "evaluation.sampling.temperature": 1.0,
        "evaluation.benchmarks": ["lab-k2"],
        "evaluation.lab_rows": 6,
    }
    rows = evaluation.evaluate(artifacts.open_run("smoke", tmp_path, chosen), "llama", "base")
    by_metric = {r["metric"]: r for r in rows}
    assert {"accuracy", "pass@2", "pass@4", "maj@2", "maj@4"} <= set(by_metric)
    assert by_metric["pass@4"]["value"] >= by_metric["pass@2"]["value"] >= by_metric["accuracy"]["value"]
    assert by_metric["tokens"]["n"] == 24
