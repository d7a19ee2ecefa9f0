r"""One spelling for an answer, still LaTeX: symbols, macros, units and currencies, thousands, scales.

`clean` brings ``$\dfrac{1}{2}$.`` to ``\frac{1}{2}``; `squeeze` drops spaces as well, for comparing as text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SYMBOLS = str.maketrans({
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "±": r"\pm ", "√": r"\sqrt ",
    "≈": r"\approx ", "∅": r"\emptyset ", "∛": r"\sqrt[3] ", "⟨": "(", "⟩": ")", "…": r"\ldots ", "ℝ": r"\mathbb{R}",
    "€": "", "£": "", "¥": "", "₹": "", "\u200b": "", "\ufeff": "", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\0": " ", "~": " ",
    **{chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)},  # full-width forms
})  # fmt: skip
_SUPERSCRIPTS, _SUBSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n"), str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_UNICODE = [
    (re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+"), lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}"),
    (re.compile("[₀₁₂₃₄₅₆₇₈₉]+"), lambda m: f"_{{{m[0].translate(_SUBSCRIPTS)}}}"),
    (re.compile("[¼-¾⅐-⅞]"), lambda m: "\\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", m[0]).split("⁄"))),
    (re.compile(r"(\\sqrt(?:\[3\])?) +(\d+|[A-Za-z])"), r"\1{\2}"),  # √10: in LaTeX the root of 1
]
_WORD_BASES = {w: i for i, w in enumerate("two three four five six seven eight nine ten eleven twelve".split(), 2)}
_SCALES = {w: f"\\times 10^{{{n}}}" for w, n in (("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12))}
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\\!\s*", ""),  # 10,\!080
        (r"\{,\}", ","),
        (r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])", " "),
        (r"\\\$|\$|\\text(?:dollar|euro|sterling)(?![A-Za-z])|\\(?:pounds|euro)(?![A-Za-z])|(?<!\\)\\[()\[\]]", ""),
        (r"\\[lr]angle(?![A-Za-z])", lambda m: "(" if m[0][1] == "l" else ")"),
        (r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])", ""),
        (r"\\(?:displaystyle|textstyle|limits)(?![A-Za-z])|\\#", ""),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:mbox|textrm|textnormal|textbf|textit|mathrm|mathbf)\s*\{", r"\\text{"),
        (
            r"\\(?:boldsymbol|bm)\s*\{([^{}]*)\}|\\(?:text|math(?:sf|it|tt|bb)|textup|texttt|underline)\s*\{([-+\d.,/ ]*)\}",
            r"\1\2",
        ),
        (r"\\(?:bf|color\s*\{\w+\})(?![A-Za-z])\s*", ""),
        (r"\{\s*\\rm\s+", r"\\text{"),
        (r"^\s*\\text\s*\{([^{}]*\d[^{}]*)\}\s*$", r"\1"),  # \text{18 eggs}
        (r"^\s*\\text\s*\{[^{}]*[:=]\s*\}", ""),  # \text{Answer: }
        (
            r"^\s*(?:\\approx|\\sim|\\text\s*\{\s*(?:about|approximately)\s*\}|(?:[Aa]bout|[Aa]pproximately|[Rr]oughly)\s)\s*",
            "",
        ),
        (r"\\leq(?:slant)?(?![A-Za-z])|\\leqq(?![A-Za-z])", r"\\le "),
        (r"\\geq(?:slant)?(?![A-Za-z])|\\geqq(?![A-Za-z])", r"\\ge "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\s*\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])", ""),  # degrees are a unit
        (r"_\s*\{?\s*\\odot\s*\}?", "_{o}"),  # math-verify does not read the sun
        (r"\\varnothing(?![A-Za-z])|^\s*\\\{\s*\\\}\s*$", r"\\emptyset"),
        (
            r"(?<=\d)\s*(?:\^?\s*\{?\s*(?:\\text)?\s*\{?\s*(?:st|nd|rd|th)\s*\}\}?|(?:st|nd|rd|th))(?![A-Za-z])",
            "",
        ),  # ordinals
        (r"_\s*\{?\s*\\text\s*\{\s*(" + "|".join(_WORD_BASES) + r")\s*\}\s*\}?", lambda m: f"_{{{_WORD_BASES[m[1]]}}}"),
        (
            r"(?<![\d.:])(\d{1,2}(?::\d\d)?)\s*(?:\\text\s*\{)?\s*([AaPp])\.?\s?[Mm](?![A-Za-z])\.?\s*\}?",
            lambda m: f"{m[1]}{m[2].lower()}m",
        ),
        (r"\\text\s*\{\s*(" + "|".join(_SCALES) + r")s?\b", lambda m: f"{_SCALES[m[1]]}\\text{{"),
        (r"(?<=\d) ?(" + "|".join(_SCALES) + r")s?\b", lambda m: _SCALES[m[1]]),
        (r"\\text\s*\{\s*\}", ""),
        (r"(?<=\d)\s*(?:\.{3,}|\\[lc]?dots)\s*$", r"\\ldots"),
        (
            r"\s*(?:\\pmod\s*(?:\{[^{}]*\}|\d)|\(\s*\\?(?:text\s*\{)?\s*mod\b[^()]*\))\s*$",
            "",
        ),  # the modulus is in the question
        (r"^\\\{\s*[a-z]\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\\mid|\||:)\s*([^{}]*)\\\}$", r"\1"),  # \{x \mid x > 2\}
        (r"(?<!\\)\\\s*$", ""),  # a space cut off
        (r"\\%|\s*\\text\{\s*(?:percent|per cent|%)\s*\}|\s*\b[Pp]er ?cent\b", "%"),
        (r"\s*,?\s*(?:\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\{])(?:and|or)(?![A-Za-z]))\s*", ", "),
        (r"(?<![\w.])(\d+\.?\d*|\.\d+)[eE]([+-]?\d+)(?![\w.])", r"\1\\times 10^{\2}"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\sqrt\s*(\d)(?!\d)", r"\\sqrt{\1}"),
        (r"\*\*", "^"),
        (r"(\d)\.(?!\d)(?=[^\s\\])", r"\1"),  # 1./3
        (r"(?<![A-Za-z\\])(?:np|numpy|math|sympy)\.(?=[a-z])", ""),
        (r"(?<![A-Za-z\\])((?:arc)?(?:sin|cos|tan)|ln|log|exp|sqrt)(?=\s*[(\d\\]|\s+[a-z]\b)", r"\\\1"),
        (r"(?<![A-Za-z\\])(?<!\\text\{)(?:\*\s*)?pi(?![A-Za-z])", r"\\pi "),
        (r"\\text\s*\{\s*[Ii]nfinity\s*\}|(?<![A-Za-z\\{])[Ii]nf(?:inity)?(?![A-Za-z])", r"\\infty "),
        (r"(?<![A-Za-z\\])([eE])_", r"\\text{\1}_"),  # alone it is Euler's number, which takes no subscript
    ]
]
_PIECE = r"\\text\s*\{(?:[^{}]|\{[^{}]*\})*\}(?:\s*\^\s*(?:-?\d|\{-?\d\}))?"
_TEXT_UNIT = re.compile(
    rf"(?<=[\d}}\s)%])\s*(?:\\frac\s*\{{\s*{_PIECE}\s*\}}\s*\{{\s*{_PIECE}\s*\}}|(?:\\mu\s*)?{_PIECE})(?:\s*(?:/|\\cdot|\\times|\*)?\s*{_PIECE})*\s*$"
)
_NOT_A_UNIT = {"i", "e", "j", "x", "y", "z", "t", "n", "or", "and", "T"}
_WORD_UNIT = re.compile(
    r"^([-+]?[\d.,]*\d[.]?(?:/\d+)?%?(?:\\times 10\^\{\d+\})?)\s+((?:[A-Za-z]{2,}|[A-Za-z]/)[A-Za-z /]*)(?:\^\{?\d\}?)?$"
)
_SCALE_OR_MATH = re.compile(
    r"\b(?:hundreds?|thousands?|millions?|billions?|trillions?|dozens?|half|third|pi|sqrt|sin|cos|tan|log|ln|exp|mod|base"
    r"|to|times|over|plus|minus|divided|if|when|for|more|less|not)\b"
)
_NAMED_UNIT = re.compile(  # behind a formula, where any other word may be mathematics
    r"(?<=[\d}i)])\s+(?:(?:square|cubic|sq|cu)\.? )?(?:[cmk]m|ft|met(?:er|re)s?|centimet(?:er|re)s?|inch(?:es)?|feet|foot|miles?|yards?"
    r"|units?|degrees?|radians?|dollars?|cents?|hours?|minutes?|seconds?|days?)(?:\^\{?\d\}?)?$"
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?:\.\d*)?%?")
_QUOTED = re.compile(r"(\*\*|__|[\"'`“])(.+?)(\*\*|__|[\"'`”])", re.DOTALL)
_NOTHING = re.compile(r"(?:\\text\s*\{\s*)?(?:no (?:real )?solutions?|(?:the )?empty set)\s*\}?", re.IGNORECASE)
_REALS = re.compile(r"(?:\\text\s*\{\s*)?all real(?: numbers?|s)?\s*\}?", re.IGNORECASE)
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")


@lru_cache(maxsize=65536)
def clean(answer: str) -> str:
    r"""An answer in one notation, still LaTeX: ``$10,\!080 \text{ cm}^2$.`` → ``10080``."""
    text = answer.strip()
    if text.isascii() and text.isdecimal():
        return text
    if (quoted := _QUOTED.fullmatch(text)) and quoted[1] == quoted[3].replace("”", "“"):
        text = quoted[2]
    if not text.isascii():
        for pattern, spelled in _UNICODE[:3]:
            text = pattern.sub(spelled, text)
        text = text.translate(_SYMBOLS).strip()
        text = _UNICODE[3][0].sub(_UNICODE[3][1], text)
    text = text.replace("~", " ").replace("\0", " ")
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _roots(text) if "\\sqrt(" in text else text
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


_UNIT = "(?:[kcmn]?[mgsLlJNWV]|[hAKCF]|Pa|k?Hz|k?eV|ft|in|yd|lb|oz|mi|mph|min|hrs?|sec|\\\\mu ?[mgs]?|k?\\\\Omega|\\\\AA|[LMR]_\\{o\\})"
_SHORT_UNIT = re.compile(rf"(.*[\d}}])\s*{_UNIT}(?:/{_UNIT})?(?:\^\{{?\d\}}?)?")


def without_short_unit(answer: str) -> str:
    """``5m``, ``5 km/h`` → ``5``. Only safe where the gold answer is a number: elsewhere the m may be a variable."""
    m = _SHORT_UNIT.fullmatch(answer)
    return m[1] if m else answer
