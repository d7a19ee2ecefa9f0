"""Equality of two formulas by their values, with numbers for their variables.

Symbolic simplification refuses ``\\sqrt{2h/g} = \\sqrt{2h}/\\sqrt{g}``, which needs h and g positive, and rounding to
fifteen digits credits ``1/1500! = 1/1501!``. So the difference of two formulas is worked out at several points of their
domain, with as many digits as it takes to tell it from zero: sympy's `evalf` knows how many of its digits are sure.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any
from zlib import crc32

from . import kinds

RELATIVE_TOLERANCE = AUTHORS_TOLERANCE = Fraction(1, 10_000)  # the second is absolute
TOLERANT = ("relative", "authors")  # rules with a tolerance of their own
POINTS, TRIES = 4, 40  # points that must agree, and how many are tried for those
DIGITS, MOST_DIGITS = 40, 50_000
DOUBLE_FACTORIAL = "doublefactorial"


def same(expected: Any, actual: Any, rule: str) -> bool | None:
    """Whether two sympy objects are equal by their values; None where values cannot say."""
    from sympy import Eq, Expr, Interval, MatrixBase, Symbol

    def both(kind: Any) -> bool:
        return isinstance(expected, kind) and isinstance(actual, kind)

    if both(MatrixBase) and expected.shape == actual.shape:
        return all_of(same(x, y, rule) for x, y in zip(expected, actual, strict=True))
    if both(Interval):
        if (expected.left_open, expected.right_open) != (actual.left_open, actual.right_open):
            return False
        ends = ((expected.start, actual.start), (expected.end, actual.end))
        return all_of(x == y or same(x, y, rule) for x, y in ends)
    try:
        if both(Eq) and all(isinstance(side, Expr) for side in expected.args + actual.args):
            return _Pair(expected.lhs - expected.rhs, actual.lhs - actual.rhs).same_roots()
        if both(Expr) and Symbol not in (type(expected), type(actual)):  # ABC may be A·B·C: math-verify knows
            return _Pair(expected, actual).same_values(rule)
    except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
        return None  # sympy raises any of these on what it cannot work out
    return None


def all_of(verdicts: Iterable[bool | None]) -> bool | None:
    """False if one is False, else None if one is None."""
    verdicts = list(verdicts)
    return False if False in verdicts else None if None in verdicts else True


class _Pair:
    """Two formulas, and what their variables may be by their use in either.

    A variable under an even root or in a logarithm is positive, one in a factorial or in the exponent of a negative
    number whole; any other has either sign, and so has one between bars, where the sign is what matters.
    """

    def __init__(self, *formulas: Any):
        from sympy import preorder_traversal

        self.plain = {s.name for formula in formulas for s in formula.free_symbols}
        self.imaginary = "i" in self.plain
        self.decimal = False
        self.positive: set[str] = set()
        self.whole: set[str] = set()
        self.signed: set[str] = set()
        roots: list[list[Any]] = [[], []]
        for formula, under in zip(formulas, roots, strict=True):
            for part in preorder_traversal(formula):
                self._look_at(part, part.func.__name__, under)
        self.sides = [self._meant(formula) for formula in formulas]
        self.under_roots = [[self._meant(part) for part in under] for under in roots]
        self.variables = sorted({s for side in self.sides for s in side.free_symbols}, key=str)

    def _look_at(self, part: Any, name: str, under_roots: list[Any]) -> None:
        if name == "ImaginaryUnit":
            self.imaginary = True
        elif name == "Float":
            self.decimal = True
        elif name in ("Abs", "sign", "Max", "Min"):
            self.signed |= self._names(part)
        elif name in ("factorial", "binomial") or (name == "Pow" and str(part.exp) == DOUBLE_FACTORIAL):
            self.whole |= self._names(part)
        elif name == "log" or (name == "Pow" and not (part.exp.is_Rational and part.exp.q % 2)):
            base = part.args[0]
            if not base.could_extract_minus_sign():
                self.positive |= self._names(base)
            elif name == "Pow" and not part.exp.is_number:
                self.whole |= self._names(part.exp)
                return
            under_roots.append(base)

    def _names(self, formula: Any) -> set[str]:
        return {s.name for s in formula.free_symbols}

    def _meant(self, formula: Any) -> Any:
        """The formula as it is meant where the parser leaves it open. Nothing is worked out yet, such as 10^(10^10)."""
        from sympy import Abs, I, Rational, Symbol, factorial2, sign
        from sympy.core.function import AppliedUndef

        name = formula.func.__name__
        if formula.is_Symbol:
            return I if formula.name == "i" else Symbol(formula.name)
        if formula.is_Float:
            return Rational(str(formula))
        if name in ("EulerGamma", "Derivative"):  # gamma is hardly ever Euler's constant
            return Symbol(str(formula))
        if formula.is_Atom:
            return formula
        if name in ("Sum", "Product", "Integral", "Limit"):
            known = formula.doit()
            return Symbol(str(formula)) if known.func == formula.func else self._meant(known)
        arguments = [self._meant(a) for a in formula.args]
        if name == "UnevaluatedExpr":
            return arguments[0]
        if isinstance(formula, AppliedUndef):  # f(x) is a number of its own, unless f is a variable elsewhere
            f = Symbol(name)
            return f * arguments[0] if name in self.plain and len(arguments) == 1 else Symbol(f"{f}{arguments}")
        if name == "Pow":
            base, exponent = arguments
            if str(exponent) == DOUBLE_FACTORIAL:
                return factorial2(base)
            if exponent.is_Rational and exponent.q % 2 and exponent.q > 1 and not self.imaginary:  # the real root
                return Abs(base) ** exponent * (sign(base) if exponent.p % 2 else 1)
        return formula.func(*arguments, evaluate=False)

    def _point(self, turn: int) -> dict[Any, Any]:
        """Values for the variables, the same in every process."""
        from sympy import Rational

        point = {}
        for variable in self.variables:
            seed = crc32(f"{turn} {variable}".encode())
            scale = (1000, 3000, 400)[turn % 3] if turn < TRIES // 2 else 40  # a domain may begin far out
            size = Rational(300 + seed % 1999, scale)
            either = variable.name in self.signed or variable.name not in self.positive
            point[variable] = (
                1 + seed % 13 if variable.name in self.whole else -size if either and seed & 4096 else size
            )
        return point

    def same_values(self, rule: str) -> bool | None:
        """Whether the formulas agree at `POINTS` points; None if there are not as many where they have values."""
        x, y = self.sides
        tries = TRIES if self.variables else 1
        for in_domain in (False,) if self.imaginary else (True, False):
            agreed = 0
            for turn in range(tries):
                point = self._point(turn)
                if in_domain:
                    inside = [all(_value(part, point).is_positive for part in parts) for parts in self.under_roots]
                    if self.signed and inside == [True, False]:  # ln x for ln |x|
                        return False
                    if not all(inside):
                        continue
                verdict = self._agree(x, y, point, rule)
                if verdict is False:
                    return False
                agreed += verdict is True
                if agreed == min(POINTS, tries):
                    return True
        return None

    def _agree(self, x: Any, y: Any, point: dict, rule: str) -> bool | None:
        """Whether two formulas have one value at a point; None if one of them has none there."""
        if self.decimal or (rule in TOLERANT and not self.variables):
            return _close(_value(x, point), _value(y, point), "math" if self.variables else rule)
        return _is_zero(_minus(x, y), point)

    def same_roots(self) -> bool | None:
        """Whether both are zero for the same values, told by a variable that they are linear in, or as multiples."""
        f, g = self.sides
        points = [self._point(turn) for turn in range(POINTS)]
        for variable in sorted(f.free_symbols & g.free_symbols, key=str):
            verdicts = [_same_root(f, g, variable, point) for point in points]
            if all_of(verdicts) is not None:
                return all_of(verdicts)
        ratios = [_value(f, point) / _value(g, point) for point in points]
        return True if all(_near(ratio, ratios[0]) for ratio in ratios) else None


def _minus(x: Any, y: Any) -> Any:
    from sympy import Add, Mul

    return Add(x, Mul(-1, y, evaluate=False), evaluate=False)


def _value(formula: Any, point: dict, digits: int = 20, most: int = 100) -> Any:
    """The value of a formula at a point; nan where it has none."""
    from sympy import nan

    value = formula.evalf(digits, subs=point, maxn=most)
    return value if value.is_number and value.is_finite else nan


def _is_zero(difference: Any, point: dict) -> bool | None:
    """Whether not one digit of a difference is sure, however many are worked out; None if it has no value."""
    value = _value(difference, point, 2, DIGITS)
    if not value.is_finite or not _is_blank(value):
        return False if value.is_finite else None
    digits = DIGITS + _span(difference)
    if digits < DIGITS + 8:
        return True
    return digits < MOST_DIGITS and _is_blank(_value(difference, point, 2, digits))


def _is_blank(value: Any) -> bool:
    return all(part.is_zero or part._prec == 1 for part in value.as_real_imag())


def _span(formula: Any) -> int:
    """Decimal digits between the sizes of a formula's constant parts: as many as a difference may hide behind."""
    from sympy import preorder_traversal

    span = 0
    for part in preorder_traversal(formula):
        if part.is_number and (value := part.evalf(2)).is_Float and value:
            _, _, exponent, bits = value._mpf_
            span += abs(exponent + bits) * 0.302
    return int(span)


def numbers_equal(gold: kinds.Number, answer: kinds.Number, rule: str) -> bool:
    """Whether two plain numbers are equal under a rule."""
    x, y = gold.value, answer.value
    if rule == "authors":
        return as_authors(x, y)
    if rule == "relative":
        x, y = (v.value / 100 if v.percent else v.value for v in (gold, answer))
        return any(within_tolerance(v, y) for v in (x, x / 100, x * 100))
    if rule == "exact":
        return x == y and gold.percent == answer.percent
    either = [y]
    if gold.percent != answer.percent:
        either.append(y * 100 if gold.percent else y / 100)
    rounded = gold.decimal or answer.decimal
    margin = Fraction(1, 2) / Fraction(10) ** kinds.decimals(x, y) if rounded else 0
    return any(abs(x - v) <= margin for v in either)


def within_tolerance(x: Any, y: Any) -> bool:
    """Whether two numbers agree under the rule `relative`."""
    return bool(abs(x - y) <= RELATIVE_TOLERANCE * max(abs(x), abs(y)))


def as_authors(x: Fraction, y: Fraction) -> bool:
    """Whether two numbers agree under the rule `authors`: rounded to one decimal (half to even), as a percent of the other, or
    within 1e-4. A percent sign says nothing there."""
    near = any(abs(v - y) <= AUTHORS_TOLERANCE for v in (x, x * 100, x / 100))
    return near or round(x, 1) == round(y, 1)


def _close(x: Any, y: Any, rule: str) -> bool | None:
    """Whether two numbers agree as decimals do under a rule; None if one is none."""
    if not (x.is_finite and y.is_finite):
        return None
    difference, sizes = abs(x - y), (abs(x), abs(y))
    if rule == "relative":
        return within_tolerance(x, y)
    if rule == "authors":
        real = x.is_real and y.is_real
        return as_authors(Fraction(str(x)), Fraction(str(y))) if real else bool(difference <= AUTHORS_TOLERANCE)
    places = kinds.decimals(*(Fraction(str(size)) for size in sizes))
    return bool(difference <= Fraction(1, 2) / Fraction(10) ** places)


def _same_root(f: Any, g: Any, variable: Any, point: dict) -> bool | None:
    """Whether g is zero where f is; None if f is not linear in the variable, or g is not and is zero there."""
    root, other = _root(f, variable, point), _root(g, variable, point)
    if root is None or other is not None:
        return None if root is None else _near(root, other)
    there, beside = (_value(g, point | {variable: root + k}) for k in (0, 1))
    return False if abs(there) > 1e-9 * abs(beside) else None


def _root(formula: Any, variable: Any, point: dict) -> Any:
    """Where a formula is zero in a variable that it is linear in, by three of its values; None if it is not linear."""
    from sympy import Rational

    at = [Rational(2, 7), Rational(9, 5), Rational(31, 11)]
    a, b, c = (_value(formula, point | {variable: v}) for v in at)
    slope = (b - a) / (at[1] - at[0])
    return at[0] - a / slope if slope and _near((c - a) / (at[2] - at[0]), slope) else None


def _near(x: Any, y: Any) -> bool:
    return bool(abs(x - y) <= 1e-12 * max(abs(x), abs(y)))
