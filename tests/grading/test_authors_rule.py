"""The rule of the authors' grader: equal when rounded to one decimal, ×100, or within 1e-4; all else as `math`."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.grading import equivalent
from cgd_utils.grading.rules import quick

HUNDREDTHS = st.integers(-20_000, 20_000)


def decimal(hundredths):
    return f"{'-' * (hundredths < 0)}{abs(hundredths) // 100}.{abs(hundredths) % 100:02d}"


def authors(gold, answer):
    return quick(gold, answer, "authors")


@pytest.mark.parametrize(
    "gold, answer, right",
    [
        ("0.33", "0.3", True),  # one decimal
        ("3.14", "3.1", True),
        ("2.44", "2.51", False),
        ("0.25", "25", True),  # ×100, either way
        ("25", "0.25", True),
        ("25\\%", "0.25", True),
        ("1200", "12", True),
        ("0.00005", "0.00009", True),
        ("7", "8", False),
        ("100", "101", False),
        ("\\frac{1}{3}", "0.3", True),
        ("\\sqrt{2}", "1.4", True),
        ("\\sqrt{2}", "1.5", False),
        ("\\frac{\\pi}{4}", "0.8", True),
        ("(0.33, 2)", "(0.3, 2)", True),
        ("x^2+1", "1+x^2", True),  # formulas and words as under math
        ("x^2+1.14x", "x^2+1.1x", False),
        ("\\text{(B)}", "B", True),
        ("\\text{Evelyn}", "Evelyn", True),
        ("Evelyn", "Anna", False),
    ],
)
def test_what_the_rule_grants(gold, answer, right):
    assert equivalent(gold, answer, "authors") is right


@given(HUNDREDTHS, HUNDREDTHS)
def test_two_decimals_agree_just_as_the_three_clauses_say(a, b):
    """Worked out in whole hundredths, where nothing is rounded by a machine: half of a tenth goes to the even one."""

    def tenths(n):
        return n // 10 + (n % 10 > 5 or (n % 10 == 5 and (n // 10) % 2))

    expected = tenths(a) == tenths(b) or a == b or 100 * a == b or a == 100 * b
    near = any(abs(Fraction(x, 100) - Fraction(y, 100)) <= Fraction(1, 10_000) for x, y in ((a, b), (100 * a, b)))
    near = near or abs(Fraction(a, 10_000) - Fraction(b, 100)) <= Fraction(1, 10_000)
    assert authors(decimal(a), decimal(b)) == (expected or near, "ok")


@given(HUNDREDTHS, HUNDREDTHS, st.sampled_from(["", "%"]), st.sampled_from(["", "%"]))
def test_it_grants_all_numbers_that_math_grants_and_takes_no_side(a, b, sign, other):
    gold, answer = decimal(a) + sign, decimal(b) + other
    if quick(gold, answer, "math") == (True, "ok"):
        assert authors(gold, answer) == (True, "ok")
    if sign == other:
        assert authors(gold, answer) == authors(answer, gold)
