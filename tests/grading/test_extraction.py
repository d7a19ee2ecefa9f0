from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.grading.extraction import extract

CASES = [
    ("12+5=17\n17-3=14\nAnswer: 14", "14"),
    ("Answer: -7", "-7"),
    (r"so \boxed{14}.", "14"),
    (r"first \boxed{3}, no, \boxed{4}", "4"),  # of two boxes the last
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{x \text{ for } x>0}", r"x \text{ for } x>0"),
    (r"\boxed {5} and \fbox{6}", "6"),
    (r"\framebox{204} minutes", "204"),
    (r"$\boxed 5$", "5"),
    (r"\boxed{$\frac12$}", r"\frac12"),
    (r"the answer is 3, so \boxed{4}. The answer is 5.", "4"),  # a box counts more than words
    (r"earlier \boxed{3}, then \boxed{\frac{1}{", "3"),  # a box cut off is no answer
    ("<think>\\boxed{3}</think> Answer: 4", "4"),
    ("the box \\boxed{3}, or</think> Answer: 4", "4"),  # the prompt opened the thought
    ("<think>\\boxed{3}, or is it", None),  # cut off in a thought
    ("<think>\\boxed{3}</think>", None),
    ("[THINK]The answer is 3? No.[/THINK]\nIt is 4 then.", "4"),
    ("<thinking>The answer is 3?</thinking> So it is 4", "4"),
    ("<|channel|>analysis<|message|>Answer: 3<|end|><|start|>assistant<|channel|>final<|message|>Answer: 4", "4"),
    ("analysisThe answer is 3. Hm.assistantfinalThe answer is 4.", "4"),
    ("think\n\\boxed{3}\nanswer\n\\boxed{4}", "4"),
    ("I think \\boxed{3}", "3"),
    ("The tag `<think>` opens it. Answer: 4", "4"),
    ("The final answer is $14$. I hope it is correct.", "14"),
    ("Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct.", r"\frac{1}{2}"),
    ("**Final Answer:** 42", "42"),
    ("**Answer**: $x=5$", "x=5"),
    ("The answer is 3.5 because 7/2 = 3.5", "3.5"),
    ("The answer is 1,000.", "1,000"),
    ("The answer to the question is: 12 apples", "12 apples"),
    ("The correct answer is (B).", "(B)"),
    ("The answer is: Yes, since 3 < 4", "Yes"),
    ("The final answer is:\n\\[ x^2 + 1 \\]", "x^2 + 1"),
    ("The answer is $3$ and $5$.", "$3$ and $5$"),
    ("steps\n#### 2,125", "2,125"),
    ("14", "14"),
    (r"x = \frac{1}{2}", r"x = \frac{1}{2}"),
    ("I get 3 and then 4 apples", "4"),
    ("So we have $x = 3$ and thus $\\frac{3}{4}$.", r"\frac{3}{4}"),
    ("It grows to 1,234.5 in the end", "1,234.5"),
    ("It must be (C) by elimination", "C"),
    ("That claim is true", "true"),
    ("I have no idea, sorry", "no"),
    ("Nothing to see here", None),
    ("", None),
    (r"\boxed{", None),
    ("\0\0", None),
    ("The answer is **14**.", "14"),
    ("The answer is $5!$.", "5!"),
    (r"The final answer is $\boxed{}$", None),
    (r"The final answer is $\boxed{\frac{1}{", None),
    ("Answer:\n\n14\n", "14"),
]


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_extract(text, answer):
    assert extract(text) == answer


def test_exact_does_not_guess():
    assert extract("I get 3 and then 4 apples", "exact") is None
    assert extract("I get 3.\nAnswer: 4", "exact") == "4"


BALANCED = st.recursive(
    st.text("abx+-12 ", max_size=4), lambda inner: st.lists(inner.map(lambda s: "{" + s + "}"), max_size=3).map("".join)
)


@given(BALANCED.filter(str.strip), st.text("ab{ \n", max_size=8))
def test_a_balanced_box_is_found_whole(content, before):
    found = extract(before + r"\boxed{" + content + "} done")
    assert found == content.strip()


@given(st.text(max_size=200))
def test_never_fails(text):
    answer = extract(text)
    assert answer is None or answer.strip()


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece", ["{", "}", r"\boxed{", "$", r"\[", r"\(", "answer is ", "1,", "#### ", "</think>", "**"]
)
def test_long_hostile_text_takes_linear_time(piece):
    extract(piece * (100_000 // len(piece)))
