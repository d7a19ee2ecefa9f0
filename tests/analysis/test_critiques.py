"""Critique quality: exact facts, a judge's ratings, and how far ratings agree."""

import pytest

from cgd_utils import prompts
from cgd_utils.analysis import critiques
from cgd_utils.app import preflight
from cgd_utils.core import errors, store
from cgd_utils.core.profile_files import changed
from cgd_utils.engines import generation

META = {"k": 2, "start": 12, "steps": [["+", 5], ["-", 3]]}
WRONG = "12+5=17\n17-3=15\nAnswer: 15"


def record(draft, critique, right):
    return {
        "id": "a",
        "question": "?",
        "draft": draft,
        "critique": critique,
        "answer": "14",
        "meta": META,
        "draft_correct": right,
    }


@pytest.mark.parametrize(
    ("draft", "critique", "expected"),
    [
        (
            WRONG,
            "Step 2 is wrong: 17-3 is 14, not 15. Conclusion: wrong",
            {"true": True, "specific": True, "informative": True},
        ),
        (
            WRONG,
            "Step 1 is wrong: 12+5 is 18, not 17. Conclusion: wrong",
            {"true": True, "specific": False, "informative": False},
        ),
        (WRONG, "There is a mistake in it. Conclusion: wrong", {"true": True, "specific": False, "informative": False}),
        (WRONG, "All 2 steps are right. Conclusion: right", {"true": False, "specific": False, "informative": False}),
        ("Answer: 14", "Step 1 is wrong. Conclusion: wrong", {"true": False, "false_alarm": True}),
        ("Answer: 14", "This is right. Conclusion: right", {"true": True, "false_alarm": False}),
    ],
)
def test_what_is_true_of_a_critique(draft, critique, expected):
    assert critiques.facts(record(draft, critique, "true" in critique)) == expected


def test_leakage_counts_the_answer_and_not_its_digits():
    rows = [record(WRONG, c, False) for c in ("It is 14. Conclusion: wrong", "It is 140. Conclusion: wrong")]
    found = {r["condition"]: r for r in critiques.leakage(rows, family="f", method="m", seed=None)}
    assert found["all drafts"]["value"] == 50
    assert found["all drafts"]["n"] == 2
    assert "right drafts" not in found


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Informativeness: 4\nSpecificity: 5", (4, 5)),
        ("**Informativeness**: 4/5\n- specificity: **2**", (4, 2)),
        ("Informativeness: 1\nNo, wait.\nInformativeness: 3\nSpecificity: 3.0", (3, 3)),
        ("Informativeness: 6\nSpecificity: 5", None),
        ("Informativeness: 4", None),
        ("", None),
    ],
)
def test_ratings_are_read_or_missing(reply, expected):
    found = prompts.ratings(reply)
    assert found == (expected and dict(zip(prompts.RATINGS, expected, strict=True)))


def rated(values):
    return [{"informativeness": v, "specificity": v, "draft_correct": i % 2 == 0} for i, v in enumerate(values)]


def test_agreement_is_quadratic_kappa():
    import numpy as np

    a, b = [1, 2, 3, 4, 5, 5, 4, 2], [1, 2, 4, 4, 5, 3, 4, None]
    row = critiques.agreement({"a": rated(a), "b": rated(b)})[0]
    assert row["n"] == 7
    assert row["exact"] == pytest.approx(100 * 5 / 7)
    x, y = np.array(a[:7]), np.array(b[:7])  # 1 - observed over expected squared distance (Cohen 1968)
    assert row["kappa"] == pytest.approx(1 - ((x - y) ** 2).mean() / ((x[:, None] - y[None]) ** 2).mean())
    assert row["kappa_low"] < row["kappa"] <= row["kappa_high"]
    same = critiques.agreement({"a": rated(a), "b": rated(a)})[0]
    assert same["kappa"] == pytest.approx(1.0)
    assert critiques.agreement({"a": rated([3, 3]), "b": rated([3, 3])})[0]["kappa"] is None


def test_rated_quality_has_the_papers_layout():
    rows = rated([3, 5, 3, 4, 4, 5, None, 2])  # wrong drafts: 5, 4, 5, 2; right ones: 3, 3, 4
    first, _, high, top = critiques.rated_quality(rows)
    assert (first["wrong_answer_mean"], first["n_wrong"], first["n_right"]) == (4.0, 4, 3)
    assert first["delta"] == pytest.approx(4 - 10 / 3)
    assert first["effect"] == pytest.approx(
        (4 - 10 / 3) / ((6 + 2 / 3) / 5) ** 0.5
    )  # pooled sd over 5 degrees of freedom
    assert high["wrong_answer_mean"] == 75.0
    assert top["right_answer_mean"] == 0.0


class Judge:
    """Rates by a critique's length and the sampling seed."""

    def __init__(self):
        self.seeds = []

    def batches(self, requests):
        return [list(requests)]

    def generate(self, batch, sampling):
        self.seeds.append(sampling.seed)
        return [{"id": r.id, "sample": s, "prompt": "", "text": f"Informativeness: {1 + (i + sampling.seed) % 5}\nSpecificity: 3",
                 "finish_reason": "stop", "n_tokens": 1, "model": "j"} for i, (r, s) in enumerate(batch)]  # fmt: skip

    def close(self):
        pass


def test_judges_rate_through_the_engines_and_are_not_asked_twice(smoke_run, monkeypatch):
    judge = Judge()
    monkeypatch.setattr(generation, "open_generator", lambda ref, engine: judge)
    told = {"analyses.judges": [{"model": "lab:qwen", "runs": 2}], "analyses.judge_rows": 10}
    run = store.Run(changed(smoke_run.profile, told), smoke_run.folder)
    first = critiques.judged(run, "llama")
    assert list(first) == ["qwen, run 1", "qwen, run 2"]
    assert [len(r) for r in first.values()] == [10, 10]
    assert judge.seeds == [0, 1]
    assert critiques.judged(run, "llama") == first
    assert judge.seeds == [0, 1]
    assert first["qwen, run 1"][0]["informativeness"] == 1


def test_a_judge_needs_a_name(smoke_run):
    from cgd_utils.core.errors import ProfileError

    with pytest.raises(ProfileError, match="name the judge"):
        changed(smoke_run.profile, {"analyses.judges": [{"runs": 2}]})


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"analyses.judges": [{"model": "lab:nobody"}]}, "nobody"), ({"analyses.benchmarks": ["lab-k9"]}, "lab-k9.* use lab-k2, lab-k3")],
)  # fmt: skip
def test_what_an_analysis_lacks_is_told_before_long_work(tmp_path, fields, message):
    with pytest.raises(errors.BadInput, match=message):
        preflight.preflight(store.open_run("smoke", tmp_path, fields))
