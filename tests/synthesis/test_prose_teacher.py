"""The teacher for prose: drafts of a real student with diagnoses set by hand, and what must hold of every answer."""

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgd_utils.core.errors import BadInput
from cgd_utils.core.files import read_jsonl
from cgd_utils.data import word_problems
from cgd_utils.grading.records import grade
from cgd_utils.lab.teacher import TeacherSettings
from cgd_utils.synthesis import prose_reading, prose_teacher
from cgd_utils.synthesis.conclusions import conclusion

# greedy drafts of SmolLM2-135M-Instruct on word-problems; `fault` was set by reading them
DRAFTS = read_jsonl(Path(__file__).with_name("prose_drafts.jsonl"))
EGGS = {
    "id": "eggs",
    "question": "A duck lays 16 eggs. Janet eats 3 and bakes with 4. She sells the rest for $2 each. What does she earn?",
    "answer": "18",
    "solution": "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18",
}


def test_diagnoses_set_by_hand():
    found = [(r["fault"], prose_reading.diagnose(r["draft"], r).kind) for r in DRAFTS]
    assert len(found) >= 60
    assert sum(hand == kind for hand, kind in found) >= 0.9 * len(found), [f for f in found if f[0] != f[1]]
    assert set(Counter(hand for hand, _ in found)) >= {
        "right",
        "lucky",
        "calculation",
        "operation",
        "operand",
        "extra",
        "missing",
    }


def test_no_right_calculation_is_called_false():
    signs = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}
    for r in DRAFTS:
        found = prose_reading.diagnose(r["draft"], r)
        if found.kind in ("calculation", "lucky") and len(found.equation.operations) == 1:
            (o,) = found.equation.operations
            assert signs[o.sign](float(o.left), float(o.right)) != float(found.equation.claimed)


def test_conclusions_agree_with_the_grader():
    graded = grade([{"id": r["id"], "gold": r["answer"], "text": r["draft"]} for r in DRAFTS])
    for r, score in zip(DRAFTS, graded, strict=True):
        assert prose_reading.diagnose(r["draft"], r).right == bool(score["correct"]), r["id"]


@pytest.mark.parametrize(
    ("draft", "kind", "step"),
    [
        ("16 - 3 - 4 = 9 eggs. 9 * $2 = $18.\nAnswer: 18", "right", None),
        ("16 - 3 = 13, and 13 - 4 = 9. So she earns 9 * 2 = 18 dollars.", "right", None),
        ("3 + 4 = 7, so 16 - 7 = 9 are left. 9 x 2 = 18", "right", None),
        ("16 - 3 = 12. 12 - 4 = 8. 8 * 2 = 16.\nAnswer: 16", "calculation", 0),
        ("16 - 3 - 4 = 9. 9 + 2 = 11.\nAnswer: 11", "operation", 2),
        ("16 - 3 - 4 = 9. 9 * 3 = 27.\nAnswer: 27", "operand", 2),
        ("16 - 3 - 4 = 9 eggs.\nAnswer: 9", "missing", 2),
        ("16 - 3 - 4 = 9. 9 * 2 = 18.\nAnswer: 81", "final", None),
        ("16 - 3 - 4 = 9. 9 * 2 = 18. 18 + 16 = 34.\nAnswer: 34", "extra", None),
        ("She keeps some eggs.", "no_answer", 0),
        ("e = 16 - n = 3x\nAnswer: 5", "unreadable", None),
    ],
)
def test_each_fault(draft, kind, step):
    found = prose_reading.diagnose(draft, EGGS)
    assert (found.kind, found.step) == (kind, step)


def test_a_critique_quotes_the_draft_and_concludes():
    for r in DRAFTS:
        texts = {prose_teacher.critique(r["draft"], r, Random(i)).text for i in range(16)}
        assert len(texts) >= 4
        for text in texts:
            assert conclusion(text) == ("right" if prose_reading.diagnose(r["draft"], r).right else "wrong")
            for quoted in re.findall(r'"([^"]+)"', text):
                assert quoted in " ".join(r["draft"].replace('"', "").split())
            assert "{" not in text


def test_a_critique_does_not_tell_the_answer_unless_asked_to():
    draft = "16 - 3 - 4 = 9. 9 * 2 = 20.\nAnswer: 20"
    for i in range(30):
        assert "18" not in prose_teacher.critique(draft, EGGS, Random(i)).text
        assert "18" in prose_teacher.critique(draft, EGGS, Random(i), TeacherSettings(leakage=1)).text


def test_the_knobs():
    draft = "16 - 3 - 4 = 9. 9 * 2 = 20.\nAnswer: 20"
    erring, vague = TeacherSettings(error_rate=1), TeacherSettings(specificity=0)
    for i in range(30):
        assert prose_teacher.critique(draft, EGGS, Random(i), erring).erred
        assert prose_teacher.critique(draft, EGGS, Random(i), erring).conclusion == "right"
        assert '"' not in prose_teacher.critique(draft, EGGS, Random(i), vague).text
        for wrong in (
            prose_teacher.direct(EGGS, Random(i), erring),
            prose_teacher.refine(draft, EGGS, Random(i), erring),
        ):
            assert prose_reading.final_number(wrong) != 18


def test_direct_answers():
    text = prose_teacher.direct(EGGS, Random(0))
    assert text == "She sells 16 - 3 - 4 = 9 eggs.\nShe makes 9 * 2 = $18.\nAnswer: 18"
    made = word_problems.make_problems(20, [1, 2, 3])
    for p in made:
        assert prose_teacher.direct(p, Random(1)).endswith(f"\nAnswer: {p['answer']}")
        assert all(e in prose_teacher.direct(p, Random(2)) for e in p["meta"]["equations"])


def holds(draft, problem, seed):
    text = prose_teacher.refine(draft, problem, Random(seed))
    assert prose_reading.final_number(text) == int(problem["answer"])
    assert text.endswith(f"\nAnswer: {problem['answer']}")
    if "draft" not in draft.lower():
        assert not re.search(r"\b(?:draft|critique|mistake|wrong)\b", text, re.IGNORECASE)
    kept = prose_teacher.right_beginning(draft, problem)
    assert text.startswith(kept) or not kept
    return kept, text


def test_refined_answers_of_real_drafts():
    kept = [holds(r["draft"], r, i)[0] for i, r in enumerate(DRAFTS)]
    assert all(r["draft"].startswith(k) or r["fault"] == "calculation" for r, k in zip(DRAFTS, kept, strict=True))
    assert sum(map(bool, kept)) > 0.3 * len(kept)
    score = grade(
        [{"id": r["id"], "gold": r["answer"], "text": prose_teacher.refine(r["draft"], r, Random(3))} for r in DRAFTS]
    )
    assert all(s["correct"] for s in score)


PROBLEMS = word_problems.make_problems(60, [1, 2, 3], seed=5)
PIECE = st.sampled_from([
    "Answer: 7", "\\boxed{5}", "The answer is 12.", "So ", "we add them", ".", "\n", "\n\n", "1. ", "- ", " eggs", "3 + 4 = 7", "3 + 4 = 9",
    "2 * 6 = 12", "x = 5", "#### 8", "<think>", "</think>", "{\"answer\": 3}", "\\[ 4 \\times 2 = 8 \\]", "$", "°", "12", "9 / 3",
])  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PROBLEMS), st.lists(PIECE | st.integers(0, 3), max_size=12), st.integers(0, 9))
def test_a_refined_answer_is_right_whatever_the_draft(problem, pieces, seed):
    told = [*problem["meta"]["equations"], problem["question"]]
    draft = " ".join(told[p % len(told)] if isinstance(p, int) else p for p in pieces)
    holds(draft, problem, seed)


def test_a_solution_without_equations_is_refused():
    with pytest.raises(BadInput, match=r"'eggs' shows no equation"):
        prose_teacher.direct({**EGGS, "solution": "She earns it.\n#### 18"}, Random(0))


def test_the_report():
    rows = []
    for r in DRAFTS:
        right = prose_reading.diagnose(r["draft"], r).right
        rows.append(
            {**r, "draft_correct": right, "critique": prose_teacher.critique(r["draft"], r, Random(r["id"])).text}
        )
    told = prose_teacher.report(rows)
    assert told["specific"] >= 0.8 and told["quoting"] >= 0.8 and told["leaks"] < 0.4
