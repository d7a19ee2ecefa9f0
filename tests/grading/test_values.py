from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgd_utils.grading.formulas import read
from cgd_utils.grading.values import same


def equal(gold, answer, rule="math"):
    return same(read(gold), read(answer), rule)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(2, 900), st.integers(2, 9))
def test_neighbours_of_any_size_differ(n, base):
    power = f"{base}^{{{n}}}"
    assert equal(rf"1-\frac{{1}}{{{power}}}", rf"\frac{{{power}-1}}{{{power}}}")
    assert equal(rf"1-\frac{{1}}{{{power}}}", rf"1-\frac{{1}}{{{base}^{{{n + 1}}}}}") is False
    assert equal(rf"\sqrt{{2}}+e^{{-{n}}}", rf"\sqrt{{2}}+e^{{-{n + 1}}}") is False
    assert equal(rf"\frac{{1}}{{{n}!}}", rf"\frac{{1}}{{{n + 1}!}}") is False


EXPONENTS = st.fractions(-3, 3, max_denominator=4)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(EXPONENTS, EXPONENTS)
def test_powers_multiply_on_their_domain(p, q):
    assert equal(f"x^{{{p}}}x^{{{q}}}y", f"x^{{{p + q}}}y")
    assert equal(f"x^{{{p}}}x^{{{q}}}y", f"x^{{{p + q + 1}}}y") is False


CASES = [  # what the domain of a variable decides
    (r"2\sqrt{r^2}", "2r", True),  # r is under a root
    (r"2|r|", "2r", False),
    (r"2|r|", r"2\sqrt{r^2}", True),
    (r"\sqrt{(1-a)^2}b", "(1-a)b", False),
    (r"2\ln x", r"\ln(x^2)", True),
    (r"2\ln|x|", r"2\ln x", False),
    (r"\sqrt{u-7}\sqrt{u-8}", r"\sqrt{(u-7)(u-8)}", True),  # rather far out
    ("(-1)^n", r"\cos(\pi n)", True),  # n is whole
    (r"\cos(\pi t)^2", "1", False),
    ("n!(n+1)", "(n+1)!", True),
    (r"\sqrt[3]{-x}", r"-\sqrt[3]{x}", True),
    (r"\frac{1}{1+i}", r"\frac{1-i}{2}", True),
    (r"k(x+1)", "kx+k", True),
    (r"u(t)+1", "1+u(t)", True),
    (r"\gamma m-m", "0.5772156649m-m", False),
    (r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}", True),
    ("x=2y+b", "y=\\frac{x-b}{2}", True),
    ("x=2y+b", "y=\\frac{x+b}{2}", False),
    (r"x^2+y^2=b", r"2b-2y^2=2x^2", True),
    ("(-1,x)", "(1,x)", False),
    (r"\{1,x\}", r"\{x,1\}", None),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), CASES)
def test_the_domain_of_a_variable(gold, answer, verdict):
    assert equal(gold, answer) is verdict


def test_decimals_are_rounded_as_the_rule_says():
    assert equal(r"\frac{x}{3}", "0.3333333x") is True
    assert equal(r"\frac{x}{3}", "0.333x") is False
    assert equal(r"\sqrt{2}", "1.4143") is False
    assert equal(r"\sqrt{2}", "1.4143", "relative") is True


def test_what_has_no_value_is_left_open():
    assert equal(r"\frac{1}{0}", "2") is None
    assert equal(r"\infty", "2") is None
