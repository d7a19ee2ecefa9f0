"""Rows of every kind of file, and the text in their cells."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core.errors import BadInput
from cgd_utils.data.tables import read_table, text_of

CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Half of 18?"},
    {"role": "assistant", "content": "9"},
]
COLUMNS = {
    "whole numbers": ([12, 0, -7], ["12", "0", "-7"]),
    "floats with a gap": ([3.0, 0.25, None], ["3", "0.25", ""]),
    "short floats": (np.array([0.1, 40, 2.5], dtype="float32"), ["0.1", "40", "2.5"]),
    "whole numbers with a gap": (pd.array([8, None, 1], dtype="Int64"), ["8", "", "1"]),
    "truth values": ([True, False, None], ["True", "False", ""]),
    "lists of numbers": ([[5, 6], [7], []], ["5, 6", "7", ""]),
    "lists of floats": ([[0.5, 2.0], [7.0], []], ["0.5, 2", "7", ""]),
    "lists of texts": ([["x", "y"], ["z"], None], ["x, y", "z", ""]),
    "lists of points": ([[[1, 2], [3, 4]], [[5]], []], ["(1, 2), (3, 4)", "(5)", ""]),
    "bytes": ([b"9", b"8", b"7"], ["9", "8", "7"]),
    "chats": ([CHAT, CHAT[1:], []], ["9", "9", ""]),
}


@pytest.mark.parametrize(("column", "wanted"), COLUMNS.values(), ids=COLUMNS)
def test_a_parquet_column_of_any_kind(column, wanted, tmp_path):
    pd.DataFrame({"answer": column}).to_parquet(tmp_path / "t.parquet")
    assert [text_of(r["answer"]) for r in read_table(tmp_path / "t.parquet")] == wanted


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("['4', '5']", "4, 5"),
        ('["4", "5"]', "4, 5"),
        ("['4' '5']", "4, 5"),  # as numpy prints it
        ("[4 5]", "4, 5"),
        ("['$\\\\frac{1}{2}$']", "$\\frac{1}{2}$"),
        ("[]", ""),
        ("[4, 5]", "[4, 5]"),  # may be an interval
        ("[4, 5)", "[4, 5)"),
        ("['4', oops]", "['4', oops]"),
        (" 4.0 ", "4.0"),  # text stays as it was written
        ("1,200", "1,200"),
    ],
)
def test_a_printed_list_is_a_list_and_other_text_is_left_alone(cell, text, tmp_path):
    pd.DataFrame({"answer": [cell]}).to_csv(tmp_path / "t.csv", index=False)
    assert text_of(read_table(tmp_path / "t.csv")[0]["answer"]) == text


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1).map(str.strip).filter(bool), min_size=1))
def test_a_list_reads_the_same_however_it_is_stored(texts):
    assert text_of(texts) == text_of(np.array(texts, dtype=object)) == text_of(json.dumps(texts, ensure_ascii=False))


CHATS = {
    "one turn": (CHAT, "Half of 18?"),
    "array": (np.array(CHAT, dtype=object), "Half of 18?"),
    "one message": (CHAT[1], "Half of 18?"),
    "printed": (str(CHAT), "Half of 18?"),
    "printed as JSON": (json.dumps(CHAT), "Half of 18?"),
    "from and value": ([{"from": "human", "value": "Half of 18?"}, {"from": "gpt", "value": "9"}], "Half of 18?"),
    "parts": ([{"role": "user", "content": [{"type": "text", "text": "Half of 18?"}]}], "Half of 18?"),
    "no question": (CHAT[:1], ""),
}


@pytest.mark.parametrize(("cell", "question"), CHATS.values(), ids=CHATS)
def test_the_question_of_a_chat_is_what_the_user_says(cell, question):
    assert text_of(cell, "question") == question


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([*CHAT, CHAT[1]], "2 user turns"),
        ({"text": "9", "start": 3}, r"an object \(text, start\)"),
        ([{"text": "9"}], r"an object \(text\)"),
        ([{"role": "user", "content": [{"type": "image", "url": "a.png"}]}], "something else than text"),
    ],
)
def test_what_is_no_single_question_is_refused(cell, message):
    with pytest.raises(ValueError, match=message):
        text_of(cell, "question")


ROW, OTHER = {"question": "6·7?", "answer": 42}, {"question": "6+7?", "answer": 13}
JSON = {
    "a list": (json.dumps([ROW, OTHER]), [ROW, OTHER]),
    "an object with one list": (json.dumps({"version": 2, "data": [ROW, OTHER]}), [ROW, OTHER]),
    "lines": (f"{json.dumps(ROW)}\n{json.dumps(OTHER)}\n", [ROW, OTHER]),
    "one line": (json.dumps(ROW), [ROW]),
    "one line with a chat": (json.dumps({"messages": CHAT}), [{"messages": CHAT}]),
}


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize(("content", "rows"), JSON.values(), ids=JSON)
def test_a_json_file_of_any_layout(content, rows, mark, tmp_path):
    (tmp_path / "t.json").write_text(mark + content, encoding="utf-8")
    assert read_table(tmp_path / "t.json") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1},\n{"a"', "cannot be read as JSON.*line 2"),
        ('{"a": 1}\n{"a"', "line 2: not valid JSON"),
        ('{"train": [{"a": 1}], "test": [{"a": 1}]}', "several lists of objects.*train, test"),
        ("[1, 2]", "expected a list of objects"),
    ],
)
def test_a_broken_json_file_is_told_where(content, message, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(BadInput, match=message):
        read_table(tmp_path / "t.json")
