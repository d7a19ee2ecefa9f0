"""What words say in an answer: numbers, conditions beside the answer, quantities in several units, a truth denied."""

from __future__ import annotations

import re
from fractions import Fraction

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_VALUES = {word: i for i, word in enumerate(_SMALL)}
_VALUES |= {w: 10 * i for i, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
_WORD = "|".join(sorted([*_VALUES, *_SCALES], key=len, reverse=True))
_NUMBER = re.compile(
    rf"^(?P<before>\s*(?:\\(?:text|math)\w*\s*\{{)?\s*)(?P<sign>(?:minus|negative)\s+)?(?:an?\s+(?={'|'.join(_SCALES)}))?"
    rf"(?P<number>(?:{_WORD})(?:[\s-]+(?:and\s+)?(?:{_WORD}))*)"
    rf"(?:[\s-]+(?P<part>{'|'.join(_PARTS)})(?P<parts>s?)|\s+and\s+a\s+(?P<half>half))?(?![A-Za-z]|-[A-Za-z])",
    re.IGNORECASE,
)


def with_digits(answer: str) -> str:
    r"""``one hundred and five apples`` → ``105 apples``, ``\text{two thirds}`` → ``\text{2/3}``."""
    m = _NUMBER.match(answer) if answer[:1].isalpha() or answer[:1] in "\\ " else None
    if not m:
        return answer
    value = _number(re.split(r"[\s-]+", m["number"].lower()))
    if value is None or (m["part"] and (value == 1) == bool(m["parts"])):  # twenty third is no fraction
        return answer
    digits = f"{value}/{_PARTS[m['part'].lower()]}" if m["part"] else f"{value} 1/2" if m["half"] else str(value)
    return f"{m['before']}{'-' if m['sign'] else ''}{digits}{answer[m.end() :]}"


def number_words(text: str) -> str | None:
    """The last number that a text says in words, in digits; "one" may be a pronoun and is none."""
    found = re.findall(rf"\b(?:{_WORD})(?:[\s-]+(?:and\s+)?(?:{_WORD}))*\b", text, re.IGNORECASE)
    said = [with_digits(words) for words in found if words.lower() != "one"]
    return said[-1] if said else None


def _number(words: list[str]) -> int | None:
    """The number that words say; None for words that say several, like one two three."""
    total = current = 0
    room = 1000  # what is still to come is smaller than this
    for word in words:
        if word == "and":
            continue
        if word in ("hundred", "dozen"):
            current, room = max(current, 1) * _SCALES[word], _SCALES[word]
        elif word in _SCALES:
            total, current, room = total + max(current, 1) * _SCALES[word], 0, 1000
        else:
            value = _VALUES[word]
            if value >= room or (value == 0 and len(words) > 1):
                return None
            current, room = current + value, 10 if value >= 20 else 1
    return total + current


_VARIABLE = r"(?:\\[a-z]+|[A-Za-z])(?:_(?:\w|\{\w+\}))?"
_RELATION = r"(?:\\(?:in|notin|neq?|[lg]eq?(?:slant)?|[lg]t)(?![A-Za-z])|[<>≤≥≠∈])"
_OPENED = r"(?:\\(?:text|mathrm|textrm|mbox)\s*\{\s*)?"
_SORT = (
    r"(?:integer|whole|natural|positive|negative|non-?negative|nonzero|real|rational|even|odd|prime|constant|arbitrary)"
)
_CONDITION = re.compile(
    rf"(?P<main>.*?[^\s,;(])\s*(?:"
    rf"[,;(]*\s*{_OPENED}[,(]?\s*(?<![A-Za-z])(?:valid\s+)?(?:for|where|when(?:ever)?|if|with|provided|assuming|given"
    rf"|such\s+that|as\s+long\s+as|unless)(?![A-Za-z])(?P<said>.+)"
    rf"|[,;(]\s*{_OPENED}(?:all\s+)?\|?(?P<variable>{_VARIABLE})\|?(?:\s*,\s*{_VARIABLE})*\s*"
    rf"(?P<relation>{_RELATION}.+|=.*\\[lc]?dots.*"
    rf"|{_OPENED}\s*(?:is|are|being|an?|any)?\s*{_OPENED}(?:an?\s+|any\s+)?{_SORT}.*)"
    rf"|[,;(]\s*(?P<bound>[-\d.]+\s*(?:<|\\leq?(?![a-z]))\s*(?P<between>{_VARIABLE})\s*(?:<|\\leq?(?![a-z])).+))$",
    re.DOTALL,
)
_MAY_HAVE_CONDITION = re.compile(
    rf"{_RELATION}|dots|(?<![A-Za-z])(?:for|where|when|if|with|given|that|as|unless|provided|assuming|{_SORT})"
)
_SPACES = re.compile(r"\\q?quad(?![A-Za-z])|(?<!\\)\\[,;:! ]|~")
_CASES = re.compile(r"\b(?:otherwise|else|if|when|for)\b")


def split_condition(answer: str) -> tuple[str, str]:
    r"""The answer, and the condition said beside it, or ''.

    ``\frac{x}{x-1},\ x \ne 1`` → (``\frac{x}{x-1}``, ``x \ne 1``); ``x < 1, x > 3`` and ``1 if n is odd, 2 if n is
    even`` have none: all of it is the answer.
    """
    if not _MAY_HAVE_CONDITION.search(answer):
        return answer, ""
    m = _CONDITION.fullmatch(_SPACES.sub(" ", answer).strip())
    if not m or re.search(_RELATION, m["main"]) or m["main"].count("{") != m["main"].count("}"):
        return answer, ""
    if m["said"]:
        return (answer, "") if _CASES.search(m["said"]) else (m["main"], m["said"].strip(" :{})"))
    variable = m["variable"] or m["between"]
    rest = re.sub(r"\\[A-Za-z]+", lambda n: n[0] if n[0] == variable else " ", m["main"])
    if not re.search(rf"(?<![A-Za-z\\]){re.escape(variable)}" if variable[0] == "\\" else re.escape(variable), rest):
        return answer, ""  # another answer, not a condition on this one
    return m["main"], f"{variable} {m['relation']}" if m["variable"] else m["bound"]


def is_relation(condition: str) -> bool:
    """Whether a condition is a formula, such as x > 0, and not words."""
    return bool(re.search(_RELATION, condition)) and not re.search(
        r"[A-Za-z]{3}", re.sub(r"\\[A-Za-z]+", "", condition)
    )


_UNITS = {
    "time": {"s sec second": 1, "min minute": 60, "h hr hour": 3600, "day": 86400, "week": 604800},
    "length": {"in inch": 1, "ft foot feet": 12, "yd yard": 36, "mi mile": 63360},
    "metric length": {"mm": 1, "cm": 10, "m": 1000, "km": 1_000_000},
    "weight": {"oz ounce": 1, "lb pound": 16},
    "mass": {"mg": 1, "g gram": 1000, "kg": 1_000_000},
    "money": {"cent": 1, "dollar": 100},
}
_UNIT = {
    name: (dimension, size)
    for dimension, units in _UNITS.items()
    for names, size in units.items()
    for name in names.split()
}
_MEASURE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\.?(?:\s*(?:,|and|,\s*and)\s*|\s*)")


def quantity(answer: str) -> tuple[str, Fraction, int] | None:
    r"""Dimension, value in its smallest unit and number of parts of ``3 \text{ hours and } 20 \text{ minutes}``."""
    if not answer[:1].isdigit() or not re.search("[a-z]", answer):
        return None
    text = re.sub(r"\\(?:text|mathrm|mbox|textrm)\s*\{([^{}]*)\}", r" \1 ", _SPACES.sub(" ", answer)).strip(" .")
    parts, end = [], 0
    while m := _MEASURE.match(text, end):
        name = m[2] if m[2] in _UNIT else m[2].lower()
        unit = _UNIT.get(name) or _UNIT.get(re.sub("(?<=ch)es$|s$", "", name))
        if not unit:
            return None
        parts.append((unit[0], Fraction(m[1]) * unit[1]))
        end = m.end()
    if end < len(text) or len({dimension for dimension, _ in parts}) != 1:
        return None
    return parts[0][0], sum((size for _, size in parts), Fraction()), len(parts)


_OPPOSITE = {"yes": "no", "true": "false", "correct": "incorrect"} | {"untrue": "true", "incorrect": "correct"}
_OPPOSITE |= {"no": "yes", "false": "true"}
TRUE_WORDS = {"yes", "true", "correct"}
_TRUTH = re.compile(
    r"(?P<denied>\b(?:not|never),?\s+(?!only\b)(?:the\s+case\s+that\s+[^.;]*?|(?:[a-z,]+\s+){0,3}?))?"
    rf"\b(?P<word>{'|'.join(_OPPOSITE)})\b(?!\s*=)",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\b(?:because|since|as|although|though|while|whereas|which|even"
    r"|but(?!\s+(?:it\s+|this\s+|that\s+)?(?:is|not|can)\b))\b",
    re.IGNORECASE,
)


def truth_word(text: str) -> str | None:
    """``true`` where the last sentence on it says "is true", ``false`` where "is not true"; None where none does.

    A word that opens the sentence ("Yes, …") counts; else the last one, before any reason is given.
    """
    text = re.sub(r"n['’]t\b", " not", re.sub(r"\bcannot\b", "can not", text))
    for sentence in reversed(re.split(r"[.!?\n;]+", text)):
        clause = _REASON.split(sentence, maxsplit=1)[0]
        found = list(_TRUTH.finditer(clause)) or list(_TRUTH.finditer(sentence))
        if found:
            opens = re.match(r"\W*\w+\s*[,:]", sentence) and found[0].end() <= len(sentence.split(",")[0].split(":")[0])
            m = found[0] if opens else found[-1]
            return _OPPOSITE[m["word"].lower()] if m["denied"] else m["word"]
    return None
