"""Text → final answer. Regular expressions only, linear in the length of the text."""

from __future__ import annotations

import json
import re

from . import thoughts
from .phrases import number_words, truth_word

_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\\.|\{|\}", re.DOTALL)
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])")
_BARE_BOX = re.compile(r"\\boxed\s*([^\s{}\\$]+)")
_IN_OTHER_LANGUAGES = (
    r"答案?[是为：:]+|答え[はが：:]+|(?:정답|답)[은이：:]*"
    r"|\b(?:respuesta|resposta|risposta|réponse)(?: fina\w*)?[\s*_]*(?:est?|é|è|:)|\bAntwort[\s*_]*(?:ist|lautet|:)|ответ[\s*_]*[:—-]"
)
_ANCHOR = re.compile(
    r"(?:\banswers?\b[\s*_]*(?:to [^\n.:]{0,80}?|of [^\n.:]{0,80}?)?[\s*_]*(?:is|are|:|：|=)(?:\s*:)?|####|<answer>"
    rf"|{_IN_OTHER_LANGUAGES}|\b(?:correct|right|best) (?:option|choice)[\s*_]*(?:is|:))[ \t*_]*",
    re.IGNORECASE,
)
_JSON_KEY = re.compile(r"""(["'])(?:final[ _]?)?(?:answer|result)\1\s*:\s*""", re.IGNORECASE)
_DENIAL = r"(?:is|are|was|were)(?:(?:\s+not|n['’]t)\s+(?:true|right|correct|possible|valid)|\s+(?:wrong|false|incorrect|impossible))"
_DENIED = re.compile(  # what follows an answer that the text takes back
    rf"[^\s,.?;]{{0,60}}(?:\s[^\sA-Za-z,.?;]{{1,20}}){{0,3}}"
    rf"(?:\s*\?\s*(?:No|Nope|Wrong)\b|\s*[,.?]?\s*(?:but )?(?:which |that |this |it )?{_DENIAL}\b)",
    re.IGNORECASE,
)
_CLOSING = re.compile(  # words to the reader, and remarks
    r"\s*(?:\*\*|_|\()?(?:(?:let|tell) me|feel free|(?:did|do|have|would|can|could|if|should) you|please|(?:i )?hope|thanks?|note"
    r"|remark|p\.?\s?s|i (?:have |)(?:used|checked|verified|followed|applied)|see|check|refer|compare|cf|step \d+ (?:is|was)|source|references?|disclaimer"
    r"|(?:any|more) questions|(?:is|was) (?:there|that|this)|good luck|happy|you (?:can|may|could|should)|confidence"
    r"|this (?:uses|follows|took)|(?:this|the) (?:solution|method|proof|approach) (?:uses|used|took|follows|relies))\b",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"(?:(?:therefore|thus|hence|so|then|indeed|simply|just|exactly|clearly|given by|equal to|the number|approximately"
    r"|about)\b,?\s*)+",
    re.IGNORECASE,
)
_MATH = re.compile(  # each kind stops at its own opening mark, so that unclosed ones cost no more than one look
    r"(?<!\\)\$\$((?:(?!\$\$).)+)\$\$|(?<!\\)\$((?:\\\$|[^$\n])+?)(?<!\\)\$"
    r"|\\\(((?:(?!\\\().)+?)\\\)|(?<!\\)\\\[((?:(?!(?<!\\)\\\[).)+?)(?<!\\)\\\]",
    re.DOTALL,
)
_NUMBER = re.compile(
    r"(?<![\w.])[-−+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+)"
    r"(?:[eE][-+]?\d+|/\d+)?(?:\s?\\?%)?"
)
_CHOICE = re.compile(r"\(([A-J])\)|\b(?:option|choice)\s+([A-J])\b|(?:^|\n)\s*\**([A-J])\**[.):]?\s*$", re.IGNORECASE)
_AFTERTHOUGHT = re.compile(
    r"\s*(?:\.\s*)?(?:I hope (?:it|this) is correct|,?\s*\(?\b(?:because|since|which|where|so that|as required)\b|,\s*but\b)"
    r"|(?<=[\d})%])\s+\((?=[A-Za-z]{3})|[.!?]\s+(?=[A-Z*\\(])|\s*#{2,}|<\||</?[A-Za-z][\w|]*>",
)
_PROSE = re.compile(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}|[A-Za-z]{2,}\W+\s[A-Za-z]{2,}")


def extract(text: str, rule: str = "math") -> str | None:
    r"""The final answer of a whole model text, or None if it names none.

    In this order, and the last of each kind counts:

    1. ``\boxed{…}`` with balanced braces (also ``\fbox``, ``\framebox``). Of several boxes the last one counts.
    2. ``{"answer": …}``; then "the final answer is …", "the answer is …", "Answer: …", "#### …", up to the end of the
       line or sentence, unless the text takes it back at once ("…, which is not true").
    3. A text that is nothing but an answer: one line without prose, such as ``14`` or ``x = \frac{1}{2}``.
    4. Under all rules but `exact`, what comes last of ``$…$`` and plain numbers before any words to the reader;
       failing that a choice, such as ``(B)``; failing that yes, no, true or false ("not true" is false); failing that
       a number in words. `exact` does not guess.

    A thought (see `thoughts`) is not read, and a text that was cut off inside one names no answer. A box left open by
    truncation is no answer.

    Args:
        text: the whole text of a model.
        rule: one of `RULES`.

    Returns:
        The answer as written, without its box and without ``$``; e.g. ``14`` for ``12+2=14\nAnswer: 14``.
    """
    text = thoughts.split(text.replace("\0", " ")).answer
    return (
        _boxed(text) or _in_json(text) or _anchored(text) or _bare(text) or (None if rule == "exact" else _guess(text))
    )


def _boxed(text: str) -> str | None:
    if not _OPEN_BOX.search(text):
        return None
    stack: list[int | None] = []
    start, answer = -1, None
    for match in _BOX_OR_BRACE.finditer(text):
        token = match.group()
        if token == "{":
            stack.append(None)
        elif token == "}":
            opened = stack.pop() if stack else None
            if opened is not None and opened > start and text[opened : match.start()].strip():
                start, answer = opened, text[opened : match.start()]
        elif token.endswith("{") and len(token) > 2:
            stack.append(match.end())
    if answer is None and (bare := _BARE_BOX.findall(text)):
        answer = bare[-1].rstrip(".,;")
    return _unwrap(answer) if answer else None


def _in_json(text: str) -> str | None:
    """The value of the last "answer" in an object, such as ``{"steps": "…", "answer": 5}``."""
    for match in reversed(list(_JSON_KEY.finditer(text))):
        rest = text[match.end() :]
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:  # 'single quotes'
            found = re.match(r"'([^'\n]+)'", rest)
            return _trim(found[1]) if found else None
        if isinstance(value, str | int | float | bool | list) and value not in ("", []):
            return _trim(value if isinstance(value, str) else rest[:end])
    return None


def _anchored(text: str) -> str | None:
    for match in reversed(list(_ANCHOR.finditer(text))):
        rest = text[match.end() :].lstrip(" \t*_:\n")
        if "\n" in text[match.end() : len(text) - len(rest)]:
            rest = re.sub(r"^[-*•] +", "", rest)  # a list's bullet is no minus sign
        answer = rest if rest.startswith(("\\[", "$$")) else rest.split("\n", 1)[0]
        answer = _HEDGE.sub("", answer, count=1) if _HEDGE.match(answer) else answer
        if _DENIED.match(answer):
            continue
        # an open box is empty or cut off
        if not _OPEN_BOX.search(answer) and (trimmed := _trim(answer)):
            return trimmed
    return None


def _bare(text: str) -> str | None:
    line = text.strip()
    if not line or "\n" in line or len(line) > 200 or _OPEN_BOX.search(line) or _ANCHOR.search(line):
        return None
    line = re.sub(r"^(?:Therefore|Thus|Hence|So)\b,?\s*", "", line)
    return None if _PROSE.search(line) else _trim(line)


def _guess(text: str) -> str | None:
    if (opened := _OPEN_BOX.search(text)) is not None:  # the box was cut off: what is in it is no answer
        text = text[: opened.start()]
    text = _without_closing_words(text)
    last: re.Match | None = None
    for pattern in (_MATH, _NUMBER):
        for match in pattern.finditer(text):
            if (last is None or match.end() > last.end()) and not _DENIED.match(text, match.end()):
                last = match
    if last is not None:
        return _trim(last.group())
    if found := _CHOICE.findall(text):
        return "".join(found[-1])
    return truth_word(text) or number_words(text)


def _without_closing_words(text: str) -> str:
    """The text up to what is said to the reader after the answer, if there is a number before that."""
    sentences = list(re.finditer(r"[^\n]+?(?:[.!?](?=\s)|(?=\n)|$)", text))
    end = len(sentences)
    while end > 1 and _CLOSING.match(said := sentences[end - 1].group()) and not re.search("[=$]", said):
        end -= 1
    kept = text[: sentences[end - 1].end()] if end < len(sentences) else text
    return kept if _NUMBER.search(kept) or _MATH.search(kept) else text


def _trim(answer: str) -> str | None:
    """An answer without its math delimiters, emphasis, full stop and what is said after it."""
    answer = answer.strip().strip("*_`").strip()
    if (math := _MATH.match(answer)) and not re.match(r"\s*(?:,|and\b|or\b|\\?%|percent\b)", answer[math.end() :]):
        answer = next(group for group in math.groups() if group)
    elif cut := _AFTERTHOUGHT.search(answer):
        answer = answer[: cut.start()]
    answer = _unwrap(answer).strip(" \t*_`")
    answer = re.sub(r"(?:(?<!\\)[.,;:?*。，；：।]|(?<!\d)!)+$", "", answer).strip(" \t_`")  # but 5! keeps its factorial
    answer = re.sub(
        r"(?<=[\d}])\s*(?:です|である|입니다|이다|[^\W\da-zA-Z万千百十亿兆半倍分]{1,3}(?<=[\u4e00-\u9fff]))$",
        "",
        answer,
    )
    return answer or None


def _unwrap(answer: str) -> str:
    answer = answer.strip()
    if (math := _MATH.fullmatch(answer)) is not None:
        return next(group for group in math.groups() if group).strip()
    return answer
