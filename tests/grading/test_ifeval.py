"""IFEval on recorded answers."""

import json
import os
from pathlib import Path

import pytest

from cgd_utils.__main__ import main
from cgd_utils.core.errors import BadInput
from cgd_utils.core.files import read_jsonl, write_jsonl
from cgd_utils.grading import ifeval

EXAMPLES = [
    {"key": 1, "prompt": "Say hi. No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    {"key": 2, "prompt": "Two things.", "instruction_id_list": ["change_case:english_lowercase", "length_constraints:number_words"],
     "kwargs": [{}, {"relation": "at least", "num_words": 3}]},
]  # fmt: skip
RESPONSES = [
    {"prompt": "Two things.", "response": "all lower case words here"},
    {"prompt": "Say hi. No commas.", "response": "Hi, you"},
]


def test_answers_are_joined_by_prompt_in_the_order_of_the_data(ifeval_library):
    rows = ifeval.score(ifeval.pairs(EXAMPLES, RESPONSES))
    assert [(r["key"], r["strict"]) for r in rows] == [(1, [False]), (2, [True, True])]


@pytest.mark.parametrize("text", ["", None, " \n", "\x00", "𝕳" * 50, "word " * 20_000])
def test_odd_answers_get_a_verdict(ifeval_library, text):
    rows = ifeval.score(ifeval.pairs(EXAMPLES[1:], [{"prompt": "Two things.", "response": text}]))
    assert len(rows[0]["strict"]) == len(rows[0]["loose"]) == 2
    assert (text and text.strip()) or rows[0]["strict"] == [False, False]


def test_the_summary_counts_prompts_and_instructions():
    rows = [{"strict": [True, False], "loose": [True, True]}, {"strict": [True], "loose": [True]}]
    whole = {f"{how}{ifeval.AS_IT_STANDS}": [False] for how in ("strict", "loose")}
    made = ifeval.summary([{**r, **whole, "thought": "finished"} for r in rows])
    assert made["prompt_loose_with_thought"]["value"] == 0
    assert made["thoughts"] == {"none": 0, "finished": 2, "unfinished": 0}
    assert made["prompt_strict"]["value"] == 50
    assert made["instruction_strict"]["value"] == pytest.approx(200 / 3)
    assert made["prompt_loose"]["value"] == made["instruction_loose"]["value"] == 100
    assert [made[k]["n"] for k in ("prompt_strict", "instruction_strict")] == [2, 3]


LONG = "Several words, with commas, and an orange. " * 5


@pytest.mark.parametrize(
    ("instruction", "kwargs", "text", "answer", "whole", "thought"),
    [
        ("punctuation:no_comma", {}, "<think>One, two.</think>\nNo comma here", True, False, "finished"),
        ("punctuation:no_comma", {}, "One, two.</think>\nNo comma here", True, False, "finished"),
        ("punctuation:no_comma", {}, "<think>None.</think>\nWell, one", False, False, "finished"),
        ("punctuation:no_comma", {}, "Well, one", False, False, "none"),
        ("punctuation:no_comma", {}, "The `<think>` tag", True, True, "none"),
        ("length_constraints:number_words", {"relation": "less than", "num_words": 5}, f"[THINK]{LONG}[/THINK]Three short words",
         True, False, "finished"),
        ("change_case:english_lowercase", {}, f"<|channel|>analysis<|message|>{LONG}<|end|><|start|>assistant<|channel|>final"
         "<|message|>this is written in small letters", True, False, "finished"),
        ("keywords:existence", {"keywords": ["orange"]}, f"<think>{LONG}", False, True, "unfinished"),
        ("keywords:existence", {"keywords": ["orange"]}, f"<think>{LONG}</think> A pear.", False, True, "finished"),
        ("startend:quotation", {}, f'<thinking>{LONG}</thinking>\n\n"A pear."', True, False, "finished"),
    ],
)  # fmt: skip
def test_an_answer_is_scored_without_its_thought_and_with_it(
    ifeval_library, instruction, kwargs, text, answer, whole, thought
):
    example = {"key": 1, "prompt": "p", "instruction_id_list": [instruction], "kwargs": [kwargs]}
    (row,) = ifeval.score([(example, text)])
    assert (row["strict"], row["strict_with_thought"], row["thought"]) == ([answer], [whole], thought)


@pytest.mark.parametrize(
    ("examples", "responses", "message"),
    [
        ([], RESPONSES, "no rows"),
        ([{"key": 1}], RESPONSES, "no field 'prompt'"),
        ([EXAMPLES[0], EXAMPLES[0]], RESPONSES, "key 1 occurs more than once"),
        (EXAMPLES, RESPONSES[:1], "has no response"),
        (EXAMPLES[:1], RESPONSES, "is not among the prompts"),
        (EXAMPLES, [*RESPONSES, RESPONSES[0]], "occurs more than once"),
        (EXAMPLES, [{"prompt": "Two things.", "text": ""}], "no field 'response'"),
        (EXAMPLES, [{"prompt": "Two things.", "response": 3}], "response is int"),
        ([{**EXAMPLES[0], "kwargs": []}], RESPONSES, "same length"),
    ],
)
def test_bad_input_is_named(examples, responses, message):
    with pytest.raises(BadInput, match=message):
        ifeval.pairs(examples, responses)


def test_a_sign_is_counted_where_one_is_asked_for(ifeval_library):
    """lm-eval's own check draws a letter by chance in its place."""
    asked = {"letter": "!", "let_relation": "at least", "let_frequency": 3}
    example = {"key": 1, "prompt": "p", "instruction_id_list": ["keywords:letter_frequency"], "kwargs": [asked]}
    for text, right in (("No! No! No!", True), ("Eeeee aaaaa ooooo iiiii ttttt nnnnn!", False)):
        (row,) = ifeval.score([(example, text)])
        assert row["strict"] == [right]


def test_an_unknown_instruction_is_named(ifeval_library):
    with pytest.raises(BadInput, match="unknown instruction 'be:nice'"):
        ifeval.score([({**EXAMPLES[0], "instruction_id_list": ["be:nice"]}, "x")])


def test_missing_nltk_data_is_told_and_nothing_is_fetched(monkeypatch):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(BadInput, match="NLTK_DATA"):
        ifeval.require_library()


def test_recorded_answers_get_the_reference_verdicts(ifeval_library, benchmark_dir, tmp_path, capsys):
    folder = Path(os.environ.get("CGD_IFEVAL_DIR") or benchmark_dir.parent / "ifeval")
    if not folder.is_dir():
        pytest.skip(f"{folder}: no recorded IFEval answers")
    out = tmp_path / "scores.jsonl"
    command = [
        "ifeval",
        "--data",
        str(folder / "input.jsonl"),
        "--responses",
        str(folder / "responses.jsonl"),
        "--out",
        str(out),
    ]
    assert main([*command, "--json"]) == 0
    four = json.loads(capsys.readouterr().out)
    names = ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose")
    assert [four[n]["value"] for n in names] == pytest.approx([78.5, 84.5, 81.9, 86.9], abs=0.4)
    assert four["thoughts"] == {"none": 270, "finished": 0, "unfinished": 0}
    assert [four[f"{n}_with_thought"] for n in names] == [four[n] for n in names]
    reference = {r["prompt"]: r for r in read_jsonl(folder / "reference_verdicts.jsonl")}
    for how in ("strict", "loose"):
        both = [(v, w) for r in read_jsonl(out) for v, w in zip(r[how], reference[r["prompt"]][how], strict=True)]
        assert sum(v == w for v, w in both) / len(both) >= 0.995


def test_the_command_refuses_to_write_over_its_input(tmp_path, capsys):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, EXAMPLES)
    assert main(["ifeval", "--data", str(path), "--responses", str(path), "--out", str(path)]) == 2
    assert "is an input too" in capsys.readouterr().err
