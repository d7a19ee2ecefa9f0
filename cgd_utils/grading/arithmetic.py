"""Values of simple formulas without sympy, to tell wrong answers apart at once.

math-verify takes milliseconds to read a formula and more to compare two. Most wrong answers are visibly wrong: with
numbers put in for the variables they have another value. This reader knows numbers, variables, ``+ - * / ^``,
``\\frac``, ``\\sqrt``, ``\\pi``, e and i. Whatever can be read in two ways (``1/2x``, ``f(x)``, ``10^23``) it does not
read, and it never says that two answers are equal: both are left to math-verify.
"""

from __future__ import annotations

import cmath
import math
import re
from functools import lru_cache
from zlib import crc32

_TOKEN = re.compile(r"\s*(\d+\.\d+|\.\d+|\d+|\\[A-Za-z]+|[A-Za-z]|[-+*/^_(){}\[\]])")
_GREEK = re.compile(
    r"\\(?:alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|upsilon|phi|chi|psi"
    r"|omega)"
)
_TIMES = ("*", "\\cdot", "\\times")


def differ(gold: str, answer: str) -> bool:
    """Whether two cleaned answers have visibly different values; False where they are equal, close or not read."""
    expected, actual = value(gold), value(answer)
    if expected is None or actual is None:
        return False
    (x, x_varies), (y, y_varies) = expected, actual
    size = max(abs(x), abs(y))
    return abs(x - y) > 1e-3 * (max(1, size) if x_varies or y_varies else size)


@lru_cache(maxsize=65536)
def value(formula: str) -> tuple[complex, bool] | None:
    """The value of a formula, and whether it has variables, which have fixed values; None if it is not read."""
    tokens, end = [], 0
    while end < len(formula) and (match := _TOKEN.match(formula, end)):
        tokens.append(match[1])
        end = match.end()
    if formula[end:].strip() or not tokens:
        return None
    reader = _Reader(tokens)
    try:
        result = complex(reader.sum())
    except (_Unclear, ArithmeticError, ValueError, RecursionError):
        return None
    return (result, reader.varies) if reader.next is None and math.isfinite(abs(result)) else None


class _Unclear(Exception):
    pass


class _Reader:
    """Recursive descent over the tokens of a formula."""

    def __init__(self, tokens: list[str]):
        self.tokens = tokens[::-1]
        self.varies = False

    @property
    def next(self) -> str | None:
        return self.tokens[-1] if self.tokens else None

    def take(self, *wanted: str) -> str:
        if self.next is None or (wanted and self.next not in wanted):
            raise _Unclear
        return self.tokens.pop()

    def sum(self) -> complex:
        total = self.product()
        while self.next in ("+", "-"):
            total += self.product()
        return total

    def product(self) -> complex:
        sign = 1
        while self.next in ("+", "-"):
            sign *= -1 if self.take() == "-" else 1
        result, divided = self.power(), False
        while self.next is not None:
            if self.next in _TIMES:
                self.take()
                result *= self.power()
            elif self.next == "/":
                self.take()
                result, divided = result / self.power(), True
            elif self.next[0].isdigit() or self.next[0] == "." or (divided and self.next not in ("+", "-", ")", "}")):
                raise _Unclear  # x2, 1/2x
            elif self.next[0].isalpha() or self.next[0] in "\\(":
                result *= self.power()
            else:
                break
        return sign * result

    def power(self) -> complex:
        base = self.atom()
        if self.next == "^":
            self.take()
            if len(self.next or "") == 1 and self.next != "{" and not self.next.isalnum():
                raise _Unclear
            if (self.next or "")[:1].isdigit() and len(self.next) > 1:
                raise _Unclear  # 10^23
            exponent = self.atom()
            if self.next == "^":
                raise _Unclear
            base, exponent = complex(base), complex(exponent)
            if not base.imag and base.real < 0 and exponent != int(exponent.real):
                raise _Unclear  # (-8)^{1/3} is -2
            base = base**exponent
        return base

    def atom(self) -> complex:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            if self.next == "\\frac":
                raise _Unclear  # a mixed number
            return float(token)
        if token in ("(", "{"):
            return self.closed(")" if token == "(" else "}")
        if token == "\\frac":
            top = self.group()
            return top / self.group()
        if token == "\\sqrt":
            degree: complex = 2
            if self.next == "[":
                self.take()
                degree = self.closed("]")
            return self.root(complex(self.group()), degree)
        if token == "\\pi":
            return math.pi
        return self.variable(token)

    def root(self, x: complex, degree: complex) -> complex:
        if x.imag or x.real >= 0:
            return x ** (1 / degree)
        if degree == 2 and not self.varies:
            return cmath.sqrt(x)
        raise _Unclear  # the real root of -27, and a point outside of the domain

    def variable(self, token: str) -> complex:
        if token in "EI" or not (token.isalpha() or _GREEK.fullmatch(token)):
            raise _Unclear  # math-verify may take E for e
        if token in ("e", "i"):
            if self.next == "_":
                raise _Unclear
            return math.e if token == "e" else 1j
        name = token.lower().lstrip("\\")  # as math-verify does
        if self.next == "_":
            self.take()
            name += "_" + self.subscript()
        if self.next == "(" or (token == "d" and (self.next or "")[:1].isalpha()):
            raise _Unclear  # f(x), dx
        self.varies = True
        return 0.3 + crc32(name.encode()) % 10007 / 5000

    def subscript(self) -> str:
        if self.next != "{":
            return self.take().lower()
        parts = []
        self.take()
        while self.next not in ("}", "{", None):
            parts.append(self.take().lower())
        self.take("}")
        return "".join(parts)

    def group(self) -> complex:
        self.take("{")
        return self.closed("}")

    def closed(self, bracket: str) -> complex:
        result = self.sum()
        self.take(bracket)
        return result
