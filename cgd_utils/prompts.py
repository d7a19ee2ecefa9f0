"""Every prompt and chat layout of the kit: the texts are data (``prompts.yaml``, or a file of the user's), read and checked here.

A `Layout` turns a question, a draft and a critique into chat messages. The lab's students were pretrained on the
short `lab` layout; language models get the `standard` one, small ones the `plain` one, and `authors` keeps to the roles of the
authors' code. At inference a student always sees `answer` alone.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from .core.errors import BadInput

Message = dict[str, str]
Spans = dict[str, tuple[int, int]]
_SHIPPED = Path(__file__).with_suffix(".yaml")

# what each task's user turn must hold
_X, _XD, _XDC = ("question",), ("question", "draft"), ("question", "draft", "critique")
PLACEHOLDERS = {
    "answer": _X,
    "draft": _X,
    "direct": _X,
    "critique": _XD,
    "refine": _XDC,
    "refine_without_critique": _XD,
}


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prompt(_Data):
    """What is asked in one task: a user turn with placeholders, maybe after a system turn. A bare text is the user turn."""

    user: str
    system: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"user": value} if isinstance(value, str) else value

    def messages(self, **parts: str) -> list[Message]:
        """The turns, their placeholders filled."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": _fill(self.user, parts)[0]}]

    def check(self, task: str) -> None:
        """Raises ValueError unless the user turn holds each placeholder of its task once, and no other."""
        needed = PLACEHOLDERS[task]
        for name in needed:
            if (times := self.user.count(f"{{{name}}}")) != 1:
                raise ValueError(f"{task}: the user turn holds {{{name}}} {times} times; it must stand there once")
        # braces of LaTeX stand behind a word or another brace
        for turn, allowed in ((self.user, needed), (self.system or "", ())):
            if unknown := [n for n in re.findall(r"(?<![\w}]){([a-z_]+)}", turn) if n not in allowed]:
                known = ", ".join(f"{{{n}}}" for n in needed)
                raise ValueError(
                    f"{task}: unknown placeholder {{{unknown[0]}}}; the user turn takes {known}, a system turn none"
                )


class _Training(_Data):
    """What the student reads in training where that is not what the teacher read."""

    answer: Prompt | None = None
    critique: Prompt | None = None
    refine: Prompt | None = None
    refine_without_critique: Prompt | None = None


class Layout(_Data):
    """The prompt of each task; of those left out, `draft` and `direct` are `answer`."""

    answer: Prompt
    draft: Prompt | None = None
    direct: Prompt | None = None
    critique: Prompt
    refine: Prompt
    refine_without_critique: Prompt
    generic_critique: str
    training: _Training = _Training()

    @model_validator(mode="after")
    def _filled(self) -> Layout:
        for section in (self, self.training):
            for task in PLACEHOLDERS:
                if (prompt := getattr(section, task, None)) is not None:
                    prompt.check(task)
        return self

    @property
    def in_training(self) -> Layout:
        """The layout of training rows: what the student reads in the place of what the teacher read."""
        return self.model_copy(update={t: p for t, p in self.training if p is not None})

    @property
    def key(self) -> dict[str, Any]:
        """What decides the messages: the texts themselves, whatever the file is called."""
        return self.model_dump(exclude_none=True)

    def ask(self, question: str) -> list[Message]:
        """The question alone: at test time."""
        return self.answer.messages(question=question)

    def ask_draft(self, question: str) -> list[Message]:
        """The question alone; the reply is a draft."""
        return (self.draft or self.answer).messages(question=question)

    def ask_direct(self, question: str) -> list[Message]:
        """The question alone; the reply is the teacher's direct answer."""
        return (self.direct or self.answer).messages(question=question)

    def ask_critique(self, question: str, draft: str) -> list[Message]:
        """Question and draft; the reply is a critique that ends in ``Conclusion: right`` or ``Conclusion: wrong``."""
        return self.critique.messages(question=question, draft=draft)

    def ask_refined(self, question: str, draft: str, critique: str | None = None) -> list[Message]:
        """Question, draft and critique (left out if None); the reply is the improved answer."""
        if critique is None:
            return self.refine_without_critique.messages(question=question, draft=draft)
        return self.refine.messages(question=question, draft=draft, critique=critique)

    def spans(self, question: str, draft: str | None = None, critique: str | None = None) -> Spans:
        """Where question, draft and critique lie in the turn that `ask` or `ask_refined` writes: name -> (start, end)."""
        parts = {"question": question, "draft": draft, "critique": critique}
        shown = {n: t for n, t in parts.items() if t is not None}
        prompt = {1: self.answer, 2: self.refine_without_critique, 3: self.refine}[len(shown)]
        return _fill(prompt.user, shown)[1]


def _fill(template: str, parts: dict[str, str]) -> tuple[str, Spans]:
    # not format(): questions and drafts contain braces
    places = sorted((template.rindex("{" + n + "}"), n) for n in parts if "{" + n + "}" in template)
    text, spans, at = "", {}, 0
    for start, name in places:
        text += template[at:start]
        spans[name] = (len(text), len(text) + len(parts[name]))
        text += parts[name]
        at = start + len(name) + 2
    return text + template[at:], spans


@functools.cache
def shipped() -> dict[str, Layout]:
    """The kit's own layouts by name."""
    return {name: _read(fields, f"layout {name!r}") for name, fields in _load(_SHIPPED).items()}


def layout(name: str) -> Layout:
    """A layout of the kit by its name, or a user's by the path of its YAML file: one layout, task by task.

    Raises:
        BadInput: no such layout or file; an unknown task, or one that lacks; a placeholder that is missing, unknown or there twice.
    """
    if name in shipped():
        return shipped()[name]
    path = Path(name).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        raise BadInput(f"models.layout = {name!r}: use one of {', '.join(shipped())}, or a .yaml file of your own")
    if not path.is_file():
        raise BadInput(f"models.layout = {name!r}: no such file")
    return _read(_load(path), f"layout file {path}")


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise BadInput(f"layout file {path}: is not valid YAML in UTF-8 ({' '.join(str(e).split())})") from None


def _read(fields: Any, what: str) -> Layout:
    try:
        return Layout.model_validate(fields)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        tasks = ", ".join(Layout.model_fields)
        said = {"missing": "is missing", "extra_forbidden": f"is no task of a layout; those are {tasks}"}
        message = said.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{what}: {where}{' ' if where else ''}{message}") from None


def shown(messages: list[Message]) -> str:
    """Messages as a reader sees them: one turn as its text, several each under its role."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages)


JUDGE = (
    "You are rating a critique that a teacher wrote of a student's draft.\n\n"
    "## Question\n{question}\n\n## Draft\n{draft}\n\n## Critique\n{critique}\n\n"
    "Give two ratings from 1 to 5.\n"
    "Informativeness: how much would the critique help the student to reach the right answer?\n"
    "1 = it says nothing beyond right or wrong; 3 = it hints at what to change; 5 = it explains what fails, why, and what "
    "should stand there.\n"
    "Specificity: how closely is it tied to this very draft?\n"
    "1 = it would fit any draft; 3 = it points to a part of this draft; 5 = it names exact steps, values or words of it.\n"
    "Judge the critique alone, not how hard the question is. Reply with these two lines and nothing after them:\n"
    "Informativeness: <number>\nSpecificity: <number>"
)
RATINGS = ("informativeness", "specificity")


def ask_judge(question: str, draft: str, critique: str) -> list[Message]:
    """What a judge is asked about one critique."""
    return Prompt(user=JUDGE).messages(question=question, draft=draft, critique=critique)


def ratings(reply: str) -> dict[str, int] | None:
    """The two ratings of a judge's reply (the last of each counts), however it is formatted.

    Returns:
        ``{informativeness, specificity}``, each 1 to 5; None where one is missing or out of range.
    """
    numbers = {name: re.findall(rf"{name}\W*?(\d+(?:\.\d+)?)", reply, re.IGNORECASE) for name in RATINGS}
    if not all(found and float(found[-1]) in (1, 2, 3, 4, 5) for found in numbers.values()):
        return None
    return {name: int(float(found[-1])) for name, found in numbers.items()}
