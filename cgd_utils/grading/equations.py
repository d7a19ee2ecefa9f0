"""Equations in prose: ``16 eggs - 3 eggs = 13 eggs``, ``3 times $4 is $12``, ``20% of 50 = 10``, ``5 + 3 + 2 = 10``.

Only what can be read without doubt is read: a formula with a variable, or one of which only a part is understood, gives
nothing, so that a right calculation is never called false.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

UNIT_WORDS = 6  # at most so many words of unit between a number and the sign that follows

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_VALUE_FOLLOWS = rf"(?=[\s$€£*:\\(]*(?:{_NUMBER}))"
_TOKEN = re.compile(
    rf"""(?P<frac>\\[dt]?frac\{{\s*\d+\s*\}}\{{\s*\d+\s*\}})
    |(?P<gap>\\(?:text|mathrm|textbf|mbox)\{{[^{{}}]*\}}|<<[^<>]*>>|\\(?:boxed|left|right|quad|qquad)\b|\\[()\[\],;:! ]|[\\$€£¥`"_{{}}&]
        |\*\*+|[ \t]+|\((?=[^()\d]*\))[^()]*\))
    |(?P<number>(?:{_NUMBER})(?:\s?%|\\%)?)
    |(?P<line>\s*\n\s*)
    |(?P<equals>[=≈]|\\approx|\\?(?:,\s*)?\b(?:(?:which|that|this)\s+)?(?:is\s+equal\s+to|equals|equal|is|are|gives(?:\s+(?:us|you))?|makes|leaves
        |comes\s+to|to\s+get|(?:we|you)\s+get)(?:\s+(?:a\s+total\s+of|about|approximately))?\b{_VALUE_FOLLOWS})
    |(?P<plus>\+|\bplus\b)
    |(?P<minus>[-−–](?![A-Za-z])|\bminus\b)
    |(?P<times>[×·*∗]|\\(?:times|cdot)\b|\btimes\b(?=[\s$€£(\\]*\d)|\bmultiplied\s+by\b|(?<![A-Za-z])[xX](?=[\s$€£]*[\d(]))
    |(?P<over>÷|\\div\b|/(?!\s*[A-Za-z])|\bdivided\s+by\b)
    |(?P<of>\bof\b(?=\s*(?:the\s+)?[$€£]?\d))
    |(?P<per>/\s*[A-Za-z]+|-[A-Za-z]+)
    |(?P<open>\()|(?P<close>\))
    |(?P<word>[A-Za-z][A-Za-z'’-]*)
    |(?P<stop>.)""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS = {"plus": "+", "minus": "-", "times": "*", "over": "/", "of": "*"}


@dataclass(frozen=True)
class Operation:
    """One operation as it was written, and its true value."""

    left: Fraction
    sign: str
    right: Fraction

    @property
    def value(self) -> Fraction:
        match self.sign:
            case "+":
                return self.left + self.right
            case "-":
                return self.left - self.right
            case "*":
                return self.left * self.right
            case _:
                return self.left / self.right


@dataclass(frozen=True)
class Equation:
    """An equation in a text.

    Attributes:
        start, end: where it stands.
        text: as written, with its units.
        operations: of its left side, in the order in which they are worked out; the last one's value is the side's.
        claimed: the value that the text gives.
        true: whether the left side has this value; a decimal may be rounded or cut.
    """

    start: int
    end: int
    text: str
    operations: tuple[Operation, ...]
    claimed: Fraction
    true: bool

    @property
    def value(self) -> Fraction:
        """The true value of the left side."""
        return self.operations[-1].value

    @property
    def left(self) -> str:
        """The left side as written."""
        return re.split(r"\s*(?:=|≈|\bis\b|\bequals?\b)", self.text, maxsplit=1)[0].strip()


def show(value: Fraction) -> str:
    """A number as people write it: ``12``, ``2.5``, ``5.33``."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.2f}".rstrip("0").rstrip(".")


def plain(equation: Equation) -> str:
    """An equation without units, as ``4 * 3 = 12``; one of several operations as it was written."""
    if len(equation.operations) > 1:
        return equation.text
    (only,) = equation.operations
    return f"{show(only.left)} {only.sign} {show(only.right)} = {show(equation.claimed)}"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class _Side:
    """A parsed side of an equation."""

    value: Fraction
    operations: tuple[Operation, ...]
    first: Fraction  # its first number
    first_end: int  # where that ends
    end: int
    next: int  # number of the token after it
    places: int  # decimal places of a bare number
    percent: bool


class _Unreadable(Exception):
    pass


def read(text: str) -> list[Equation]:
    """Every equation of a text, in its order.

    ``5 + 3 = 8 - 2 = 6``, which people write for two steps, is read as ``5 + 3 = 8`` and ``8 - 2 = 6``.
    """
    reader = _Reader(text)
    found: list[Equation] = []
    i = 0
    while i < len(reader.tokens):
        try:
            equations, i = reader.equations(i)
            found += equations
        except _Unreadable:
            i += 1
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        tokens = [_Token(m.lastgroup or "", m.group(), m.start(), m.end()) for m in _TOKEN.finditer(text)]
        self.tokens = [t for t in tokens if t.kind != "gap"]

    def kind(self, i: int) -> str:
        return self.tokens[i].kind if 0 <= i < len(self.tokens) else ""

    def equations(self, i: int) -> tuple[list[Equation], int]:
        """The equations that begin at a token, and the token to go on with."""
        if self.kind(i) not in ("number", "frac", "open") or self._inside(i):
            raise _Unreadable
        start, side = self.tokens[i].start, self.sum(i)
        found: list[Equation] = []
        while True:
            at = self._past_line(side.next, ("equals",))
            if self.kind(at) != "equals":
                break
            right = self.sum(self._past_line(at + 1, ("number", "frac", "open")))
            if self._algebra_follows(right.next):
                raise _Unreadable
            if side.operations and right.operations and side.operations[-1] == right.operations[-1]:
                side = replace(right, operations=side.operations)  # 2 * (3 + 4) = 2 * 7 = 14: one calculation
                continue
            if side.operations:
                claimed, end, holds = self._claim(side, right)
                found.append(Equation(start, end, self.text[start:end].strip(), side.operations, claimed, holds))
            start, side = self.tokens[self._past_line(at + 1, ("number", "frac", "open"))].start, right
        if not found:
            raise _Unreadable
        return found, max(side.next, i + 1)

    def _inside(self, i: int) -> bool:
        """Whether a token continues something that was not understood: ``x + 3``, ``4 * (…``."""
        before = self.kind(i - 1)
        if before == "of":
            return self.kind(i - 2) in ("number", "frac")
        if before in ("plus", "minus", "times", "over"):
            bullet = self.kind(i - 2) in ("line", "stop", "") and before in ("minus", "times", "plus")
            return not bullet
        token = self.tokens[i]
        return token.start > 0 and (self.text[token.start - 1].isalnum() or self.text[token.start - 1] == ".")

    def _past_line(self, i: int, wanted: Sequence[str]) -> int:
        return i + 1 if self.kind(i) == "line" and self.kind(i + 1) in wanted else i

    def _algebra_follows(self, i: int) -> bool:
        return self.kind(i) in ("plus", "times", "over", "open") or (
            self.kind(i) == "minus" and self.kind(i + 1) in ("number", "word")
        )

    def _claim(self, left: _Side, right: _Side) -> tuple[Fraction, int, bool]:
        """What a left side is said to be, where that ends, and whether it is so."""
        if right.operations and right.value != left.value and right.first == left.value:
            return right.first, right.first_end, True
        places = right.places if not right.operations else 2
        slack = Fraction(1, 10**places) if places else Fraction(0)
        near = abs(left.value - right.value) <= slack
        in_percent = right.percent and abs(left.value - 100 * right.value) <= slack
        return right.value, right.end, near or in_percent

    def sum(self, i: int) -> _Side:
        side = self.product(i)
        while self.kind(at := self._past_line(side.next, ("plus",))) in ("plus", "minus"):
            side = self._join(side, at, self.product(self._past_line(at + 1, ("number", "frac", "open"))))
        return side

    def product(self, i: int) -> _Side:
        side = self.factor(i)
        while True:
            at = self._past_line(side.next, ("over",))
            if self.kind(at) == "of" and not (side.percent or side.value < 1):
                raise _Unreadable  # 3 of 5
            if self.kind(at) in ("times", "over", "of"):
                side = self._join(side, at, self.factor(self._past_line(at + 1, ("number", "frac", "open"))))
            elif self.kind(at) == "open" and self.text[side.end : self.tokens[at].start].strip(" \\$") == "":
                side = self._join(side, None, self.factor(at))  # 2(3 + 4)
            else:
                return side

    def _join(self, a: _Side, sign: int | None, b: _Side) -> _Side:
        operation = Operation(a.value, "*" if sign is None else _SIGNS[self.kind(sign)], b.value)
        if operation.sign == "/" and b.value == 0:
            raise _Unreadable
        done = (*a.operations, *b.operations, operation)
        return _Side(operation.value, done, a.first, a.first_end, b.end, b.next, 0, a.percent or b.percent)

    def factor(self, i: int) -> _Side:
        kind = self.kind(i)
        if kind == "open":
            inner = self.sum(i + 1)
            if self.kind(inner.next) != "close":
                raise _Unreadable
            end = self.tokens[inner.next].end
            following, end = self._units(inner.next + 1, end)
            return _Side(
                inner.value, inner.operations, inner.first, inner.first_end, end, following, inner.places, inner.percent
            )
        negative = kind == "minus" and self.kind(i + 1) == "number"
        i += negative
        if self.kind(i) not in ("number", "frac"):
            raise _Unreadable
        token = self.tokens[i]
        value, places, percent = _number(token)
        if negative:
            value = -value
        if re.match(r"[A-Za-z](?![A-Za-z])", self.text[token.end : token.end + 2]) and not re.match(
            r"[xX]\s*[\d(]", self.text[token.end :]
        ):
            raise _Unreadable  # 2x + 3
        following, end = self._units(i + 1, token.end)
        done: tuple[Operation, ...] = ()
        if kind == "frac":
            top, bottom = map(int, re.findall(r"\d+", token.text))
            done = (Operation(Fraction(top), "/", Fraction(bottom)),)
        return _Side(value, done, value, token.end, end, following, places, percent)

    def _units(self, i: int, end: int) -> tuple[int, int]:
        """The token after a number's unit and where the unit ends; the number's own where no sign follows the unit."""
        if self.kind(i - 2) == "over" and self.kind(i) == "word" and self.tokens[i].text == "of":
            raise _Unreadable  # 1/2 of the pages = …
        at = i
        while at - i < UNIT_WORDS and self.kind(at) in ("word", "per"):
            if self.kind(at) == "word" and len(self.tokens[at].text) == 1 and self.tokens[at].text != "a":
                raise _Unreadable  # a variable
            at += 1
        if at == i:
            return i, end
        sign = self.kind(self._past_line(at, ("equals",)))
        if sign in ("plus", "minus", "times", "over", "equals", "close") and not self._new_sentence(i, at):
            return at, self.tokens[at - 1].end
        return i, end

    def _new_sentence(self, i: int, at: int) -> bool:
        """Whether the words are more than a unit: ``3 and then he bought = …``, ``4 is 5 times``."""
        words = {self.tokens[n].text.lower() for n in range(i, at)}
        return bool(words & {"and", "then", "so", "but", "if", "is", "are", "was", "has", "have", "he", "she", "they"})


def _number(token: _Token) -> tuple[Fraction, int, bool]:
    """Value, decimal places, and whether it is a percentage."""
    if token.kind == "frac":
        top, bottom = re.findall(r"\d+", token.text)
        if int(bottom) == 0:
            raise _Unreadable
        return Fraction(int(top), int(bottom)), 2, False
    digits = re.sub(r"[,\s\\%]", "", token.text)
    percent = "%" in token.text
    places = len(digits.partition(".")[2])
    return Fraction(digits) / (100 if percent else 1), places, percent
