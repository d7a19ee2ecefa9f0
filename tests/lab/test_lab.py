"""The lab world: problems, styles, instructions, and the exact teacher."""

import hashlib
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.lab import students, teacher, world

problems = st.builds(lambda seed, k: world.make_problem(Random(seed), k), st.integers(0, 10**6), st.integers(1, 6))


@given(problems, st.sampled_from(world.STYLES))
def test_the_right_answer_is_read_back_and_judged_right(problem, style):
    text = world.write(problem["meta"], style)
    assert world.read(text).answer == int(problem["answer"])
    assert world.read(text).style == style
    assert teacher.diagnose(text, problem["meta"]).kind == "right"


@given(problems, st.sampled_from(world.STYLES), st.integers(0, 100))
def test_a_corrupted_answer_is_judged_wrong(problem, style, seed):
    draft = world.corrupt(Random(seed), problem["meta"], style)
    found = teacher.critique(draft, problem["meta"], Random(0))
    assert found.conclusion == "wrong"
    assert found.text.endswith("Conclusion: wrong")


@given(problems, st.data())
def test_the_first_wrong_step_is_named(problem, data):
    meta = problem["meta"]
    lines = world.write(meta, "steps").split("\n")
    i = data.draw(st.integers(0, meta["k"] - 1))
    left, _, right = lines[i].partition("=")
    lines[i] = f"{left}={int(right) + 1}"
    found = teacher.diagnose("\n".join(lines), meta)
    assert (found.kind, found.step, found.expected) == ("arithmetic", i + 1, f"{left}={right}")
    assert (
        f"Step {i + 1} is wrong: {left} is {right}, not {int(right) + 1}."
        in teacher.critique("\n".join(lines), meta, Random(0)).text
    )


@pytest.mark.parametrize(
    ("draft", "kind"),
    [
        ("12+5=17\nAnswer: 17", "missing"),
        ("12-5=7\n7-3=4\nAnswer: 4", "operation"),
        ("12+6=18\n18-3=15\nAnswer: 15", "operand"),
        ("12+5=17\n17-3=14\nAnswer: 15", "answer"),
        ("12+5=17\n17-3=14\n14-2=12\nAnswer: 12", "extra"),
        ("Answer: 15", "no_steps"),
        ("I do not know", "no_answer"),
        ("12+5=18, 18-5=13 no\n12+5=17, 17-5=12 ok\n17-3=14, 14+3=17 ok\nAnswer: 14", "right"),
    ],
)
def test_diagnosis(draft, kind):
    assert teacher.diagnose(draft, {"k": 2, "start": 12, "steps": [["+", 5], ["-", 3]]}).kind == kind


@given(problems, st.sampled_from(list(world.INSTRUCTIONS)), st.sampled_from(world.WORDS), st.sampled_from(world.STYLES))
def test_an_obedient_reply_follows_its_instruction(problem, name, word, style):
    asked = world.instruct(problem, name, word)
    assert world.follows(world.INSTRUCTIONS[name].obey(asked["meta"], style, word), asked["meta"])


def test_the_knobs_of_the_teacher_turn():
    rows = world.make_problems(400, [2, 3], 0, "knobs")
    rng = Random(0)
    drafts = [world.corrupt(rng, r["meta"], "steps") for r in rows]

    def share(knobs, holds):
        made = [
            teacher.critique(d, r["meta"], Random(i), knobs) for i, (d, r) in enumerate(zip(drafts, rows, strict=True))
        ]
        return sum(holds(c, r) for c, r in zip(made, rows, strict=True)) / len(rows)

    for p in (0.0, 0.3, 1.0):
        assert share(teacher.TeacherSettings(error_rate=p), lambda c, r: c.erred) == pytest.approx(p, abs=0.08)
        leak = share(teacher.TeacherSettings(leakage=p), lambda c, r: f"The answer is {r['answer']}." in c.text)
        assert leak == pytest.approx(p, abs=0.08)
        vague = share(teacher.TeacherSettings(specificity=1 - p), lambda c, r: teacher.GENERIC["wrong"] in c.text)
        assert vague == pytest.approx(p, abs=0.08)


def test_problems_are_distinct_and_reproducible():
    rows = world.make_problems(500, [2, 3, 4], 0, "train")
    assert rows == world.make_problems(500, [2, 3, 4], 0, "train")
    assert len({r["question"] for r in rows}) == len({r["id"] for r in rows}) == 500
    assert all(0 <= v <= world.MAX_VALUE for r in rows for v in world.values(r["meta"]))


@given(st.text(max_size=200).filter(lambda s: "<|" not in s))
def test_the_tokenizer_gives_any_text_back(text):
    from transformers import AutoTokenizer

    tok = _cached(AutoTokenizer)
    assert tok.decode(tok(text)["input_ids"]) == text


def _cached(loader, cache={}):  # noqa: B006
    if not cache:
        cache["tok"] = loader.from_pretrained(students.path("llama"))
    return cache["tok"]


def test_digits_are_single_tokens():
    from transformers import AutoTokenizer

    tok = _cached(AutoTokenizer)
    assert tok.tokenize("12+5=17") == ["1", "2", "+", "5", "=", "1", "7"]


@pytest.mark.parametrize("name", students.STUDENTS)
def test_every_student_loads_and_is_of_its_architecture(name):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(students.path(name))
    assert model.config.model_type == students.STUDENTS[name].model_type


def test_the_world_is_as_it_always_was():
    """Its problems are part of the checkpoints' meaning."""
    text = json.dumps(world.make_problems(50, [2, 3, 4], 0, "train"))
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "96e99c4402b1"
