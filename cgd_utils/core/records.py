"""Rows as the kit passes them on: one JSON object each, one line of a JSONL file.

Each stage adds fields to what it read: a problem becomes a `DistillationRecord` (drafts, then teaching), that becomes one
`TrainingRow` a method, a trained model's `Generation` gets a `Score`, and scores are summed to a `Result`.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Record = dict[str, Any]

Role = Literal["system", "user", "assistant"]
Status = Literal["ok", "no_answer", "unparsable", "timeout"]


class Message(TypedDict):
    """One turn of a chat."""

    role: Role
    content: str


class Problem(TypedDict):
    """A question with its answer; ``solution`` is the reference's reasoning, ``meta`` what the source knows besides."""

    id: str
    source: str
    split: str
    question: str
    answer: str
    solution: str
    meta: Record


class DistillationRecord(Problem):
    """A problem with a student's draft and what the teacher made of it.

    ``conclusion`` is the critique's verdict on the draft, None where none could be read; ``…_correct`` is None where the
    grader could not say. ``…_finish`` and ``…_tokens`` say how a text that was sampled ended and how long it is; the exact
    teacher's texts have neither, and say in ``teacher_erred`` whether they are wrong on purpose. ``critic`` names the student
    or teacher that wrote the critique.
    """

    draft: str
    draft_source: Literal["student", "weaker", "corrupted", "data"]
    draft_model: str
    draft_finish: str
    draft_tokens: int
    draft_correct: bool | None
    critique: str
    critique_finish: NotRequired[str]
    critique_tokens: NotRequired[int]
    critic: NotRequired[str]
    conclusion: Literal["right", "wrong"] | None
    teacher: str
    teacher_erred: NotRequired[bool]
    refined: str
    refined_finish: NotRequired[str]
    refined_tokens: NotRequired[int]
    refined_correct: bool | None
    direct: NotRequired[str]
    direct_finish: NotRequired[str]
    direct_tokens: NotRequired[int]
    direct_correct: bool | None


class TrainingRow(TypedDict):
    """What one method reads and learns of one record."""

    id: str
    method: str
    prompt: list[Message]
    completion: list[Message]


class Generation(TypedDict):
    """One sampled text; ``prompt`` as the model read it, ``key`` of the request, ``sampling`` (evaluation) its settings."""

    benchmark: NotRequired[str]
    id: str
    sample: int
    prompt: str
    text: str
    finish_reason: str
    n_tokens: int
    model: str
    key: str
    sampling: NotRequired[Record]


class Score(TypedDict):
    """What the grader says of a generation: the answer it read, and whether it equals ``gold``; None: it cannot say."""

    benchmark: NotRequired[str]
    id: str
    sample: int
    extracted: str | None
    gold: str
    correct: bool | None
    status: Status


class Result(TypedDict):
    """One figure of one model on one benchmark: a row of ``results.csv``.

    ``seed`` is None for the base; ``n`` counts what the interval is over; bounds are None where nothing was sampled. ``by_question``
    tells which questions were answered right, as in `evaluation.figures.written`.
    """

    family: str
    method: str
    seed: int | None
    benchmark: str
    metric: str
    value: float
    n: int
    ci_low: float | None
    ci_high: float | None
    by_question: NotRequired[str]


class AnalysisRow(TypedDict):
    """One figure of an analysis: a row of ``analyses.csv``; ``condition`` says under what, or of which benchmark."""

    analysis: str
    family: str
    method: str
    seed: int | None
    condition: str
    metric: str
    value: float
    n: int
    ci_low: float | None
    ci_high: float | None
