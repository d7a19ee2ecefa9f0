"""The kit's own word problems: distinct, solvable, by seed; no question in two splits."""

from collections import Counter

import pytest

from cgd_utils.core import profile_files
from cgd_utils.core.errors import BadInput, ProfileError
from cgd_utils.data import benchmarks, problem_sources, word_problems
from cgd_utils.grading import equations

MIX = {1: 0.5, 2: 0.3, 3: 0.2}


@pytest.mark.parametrize("numbers", [10, 30, 50])
def test_problems_are_distinct_and_worked_out(numbers):
    rows = word_problems.make_problems(400, MIX, seed=3, which="all", numbers=numbers)
    assert len({r["question"] for r in rows}) == len({r["id"] for r in rows}) == 400
    assert Counter(r["meta"]["k"] for r in rows) == {1: 200, 2: 120, 3: 80}
    for r in rows:
        read = equations.read(r["solution"])
        assert [equations.plain(e) for e in read] == r["meta"]["equations"] and all(e.true for e in read)
        assert r["answer"] == equations.show(read[-1].claimed) == problem_sources.final_answer(r["solution"])
        assert all(0 < v <= numbers for e in read for v in (e.claimed, e.operations[0].left, e.operations[0].right))
        assert "{" not in r["question"] and r["question"].endswith("?")
    assert 0.1 < sum(r["meta"]["distractor"] for r in rows) / 400 < 0.4
    assert 0.1 < sum(r["meta"]["comparison"] for r in rows) / 400 < 0.5


def test_there_are_many_templates_and_each_gives_problems():
    found = word_problems.templates()
    assert len(found) >= 30 and len({t.id for t in found}) == len(found)
    made = Counter(r["meta"]["template"] for r in word_problems.make_problems(1500, [1, 2, 3], which="all"))
    assert set(made) == {t.id for t in found}
    for k in (1, 2, 3):
        assert {t.unseen for t in found if len(t.work) == k} == {True, False}


def test_a_seed_decides_and_splits_share_nothing():
    def draw(seed, split, which="seen"):
        return [r["question"] for r in word_problems.make_problems(300, MIX, seed, split, which, 20)]

    assert draw(1, "train") == draw(1, "train") != draw(2, "train")
    train, test, validation = ({q for seed in range(3) for q in draw(seed, s)} for s in ("train", "test", "validation"))
    assert not train & test and not train & validation and not test & validation
    seen = {t.id for t in word_problems.templates("seen")}
    assert not seen & {t.id for t in word_problems.templates("unseen")}


def test_what_cannot_be_drawn_is_refused(monkeypatch):
    monkeypatch.setattr(word_problems, "TRIES", 20)
    with pytest.raises(BadInput, match=r"1, 2 or 3 steps, not of 4, 7"):
        word_problems.make_problems(10, [2, 4, 7])
    with pytest.raises(BadInput, match=r"only \d+ different problems with numbers to 5"):
        word_problems.make_problems(5000, [3], numbers=5)


def test_as_training_source_and_benchmark():
    changes = {
        "data.source": "word-problems", "data.rows": 30, "data.steps": MIX, "data.numbers": 20, "synthesis.teacher.kind": "prose",
        "evaluation.benchmarks": ["word-problems-seen", "word-problems-unseen", {
            "name": "held", "source": "word-problems", "split": "validation", "steps": {1: 1.0}, "rows": 12}],
        "evaluation.lab_rows": 25,
    }  # fmt: skip
    profile = profile_files.load("lab", changes)
    rows, dropped = problem_sources.load_problems(profile.data)
    assert len(rows) == 30 and not dropped
    seen, unseen, held = (benchmarks.load(b, profile.evaluation) for b in profile.evaluation.benchmarks)
    assert (len(seen.problems), len(unseen.problems), len(held.problems)) == (25, 25, 12)
    assert "25 questions" in unseen.note and unseen.rule == "math"
    assert {p["meta"]["k"] for p in held.problems} == {1}
    assert not {p["meta"]["template"] for p in unseen.problems} & {t.id for t in word_problems.templates("seen")}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data.steps": {2: 1.0}}, "takes step counts in turn"),
        ({"synthesis.teacher.kind": "prose"}, "use kind: exact"),
        ({"data.source": "word-problems"}, "or kind: prose"),
        ({"data.source": "gsm8k", "data.per_seed": True, "synthesis.teacher.kind": "prose"}, "per_seed needs a source"),
        ({"evaluation.benchmarks": [{"name": "x"}]}, "give path"),
    ],
)
def test_settings_that_do_not_fit(changes, says):
    with pytest.raises(ProfileError, match=says):
        profile_files.load("lab", changes)
