from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.grading.phrases import quantity, split_condition, truth_word, with_digits

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(n, joint=" and "):
    if n < 20:
        return SMALL[n]
    if n < 100:
        return TENS[n // 10 - 2] + ("-" + SMALL[n % 10] if n % 10 else "")
    for size, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if n >= size:
            rest = in_words(n % size, joint) if n % size else ""
            return (
                f"{in_words(n // size, joint)} {name}" + (joint if rest and n % size < 100 else " ") * bool(rest) + rest
            )
    raise AssertionError


@given(st.integers(0, 10**9 - 1), st.sampled_from([" ", " and "]))
def test_any_number_in_words(n, joint):
    assert with_digits(in_words(n, joint)) == str(n)
    assert with_digits(rf"\text{{{in_words(n, joint)} apples}}") == rf"\text{{{n} apples}}"


@pytest.mark.parametrize("text", ["one two three", "one-to-one", "twenty third", "sevenfold", "twenty fifty", "x+1"])
def test_what_is_no_number(text):
    assert with_digits(text) == text


CONDITIONS = [
    (r"\frac{x}{x-4},\ x\ne 4", r"\frac{x}{x-4}", r"x \ne 4"),
    (r"5k \text{ for all integers } k", "5k", "all integers } k"),
    (r"x<1, x>3", r"x<1, x>3", ""),
    ("x=1, y>2", "x=1, y>2", ""),
    (r"\{x \mid x > 2\}", r"\{x \mid x > 2\}", ""),
    (r"\text{the rule for integrals}", r"\text{the rule for integrals}", ""),
    (r"1 \text{ if } n=1, \text{ else } 2", r"1 \text{ if } n=1, \text{ else } 2", ""),
]


@pytest.mark.parametrize(("answer", "main", "condition"), CONDITIONS)
def test_a_condition_beside_the_answer(answer, main, condition):
    assert split_condition(answer) == (main, condition)


@given(st.integers(0, 99), st.integers(0, 59))
def test_quantities_in_one_unit_or_two(hours, minutes):
    two = quantity(rf"{hours} \text{{ hours and }} {minutes} \text{{ minutes}}")
    assert two[:2] == quantity(f"{60 * hours + minutes} min")[:2]
    assert two[1] != quantity(f"{60 * hours + minutes + 1} min")[1]
    assert quantity(f"{hours} eggs") is quantity(f"{hours} h {minutes} kg") is None


TRUTH = [
    ("That is so. It is true.", "true"),
    ("It is not true.", "false"),
    ("It isn't always true.", "false"),
    ("Yes, since the converse is not true.", "Yes"),
    ("Not only true, but easy.", "true"),
    ("True for small n, but not true in general.", "false"),
    ("Nothing follows from it.", None),
]


@pytest.mark.parametrize(("text", "word"), TRUTH)
def test_truth_and_its_denial(text, word):
    assert truth_word(text) == word


@pytest.mark.timeout(10)
@pytest.mark.parametrize("piece", ["one ", "not ", "1 h ", "x, ", r"\text{ for }", "twenty-", "k, n>", "but "])
def test_long_hostile_text_takes_little_time(piece):
    text = piece * (2_000 // len(piece))
    with_digits(text), split_condition(text), split_condition("1 " + text), quantity("1 h " + text)
    truth_word(piece * (100_000 // len(piece)))
