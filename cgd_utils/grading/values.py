r"""Equality of two formulas by their values: math-verify's parser reads them, numbers stand in for the variables.

Symbolic simplification refuses ``\sqrt{2h/g} = \sqrt{2h}/\sqrt{g}``, which needs h and g positive, and rounding to
fifteen digits credits ``1/1500! = 1/1501!``. So a formula is worked out at several points of its domain: as an exact
fraction where it is one, otherwise with the digits that its smallest and largest parts call for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache, reduce
from operator import add, mul
from typing import Any
from zlib import crc32

from . import kinds

RELATIVE_TOLERANCE = Fraction(1, 10_000)
POINTS, TRIES = 4, 24  # points that must agree, and how many are tried for those
DIGITS, MOST_DIGITS = 30, 20_000
EXACT_BITS = 100_000  # a longer fraction is rounded
DOUBLE_FACTORIAL = "doublefactorial"
FUNCTIONS = {"factorial": "factorial", "ceiling": "ceil", "Abs": "fabs", "Max": "max", "Min": "min"} | {
    name: name
    for name in "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh asinh acosh atanh exp log gamma "
    "binomial floor sign".split()
}


# ---- reading ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def read(answer: str) -> Any:
    """A cleaned answer as a sympy object, or None if math-verify's parser does not read it."""
    from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from math_verify.grader import should_treat_as_complex
    from math_verify.parser import get_last_eq

    # I may be a current or a moment of inertia, and !! would be read as the factorial of a factorial
    latex = re.sub(r"(?<![A-Za-z\\{])I(?![A-Za-z])", r"\\mathit{I}", answer.replace("%", "\\%"))
    latex = latex.replace("!!", rf"^{{\text{{{DOUBLE_FACTORIAL}}}}}")
    # units=False: with it, the m of 6m is dropped as a metre also where it is a variable; `notation` handles units
    form = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    latex = normalize_latex(latex, form)
    for text in dict.fromkeys((latex, get_last_eq(latex))):
        try:
            found = latex2sympy(
                text,
                is_real=not should_treat_as_complex(text),
                convert_degrees=True,
                normalization_config=None,
                conversion_config=ConversionConfig(lowercase_symbols=False),
            )
        except Exception:  # the parser raises anything on what it does not know
            continue
        return found
    return None


def as_math_verify_wants(expected: Any, actual: Any) -> tuple[Any, Any]:
    """Both with i as the imaginary unit, which the parser takes for a variable, and one case of letters if it may be."""
    from sympy import Basic, Expr, I, Symbol

    if not (isinstance(expected, Basic) and isinstance(actual, Basic)):
        return expected, actual
    spell = Domain(expected, actual).name
    meant = {s: Symbol(spell(s), real=s.is_real) for side in (expected, actual) for s in side.free_symbols}
    sides = []
    for side in (expected, actual):
        units = {s: I for s in side.free_symbols if s.name == "i" and isinstance(side, Expr)}
        changed = {s: meant[s] for s in side.free_symbols if meant[s].name != s.name} | units
        sides.append(side.xreplace(changed) if changed else side)
    return sides[0], sides[1]


# ---- values at a point --------------------------------------------------------------------------------------------


class Undefined(ArithmeticError):
    """A formula has no value at a point, or none that can be worked out here."""


class Domain:
    """What the variables of some formulas may be, by their use, and values of that kind.

    A variable under an even root or in a logarithm is positive, one in a factorial or in the exponent of -1 a whole
    number; any other may have either sign, and so may one between bars, where the sign is what matters.
    """

    def __init__(self, *formulas: Any):
        from sympy import preorder_traversal

        names = [{symbol.name for symbol in formula.free_symbols} for formula in formulas]
        self.cased = any(len({name.lower() for name in side}) < len(side) for side in names)  # M/m is not 1
        self.positive: set[str] = set()
        self.whole: set[str] = set()
        self.signed: set[str] = set()
        self.plain = self.names(*formulas)
        self.complex = "i" in self.plain
        self.plain.discard("i")
        self.varies = bool(self.plain)
        self.decimal = False
        for formula in formulas:
            for part in preorder_traversal(formula):
                self._look_at(part, part.func.__name__)

    def _look_at(self, part: Any, name: str) -> None:
        if name == "ImaginaryUnit":
            self.complex = True
        elif name in ("EulerGamma", "Derivative") or (part.is_Function and name not in FUNCTIONS):
            self.varies = True
        elif name == "Float":
            self.decimal = True
        elif name == "log":
            self.positive |= self.names(part.args[0])
        elif name in ("Abs", "sign", "Max", "Min"):
            self.signed |= self.names(part)
        elif name in ("factorial", "binomial"):
            self.whole |= self.names(part)
        elif name == "Pow" and str(part.exp) == DOUBLE_FACTORIAL:
            self.whole |= self.names(part.base)
        elif name == "Pow" and not (part.exp.is_Rational and part.exp.q % 2):
            self.positive |= self.names(part.base)
            if part.base.could_extract_minus_sign():
                self.whole |= self.names(part.exp)

    def name(self, symbol: Any) -> str:
        """A variable's name: in lower case, unless a formula tells the two cases of a letter apart."""
        return symbol.name if self.cased else symbol.name.lower()

    def names(self, *formulas: Any) -> set[str]:
        """The names of the variables in some formulas."""
        return {self.name(symbol) for formula in formulas for symbol in formula.free_symbols}

    def value(self, name: str, turn: int) -> Fraction:
        """A number for a variable at the `turn`-th point; the same in every process."""
        seed = crc32(f"{turn} {name}".encode())
        if name in self.whole:
            return Fraction(1 + seed % 13)
        size = Fraction(300 + seed % 1999, (1000, 3000, 400)[turn % 3])
        return -size if seed & 4096 and (name in self.signed or name not in self.positive) else size


class Calculator:
    """Works out formulas at one point of a domain.

    Attributes:
        span: decimal digits between the sizes of all parts seen so far: as many as a difference may hide in.
        top: binary exponent of the largest part seen so far.
    """

    def __init__(self, domain: Domain, turn: int, real: bool, digits: int = DIGITS, fixed: dict[str, Any] | None = None):
        self.domain, self.turn, self.real, self.digits = domain, turn, real, digits
        self.fixed = fixed or {}
        self.span, self.top = 0.0, -(10**9)

    def __call__(self, formula: Any) -> Any:
        """The value of a sympy formula: a Fraction where it is exact, else a number of mpmath.

        Raises:
            ArithmeticError: there is none; or it is not real although real values are asked for.
        """
        import mpmath

        with mpmath.workdps(self.digits):
            try:
                return self._value(formula)
            except (TypeError, ValueError, AttributeError, NotImplementedError, RecursionError) as error:
                raise Undefined(str(error)) from None

    def _value(self, formula: Any) -> Any:
        import mpmath

        value = self._worked_out(formula)
        if isinstance(value, Fraction):
            size = value.numerator.bit_length() - value.denominator.bit_length() if value else 0
        else:
            if not mpmath.isfinite(value) or (self.real and isinstance(value, mpmath.mpc)):
                raise Undefined
            size = mpmath.mag(value) if value else 0
        self.span += abs(size) * 0.302 if abs(size) > 8 else 0
        self.top = max(self.top, size)
        return value

    def _worked_out(self, formula: Any) -> Any:
        import mpmath

        name = formula.func.__name__
        if formula.is_Rational:
            return Fraction(formula.p, formula.q)
        if formula.is_Float:
            return Fraction(str(formula))
        if formula.is_Symbol and formula.name == "i":
            return +mpmath.j
        if formula.is_Symbol or name in ("EulerGamma", "Derivative"):  # gamma is hardly ever Euler's constant
            return self._variable(self.domain.name(formula) if formula.is_Symbol else str(formula))
        if name in ("Add", "Mul"):
            return reduce(_of_two(add if name == "Add" else mul), map(self._value, formula.args))
        if name == "Pow":
            return self._power(*formula.args)
        if name in ("Pi", "Exp1", "ImaginaryUnit"):
            return +{"Pi": mpmath.pi, "Exp1": mpmath.e, "ImaginaryUnit": mpmath.j}[name]
        if name == "UnevaluatedExpr":
            return self._value(formula.args[0])
        if name in FUNCTIONS:
            return self._function(name, [self._value(a) for a in formula.args])
        if formula.is_Function:  # unknown: f(x) is a number of its own, unless f is a variable elsewhere
            arguments = [self._value(a) for a in formula.args]
            if name in self.domain.plain and len(arguments) == 1:
                return _of_two(mul)(self._variable(name), arguments[0])
            return self._variable(f"{name}({', '.join(mpmath.nstr(_mp(a), 12) for a in arguments)})")
        known = formula.doit()  # a sum, an integral, a limit
        if known.func == formula.func:
            raise Undefined
        return self._value(known)

    def _variable(self, name: str) -> Any:
        return self.fixed.get(name, self.domain.value(name, self.turn))

    def _power(self, base: Any, exponent: Any) -> Any:
        import mpmath

        x = self._value(base)
        if str(exponent) == DOUBLE_FACTORIAL:
            return mpmath.fac2(_mp(x))
        n = self._value(exponent)
        if isinstance(n, Fraction) and isinstance(x, Fraction) and (exact := _exact_power(x, n)) is not None:
            return exact
        negative = isinstance(x, (Fraction, mpmath.mpf)) and x < 0
        if negative and isinstance(n, Fraction) and n.denominator % 2 and n.denominator > 1 and not self.domain.complex:
            return (-1) ** n.numerator * _mp(-x) ** _mp(n)  # the real root
        if isinstance(n, Fraction) and n.denominator == 1:
            return _mp(x) ** int(n)
        return _mp(x) ** _mp(n)

    def _function(self, name: str, arguments: list[Any]) -> Any:
        import mpmath

        exact = all(isinstance(a, Fraction) for a in arguments)
        if exact and name in ("Abs", "floor", "ceiling", "sign", "Max", "Min"):
            x = arguments[0]
            rounded = {"floor": x // 1, "ceiling": -(-x // 1), "sign": (x > 0) - (x < 0), "Abs": abs(x)}
            return Fraction(rounded[name] if name in rounded else {"Max": max, "Min": min}[name](arguments))
        if name in ("Max", "Min"):
            return {"Max": max, "Min": min}[name](_mp(a) for a in arguments)
        value = getattr(mpmath, FUNCTIONS[name])(*map(_mp, arguments))
        whole = exact and name in ("factorial", "binomial") and all(a.denominator == 1 for a in arguments)
        return Fraction(_whole(name, *map(int, arguments))) if whole and abs(value) < 1 << EXACT_BITS else value


def _whole(name: str, n: int, k: int = 0) -> int:
    import sympy

    return int(sympy.binomial(n, k) if name == "binomial" else sympy.factorial(n))


def _exact_power(x: Fraction, n: Fraction) -> Fraction | None:
    """x to the n-th power where it is a fraction that is not too long; the odd root of a negative one is negative."""
    from sympy import integer_nthroot

    bits = max(x.numerator.bit_length(), x.denominator.bit_length())
    if bits * abs(n) > EXACT_BITS or n.denominator > 64 or (x < 0 and n.denominator % 2 == 0):
        return None
    if n.denominator > 1:
        (top, is_top), (bottom, is_bottom) = (
            integer_nthroot(abs(v), n.denominator) for v in (x.numerator, x.denominator)
        )
        if not (is_top and is_bottom):
            return None
        x = Fraction(-top if x < 0 else top, bottom)
    return x**n.numerator


def _of_two(operation: Any) -> Any:
    def of_two(x: Any, y: Any) -> Any:
        if isinstance(x, Fraction) and isinstance(y, Fraction):
            return operation(x, y)
        return operation(_mp(x), _mp(y))

    return of_two


def _mp(value: Any) -> Any:
    import mpmath

    return mpmath.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


# ---- comparing ----------------------------------------------------------------------------------------------------


def same(expected: Any, actual: Any, rule: str) -> bool | None:
    """Whether two sympy objects are equal by their values; None where values cannot say."""
    from sympy import Eq, Expr, Interval, MatrixBase, Symbol

    pair = (expected, actual)

    def both(kind: Any) -> bool:
        return isinstance(expected, kind) and isinstance(actual, kind)

    if both(MatrixBase) and expected.shape == actual.shape:
        return _all(same(x, y, rule) for x, y in zip(expected, actual, strict=True))
    if both(Interval):
        if (expected.left_open, expected.right_open) != (actual.left_open, actual.right_open):
            return False
        return _all(x == y or same(x, y, rule) for x, y in ((expected.start, actual.start), (expected.end, actual.end)))
    if both(Eq) and all(isinstance(side, Expr) for equation in pair for side in equation.args):
        return _same_equation(expected.lhs - expected.rhs, actual.lhs - actual.rhs)
    if both(Expr) and Symbol not in map(type, pair):  # ABC may be A·B·C: math-verify knows
        return _same_formula(expected, actual, rule)
    return None


def _all(verdicts: Iterator[bool | None]) -> bool | None:
    verdicts = list(verdicts)
    return False if False in verdicts else None if None in verdicts else True


def _same_formula(expected: Any, actual: Any, rule: str) -> bool | None:
    domain = Domain(expected, actual)
    tries = TRIES if domain.varies else 1
    for real in (False,) if domain.complex else (True, False):
        agreed = 0
        for turn in range(tries):
            verdict = _same_at(expected, actual, domain, turn, real, rule)
            if verdict is False:
                return False
            agreed += verdict is True
            if agreed == min(POINTS, tries):
                return True
    return None


def _same_at(expected: Any, actual: Any, domain: Domain, turn: int, real: bool, rule: str) -> bool | None:
    """Whether two formulas have one value at a point; None if one has no value there."""
    try:
        x, y, calculator = _both_at(expected, actual, domain, turn, real, DIGITS)
    except ArithmeticError:
        return None
    if domain.decimal or (rule == "relative" and not domain.varies):
        return _close(x, y, "math" if domain.varies else rule)
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return x == y
    if _apart(x, y, calculator.top, 10):
        return False
    # They agree so far. A difference may hide behind as many digits as the parts differ in size; with twice as many
    # digits it is either there or gone.
    digits = DIGITS + int(calculator.span)
    if digits > MOST_DIGITS:
        return False
    x, y, calculator = _both_at(expected, actual, domain, turn, real, 2 * digits)
    return not _apart(x, y, calculator.top, 1.5 * digits)


def _both_at(expected: Any, actual: Any, domain: Domain, turn: int, real: bool, digits: int) -> tuple:
    calculator = Calculator(domain, turn, real, digits)
    x = calculator(expected)
    try:
        return x, calculator(actual), calculator
    except ArithmeticError:
        if domain.signed and domain.varies:  # ln x for ln |x|
            return x, x + 1, calculator
        raise


def _apart(x: Any, y: Any, top: int, digits: float) -> bool:
    """Whether two numbers differ by more than that many digits of the largest part of their formulas."""
    import mpmath

    with mpmath.workdps(int(digits) + 15):
        return abs(_mp(x) - _mp(y)) > mpmath.ldexp(mpmath.mpf(10) ** -digits, top)


def _close(x: Any, y: Any, rule: str) -> bool:
    """Whether two numbers agree as decimals do under a rule."""
    import mpmath

    difference, sizes = abs(_mp(x) - _mp(y)), (abs(_mp(x)), abs(_mp(y)))
    if rule == "relative":
        return difference <= _mp(RELATIVE_TOLERANCE) * max(sizes)
    if max(abs(mpmath.mag(size)) if size else 0 for size in sizes) > EXACT_BITS:
        return False
    places = kinds.decimals(*(Fraction(*mpmath.libmp.to_rational(size._mpf_)) for size in sizes))
    return difference <= mpmath.mpf(10) ** -places / 2


def _same_equation(f: Any, g: Any) -> bool | None:
    """Whether f = 0 and g = 0 say the same: they have one root in a variable that both are linear in, or f is c·g."""
    domain = Domain(f, g)
    for variable in sorted(domain.names(f) & domain.names(g)):
        verdicts = {_same_root(f, g, domain, turn, variable) for turn in range(POINTS)}
        if False in verdicts:
            return False
        if verdicts == {True}:
            return True
    try:
        ratios = [_number(f, domain, turn) / _number(g, domain, turn) for turn in range(POINTS)]
    except ArithmeticError:
        return None
    return True if all(_near(ratio, ratios[0]) for ratio in ratios) else None


def _same_root(f: Any, g: Any, domain: Domain, turn: int, variable: str) -> bool | None:
    """Whether g is zero where f is, at one point; None if f is not linear in the variable, or g is not and is zero."""
    try:
        (root, _), (other, linear) = (_root(side, domain, turn, variable) for side in (f, g))
        if root is None:
            return None
        if linear:
            return _near(root, other)
        there, beside = (_number(g, domain, turn, {variable: root + k}) for k in (0, 1))
    except ArithmeticError:
        return None
    return None if abs(there) <= 1e-15 * abs(beside) else False


def _root(formula: Any, domain: Domain, turn: int, variable: str) -> tuple[Any, bool]:
    """Where a formula is zero in a variable, and True; (None, False) unless it is linear in it, by three values."""
    at = [_mp(Fraction(*v)) for v in ((2, 7), (9, 5), (31, 11))]
    a, b, c = (_number(formula, domain, turn, {variable: v}) for v in at)
    slope = (b - a) / (at[1] - at[0])
    if not slope or not _near((c - a) / (at[2] - at[0]), slope):
        return None, False
    return at[0] - a / slope, True


def _number(formula: Any, domain: Domain, turn: int, fixed: dict[str, Any] | None = None) -> Any:
    return _mp(Calculator(domain, turn, False, fixed=fixed)(formula))


def _near(x: Any, y: Any) -> bool:
    """Equal but for the rounding of a dozen steps with mpmath's usual 15 digits."""
    return abs(x - y) <= 1e-10 * max(abs(x), abs(y))
