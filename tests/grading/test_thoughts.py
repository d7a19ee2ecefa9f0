"""Thoughts of reasoning models: how they are marked, where they end, and what is left of a text without them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.grading.thoughts import Thought, opening, split

# opening mark, closing mark, and what the engine leaves after the answer
MARKED = {
    "DeepSeek-R1": ("<think>\n", "\n</think>\n\n", ""),
    "capitals": ("<Think>", "</THINK>", ""),
    "a duration": ('<think duration="4">', "</think>", ""),
    "opened twice": ("<think>\n<think>\n", "</think>", ""),
    "Seed-OSS": ("<seed:think>", "</seed:think>", ""),
    "MiniMax-M3": ("<mm:think>", "</mm:think>", ""),
    "prompted": ("<thinking>", "</thinking>\n", ""),
    "older prompts": ("<ant_thinking>", "</ant_thinking>", ""),
    "EXAONE Deep": ("<thought>\n", "\n</thought>\n\n", ""),
    "GRPO recipes": ("<reasoning>\n", "\n</reasoning>\n", ""),
    "a scratchpad": ("<scratchpad>", "</scratchpad>", ""),
    "Magistral": ("[THINK]", "[/THINK]", ""),
    "Kimi-VL": ("◁think▷", "◁/think▷", ""),
    "OpenThinker": (
        "<|begin_of_thought|>\n\n",
        "\n<|end_of_thought|>\n\n<|begin_of_solution|>\n",
        "\n<|end_of_solution|>",
    ),
    "Command A": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>", "<|END_RESPONSE|>"),
    "bars": ("<|think|>", "<|/think|>", ""),
    "gpt-oss": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>", "<|return|>"),
    "gpt-oss with a tool": (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>commentary to=f <|constrain|>json<|message|>{}<|call|>"
        "<|start|>assistant<|channel|>final <|constrain|>json<|message|>",
        "<|return|>",
    ),
    "gpt-oss without special tokens": ("analysis", "assistantfinal", ""),
    "Gemma 4": ("<|channel>thought\n", "<channel|>", ""),
    "MedGemma": ("<unused94>thought\n", "<unused95>", ""),
    "Apertus": ("<|inner_prefix|>", "<|inner_suffix|>", ""),
    "s1": ("<|im_start|>think\n", "\n<|im_start|>answer\n", ""),
    "s1 without special tokens": ("think\n", "\nanswer\n", ""),
    "Granite 3.2": ("Here is my thought process:\n", "\nHere's my response:\n", ""),
    "closed by another mark": ("<think>", "</thinking>", ""),
}
ORPHANS = {n: m for n, m in MARKED.items() if not n.endswith(("special tokens", "tool", "3.2"))}


@pytest.mark.parametrize(("opens", "closes", "end"), MARKED.values(), ids=MARKED)
def test_a_finished_thought_leaves_the_answer(opens, closes, end):
    made = split(f"{opens}Is it 3? No.{closes}It is 4.{end}")
    assert made.finished
    assert made.answer == "It is 4."
    assert made.thought.startswith("Is it 3? No.")


@pytest.mark.parametrize(("opens", "closes", "end"), MARKED.values(), ids=MARKED)
def test_an_unfinished_thought_leaves_nothing(opens, closes, end):
    assert split(f"{opens}The answer is 3. Or") == Thought("The answer is 3. Or", "", False)


@pytest.mark.parametrize(("opens", "closes", "end"), ORPHANS.values(), ids=ORPHANS)
def test_a_thought_may_be_opened_in_the_prompt(opens, closes, end):
    made = split(f"Is it 3? No.{closes}It is 4.{end}")
    assert (made.answer, made.finished) == ("It is 4.", True)


@pytest.mark.parametrize(
    ("text", "answer", "finished"),
    [
        ("<think></think>\n\nIt is 4.", "It is 4.", True),
        ("Well. <think>3?</think>It is 4.<think>Yes.</think> Sure.", "Well. It is 4. Sure.", True),
        ("It is 4. <think>Or is it", "", False),
        ("<think>3?</think>It is 4. <think>Or is it", "", False),
        ("<think>It is 4.</think>", "", True),
        ("It is 4.</think>", "", True),
        ("<think>The tag </think> ends it.</think> It is 4.", "It is 4.", True),
        ("<thinking>3? <reflection>No.</reflection> It is", "", False),
        ("<thinking>3? <reflection>No.</reflection> It is</thinking>\n4", "4", True),
        ("<|channel|>final<|message|>It is 4.<|return|>", "It is 4.", True),
        ("<|channel|>analysis<|message|>3?<|end|><|start|>assistant", "", False),
    ],
)
def test_several_and_odd_thoughts(text, answer, finished):
    made = split(text)
    assert (made.answer, made.finished) == (answer, finished)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think <b>4</b>, on reflection.",
        "if a<thinking_time and b > 3: 4",
        "Write `<think>` first, then '</think>'.",
        'The tag "<think>" is R1\'s.',
        "[think] and [Thinking] are placeholders.",
        "Analysis: 4. The final answer is 4.",
        "analysis of 3 and 4",
        "analysis\n4",
        "thinking about it, 4",
        "I said: here is my thought process: 4",
        "answer\n4",
        "x <|im_end|> <|channel|> <reasonable> 4",
        "<think/> 4",
    ],
)
def test_a_text_without_a_thought_is_left_as_it_is(text):
    assert split(text) == Thought("", text)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "<reflection>", "</reflection>", "a", " "]))
)
def test_no_mark_is_left_and_nothing_is_made_up(parts):
    made = split("".join(parts))
    assert not any(m in made.answer for m in ("think>", "THINK]", "reflection>"))
    assert made.finished or not made.answer
    assert (made.thought + made.answer).count("a") <= parts.count("a")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["<", "[", "</think>", "<think>", "<think ", "<|channel|>analysis", "<a_", "<a:", "◁", "think\n"]
)
def test_a_long_hostile_text_takes_linear_time(piece):
    split(piece * (300_000 // len(piece)))


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [
        ("<｜User｜>2+2?<｜Assistant｜><think>\n", "<think>"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("<|user|>Say <think><|assistant|>\n", ""),
        ("<|start|>assistant", ""),
        ("", ""),
    ],
)
def test_the_mark_that_a_prompt_ends_with_is_known(prompt, mark):
    assert opening(prompt) == mark
