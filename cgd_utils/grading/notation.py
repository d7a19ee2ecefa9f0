r"""One spelling for an answer, and what can be read from it without sympy: numbers, lists, words, choices, bases.

`clean` brings ``$\dfrac{1}{2}$.`` to ``\frac{1}{2}``; `squeeze` drops spaces as well, for comparing as text.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import floor, log10
from typing import NamedTuple

_SYMBOLS = str.maketrans({
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "±": r"\pm ", "√": r"\sqrt ",
    "½": r"\frac{1}{2}", "²": "^2", "³": "^3", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\0": " ", "~": " ",
    "，": ",", "（": "(", "）": ")",
})  # fmt: skip
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\\!\s*", ""),  # 10,\!080
        (r"\{,\}", ","),
        (r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])", " "),
        (r"\\\$|\$|(?<!\\)\\[()\[\]]", ""),  # dollars and math delimiters
        (r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])", ""),
        (r"\\(?:displaystyle|textstyle|limits)(?![A-Za-z])", ""),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:mbox|textrm|textnormal|textbf|textit|mathrm|mathbf)\s*\{", r"\\text{"),
        (r"\{\s*\\rm\s+", r"\\text{"),
        (r"\\leq(?:slant)?(?![A-Za-z])|\\leqq(?![A-Za-z])", r"\\le "),
        (r"\\geq(?:slant)?(?![A-Za-z])|\\geqq(?![A-Za-z])", r"\\ge "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\s*\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])", ""),  # degrees are a unit
        (r"\\%|\s*\\text\{\s*(?:percent|per cent|%)\s*\}|\s*\b[Pp]er ?cent\b", "%"),
        (r"\s*,?\s*(?:\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\{])(?:and|or)(?![A-Za-z]))\s*", ", "),
        (r"(?<![\w.])(\d+\.?\d*|\.\d+)[eE]([+-]?\d+)(?![\w.])", r"\1\\times 10^{\2}"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\sqrt\s*(\d)(?!\d)", r"\\sqrt{\1}"),
        (r"\*\*", "^"),
        (r"(\d)\.(?!\d)(?=\S)", r"\1"),  # 1./3
        (r"(?<![A-Za-z\\])(?:np|numpy|math|sympy)\.(?=[a-z])", ""),
        (r"(?<![A-Za-z\\])((?:arc)?(?:sin|cos|tan)|ln|log|exp|sqrt)(?=\s*\()", r"\\\1"),
        (r"(?<![A-Za-z\\])([eE])_", r"\\text{\1}_"),  # alone it is Euler's number, which takes no subscript
    ]
]
_TEXT_UNIT = re.compile(r"(?<=[\d}\s)])\s*\\text\s*\{([^{}]*)\}(?:\s*\^\s*(?:\d|\{-?\d\}))?\s*$")
_NOT_A_UNIT = {"i", "e", "j", "x", "y", "z", "t", "n", "or", "and", "T"}
_WORD_UNIT = re.compile(r"^([-+]?[\d.,]*\d[.]?(?:/\d+)?%?)\s+((?:[A-Za-z]{2,}|[A-Za-z]/)[A-Za-z /]*)(?:\^\{?\d\}?)?$")
_SCALE_OR_MATH = re.compile(
    r"\b(?:hundreds?|thousands?|millions?|billions?|trillions?|dozens?|half|third|pi|sqrt|sin|cos|tan|log|ln|exp|mod|base"
    r"|to|times|over|plus|minus|divided|if|when|for|more|less|not)\b"
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\s?\d{3})+(?:\.\d*)?%?")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")


@lru_cache(maxsize=65536)
def clean(answer: str) -> str:
    r"""An answer in one notation, still LaTeX: ``$10,\!080 \text{ cm}^2$.`` → ``10080``."""
    text = answer.translate(_SYMBOLS).strip()
    if not text.isdecimal():
        for pattern, replacement in _REWRITES:
            text = pattern.sub(replacement, text)
        text = re.sub(r"\s+", " ", text).strip().rstrip(".,;:").strip()
        unit = _TEXT_UNIT.search(text)
        if unit and unit.start() and unit.group(1).strip() not in _NOT_A_UNIT and re.search("[A-Za-z]", unit.group(1)):
            text = text[: unit.start()].strip()
        if (unit := _WORD_UNIT.match(text)) and not _SCALE_OR_MATH.search(unit.group(2)):
            text = unit.group(1)
        if _THOUSANDS.fullmatch(text):
            text = re.sub(r",\s?", "", text)
    return text


@lru_cache(maxsize=65536)
def squeeze(answer: str) -> str:
    """A cleaned answer without spaces, except between two digits (``1 1/2`` is not ``11/2``)."""
    text = re.sub(r"(?<!\d) | (?!\d)", "", answer.replace("\\cdot", "*").replace("\\times", "*"))
    return re.sub(r"\{(\w)\}(?!\w)", r"\1", text) if "{" in text and "\\frac" not in text else text


_UNIT = "(?:[kcmn]?[mgsLlJNWV]|[hAKCF]|Pa|k?Hz|k?eV|ft|in|yd|lb|oz|mi|mph|min|hrs?|sec)"
_SHORT_UNIT = re.compile(rf"(.*[\d}}])\s*{_UNIT}(?:/{_UNIT})?(?:\^\{{?\d\}}?)?")


def without_short_unit(answer: str) -> str:
    """``5m``, ``5 km/h`` → ``5``. Only safe where the gold answer is a number: elsewhere the m may be a variable."""
    m = _SHORT_UNIT.fullmatch(answer)
    return m[1] if m else answer


class Number(NamedTuple):
    """A plain number: its exact value, whether it was written as a decimal, and whether with a percent sign."""

    value: Fraction
    decimal: bool = False
    percent: bool = False


_INTEGER = re.compile(r"[-+]?\d{1,300}%?")
_DECIMAL = re.compile(r"([-+]?)(\d{0,300})\.(\d{0,300})(%?)")
_SCIENTIFIC = re.compile(
    r"([-+]?(?:\d{1,300}\.?\d{0,300}|\.\d{1,300}))(?:\*|\\times|\\cdot|x)10\^(?:\{([-+]?\d{1,3})\}|\(?([-+]?\d{1,3})\)?)"
)
_POWER_OF_TEN = re.compile(r"([-+]?)10\^(?:\{([-+]?\d{1,3})\}|(\d))")
_FRACTION = re.compile(
    r"([-+]?)(\d{0,30})\\frac(?:\{([-+]?\d{1,300}(?:\.\d*)?)\}|(\d))(?:\{(-?\d{1,300}(?:\.\d*)?)\}|(\d))"
)
_SLASH = re.compile(r"([-+]?\d{1,300}\.?\d{0,300})/(\d{1,300}\.?\d{0,300})")


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
    return None


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
    text, wrapped = _TEXT.subn(r" \1 ", answer)
    text = re.sub(r"[\s.,'\"*-]+", " ", text).strip().lower()
    if not re.fullmatch(r"[a-z][a-z ()]*", text) or len(text) < 2 or not (wrapped or re.search("[a-z]{4}", text)):
        return {"yes": "yes", "no": "no"}.get(text)
    return re.sub(r"^(?:an?|the) ", "", text)


_TRUE, _FALSE = {"true", "yes"}, {"false", "no"}


def truth(answer: str) -> bool | None:
    """True for true and yes, False for false and no, also at the head of a sentence; None for anything else."""
    first = re.match(r"\s*([A-Za-z]+)\b(?!\s*=)", _TEXT.sub(r" \1 ", answer))
    word = first.group(1).lower() if first else ""
    return True if word in _TRUE else False if word in _FALSE else None


_CHOICE = re.compile(
    r"\(\s*([A-Ja-j])\s*\)|([A-J])\s*[).:]?|([A-J])\s*[).:]\s.+|\(\s*([A-Ja-j])\s*\)\s*\S.*|([a-j])\s*\)"
)


def choice(answer: str) -> str | None:
    r"""The letter of a choice in upper case: ``(c)``, ``B``, ``\text{(B)}``, ``B) 12``; None for anything else."""
    m = _CHOICE.fullmatch(re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", answer)).strip())
    return next(group for group in m.groups() if group).upper() if m else None


_BASE = re.compile(r"([0-9A-Za-z]{1,60})_(?:\{(\d{1,2})\}|(\d{1,2}))")


def based(answer: str) -> tuple[str, int] | None:
    """Digits and base of ``4210_{5}``; None for anything else."""
    m = _BASE.fullmatch(answer.replace(" ", ""))
    return (m[1].lower(), int(m[2] or m[3])) if m and m[1][0].isdigit() else None


_ASSIGNMENT = re.compile(
    r"^\\?[A-Za-z]+(?:_(?:\{[^{}]*\}|\w))?\s*(?:\([A-Za-z, ]*\))?\s*(?:=|\\in(?![A-Za-z]))\s*(?P<value>[^=]+)$"
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
