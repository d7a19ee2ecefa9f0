"""Model cards of the lab's students: what an untrained student can do, measured and written beside its checkpoint."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from huggingface_hub import ModelCard, ModelCardData

from cgd_utils import prompts
from cgd_utils.core import statistics
from cgd_utils.core.records import Record
from cgd_utils.lab import students, teacher, world

from .students import PLANS

Answer = Callable[[list[str], float], list[str]]
STEPS = (1, 2, 3, 4, 5, 6)
# how a question is asked: plainly, or with one of the instructions that fix the way of answering
ASKED = {"plain": None, "in steps": "steps", "verify each step": "verify", "only the number": "only_number"}
TEMPLATE = Path(__file__).with_name("card.md.jinja")


@dataclass(frozen=True)
class Draft:
    """A sampled draft: its kind as the exact teacher finds it, its style as `world.read` does."""

    question: str
    text: str
    kind: str
    style: str


@dataclass(frozen=True)
class Measured:
    """What an untrained student can do; each pair is (right, n).

    Attributes:
        n: problems a cell.
        accuracy: (k, how asked) → right answers.
        instructions: name → (followed, n).
        drafts: sampled at temperature 1.
        single: right steps of those drafts, and all.
        refining: what it makes of its drafts.
    """

    n: int
    accuracy: dict[tuple[int, str], int]
    instructions: dict[str, tuple[int, int]]
    drafts: list[Draft]
    single: tuple[int, int]
    refining: dict[str, tuple[int, int]]


def measure(answer: Answer, n: int = 300) -> Measured:
    """Measures an untrained student: accuracy by step count and way of asking, instructions, kinds of errors, refining.

    Args:
        answer: (questions, temperature) → the student's answers; temperature 0 is greedy.
        n: problems a cell.
    """
    problems = world.make_problems(n, [2, 3, 4], 7, "card-drafts")
    texts = answer([p["question"] for p in problems], 1.0)
    readings = [world.read(text) for text in texts]
    steps = [step for reading in readings for step in reading.steps]
    drafts = [
        Draft(p["question"], text, teacher.diagnose(text, p["meta"]).kind, reading.style)
        for p, text, reading in zip(problems, texts, readings, strict=True)
    ]
    return Measured(
        n=n,
        accuracy=_accuracy(answer, n),
        instructions=_instructions(answer, n),
        drafts=drafts,
        single=(sum(world.apply(s.op, s.a, s.b) == s.result for s in steps), len(steps)),
        refining=_refining(answer, problems, texts),
    )


def _right(texts: list[str], problems: list[Record]) -> int:
    return sum(world.read(text).answer == int(p["answer"]) for text, p in zip(texts, problems, strict=True))


def _accuracy(answer: Answer, n: int) -> dict[tuple[int, str], int]:
    accuracy = {}
    for k in STEPS:
        problems = world.make_problems(n, [k], 7, "card")
        for asked, instruction in ASKED.items():
            shown = [world.instruct(p, instruction) if instruction else p for p in problems]
            accuracy[k, asked] = _right(answer([p["question"] for p in shown], 0.0), problems)
    return accuracy


def _instructions(answer: Answer, n: int) -> dict[str, tuple[int, int]]:
    problems = world.make_instruction_set(n, [1, 2, 3], 7, "card")
    texts = answer([p["question"] for p in problems], 0.0)
    followed = defaultdict(list)
    for text, p in zip(texts, problems, strict=True):
        followed[p["meta"]["instruction"]].append(world.follows(text, p["meta"]))
    return {name: (sum(held), len(held)) for name, held in followed.items()}


def _refining(answer: Answer, problems: list[Record], drafts: list[str]) -> dict[str, tuple[int, int]]:
    """How well it judges its drafts, and improves the wrong ones with the exact teacher's critique, a vague one, and none."""
    layout = prompts.layout("lab")
    exact = [teacher.critique(d, p["meta"], Random(0)) for d, p in zip(drafts, problems, strict=True)]
    asked = [layout.ask_critique(p["question"], d)[0]["content"] for p, d in zip(problems, drafts, strict=True)]
    judged = [f"Conclusion: {c.conclusion}" in text for text, c in zip(answer(asked, 0.0), exact, strict=True)]
    found = {"conclusion of its critique is right": (sum(judged), len(drafts))}
    wrong = [(p, d, c.text) for p, d, c in zip(problems, drafts, exact, strict=True) if c.conclusion == "wrong"]
    vague = f"{teacher.GENERIC['wrong']} Conclusion: wrong"
    for what, critiques in {
        "with the exact critique": [c for _, _, c in wrong],
        "with a critique that only says that there is a mistake": [vague] * len(wrong),
        "without a critique": [None] * len(wrong),
    }.items():
        pairs = zip(wrong, critiques, strict=True)
        asked = [layout.ask_refined(p["question"], d, shown)[0]["content"] for (p, d, _), shown in pairs]
        texts = answer(asked, 0.0) if asked else []
        found[f"wrong draft improved {what}"] = (_right(texts, [p for p, _, _ in wrong]), len(wrong))
    return found


def write(name: str, folder: Path, measured: Measured) -> None:
    """Writes ``README.md`` beside a checkpoint, from its config, its curve and what `measure` found."""
    curve = [json.loads(line) for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    card = ModelCard.from_template(
        ModelCardData(license="mit", tags=["cgd-kit", "lab"]),
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        name=name,
        student=students.STUDENTS[name],
        size=PLANS[name].size,
        built=json.loads((folder / "pretraining.json").read_text(encoding="utf-8")),
        minutes=curve[-1]["seconds"] / 60,
        measured=measured,
        # the errors that a critique can name
        wrong_drafts=[d for d in measured.drafts if d.kind not in ("right", "no_steps")][:4],
        asked=list(ASKED),
        steps=STEPS,
        percent=_percent,
        shares=lambda shares: ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items()),
        counts=_counts,
    )
    card.save(folder / "README.md")


def _percent(right: int, n: int) -> str:
    """A share with its 95% Wilson interval."""
    if not n:
        return "none"
    i = statistics.wilson(right, n)
    return f"{100 * i.estimate:.1f} [{100 * i.low:.1f}, {100 * i.high:.1f}]"


def _counts(drafts: list[Draft], field: str) -> str:
    return ", ".join(f"{value} {n}" for value, n in Counter(getattr(d, field) for d in drafts).most_common())
