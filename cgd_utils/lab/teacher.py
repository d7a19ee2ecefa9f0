"""The exact teacher of the lab: reads a draft, names its first wrong step, and writes the right answer.

It knows the truth of every problem, so its mistakes are only those that its settings ask for. That is what no LLM
teacher allows: the error rate, the specificity, the relevance and the answer leakage of critiques can be dosed.

Example critiques::

    Step 2 is wrong: 17-3 is 14, not 15. Conclusion: wrong
    No step is shown and 15 is not the answer. Step 1 is 12+5=17. Conclusion: wrong
    All 2 steps are right. Conclusion: right
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from . import world

# a step of the draft is wrong, or the draft as a whole
STEP_KINDS = ("arithmetic", "operation", "operand", "missing", "extra")
KINDS = ("right", *STEP_KINDS, "answer", "no_steps", "no_answer")


@dataclass(frozen=True)
class Diagnosis:
    """The first thing wrong with a draft.

    Attributes:
        kind: one of `KINDS`; ``right`` if nothing is.
        step: number of the first wrong step, from 1; 0 where no step is to blame.
        written: the step as the draft has it, for example ``17-3=15``; '' if it has none.
        expected: the right step, for example ``17-3=14``; '' if no step is to blame.
        answer: the draft's final answer, None if it has none.
    """

    kind: str
    step: int = 0
    written: str = ""
    expected: str = ""
    answer: int | None = None


def diagnose(draft: str, meta: dict[str, Any]) -> Diagnosis:
    """Finds the first wrong step of a draft: exact, from the draft's own text and the problem's steps."""
    reading, right = world.read(draft), world.values(meta)
    expected = [world.equation(right[i], op, n, right[i + 1]) for i, (op, n) in enumerate(meta["steps"])]
    answer = reading.answer
    if not reading.steps:
        if answer is None:
            return Diagnosis("no_answer", 1, "", expected[0])
        if answer == right[-1]:
            return Diagnosis("right", answer=answer)
        return Diagnosis("no_steps", 1, "", expected[0], answer)
    for i, step in enumerate(reading.steps):
        written = world.equation(step.a, step.op, step.b, step.result)
        if i >= len(expected):
            return Diagnosis("extra", i + 1, written, "", answer)
        if written == expected[i]:
            continue
        op, n = meta["steps"][i]
        kind = "operation" if step.op != op else "operand" if (step.a, step.b) != (right[i], n) else "arithmetic"
        return Diagnosis(kind, i + 1, written, expected[i], answer)
    if len(reading.steps) < len(expected):
        i = len(reading.steps)
        return Diagnosis("missing", i + 1, "", expected[i], answer)
    if answer is None:
        return Diagnosis("no_answer", 0, "", "", None)
    return Diagnosis("right" if answer == right[-1] else "answer", answer=answer)


@dataclass(frozen=True)
class TeacherSettings:
    """The knobs of the exact teacher; each is a probability in [0, 1], drawn once per text.

    Attributes:
        error_rate: the teacher itself errs: one step of its answer slips, and a critique names a wrong value.
        specificity: the critique names the step and the right value; otherwise it only says right or wrong.
        relevance: the critique is about this problem; otherwise it is another problem's (`synthesis` swaps it).
        leakage: the critique says the final answer before its conclusion.
    """

    error_rate: float = 0.0
    specificity: float = 1.0
    relevance: float = 1.0
    leakage: float = 0.0


@dataclass(frozen=True)
class Critique:
    """A critique: its text, its conclusion ('right' or 'wrong'), and whether the teacher erred in it."""

    text: str
    conclusion: str
    erred: bool = False


GENERIC = {"right": "This looks fine.", "wrong": "There is a mistake in it."}


def critique(draft: str, meta: dict[str, Any], rng: Random, settings: TeacherSettings = TeacherSettings()) -> Critique:
    """Critiques a draft. The last words are ``Conclusion: right`` or ``Conclusion: wrong``."""
    found = diagnose(draft, meta)
    erred = rng.random() < settings.error_rate
    if erred:
        found = _mistaken(found, draft, meta, rng)
    conclusion = "right" if found.kind == "right" else "wrong"
    text = _specific(found, meta) if rng.random() < settings.specificity else GENERIC[conclusion]
    if rng.random() < settings.leakage:
        text += f" The answer is {world.values(meta)[-1]}."
    return Critique(f"{text} Conclusion: {conclusion}", conclusion, erred)


def _mistaken(found: Diagnosis, draft: str, meta: dict[str, Any], rng: Random) -> Diagnosis:
    """What a teacher who errs believes: a wrong value for the faulty step, or a fault where there is none."""
    if found.kind == "right":
        i = rng.randrange(meta["k"])
    elif found.step and rng.random() < 0.5 and found.answer is not None:
        return Diagnosis("right", answer=found.answer)
    else:
        i = min(max(found.step, 1), meta["k"]) - 1
    op, n = meta["steps"][i]
    a = world.values(meta)[i]
    expected = world.equation(a, op, n, world.slip(rng, a, op, n))
    written = world.equation(a, op, n, world.apply(op, a, n))
    if not world.read(draft).steps:
        return replace(found, kind="no_steps", step=i + 1, expected=expected)
    return Diagnosis("arithmetic", i + 1, found.written or written, expected, found.answer)


def _specific(found: Diagnosis, meta: dict[str, Any]) -> str:
    left, _, value = found.expected.partition("=")
    match found.kind:
        case "right":
            return f"All {meta['k']} steps are right." if found.answer is not None else "This is right."
        case "arithmetic":
            return f"Step {found.step} is wrong: {left} is {value}, not {found.written.partition('=')[2]}."
        case "operation" | "operand":
            return f"Step {found.step} is wrong: it must be {found.expected}."
        case "missing":
            return f"Step {found.step} is missing: {found.expected}."
        case "extra":
            return f"Step {found.step} is not in the problem."
        case "answer":
            return "The steps are right but the answer is not the last value."
        case "no_steps":
            return f"No step is shown and {found.answer} is not the answer. Step {found.step} is {found.expected}."
        case _:
            return f"No answer is given. Step 1 is {found.expected}." if found.expected else "No answer is given."


def direct(
    meta: dict[str, Any], rng: Random, settings: TeacherSettings = TeacherSettings(), style: str = "steps"
) -> str:
    """The teacher's own answer to the question, in full steps; with a slip where the teacher errs."""
    if rng.random() < settings.error_rate:
        return world.corrupt(rng, meta, style)
    return world.write(meta, style)


def refine(draft: str, meta: dict[str, Any], rng: Random, settings: TeacherSettings = TeacherSettings()) -> str:
    """The improved answer: keeps the draft's way of writing (steps or verified steps), mends what is wrong.

    A terse draft is written out in steps. Errs like `direct`.
    """
    style = world.read(draft).style
    return direct(meta, rng, settings, "steps" if style == "terse" else style)
