r"""One spelling for an answer, still LaTeX: symbols, macros, units and currencies, thousands, scales.

`clean` brings ``$\dfrac{1}{2}$.`` to ``\frac{1}{2}``; `squeeze` drops spaces as well, for comparing as text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import yaml

from .phrases import with_digits

Replacement = str | Callable[[re.Match[str]], str]

_TABLES = yaml.load(Path(__file__).with_name("notation.yaml").read_bytes(), Loader=yaml.CSafeLoader)
_SYMBOLS = {ord(mark): f"{latex} " if latex[0] == "\\" else latex for mark, latex in _TABLES["symbols"].items()}
_SYMBOLS |= dict.fromkeys(map(ord, "€£¥₹\u200b\ufeff"), "") | dict.fromkeys(map(ord, "\u00a0\u2009\u202f\0~"), " ")
_SYMBOLS |= {c: chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}  # full-width forms
_SUPERSCRIPTS, _SUBSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n"), str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_UNICODE: list[tuple[re.Pattern[str], Replacement]] = [
    (re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+"), lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}"),
    (re.compile("[₀₁₂₃₄₅₆₇₈₉]+"), lambda m: f"_{{{m[0].translate(_SUBSCRIPTS)}}}"),
    (re.compile("[¼-¾⅐-⅞]"), lambda m: "\\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", m[0]).split("⁄"))),
    (re.compile(r"(\\sqrt(?:\[3\])?) +(\d+|[A-Za-z])"), r"\1{\2}"),  # √10: in LaTeX the root of 1
]
_WORD_BASES = {w: i for i, w in enumerate("two three four five six seven eight nine ten eleven twelve".split(), 2)}
_SCALES, _SYNONYMS = _TABLES["scales"], _TABLES["synonyms"]
_OPENS_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])(?!\s*\^\s*\{?\s*-)[^=,]*$")
_INEQUALITY = re.compile(r"[<>]|\\[lg]e(?![A-Za-z])|\\ne(?![A-Za-z])")


def _subscript(found: re.Match[str]) -> str:
    r"""``_{\text {max}}`` → ``_{max}``; a word that names a base → its number."""
    macros = r"\\(?:text|operatorname|math(?:it|sf|cal))(?![A-Za-z])|[{}\s]|\\(?=max|min|inf|sup)"
    word = re.sub(macros, "", found[1] or found[2])
    return f"_{{{_WORD_BASES.get(word, word)}}}"


def _operator(found: re.Match[str]) -> str:
    name = found[found.lastindex or 0]
    return f"\\{_SYNONYMS.get(name, name)}" + " " * found.string[found.end() : found.end() + 1].isalnum()


def _angle(found: re.Match[str]) -> str:
    """Degrees in radians inside a function; elsewhere they are a unit, which is set aside."""
    degrees = found[1]
    inside = degrees and _OPENS_ANGLE.search(found.string, 0, found.start())
    return rf"\frac{{{degrees}\pi}}{{180}}" if inside else degrees


def _joint(found: re.Match[str]) -> str:
    """Answers joined by "and" and "or" are a list; inequalities are a condition."""
    if _INEQUALITY.search(found.string):
        return r" \lor " if "or" in (found[1], found[2]) else r" \land "
    return ", "


def _read_rewrites() -> list[tuple[re.Pattern[str], Replacement]]:
    """The table's rewrites; those that look at what they found are worked out here."""
    worked_out: dict[str, Replacement] = {
        "=subscript": _subscript,
        "=operator": _operator,
        "=angle": _angle,
        "=joint": _joint,
        "=time": lambda found: f"{found[1]}{found[2].lower()}m",
        "=scale": lambda found: _SCALES[found[1]],
        "=scale_in_text": lambda found: f"{_SCALES[found[1]]}\\text{{",
    }
    named = {"<FUNCTION>": _TABLES["functions"], "<SCALE>": "|".join(_SCALES), "<SYNONYM>": "|".join(_SYNONYMS)}
    rewrites = []
    for pattern, replacement in _TABLES["rewrites"]:
        for name, words in named.items():
            pattern = pattern.replace(name, words)
        rewrites.append((re.compile(pattern), worked_out.get(replacement, replacement)))
    return rewrites


_REWRITES = _read_rewrites()
_PIECE = r"\\text\s*\{(?:[^{}]|\{[^{}]*\})*\}(?:\s*\^\s*(?:-?\d|\{-?\d\}))?"
_TEXT_UNIT = re.compile(
    rf"(?<=[\d}}\s)%])\s*(?:\\frac\s*\{{\s*{_PIECE}\s*\}}\s*\{{\s*{_PIECE}\s*\}}|(?:\\mu\s*)?{_PIECE})"
    rf"(?:\s*(?:/|\\cdot|\\times|\*)?\s*{_PIECE})*\s*$"
)
_NOT_A_UNIT = {"i", "e", "j", "x", "y", "z", "t", "n", "or", "and", "T"}
_WORD_UNIT = re.compile(
    r"^([-+]?[\d.,]*\d[.]?(?:/\d+)?%?(?:\\times 10\^\{\d+\})?)"
    r"\s+((?:[A-Za-z]{2,}|[A-Za-z]/)[A-Za-z /]*)(?:\^\{?\d\}?)?$"
)
_SCALE_OR_MATH = re.compile(
    r"\b(?:hundreds?|thousands?|millions?|billions?|trillions?|dozens?|half|third|pi|sqrt|sin|cos|tan|log|ln|exp|mod"
    r"|base|to|times|over|plus|minus|divided|if|when|for|more|less|not)\b"
)
_NAMED_UNIT = re.compile(  # behind a formula, where any other word may be mathematics
    r"(?<=[\d}i)])\s+(?:(?:square|cubic|sq|cu)\.? )?(?:[cmk]m|ft|met(?:er|re)s?|centimet(?:er|re)s?"
    r"|inch(?:es)?|feet|foot|miles?|yards?|units?|degrees?|radians?|dollars?|cents?|hours?|minutes?|seconds?|days?)(?:\^\{?\d\}?)?$"
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?:\.\d*)?%?")
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_QUOTED = re.compile(r"(\*\*|__|[\"'`“])(.+?)(\*\*|__|[\"'`”])", re.DOTALL)
_NOTHING = re.compile(r"(?:\\text\s*\{\s*)?(?:no (?:real )?solutions?|(?:the )?empty set)\s*\}?", re.IGNORECASE)
_REALS = re.compile(r"(?:\\text\s*\{\s*)?all real(?: numbers?|s)?\s*\}?", re.IGNORECASE)
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")


@lru_cache(maxsize=65536)
def clean(answer: str) -> str:
    r"""An answer in one notation, still LaTeX: ``$10,\!080 \text{ cm}^2$.`` → ``10080``."""
    text = answer.strip()
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    if (quoted := _QUOTED.fullmatch(text)) and quoted[1] == quoted[3].replace("”", "“"):
        text = quoted[2]
    if not text.isascii():
        for pattern, spelled in _UNICODE[:3]:
            text = pattern.sub(spelled, text)
        text = text.translate(_SYMBOLS).strip()
        text = _UNICODE[3][0].sub(_UNICODE[3][1], text)
    text = with_digits(text.replace("~", " ").replace("\0", " "))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _roots(text) if "\\sqrt(" in text else text
    text = _derivatives(text) if _HAS_DERIVATIVE.search(text) else text
    text = re.sub(r"\s+", " ", text).strip().rstrip(".,;:").strip()
    if _NOTHING.fullmatch(text) or _REALS.fullmatch(text):
        return "\\emptyset" if _NOTHING.fullmatch(text) else "\\mathbb{R}"
    text = _NAMED_UNIT.sub("", _without_text_unit(text))
    if (unit := _WORD_UNIT.match(text)) and not _SCALE_OR_MATH.search(unit.group(2)):
        text = unit.group(1)
    if _THOUSANDS.fullmatch(text):
        text = re.sub("[, ]", "", text)
    return text


def _without_text_unit(text: str) -> str:
    r"""``18 \text{ kg} \cdot \text{m}^2`` → ``18``; a letter that may be a variable, or a factor, is kept."""
    unit = _TEXT_UNIT.search(text)
    if (
        not unit
        or not (before := text[: unit.start()].rstrip())
        or re.search(r"[-+*/=^_(,]$|\\(?:times|cdot|div|pm|mp)$", before)
    ):
        return text
    words = [w.strip() for w in re.findall(r"\\text\s*\{((?:[^{}]|\{[^{}]*\})*)\}", unit.group())]
    return before if all(w not in _NOT_A_UNIT and re.search("[A-Za-z]", w) for w in words) else text


_NAME = r"(?:\\[A-Za-z]+|[A-Za-z])(?:_(?:\{\w+\}|\w))?"
_ORDER = r"(?:\^\s*\{?\s*(?P<%s>\d)\s*\}?)?"
_HAS_DERIVATIVE = re.compile(r"'|\\prime|\\d+ot(?![A-Za-z])|\\frac\s*\{\s*(?:d|\\partial|\\text\{d\})|d\w/d\w")
_DERIVATIVES = [
    re.compile(pattern)
    for pattern in (
        rf"\\frac\s*\{{\s*(?:d|\\partial)\s*{_ORDER % 'n'}\s*(?:(?P<f>{_NAME})\s*(?:\(\w\)\s*)?)?\}}"  # dy/dx
        rf"\s*\{{\s*(?:d|\\partial)\s*(?P<by>{_NAME})\s*{_ORDER % 'm'}\s*\}}(?(f)|\s*(?P<g>{_NAME}))",
        rf"(?<![A-Za-z\\])d{_ORDER % 'n'}(?P<f>[A-Za-z])\s*/\s*d(?P<by>[A-Za-z]){_ORDER % 'm'}(?![A-Za-z])",
        rf"\\(?P<dots>d{{1,4}})ot(?![A-Za-z])\s*\{{?\s*(?P<f>{_NAME})\s*\}}?(?P<sub>_(?:\{{\w+\}}|\w))?",
        rf"(?<![A-Za-z]{{3}})(?P<f>{_NAME})\s*(?:(?P<marks>'{{1,4}})|\^\s*\{{?\s*(?P<primes>(?:\\prime\s*)+)\}}?)"
        r"(?!s\b)(?P<sub>_(?:\{\w+\}|\w))?",
    )
]
_BY = re.compile(r"(_\{\w*D\d)by\w+\}")


def _derivatives(text: str) -> str:
    r"""A derivative as a subscript: y' and \dot y → ``y_{D1}``, dy/dx → ``y_{D1byx}``; y(x) → y beside them."""
    if re.search(r"\\text\s*\{[^{}]*'", text):
        return text  # Simpson's rule
    text = re.sub(r"\\text\s*\{\s*d\s*\}\s*", "d", text)
    for pattern in _DERIVATIVES:
        text = pattern.sub(_derivative, text)
    for name in set(re.findall(r"(\\?[A-Za-z]+)_\{\w*D\d(?:by\w+)?\}", text)):
        before = "" if name[0] == "\\" else r"(?<![A-Za-z\\])"
        text = re.sub(rf"({before}{re.escape(name)}(?:_\{{\w+\}})?)\s*\(\s*[a-z]\s*\)", r"\1", text)
    return text


def _derivative(found: re.Match) -> str:
    part = {"n": None, "m": None, "g": None, "by": None, "sub": None} | found.groupdict()
    if part["n"] != part["m"]:
        return found[0]
    symbol, _, index = (part["f"] or part["g"]).partition("_")
    order = part["n"] or len(part.get("dots") or part.get("marks") or "") or (part.get("primes") or "\\").count("\\")
    by = "by" + re.sub(r"\W|_", "", part["by"]) if part["by"] else ""
    return f"{symbol}_{{{re.sub('[{}_]', '', index + (part['sub'] or ''))}D{order}{by}}}"


def says_by_what(formula: str) -> bool:
    """Whether a derivative in a cleaned answer is written dy/dx and not y'."""
    return bool(_BY.search(formula))


def without_variable(formula: str) -> str:
    """dy/dx as y', for comparing with an answer that does not say by what."""
    return _BY.sub(r"\1}", formula)


def _roots(text: str) -> str:
    r"""``\sqrt(2+x)`` → ``\sqrt{2+x}``."""
    while (at := text.find("\\sqrt(")) >= 0:
        depth, end = 0, -1
        for i in range(at + 5, len(text)):
            depth += (text[i] == "(") - (text[i] == ")")
            if depth == 0:
                end = i
                break
        if end < 0:
            break
        text = f"{text[: at + 5]}{{{text[at + 6 : end]}}}{text[end + 1 :]}"
    return text


@lru_cache(maxsize=65536)
def squeeze(answer: str) -> str:
    """A cleaned answer without spaces, except between two digits (``1 1/2`` is not ``11/2``)."""
    text = re.sub(r"(?<!\d) | (?!\d)", "", answer.replace("\\cdot", "*").replace("\\times", "*"))
    return re.sub(r"\{(\w)\}(?!\w)", r"\1", text) if "{" in text and "\\frac" not in text else text


_UNIT = (
    r"(?:[kcmn]?[mgsLlJNWV]|[hAKCF]|Pa|k?Hz|k?eV|ft|in|yd|lb|oz|mi|mph|min|hrs?|sec|\\mu ?[mgs]?|k?\\Omega|\\AA"
    r"|[LMR]_\{o\})"
)
_SHORT_UNIT = re.compile(rf"(.*[\d}}])\s*{_UNIT}(?:/{_UNIT})?(?:\^\{{?\d\}}?)?")


def without_short_unit(answer: str) -> str:
    """``5m``, ``5 km/h`` → ``5``. Only safe where the gold answer is a number: elsewhere the m may be a variable."""
    m = _SHORT_UNIT.fullmatch(answer)
    return m[1] if m else answer


_K = r"(?:\{(\d+|n)\}|(\d|n))"
_CHOSEN = re.compile(
    rf"(?:\{{\s*\}})?[_^]{_K}([CP])_{_K}"  # {{}}_5C_2, ^5C_2
    rf"|(?<![A-Za-z\\])([CAP])(?:_{_K}\^{_K}|\^{_K}_{_K}|\(\s*(\d+)\s*,\s*(\d+)\s*\))"
    r"|(?<![\d.])(\d+)\s*([CP])\s*(\d+)(?![\d.])"
)


def with_binomials(formula: str) -> str:
    """Numbers of combinations and arrangements, ``C_5^2``, ``A_5^2``, ``5C2``, spelled out; the larger number is n.

    Only safe where the other answer has no such letters: elsewhere C_5^2 may be the square of C_5.
    """

    def spelled(m: re.Match) -> str:
        found = [group for group in m.groups() if group]
        kind = next(group for group in found if group in "CAP")
        k, n = sorted((g for g in found if g not in "CAP"), key=lambda g: int(g) if g.isdecimal() else 1000)
        return f"\\binom{{{n}}}{{{k}}}" if kind == "C" else f"\\frac{{{n}!}}{{({n}-{k})!}}"

    return _CHOSEN.sub(spelled, formula.replace("\\text{C}", "C").replace("\\text{P}", "P"))
