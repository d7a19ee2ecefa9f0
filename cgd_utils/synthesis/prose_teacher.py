"""The exact teacher for prose: critiques, refined and direct answers for any problem with a worked solution in equations.

It knows the truth, so its mistakes are only those that its settings ask for, as with the lab's teacher (`lab.teacher`).
Example, for "Sam has 15 marbles. He gives 2 of them to Alice. How many marbles does Sam have left?"::

    draft     Sam has 15 - 2 = 11 marbles left. The answer is 11.
    critique  Look at "15 - 2 = 11": 15 - 2 is not 11.\\nConclusion: wrong
    refined   Sam has 15 - 2 = 13.\\nAnswer: 13
    direct    We subtract the two numbers: 15 - 2 = 13.\\nAnswer: 13

A critique does not say the final answer, unless ``leakage`` asks for it. A refined answer begins with the right beginning of the
draft, word for word, and ends as the answers of the prompt layout ``answer`` do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from ..core.records import Record
from ..grading.equations import Equation, Operation, show
from ..lab.teacher import Critique, TeacherSettings
from ..methods import leaks
from .prose_reading import Diagnosis, diagnose, final_number, steps_of

UNIT_WORDS = 3  # what follows a right equation is kept with it where it is no longer than a unit
QUOTED_WORDS = 12
FAMILIAR = (
    0.8  # share of a sentence's words that stand in one sentence of the question, for it to count as a restatement
)
_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*(?:[.!?]+(?=\s|$)|\n|$)\s*")
_DOING = re.compile(
    r"\b(?:add|sum|plus|subtract|minus|difference|multipl\w*|product|times|divid\w*|quotient|ratio|total\s+is|answer|so|therefore"
    r"|draft|critique|review\w*|mistake|wrong|incorrect)\w*\b|\\boxed|####|=",
    re.IGNORECASE,
)


@lru_cache(maxsize=1)
def _phrases() -> Any:
    return yaml.safe_load(Path(__file__).with_name("prose_phrases.yaml").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- critiques
def critique(draft: str, problem: Record, rng: Random, settings: TeacherSettings = TeacherSettings()) -> Critique:
    """Critiques a draft; the last line is ``Conclusion: right`` or ``Conclusion: wrong``.

    Args:
        draft: the student's draft, without thoughts.
        problem: with ``question``, ``answer`` and ``solution``.
        rng: chooses the wording and whether the knobs strike.
        settings: the knobs.

    Raises:
        BadInput: the problem's solution shows no equation.
    """
    found, steps = diagnose(draft, problem), steps_of(problem)
    erred = rng.random() < settings.error_rate
    if erred:
        found = _mistaken(found, steps, rng)
    conclusion = "right" if found.right else "wrong"
    if rng.random() < settings.specificity:
        text = _specific(found, draft, problem, steps, rng)
    else:
        text = rng.choice(_phrases()["generic"][conclusion])
    if rng.random() < settings.leakage:
        text += " " + rng.choice(_phrases()["leak"]).format(gold=problem["answer"])
    return Critique(f"{text}\nConclusion: {conclusion}", conclusion, erred)


def _mistaken(found: Diagnosis, steps: Sequence[Operation], rng: Random) -> Diagnosis:
    """What a teacher who errs believes: that a wrong draft is right, or that a right step is not."""
    if not found.right:
        return replace(found, kind="right")
    if found.good:
        return replace(found, kind="operand", equation=rng.choice(found.good), step=rng.randrange(len(steps)))
    return replace(found, kind="missing", step=rng.randrange(len(steps)))


def _specific(found: Diagnosis, draft: str, problem: Record, steps: Sequence[Operation], rng: Random) -> str:
    phrases = _phrases()
    e, i = found.equation, found.step
    slots = {"quote": _quote(found, draft), "answer": show(found.answer) if found.answer is not None else ""}
    slots |= {
        "left": "",
        "claimed": "",
        "value": "",
        "fix": "",
        "should": "",
        "verb": "",
        "did": "",
        "nth": "",
        "next": "",
    }
    if e is not None:
        false_inside = not e.true
        slots |= {"left": e.left, "claimed": show(e.claimed), "value": show(e.value)}
        slots["did"] = phrases["verbs"][e.operations[0].sign]
        if false_inside and show(e.value) != problem["answer"]:
            slots["fix"] = f"; it is {show(e.value)}"
    if i is not None:
        step, last = steps[i], i == len(steps) - 1
        asked = f"{show(step.left)} {step.sign} {show(step.right)}"
        slots["should"] = asked if last or show(step.value) == problem["answer"] else f"{asked} = {show(step.value)}"
        slots |= {"verb": phrases["verbs"][step.sign], "nth": phrases["ordinals"][min(i, 9)]}
        slots["next"] = rng.choice(phrases["next"]).format(**slots)
    text = str(rng.choice(phrases["critique"][found.kind]).format(**slots))
    return text + slots["next"] if found.kind == "calculation" and not found.expected else text


def _quote(found: Diagnosis, draft: str) -> str:
    """The draft's own words that a critique is about."""
    if found.equation is not None:
        return " ".join(found.equation.text.split())
    if found.good and found.kind in ("right", "final"):
        return " ".join(found.good[-1].text.split())
    sentences = [s for s in _sentences(draft) if len(re.findall(r"[A-Za-z]+", s)) > 1]
    number = show(found.answer) if found.answer is not None else ""
    holding = [s for s in sentences if number and re.search(rf"(?<!\d){re.escape(number)}(?!\d)", s)]
    words = (holding or sentences or [draft])[-1].replace('"', "").split()
    return " ".join(words[-QUOTED_WORDS:]).rstrip(".")


def _sentences(text: str) -> list[str]:
    return [m.group() for m in _SENTENCE.finditer(text) if m.group()]


# ---------------------------------------------------------------- answers
def direct(problem: Record, rng: Random, settings: TeacherSettings = TeacherSettings()) -> str:
    """The teacher's own worked answer: the solution's words where it has some, else the teacher's for its equations."""
    erring = rng.random() < settings.error_rate
    steps = steps_of(problem)
    lines = [line for line in problem["solution"].splitlines() if line.strip() and not line.startswith("####")]
    worded = all(re.search(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}", line) for line in lines)
    if worded and not erring:
        return _ended(re.sub(r"<<[^<>]*>>", "", "\n".join(lines)), problem["answer"])
    shown, answer = _with_slip(steps, rng) if erring else (_plain(steps), problem["answer"])
    return _ended(" ".join(_told(shown, steps, rng, begins=True)), answer)


def refine(draft: str, problem: Record, rng: Random, settings: TeacherSettings = TeacherSettings()) -> str:
    """The improved answer: the right beginning of the draft word for word, then what is missing, then the answer.

    Right unless the teacher errs (``error_rate``); it says nothing about the draft.
    """
    found, steps = diagnose(draft, problem), steps_of(problem)
    kept, done = _right_beginning(draft, found, problem)
    left = [o for i, o in enumerate(steps) if i not in done]
    if rng.random() < settings.error_rate:
        shown, answer = _with_slip(left or steps[-1:], rng)
        told = _told(shown, left or steps[-1:], rng, begins=not kept)
        return _ended(_joined(kept, told), answer)
    return _ended(_joined(kept, _told(_plain(left), left, rng, begins=not kept)), problem["answer"])


def right_beginning(draft: str, problem: Record) -> str:
    """The part of a draft that a refined answer keeps; '' if it begins wrong."""
    return _right_beginning(draft, diagnose(draft, problem), problem)[0]


def _right_beginning(draft: str, found: Diagnosis, problem: Record) -> tuple[str, frozenset[int]]:
    """The kept part of a draft, and the steps that are done in it; nothing if a mark in it would be read as the answer."""
    kept, done = _begun(draft, found, problem)
    answer = f"Answer: {problem['answer']}"
    return (kept, done) if final_number(f"{kept}\n{answer}") == final_number(answer) else ("", frozenset())


def _begun(draft: str, found: Diagnosis, problem: Record) -> tuple[str, frozenset[int]]:
    at, faulty = 0, found.equation
    done = found.done if found.good else frozenset()
    if found.good:
        at = _after_unit(draft, found.good[-1])
        if _says_more(draft[: found.good[-1].start]):
            return "", frozenset()
    clean = at == 0 or draft[:at].rstrip().endswith((".", "!", "?", "\n")) or draft[at : at + 1] == "\n"
    stop = faulty.start if faulty is not None and faulty.start >= at else len(draft)
    while clean and at < stop:  # sentences that say nothing new
        sentence = _SENTENCE.match(draft, at)
        if sentence is None or not sentence.group() or sentence.end() > stop:
            break
        if not _restates(sentence.group(), problem["question"]):
            break
        at = sentence.end()
    if found.kind == "calculation" and found.expected and found.step is not None and faulty is not None:
        begun = draft[: faulty.start + _claim_at(faulty)]
        if not re.search(r"[=\\]", draft[at : faulty.start]) and not _says_more(draft[at : faulty.start]):
            return f"{begun}{show(faulty.value)}.", done | {found.step}
    kept = re.sub(r"(?:(?:^|\n)[ \t]*(?:\d+[.)]|[-*•])?[ \t]*)+$|[ \t]+$", "", draft[:at])
    return kept, done


def _claim_at(e: Equation) -> int:
    """Where in an equation's text its result begins."""
    found = re.search(r"[$€£]?[\d.,]+\s?%?$", e.text)
    return found.start() if found else len(e.text)


def _says_more(text: str) -> bool:
    """Whether words before a right equation already name an answer, or speak of a draft."""
    return re.search(r"\\boxed|####|\banswer\b[^.\n]*\d|\b(?:draft|critique)\b", text, re.IGNORECASE) is not None


def _after_unit(draft: str, e: Equation) -> int:
    """Where an equation ends, with its unit and full stop if nothing else follows in its sentence."""
    rest = re.match(r"(?P<words>[^.!?\n\d=\\]*)(?P<stop>[.!?](?=\s|$)|(?=\n)|$)", draft[e.end :])
    if rest and len(rest["words"].split()) <= UNIT_WORDS:
        return e.end + rest.end()
    closing = re.match(r"\s?\\[)\]]|\$|\*\*", draft[e.end :])
    return e.end + (closing.end() if closing else 0)


def _restates(sentence: str, question: str) -> bool:
    """Whether a sentence does no more than to open, or to say again what the question says."""
    if _DOING.search(sentence):
        return False
    if not re.search(r"\d", sentence):
        return sentence.rstrip().endswith((".", "!", ":"))
    words = set(re.findall(r"\w+", sentence.lower()))
    if len(words) < 4:
        return False
    numbers = {w for w in words if w.isdigit()}
    for told in _sentences(question):
        there = set(re.findall(r"\w+", told.lower()))
        if numbers <= there and len(words & there) >= FAMILIAR * len(words) and not told.rstrip().endswith("?"):
            return True
    return False


def _plain(steps: Sequence[Operation]) -> list[str]:
    return [f"{show(o.left)} {o.sign} {show(o.right)} = {show(o.value)}" for o in steps]


def _with_slip(steps: Sequence[Operation], rng: Random) -> tuple[list[str], str]:
    """The steps with one false result, carried on to a wrong answer."""
    where = rng.randrange(len(steps))
    carried: dict[Fraction, Fraction] = {}  # a true value -> the one that stands in its place
    shown = []
    value = steps[-1].value
    for i, o in enumerate(steps):
        o = Operation(carried.get(o.left, o.left), o.sign, carried.get(o.right, o.right))
        if o.sign == "/" and o.right == 0:
            o = steps[i]
        value = o.value
        missed = i == len(steps) - 1 and value == steps[-1].value
        if i == where or missed:
            value += rng.choice((1, 2, 10)) if value < 10 else rng.choice((-2, -1, 1, 2, 10))
        carried[steps[i].value] = value
        shown.append(f"{show(o.left)} {o.sign} {show(o.right)} = {show(value)}")
    if value == steps[-1].value:  # the slip was undone by what followed
        value += 1
        shown[-1] = f"{shown[-1].rpartition('=')[0]}= {show(value)}"
    return shown, show(value)


def _told(shown: Sequence[str], steps: Sequence[Operation], rng: Random, begins: bool) -> list[str]:
    """Equations as the teacher's sentences."""
    phrases, out = _phrases(), []
    for i, (equation, o) in enumerate(zip(shown, steps, strict=True)):
        place = ("only" if len(shown) == 1 else "first") if begins and i == 0 else "later" if i else "mended"
        sentence = rng.choice(phrases["step"][place])
        out.append(sentence.format(equation=equation, verb=phrases["verbs"][o.sign]))
    return out


def _joined(kept: str, told: Sequence[str]) -> str:
    stop = "." if kept[-1:].isalnum() else ""
    return f"{kept}{stop} {' '.join(told)}".rstrip() if kept else " ".join(told)


def _ended(text: str, answer: str) -> str:
    """A worked text with its last line."""
    return f"{text.rstrip()}\nAnswer: {answer}" if text.strip() else f"Answer: {answer}"


# ---------------------------------------------------------------- how good its critiques are
def report(rows: Sequence[Record]) -> Record:
    """What the critiques of distillation records are like.

    Returns:
        ``{wrong, specific, quoting, leaks}``: wrong drafts; the share of them whose critique names a fault (`unreadable` ones and
        generic texts do not); the share that quotes the draft's words; the share of all critiques that hold the final answer.
    """
    wrong = [r for r in rows if not r["draft_correct"]]
    general = {*_phrases()["critique"]["unreadable"], *_phrases()["generic"]["wrong"], *_phrases()["generic"]["right"]}

    def specific(r: Record) -> bool:
        return not any(r["critique"].startswith(g) for g in general)

    def quoting(r: Record) -> bool:
        flat = " ".join(r["draft"].split())
        return any(q in flat for q in re.findall(r'"([^"]+)"', r["critique"]))

    count = max(1, len(wrong))
    return {
        "wrong": len(wrong),
        "specific": sum(map(specific, wrong)) / count,
        "quoting": sum(map(quoting, wrong)) / count,
        "leaks": sum(leaks(r["critique"], r["answer"]) for r in rows) / max(1, len(rows)),
    }
