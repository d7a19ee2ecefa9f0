"""Golds of reference solutions, of every source's published layout and of files; answers that cannot be read."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core.errors import BadInput
from cgd_utils.core.settings import Data
from cgd_utils.data import problem_sources
from cgd_utils.grading.records import grade


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("6+2=8.\n#### 8\nThe answer is: 8", "8"),
        ("Then y = 11.\nThe answer is: 11", "11"),
        ("The roots are two.\n#### 2, -3", "2, -3"),
        ("#### (5, 12)", "(5, 12)"),
        ("all sold\n#### 12,500", "12500"),
        ("#### 1,250,000.75", "1250000.75"),
        ("We get $\\boxed{\\frac{2}{7}}$. The answer is: \\frac{2}{7}", "\\frac{2}{7}"),
        ("The domain follows.\nThe answer is: [2,5)", "[2,5)"),
        ("#### Step 1\nDouble it.\n#### Result\nIt is \\boxed{30}", "30"),
        ("####\n64", "64"),
        ("**Answer:** Lisbon", "Lisbon"),
        ("24", "24"),
        ("x = 3", "x = 3"),
        ("(1, 2)", "(1, 2)"),
        ("\\text{Friday}", "\\text{Friday}"),
        ("so none\n####  ", ""),
        ("so none\n####", ""),
        ("\\boxed{}", ""),
        ("The answer is:", ""),
        ("$$", ""),
        ("$ \t$", ""),
        ("", ""),
    ],
)
def test_the_gold_of_a_solution(text, gold):
    assert problem_sources.final_answer(text) == gold


@given(
    st.lists(st.integers(-999, 999), min_size=1, max_size=4), st.sampled_from(["#### ", "The answer is: ", "#### \n"])
)
def test_a_right_answer_is_graded_right_whatever_marks_the_gold(numbers, mark):
    text = ", ".join(map(str, numbers))
    gold = problem_sources.final_answer(f"We add and subtract.\n{mark}{text}")
    (score,) = grade([{"id": 0, "gold": gold, "text": f"\\boxed{{{text}}}"}])
    assert score["correct"] is True


# rows with the columns that each data set has on the hub; None: the row is dropped
PUBLISHED = {
    "webinstruct": [
        ({"orig_question": "?", "orig_answer": "!", "source": "socratic", "question": "What is the slope of y = 4x - 1?",
          "answer": "The line is in slope-intercept form.\n\nThe final answer is $4$.", "index": 17}, "4"),
    ],
    "webinstruct-cft": [
        ({"instruction": "Please critique whether the following solution to the question is correct.\n\n",
          "input": "Question:\nHow many faces has a cube?\n\nSolution:\nA cube has six sides.\nThe answer is 6.\n\n",
          "output": "The solution counts the sides rightly.\n\nConclusion: right [END]"}, "6"),
        ({"instruction": "Please critique whether the following solution to the question is correct.\n\n",
          "input": "Question:\nHow many edges has a cube?\n\nSolution:\nThe answer is 8.\n\n",
          "output": "These are its corners.\n\nConclusion: wrong [END]"}, None),
    ],
    "metamathqa": [
        ({"type": "GSM_Rephrased", "query": "Tom has 3 boxes of 7 pens. How many pens?", "original_question": "?",
          "response": "Tom has 3*7 = 21 pens.\n#### 21\nThe answer is: 21"}, "21"),
        ({"type": "MATH_AnsAug", "query": "Simplify 6/8.", "original_question": "?",
          "response": "Dividing by 2 gives $\\boxed{\\frac{3}{4}}$. The answer is: $\\frac{3}{4}$"}, "\\frac{3}{4}"),
        ({"type": "MATH_SV", "query": "If 2x = 5, what is x?", "original_question": "?",
          "response": "We divide by 2.\nThe answer is: 2.5"}, "2.5"),
    ],
    "openmathinstruct2": [
        ({"problem": "Name all roots of (x-1)(x+4).", "generated_solution": "They are \\boxed{1, -4}.",
          "expected_answer": "1, -4", "problem_source": "augmented_math"}, "1, -4"),
    ],
    "gsm8k": [
        ({"question": "A van costs $1,000 a month. How much a year?",
          "answer": "It costs 12*1000=$<<12*1000=12000>>12000.\n#### 12,000"}, "12000"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("source", problem_sources.SOURCES)
def test_rows_of_a_source_in_its_published_layout(source, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: [row for row, _ in PUBLISHED[source]])
    problems, dropped = problem_sources.load_problems(Data(source=source, rows=0))
    assert {p["answer"] for p in problems} == {gold for _, gold in PUBLISHED[source] if gold}
    assert dropped.get("empty", 0) == sum(gold is None for _, gold in PUBLISHED[source])
    scores = grade([{"id": p["id"], "gold": p["answer"], "text": f"\\boxed{{{p['answer']}}}"} for p in problems])
    assert all(s["correct"] for s in scores)
    assert not any("Solution:" in p["question"] or "Question:" in p["question"] for p in problems)


def table(tmp_path, rows):
    pd.DataFrame(rows).to_parquet(tmp_path / "mine.parquet")
    return str(tmp_path / "mine.parquet")


GOOD = [{"question": f"{i}+1?", "answer": str(i + 1)} for i in range(100)]
PROSE = "One adds both numbers and then looks whether the sum is even or odd, as above."


def with_unreadable(n):
    return [*GOOD[n:], *({"question": f"why {i}?", "answer": f"{PROSE} {i}"} for i in range(n))]


def test_a_few_unreadable_answers_are_left_out_and_told(tmp_path):
    problems, dropped = problem_sources.load_problems(Data(source=table(tmp_path, with_unreadable(2))))
    assert (len(problems), dropped) == (98, {"unreadable": 2})
    assert "2 with an answer that the grader cannot read" in problem_sources.in_words({"rows": 98, "dropped": dropped})


def test_more_than_two_percent_stop_the_run_and_three_are_shown(tmp_path):
    with pytest.raises(BadInput, match=r"4 of 100 answers \(4\.0%\)") as e:
        problem_sources.load_problems(Data(source=table(tmp_path, with_unreadable(4))))
    assert str(e.value).count("One adds both numbers") == 3
    assert "data.fields" in str(e.value) and "data.unreadable" in str(e.value)


def test_unreadable_answers_can_be_dropped_or_kept(tmp_path):
    source = table(tmp_path, with_unreadable(30))
    problems, dropped = problem_sources.load_problems(Data(source=source, unreadable="drop"))
    assert (len(problems), dropped) == (70, {"unreadable": 30})
    problems, dropped = problem_sources.load_problems(Data(source=source, unreadable="keep"))
    assert (len(problems), dropped) == (100, {})
    assert sum(p["meta"].get("ungraded", False) for p in problems) == 30


def test_the_first_rows_as_they_stand_or_those_of_a_shuffle(tmp_path):
    """With `order: first` a question that stands twice is taken twice, and a row without an answer is passed over."""
    rows = [GOOD[3], GOOD[1], {"question": "empty?", "answer": ""}, GOOD[3], *GOOD[4:]]
    source = table(tmp_path, rows)
    first, dropped = problem_sources.load_problems(Data(source=source, rows=4, order="first", seed=7))
    assert [p["question"] for p in first] == [GOOD[i]["question"] for i in (3, 1, 3, 4)]
    assert dropped == {"empty": 1} and len({p["id"] for p in first}) == 4
    shuffled, dropped = problem_sources.load_problems(Data(source=source, rows=0, seed=7))
    assert dropped == {"empty": 1, "duplicate_question": 1}
    assert sorted(p["question"] for p in shuffled) == sorted({r["question"] for r in rows if r["answer"]})
    assert [p["question"] for p in shuffled[:4]] != [p["question"] for p in first]
    with pytest.raises(ValueError, match="'first' needs a file or hub data set"):
        Data(source="lab", order="first")


def test_a_file_of_unreadable_answers_alone_cannot_be_dropped(tmp_path):
    with pytest.raises(BadInput, match=r"100 of 100 answers"):
        problem_sources.load_problems(Data(source=table(tmp_path, with_unreadable(100)), unreadable="drop"))


def test_empty_golds_are_dropped_counted_and_told(tmp_path):
    rows = [*GOOD[:3], {"question": "p?", "answer": "none\n####  "}, {"question": "q?", "answer": "$$"}]
    problems, dropped = problem_sources.load_problems(Data(source=table(tmp_path, rows)))
    assert (len(problems), dropped) == (3, {"empty": 2})
    assert "2 without a question or an answer" in problem_sources.in_words({"rows": 3, "dropped": dropped})


def test_columns_of_numbers_lists_and_chats(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": f"Roots {i}?"}], "answer": [i, i + 2]} for i in range(3)]
    problems, _ = problem_sources.load_problems(Data(source=table(tmp_path, rows)))
    assert {p["question"]: p["answer"] for p in problems} == {f"Roots {i}?": f"{i}, {i + 2}" for i in range(3)}


def test_a_column_of_whole_chats_holds_question_and_solution(tmp_path):
    rows = [{"messages": [{"role": "user", "content": f"{i}+5?"},
                          {"role": "assistant", "content": f"Add them.\n#### {i + 5}"}]} for i in range(3)]  # fmt: skip
    problems, _ = problem_sources.load_problems(Data(source=table(tmp_path, rows)))
    assert {p["question"]: p["answer"] for p in problems} == {f"{i}+5?": str(i + 5) for i in range(3)}
    assert problems[0]["solution"].startswith("Add them.")


def test_a_cell_that_is_no_text_is_told_with_its_row(tmp_path):
    rows = [{"question": "p?", "answer": {"text": "4", "start": 1}}]
    with pytest.raises(BadInput, match=r"row 1: answer: an object \(text, start\)"):
        problem_sources.load_problems(Data(source=table(tmp_path, rows)))
