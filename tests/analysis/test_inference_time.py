"""What an answer costs, where methods lose, how long answers are."""

import pandas as pd
import pytest

from cgd_utils.analysis import failures, inference_time
from cgd_utils.core import profile_files
from cgd_utils.evaluation import trained_models
from cgd_utils.reporting import result_rows, summaries

META = {"k": 2, "start": 12, "steps": [["+", 5], ["-", 3]]}


def score(correct=False, status="ok"):
    return {"correct": correct, "status": status}


@pytest.mark.parametrize(
    ("text", "told", "finish", "meta", "expected"),
    [
        ("12+5=17\n17-3=14\nAnswer: 14", score(True), "stop", META, "right"),
        ("12+5=18\n18-3=15\nAnswer: 15", score(), "stop", META, "arithmetic"),
        ("12+5=17\n17+3=20\nAnswer: 20", score(), "stop", META, "operation"),
        ("12+5=17\nAnswer: 17", score(), "stop", META, "missing"),
        ("Answer: 3", score(), "stop", META, "no_steps"),
        ("12+5=17\n17-3=14\nAnswer: 15", score(), "stop", META, "answer"),
        ("so it is 5", score(), "length", None, "truncated"),
        ("so it is", score(status="no_answer"), "stop", None, "no_answer"),
        ("\\boxed{5}", score(), "stop", None, "wrong"),
    ],
)
def test_the_kind_of_a_failure(text, told, finish, meta, expected):
    assert failures.kind(text, told, finish, meta) == expected
    assert expected in {failures.RIGHT, *failures.LAB_KINDS, *failures.FORMS}


def test_the_kinds_of_a_model_add_up(smoke_run):
    rows = summaries.frame(failures.patterns(smoke_run, "llama"))
    sums = rows.groupby(["method", "seed", "condition"], dropna=False)["value"].sum()
    assert sums.to_numpy(float) == pytest.approx(100.0)
    results = result_rows.read_results(smoke_run)
    mine = rows[(rows["metric"] == "right") & (rows["method"] == "base")].set_index("condition")["value"]
    told = results[(results["method"] == "base") & (results["metric"] == "accuracy")].set_index("benchmark")["value"]
    assert mine.to_dict() == pytest.approx(told.to_dict(), rel=1e-4)


def test_the_hardest_benchmarks_of_the_lab():
    lab = profile_files.load("lab")
    assert inference_time.hardest(lab) == {"in range": "lab-k4", "beyond": "lab-k6"}
    assert inference_time.hardest(profile_files.load("smoke")) == {"in range": "lab-k3"}
    assert inference_time.hardest(profile_files.load("paper-llama")) == {}


def test_self_refine_makes_three_passes(smoke_run):
    base = trained_models.subject(smoke_run, "llama", "base")
    one, three = inference_time.one_pass(smoke_run, base).rows(), inference_time.self_refine(smoke_run, base).rows()
    assert len(one) == len(three) == smoke_run.profile.analyses.cost_rows
    for a, b in zip(one, three, strict=True):
        assert set(inference_time.PASSES) <= set(b)
        assert a["draft"] == b["draft"]
        assert b["tokens"] > a["tokens"]
    rows = summaries.frame(inference_time.costs(smoke_run, "llama"))
    passes = rows[rows["metric"] == "passes"].groupby("method")["value"].max()
    assert passes["base, self-refine"] == 3
    assert passes["cgd"] == 1
    pair = rows[
        (rows["condition"] == "one pass − self-refine") & (rows["metric"] == "tokens") & (rows["method"] == "cgd")
    ].iloc[0]
    ours = inference_time.one_pass(
        smoke_run, trained_models.subject(smoke_run, "llama", "cgd", int(pair["seed"]))
    ).rows()
    assert pair["value"] == pytest.approx(
        sum(a["tokens"] - b["tokens"] for a, b in zip(ours, three, strict=True)) / len(ours)
    )


def test_pass_at_k_never_falls(smoke_run):
    rows = summaries.frame(inference_time.pass_at_k(smoke_run, "llama"))
    assert set(rows["metric"]) == {"pass@1", "pass@2", "pass@4"}
    for _, curve in rows.groupby(["method", "seed", "condition"], dropna=False):
        assert curve["value"].is_monotonic_increasing


def test_lengths_are_told_as_a_multiple_of_the_base():
    rows = [("f", m, s, b, metric, v, 10, 0.0, 1.0)
            for m, s, v in (("base", None, 2.0), ("cgd", 0, 6.0), ("cgd", 1, 4.0)) for b in ("a", "b")
            for metric in ("accuracy", "words", "steps")]  # fmt: skip
    results = pd.DataFrame(rows, columns=result_rows.COLUMNS)
    results["seed"] = results["seed"].astype("Int64")
    found = summaries.frame(inference_time.lengths(results))
    times = found[(found["condition"] == "times the base") & (found["metric"] == "words")]
    assert dict(zip(times["seed"], times["value"], strict=True)) == {0: 3.0, 1: 2.0}
    assert set(found["n"]) == {20}
