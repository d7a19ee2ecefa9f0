"""The thoughts of reasoning models: every way that models mark them (`thoughts.yaml`), and a text without them.

A thought is what a model writes for itself before it answers. It is no part of the answer: it is neither graded nor
trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

_TABLES = yaml.load(Path(__file__).with_name("thoughts.yaml").read_bytes(), Loader=yaml.CSafeLoader)
_WRAPPING = re.compile(_TABLES["wrapping"])


@dataclass(frozen=True)
class Thought:
    """A text in two parts.

    Attributes:
        thought: what the model wrote for itself, without marks; empty where it marked nothing.
        answer: what it said; the whole text where no thought is marked, empty where the last thought is not finished.
        finished: whether every thought came to its end; False where the text was cut off inside one.
    """

    thought: str
    answer: str
    finished: bool = True


def split(text: str) -> Thought:
    """The thought and the answer of a model's text.

    - A closing mark without an opening one ends a thought that began with the text: many chat templates open it in the
      prompt.
    - A thought that is opened and not closed leaves no answer: what follows is thought, and what stands before was not
      final.
    - Of several thoughts each is left out; what stands between and after them is the answer.
    - A mark between two quotation marks or backticks is spoken of, not used.
    """
    for opening, closing in _BARE:
        if opened := opening.match(text):
            closed = closing.search(text, opened.end())
            if closed is None:
                return Thought(text[opened.end() :].strip(), "", False)
            return Thought(text[opened.end() : closed.start()].strip(), text[closed.end() :].strip())
    thought: list[str] = []
    answer: list[str] = []
    inside: list[str] = []  # kinds of the marks that are open, outermost first
    at = 0
    for opens, kind, mark in _marks(text):
        piece = text[at : mark.start()]
        at = mark.end()
        if not opens and not inside:
            thought += [*answer, piece]
            answer = []
            continue
        (thought if inside else answer).append(piece)
        if opens and kind not in inside:
            inside.append(kind)
        elif not opens:
            # a mark of another kind closes everything: models mix them up
            del inside[inside.index(kind) if kind in inside else 0 :]
    if at == 0:
        return Thought("", text)
    (thought if inside else answer).append(text[at:])
    said = "" if inside else _plain(answer)
    return Thought(_plain(thought), said, not inside)


def _plain(pieces: list[str]) -> str:
    return _WRAPPING.sub("", "".join(pieces)).strip()


def opening(prompt: str) -> str:
    """The mark with which a rendered prompt opens the model's thought, such as ``<think>``; empty if it opens none."""
    last = None
    for opens, _, mark in _marks(prompt):
        last = mark if opens else None
    return last.group() if last and not prompt[last.end() :].strip() else ""


def is_mark(token: str) -> bool:
    """Whether a token is a mark, or a part of one: an engine that leaves out special tokens must keep it."""
    return any(_MARK.fullmatch(before + token + after) for before, after in _AROUND)


def _marks(text: str) -> Iterator[tuple[bool, str, re.Match[str]]]:
    """(whether it opens, its kind, the match) of every mark that a text uses."""
    for mark in _MARK.finditer(text):
        before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
        if not (before and before == after and before in "`'\""):
            name = mark.lastgroup or ""
            yield name.startswith("o"), name[1:], mark


def _compiled() -> re.Pattern[str]:
    parts = []
    for row, marks in enumerate(_TABLES["marks"]):
        for n, name in enumerate(_TABLES["names"] if "NAME" in marks["opening"] else [""]):
            opening, closing = (marks[end].replace("NAME", name) for end in ("opening", "closing"))
            parts += [f"(?P<o{row}_{n}>{opening})", f"(?P<c{row}_{n}>{closing})"]
    # the look-ahead spares the alternatives at every other character
    return re.compile(r"(?=[<\[◁])(?:" + "|".join(parts) + ")", re.IGNORECASE)


_MARK = _compiled()
# gpt-oss writes a mark of several tokens: what stands around one of them
_AROUND = (("", ""), ("", "analysis"), ("", "assistant<|channel|>analysis"), ("<|channel|>final", ""))
_BARE = [
    (re.compile(rf"\s*{bare['opening']}", re.IGNORECASE), re.compile(bare["closing"], re.IGNORECASE | re.MULTILINE))
    for bare in _TABLES["bare"]
]
