"""What a cleaned answer is, read without sympy: a number, words, a truth value, a choice, a time, a list, a matrix."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import floor, log10
from typing import NamedTuple

from .notation import TEXT, clean, squeeze
from .phrases import TRUE_WORDS, truth_word


class Number(NamedTuple):
    """A plain number: its exact value, whether it was written as a decimal, and whether with a percent sign."""

    value: Fraction
    decimal: bool = False
    percent: bool = False


_INTEGER = re.compile(r"[-+]?\d{1,300}%?")
_DECIMAL = re.compile(r"([-+]?)(\d{0,300})\.(\d{0,300})(%?)")
_SCIENTIFIC = re.compile(
    r"([-+]?(?:\d{1,300}\.?\d{0,300}|\.\d{1,300}))(?:\*|\\times|\\cdot|x)"
    r"10\^(?:\{([-+]?\d{1,3})\}|\(?([-+]?\d{1,3})\)?)"
)
_POWER_OF_TEN = re.compile(r"([-+]?)10\^(?:\{([-+]?\d{1,3})\}|(\d))")
_FRACTION = re.compile(
    r"([-+]?)(\d{0,30})\\frac(?:\{([-+]?\d{1,300}(?:\.\d*)?)\}|(\d))(?:\{(-?\d{1,300}(?:\.\d*)?)\}|(\d))"
)
_SLASH = re.compile(r"([-+]?\d{1,300}\.?\d{0,300})/(\d{1,300}\.?\d{0,300})")
_MIXED = re.compile(r"([-+]?)(\d{1,30}) (\d{1,30})/(\d{1,30})")
_REPEATING = re.compile(r"([-+]?)(\d{0,30})\.(\d{0,30})\\(?:overline|bar|dot)\s*\{?(\d{1,30})\}?")
_GOES_ON = re.compile(r"([-+]?)(\d{0,30})\.(\d{1,60})\\ldots")


@lru_cache(maxsize=65536)
def number(answer: str) -> Number | None:
    r"""The number that a cleaned answer plainly is: integer, decimal, fraction, mixed number or ``a\times 10^{b}``."""
    text = answer.replace(" ", "") if " " in answer and not re.search(r"\d \d", answer) else answer
    percent = text.endswith("%")
    if _INTEGER.fullmatch(text):
        return Number(Fraction(int(text.rstrip("%"))), False, percent)
    if (m := _DECIMAL.fullmatch(text)) and (m[2] or m[3]):
        return Number(Fraction(f"{m[1]}{m[2] or 0}.{m[3] or 0}"), True, percent)
    if m := _SCIENTIFIC.fullmatch(text):
        return Number(_fraction(m[1]) * Fraction(10) ** int(m[2] or m[3]), True)
    if m := _POWER_OF_TEN.fullmatch(text):
        return Number(Fraction(f"{m[1]}1") * Fraction(10) ** int(m[2] or m[3]))
    if m := _FRACTION.fullmatch(text):
        top, bottom = _fraction(m[3] or m[4]), _fraction(m[5] or m[6])
        return Number(_sign(m[1]) * (int(m[2] or 0) + top / bottom), "." in m[0]) if bottom else None
    if m := _SLASH.fullmatch(text):
        top, bottom = _fraction(m[1]), _fraction(m[2])
        return Number(top / bottom, "." in m[0].replace("./", "/")) if bottom else None
    if (m := _MIXED.fullmatch(text)) and 0 < int(m[3]) < int(m[4]):
        return Number(_sign(m[1]) * (int(m[2]) + Fraction(int(m[3]), int(m[4]))))
    if m := _REPEATING.fullmatch(text):
        return Number(_sign(m[1]) * _repeating(m[2], m[3], m[4]))
    if m := _GOES_ON.fullmatch(text):
        for period in range(1, len(m[3]) // 2 + 1):  # 0.333…, 0.1666…, 0.2727…
            seen = 3 if period == 1 else 2
            if m[3].endswith(m[3][-period:] * seen):
                return Number(_sign(m[1]) * _repeating(m[2], m[3], m[3][-period:]))
        return Number(_sign(m[1]) * Fraction(f"{m[2] or 0}.{m[3]}"), True)
    return None


def canonical(answer: str | None) -> str | None:
    """One spelling of an extracted answer, for voting: ``0.50`` and ``\\frac{1}{2}`` give ``1/2``; without sympy."""
    if not answer:
        return None
    text = clean(answer)
    plain = number(text)
    return f"{plain.value}{'%' * plain.percent}" if plain else squeeze(text) or None


def _repeating(whole: str, fixed: str, block: str) -> Fraction:
    """The value of whole.fixed block block block …"""
    tail = Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(fixed))
    return Fraction(f"{whole or 0}.{fixed or 0}") + tail


_CLOCK = re.compile(r"(\d{1,2})(?::([0-5]\d))?([ap]m)?")


def clock(answer: str) -> tuple[int, int, str] | None:
    """Hour, minute and ``am``, ``pm`` or '' of ``2:30pm``, ``11:05``, ``3``; None for anything else."""
    m = _CLOCK.fullmatch(answer.replace(" ", ""))
    return (int(m[1]), int(m[2] or 0), m[3] or "") if m else None


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.rstrip("."))


def _sign(mark: str) -> int:
    return -1 if mark == "-" else 1


def decimals(x: Fraction, y: Fraction) -> int:
    """Decimals to which two numbers must agree: six, and never fewer than four significant digits of the smaller."""
    size = min((abs(v) for v in (x, y) if v), default=1)
    return max(6, 3 - floor(log10(size.numerator) - log10(size.denominator)))


def words(answer: str) -> str | None:
    r"""The words of a cleaned answer that is text, in lower case, like ``\text{Evelyn}``; None if it is none."""
    text, wrapped = TEXT.subn(r" \1 ", answer)
    text = re.sub(r"[\s.,'\"*-]+", " ", text).strip().lower()
    if not re.fullmatch(r"[a-z][a-z ()]*", text) or len(text) < 2 or not (wrapped or re.search("[a-z]{4}", text)):
        return {"yes": "yes", "no": "no"}.get(text)
    return re.sub(r"^(?:an?|the) ", "", text)


def truth(answer: str) -> bool | None:
    """True for true and yes, False for false, no and not true, also as the head of a sentence; else None."""
    text = TEXT.sub(r" \1 ", answer).strip()
    if not re.match(
        r"(?:it(?: is|['’]s|s)? )?(?:not\b|(?:yes|no|true|false|correct|incorrect|untrue)\b(?!\s*=))",
        text,
        re.IGNORECASE,
    ):
        return None
    word = truth_word(text)
    return word.lower() in TRUE_WORDS if word else None


_CHOICE = re.compile(
    r"\(\s*([A-Ja-j])\s*\)|([A-J])\s*[).:]?|([A-J])\s*[).:]\s.+|\(\s*([A-Ja-j])\s*\)\s*[^-+*/^=\s].*|([a-j])\s*\)"
)


def choice(answer: str) -> str | None:
    r"""The letter of a choice in upper case: ``(c)``, ``B``, ``\text{(B)}``, ``B) 12``, ``Option B``; else None."""
    text = re.sub(r"\s+", " ", TEXT.sub(r" \1 ", answer)).strip()
    m = _CHOICE.fullmatch(re.sub(r"^(?:option|choice)\s+", "", text, flags=re.IGNORECASE))
    return next(group for group in m.groups() if group).upper() if m else None


def without_choice(answer: str) -> str:
    r"""``(C) 17``, ``\text{(C)} 17`` → ``17``."""
    return re.sub(r"^\s*\(\s*[A-J]\s*\)\s*(?=\S)", "", TEXT.sub(r" \1 ", answer))


def last_of_chain(answer: str) -> str | None:
    """``2 + 3 = 5 eggs`` → ``5``, ``P(X > 2) = 0.5`` → ``0.5``; None for a multiple on the left (``2x = 10``)."""
    left, equals, right = answer.rpartition("=")
    return clean(right) if equals and "," not in left and not re.fullmatch(r"[-+]?\d+\s*[a-zA-Z]\s*", left) else None


_BASE = re.compile(r"([0-9A-Za-z]{1,60})_(?:\{(\d{1,2})\}|(\d{1,2}))")


def based(answer: str) -> tuple[str, int] | None:
    """Digits and base of ``4210_{5}``; None for anything else."""
    m = _BASE.fullmatch(answer.replace(" ", ""))
    return (m[1].lower(), int(m[2] or m[3])) if m and m[1][0].isdigit() else None


_ASSIGNMENT = re.compile(
    r"^\\?[A-Za-z]+(?:_(?:\{[^{}]*\}|\w))?\s*(?:\([A-Za-z, ]*\))?"
    r"\s*(?:=|\\(?:in|equiv)(?![A-Za-z]))\s*(?P<value>[^=]+)$"
)


def assignment(answer: str) -> tuple[str, str] | None:
    r"""The two sides of ``x = 5``, ``f(x)=2x``, ``x \in [-2,7]``; None for anything else."""
    m = _ASSIGNMENT.match(answer)
    return (answer[: m.start("value")].strip(), m["value"].strip()) if m else None


class Listing(NamedTuple):
    """Several answers in one: its brackets ('' for a bare list) and its elements."""

    brackets: str
    elements: tuple[str, ...]


@lru_cache(maxsize=65536)
def listing(answer: str) -> Listing | None:
    r"""The elements of a tuple, interval, set or bare list: ``(3, \pi)``, ``(3,4]``, ``\{1,2\}``, ``1,-2``."""
    text = answer.replace("\\{", "⟨").replace("\\}", "⟩")
    if not re.search(r"[,;]|^[\[⟨]|\\pm", text) or "\\begin" in text:
        return None
    inner, brackets = text, ""
    if text[:1] in ("(", "[", "⟨") and text[-1:] in (")", "]", "⟩") and _closes_at(text) == len(text) - 1:
        inner = text[1:-1]
        brackets = (text[0] + text[-1]).replace("⟨", "{").replace("⟩", "}")
    elements, depth, start = [], 0, 0
    for i, mark in enumerate(inner):
        if mark in "([{⟨":
            depth += 1
        elif mark in ")]}⟩":
            depth -= 1
        elif mark in ",;" and depth == 0:
            elements.append(inner[start:i])
            start = i + 1
    elements.append(inner[start:])
    elements = [e.strip().replace("⟨", "\\{").replace("⟩", "\\}") for e in elements]
    if depth != 0 or not all(elements):
        return None
    elements = _both_signs(elements)
    if len(elements) == 1 and brackets not in ("[]", "{}"):
        return None
    return Listing(brackets, tuple(clean(e) for e in elements))


_GRID = re.compile(r"\\begin\{([bpvBV]?matrix|array)\}(?:\s*\{[^{}]*\})?(.*?)\\end\{\1\}", re.DOTALL)


def grid(answer: str) -> tuple[tuple[str, ...], ...] | None:
    r"""The rows of ``\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}`` or ``[[1,2],[3,4]]``; a tuple is one column."""
    if m := _GRID.fullmatch(answer.strip("[]() ")):
        rows = [r.strip() for r in m[2].split("\\\\")]
        return tuple(tuple(c.strip() for c in r.split("&")) for r in rows if r)
    if (outer := listing(answer)) is None:
        return None
    inner = [listing(e) for e in outer.elements]
    if all(e and e.brackets in ("[]", "()") for e in inner) and outer.brackets == "[]":
        return tuple(e.elements for e in inner if e)
    return tuple((e,) for e in outer.elements) if outer.brackets in ("()", "[]") else None


def joined_intervals(answer: str) -> str | None:
    """``(1,2), (3,4)`` as a union, which is what it means where the gold answer is one; None for anything else."""
    several = listing(answer)
    if several and not several.brackets and all((e := listing(x)) and len(e.elements) == 2 for x in several.elements):
        return " \\cup ".join(several.elements)
    return None


def _closes_at(text: str) -> int:
    """Where the bracket that `text` begins with closes; -1 if it does not. ``(3,4]`` is a pair too."""
    depth = 0
    for i, mark in enumerate(text):
        if mark in "([{⟨":
            depth += 1
        elif mark in ")]}⟩":
            depth -= 1
            if depth == 0:
                return i
    return -1


def _both_signs(elements: list[str]) -> list[str]:
    out = []
    for e in elements:
        out += [e.replace("\\pm", "+"), e.replace("\\pm", "-")] if e.count("\\pm") == 1 else [e]
    return out
