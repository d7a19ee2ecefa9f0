"""The lab world: word problems of k steps, three answer styles, instructions that a program can check.

Example question (k = 2)::

    Mia has 12 apples. She buys 5 more. Then she gives 3 to Ben. How many apples does Mia have now?

and its answer in the three styles::

    terse     Answer: 14
    steps     12+5=17\\n17-3=14\\nAnswer: 14
    verify    12+5=17, 17-5=12 ok\\n17-3=14, 14+3=17 ok\\nAnswer: 14
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ..core.records import Record

STYLES = ("terse", "steps", "verify")
MAX_VALUE = 999
NAMES = ["Mia", "Ben", "Ada", "Leo", "Zoe", "Sam", "Eva", "Max", "Ida", "Tom", "Amy", "Jon", "Lia", "Kai", "Uma", "Rex"]
THINGS = ["apples", "coins", "books", "cards", "shells", "stamps", "pens", "beads", "cups", "stones"]
WORDS = ["Sure", "Okay", "Hello", "Thanks", "Done", "Good", "Right", "Ready"]
PLUS = ("buys {n} more", "finds {n} more", "gets {n} from {other}", "wins {n} more", "picks up {n}")
MINUS = ("gives {n} to {other}", "loses {n}", "sells {n}", "throws away {n}", "breaks {n}")
TIMES = ("makes it {n} times as many", "ends up with {n} times as many")
VERBS = {"+": PLUS, "-": MINUS, "*": TIMES}
INVERSE = {"+": "-", "-": "+", "*": "/"}
HARDEST_OPERAND = {"+": 99, "-": 99, "*": 9}


def apply(op: str, a: int, b: int) -> int:
    """The exact result of one operation ``a op b``; ``/`` is exact division."""
    if op == "/":
        return a // b
    return {"+": a + b, "-": a - b, "*": a * b}[op]


def values(meta: Record) -> list[int]:
    """The running values of a problem: ``[start, after step 1, …, after step k]`` (length k + 1)."""
    out = [meta["start"]]
    for op, n in meta["steps"]:
        out.append(apply(op, out[-1], n))
    return out


def _steps(rng: Random, k: int) -> tuple[int, list[list[Any]]]:
    start = value = rng.randint(2, 99)
    steps: list[list[Any]] = []
    while len(steps) < k:
        op = rng.choices("+-*", (4, 4, 2))[0]
        n = rng.randint(2, HARDEST_OPERAND[op])
        result = apply(op, value, n)
        if 0 <= result <= MAX_VALUE:
            steps.append([op, n])
            value = result
    return start, steps


def make_problem(rng: Random, k: int) -> Record:
    """One problem record of ``k`` steps (without id, source and split), all random choices from ``rng``.

    Args:
        rng: random stream.
        k: steps.
    """
    start, steps = _steps(rng, k)
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    sentences = [f"{name} has {start} {thing}."]
    for i, (op, n) in enumerate(steps):
        other = rng.choice([x for x in NAMES if x != name])
        event = rng.choice(VERBS[op]).format(n=n, other=other)
        sentences.append(f"Then {name} {event}." if i and rng.random() < 0.5 else f"{name} {event}.")
    sentences.append(f"How many {thing} does {name} have now?")
    meta = {"k": k, "start": start, "steps": steps}
    answer = str(values(meta)[-1])
    return {"question": " ".join(sentences), "answer": answer, "solution": write(meta, "terse"), "meta": meta}


def make_problems(n: int, ks: Sequence[int], seed: int, split: str) -> list[Record]:
    """``n`` distinct problem records, the step counts ``ks`` in turn.

    Args:
        n: number of problems.
        ks: step counts, each ≥ 1; problem i has ``ks[i % len(ks)]`` steps.
        seed: the same seed gives the same problems.
        split: name of the split; part of every id and of the random stream.
    """
    rng = Random(f"{split}/{seed}")
    seen: set[str] = set()
    out: list[Record] = []
    while len(out) < n:
        k = ks[len(out) % len(ks)]
        problem = make_problem(rng, k)
        if problem["question"] not in seen:
            seen.add(problem["question"])
            out.append({"id": f"lab-{split}-{seed}-{len(out):05d}", "source": "lab", "split": split, **problem})
    return out


def equation(a: int, op: str, b: int, result: int) -> str:
    """One step as text, for example ``12+5=17``."""
    return f"{a}{op}{b}={result}"


def check(a: int, op: str, b: int, result: int) -> str:
    """The inverse check of a step: ``17-5=12 ok``, or ``… no`` where it does not lead back to ``a``."""
    back = result // b if op == "*" else apply(INVERSE[op], result, b)
    exact = op != "*" or result % b == 0
    return f"{equation(result, INVERSE[op], b, back)} {'ok' if exact and back == a else 'no'}"


def write(meta: Record, style: str) -> str:
    """The right answer of a problem in one of `STYLES`; the last line is ``Answer: N``."""
    if style not in STYLES:
        raise ValueError(f"answer style {style!r}: use one of {', '.join(STYLES)}")
    return "\n".join([*written_steps(meta, style), f"Answer: {values(meta)[-1]}"])


def written_steps(meta: Record, style: str) -> list[str]:
    """The step lines of an answer, without its last line; none for ``terse``."""
    if style == "terse":
        return []
    lines, value = [], meta["start"]
    for op, n in meta["steps"]:
        result = apply(op, value, n)
        line = equation(value, op, n, result)
        lines.append(f"{line}, {check(value, op, n, result)}" if style == "verify" else line)
        value = result
    return lines


# ---------------------------------------------------------------- reading answers
_STEP = re.compile(r"^\s*(\d+)\s*([+\-*])\s*(\d+)\s*=\s*(\d+)(?:\s*,\s*(\d+\s*[+\-*/]\s*\d+\s*=\s*\d+)\s+(ok|no))?\s*$")
_ANSWER = re.compile(r"Answer:\s*(-?\d+)")
_NUMBER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class WrittenStep:
    """A step as a student wrote it: ``a op b = result``; ``checked`` is 'ok', 'no' or '' (no check)."""

    a: int
    op: str
    b: int
    result: int
    checked: str = ""


@dataclass(frozen=True)
class Reading:
    """What a program finds in an answer: its steps (failed tries left out) and its final answer."""

    steps: tuple[WrittenStep, ...]
    answer: int | None

    @property
    def style(self) -> str:
        if not self.steps:
            return "terse"
        return "verify" if all(s.checked for s in self.steps) else "steps"


def read(text: str) -> Reading:
    """Parses an answer: one step a line, then ``Answer: N`` (the last one counts; a bare number is an answer too)."""
    matches = (_STEP.match(line) for line in text.splitlines())
    written = [WrittenStep(int(m[1]), m[2], int(m[3]), int(m[4]), m[6] or "") for m in matches if m]
    steps = tuple(step for step in written if step.checked != "no")
    found = _ANSWER.findall(text)
    if not found and re.fullmatch(r"\s*-?\d+\s*", text):
        found = _NUMBER.findall(text)
    return Reading(steps, int(found[-1]) if found else None)


# ---------------------------------------------------------------- instructions
@dataclass(frozen=True)
class Instruction:
    """An instruction that a program can check, the lab's counterpart of IFEval's.

    ``ask`` is what the user says, ``obey`` turns an answer (meta, style, word) into one that follows it,
    ``holds(text, meta, word)`` says whether a reply follows it (whether or not its number is right).
    """

    ask: str
    obey: Callable[[Record, str, str], str]
    holds: Callable[[str, Record, str], bool]


def _twice(text: str, meta: Record, word: str) -> bool:
    answers = _ANSWER.findall(text)
    return len(answers) == 2 and answers[0] == answers[1]


def _in_style(style: str) -> Callable[[str, Record, str], bool]:
    return lambda text, meta, word: (r := read(text)).style == style and len(r.steps) >= meta["k"]


INSTRUCTIONS: dict[str, Instruction] = {
    "steps": Instruction("Answer in steps.", lambda m, s, w: write(m, "steps"), _in_style("steps")),
    "verify": Instruction("Verify each step.", lambda m, s, w: write(m, "verify"), _in_style("verify")),
    "only_number": Instruction(
        "Give only the number.",
        lambda m, s, w: str(values(m)[-1]),
        lambda text, m, w: re.fullmatch(r"\s*-?\d+\s*", text) is not None,
    ),
    "twice": Instruction("Write the answer twice.", lambda m, s, w: f"{write(m, s)}\nAnswer: {values(m)[-1]}", _twice),
    "begin": Instruction(
        "Begin with the word {word}.",
        lambda m, s, w: f"{w}\n{write(m, s)}",
        lambda text, m, w: re.match(rf"\s*{w}\b", text) is not None,
    ),
    "end": Instruction(
        "End with the word {word}.",
        lambda m, s, w: f"{write(m, s)}\n{w}",
        lambda text, m, w: re.search(rf"\b{w}\s*$", text) is not None,
    ),
}


def instruct(problem: Record, name: str, word: str = "") -> Record:
    """The problem with an instruction appended to its question and named in its meta."""
    ask = INSTRUCTIONS[name].ask.format(word=word)
    return {
        **problem,
        "question": f"{problem['question']} {ask}",
        "meta": {**problem["meta"], "instruction": name, "word": word},
    }


def follows(text: str, meta: Record) -> bool:
    """Whether a reply follows the instruction named in ``meta``.

    Raises:
        KeyError: the problem carries no instruction.
    """
    return INSTRUCTIONS[meta["instruction"]].holds(text, meta, meta.get("word", ""))


def make_instruction_set(n: int, ks: Sequence[int], seed: int, split: str) -> list[Record]:
    """``n`` instructed problems, the instructions in turn and the step counts ``ks`` in turn within each of them."""
    problems = make_problems(n, [k for k in ks for _ in INSTRUCTIONS], seed, split)
    rng, names = Random(f"words/{split}/{seed}"), list(INSTRUCTIONS)
    return [instruct(p, names[i % len(names)], rng.choice(WORDS)) for i, p in enumerate(problems)]


# ---------------------------------------------------------------- slips
def slip(rng: Random, a: int, op: str, b: int) -> int:
    """A wrong result of the kind that people make: one digit off, a carry forgotten, or the wrong operation."""
    right = apply(op, a, b)
    kind = rng.random()
    if kind < 0.1:
        wrong = apply("-" if op == "+" else "+", a, b)
    else:
        wrong = right + rng.choice((-1, 1)) * rng.choice((1, 1, 2, 10, 10, 20, 100))
    return wrong if 0 <= wrong <= MAX_VALUE and wrong != right else right + 1


def corrupt(rng: Random, meta: Record, style: str, slips: int = 1) -> str:
    """A wrong answer in ``style``: the given number of slips at random steps, carried on to the end.

    In ``verify`` style the checks are written as a careless student would: always 'ok'.
    """
    k = meta["k"]
    where = set(rng.sample(range(k), min(slips, k)))
    value, lines = meta["start"], []
    for i, (op, n) in enumerate(meta["steps"]):
        after = apply(op, value, n)
        result = slip(rng, value, op, n) if i in where or not 0 <= after <= MAX_VALUE else after
        line = equation(value, op, n, result)
        lines.append(f"{line}, {equation(result, INVERSE[op], n, value)} ok" if style == "verify" else line)
        value = result
    if str(value) == str(values(meta)[-1]):
        value += 1
    return "\n".join([*([] if style == "terse" else lines), f"Answer: {value}"])
