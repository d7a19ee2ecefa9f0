"""Equations in prose: what is read, what is left unread, and that a right calculation is never called false."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.grading import equations


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("16 eggs - 3 eggs = 13 eggs", ["16 - 3 = 13"]),
        ("3 times $4 is $12.", ["3 * 4 = 12"]),
        ("12 apples ÷ 4 friends = 3 apples per friend", ["12 / 4 = 3"]),
        ("80 patients/day * 7 days/week = 560 patients", ["80 * 7 = 560"]),
        ("20% of 50 = 10", ["0.2 * 50 = 10"]),
        ("He has 5 + 3 = 8 - 2 = 6 left", ["5 + 3 = 8", "8 - 2 = 6"]),
        ("5 + 3 + 2 = 10", ["5 + 3 + 2 = 10"]),
        ("1. 3 + 4 = 7\n2. 7 x 2 = 14", ["3 + 4 = 7", "7 * 2 = 14"]),
        ("- 3 + 4 = 7", ["3 + 4 = 7"]),
        ("\\( 4 \\times 3 = 12 \\)", ["4 * 3 = 12"]),
        ("\\[\n\\frac{24}{4} = 6\n\\]", ["24 / 4 = 6"]),
        ("12 + 5\n= 17", ["12 + 5 = 17"]),
        ("23 + 5 =\n28", ["23 + 5 = 28"]),
        ("$270,000 x 2 = $540,000", ["270000 * 2 = 540000"]),
        ("The total is 3 plus 4, which is 7", ["3 + 4 = 7"]),
        ("**4 * 3 = 12**", ["4 * 3 = 12"]),
        ("She paid 2 * $10 = <<2*10=20>>$20", ["2 * 10 = 20"]),
        ("5 (Sam's) + 3 (Ann's) = 8", ["5 + 3 = 8"]),
        ("for a total of 20*6 = 120 minutes", ["20 * 6 = 120"]),
        # a part of a formula says nothing
        ("x + 3 + 4 = 10", []),
        ("2x + 3 = 13", []),
        ("70 + 43 + T = 113 + T = 219", []),
        ("12 - Ali = 8", []),
        ("4 apples each = 12", []),
        ("1/2 of the pages = 30", []),
        ("10 x Noah + Noah - 1 = 9", []),
    ],
)
def test_what_is_read(text, read):
    assert [equations.plain(e) for e in equations.read(text)] == read


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("16 / 3 = 5.33", True),
        ("16 / 3 = 5", False),
        ("350 puppies / 1400 puppies * 100% = 25%", True),
        ("2 * (3 + 4) = 2 * 7 = 14", True),
        ("4 * 3 + 2 = 14", True),
        ("4 * 3 + 2 = 20", False),
        ("13 belts * 3 belts = 37 belts", False),
    ],
)
def test_whether_it_is_true(text, true):
    (found,) = equations.read(text)
    assert found.true is true


NUMBER = st.integers(1, 9999)
UNIT = st.sampled_from(["", " eggs", " miles per hour", " dollars", "%", " kg"])


@given(NUMBER, NUMBER, st.sampled_from("+-*/×÷"), UNIT, st.sampled_from(["=", "is", "equals", "\n="]), st.booleans())
def test_a_right_calculation_is_never_called_false(a, b, sign, unit, equals, spaced):
    value = {"+": a + b, "-": a - b, "*": a * b, "×": a * b}.get(sign, Fraction(a, b))
    unit = "" if unit == "%" else unit
    shown = f"{float(value):.2f}" if Fraction(value).denominator != 1 else f"{int(value):,}"
    gap = " " if spaced or unit or equals[0].isalpha() else ""
    text = f"So we get {a}{unit}{gap}{sign}{gap}{b}{unit} {equals} {shown}{unit}. Then we stop."
    assert all(e.true for e in equations.read(text))


@given(st.text(alphabet="0123456789+-*/=x().,%$ ab\n", max_size=60))
def test_any_text_is_read(text):
    for e in equations.read(text):
        assert text[e.start : e.end].strip() == e.text
