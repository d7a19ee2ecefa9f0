"""Model cards of the lab's students: what an untrained student can do, measured and written beside its checkpoint."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from .. import prompts
from ..core import statistics
from ..core.files import write_text
from ..core.records import Record
from . import students, teacher, world

Answer = Callable[[list[str], float], list[str]]
STEPS = (1, 2, 3, 4, 5, 6)
# how a question is asked: plainly, or with one of the instructions that fix the way of answering
ASKED = {"plain": None, "in steps": "steps", "verify each step": "verify", "only the number": "only_number"}

_CARD = """---
license: mit
tags: [cgd-kit, lab]
---
# {name}

A tiny pretrained model of the CGD kit's world `{world}`; it stands for {stands_for}. It answers word problems of that world and
nothing else.

| | |
| --- | --- |
| architecture | {model_type}, {layers} layers, hidden size {hidden} |
| parameters | {parameters:,} |
| pretraining | {tokens:.1f}M tokens {start}, {hours} on {threads}; Muon and AdamW, bf16 autocast |
| mixture | {mixture} |
| ways of answering in the mixture | {styles} |
| saved as | float16 safetensors |

## What the base student can do

Greedy answers, {n} held-out problems a cell, accuracy in percent with 95% Wilson intervals.

{accuracy}

{rule}Instructions followed ({n_instructions} instructed problems, k = 1–3): {instructions}.

Single steps that are right, in its sampled drafts written in steps: {single}.

## Its drafts

{n_drafts} drafts sampled at temperature 1 for k = 2–4, read by the exact teacher: {kinds}. Written as: {draft_styles}. Examples:

{examples}

## Its critiques and refined answers

What it makes of {n_refined} drafts of its own (sampled, k = 2–4) as a teacher or as a student, greedy; a refined answer is right if its number is.

{refining}

## How it was chosen

World, mixture, size and number of tokens were chosen by numbers like those on this page, never by which training method does better
with it.{frozen} Made by `notebooks/lab/build_lab.ipynb`; the curve is in `curve.jsonl`.
"""


def measure(answer: Answer, n: int = 300, source: str = "lab") -> Record:
    """Measures an untrained student: accuracy by step count and way of asking, instructions, kinds of errors, refining.

    Args:
        answer: (questions, temperature) → the student's answers; temperature 0 is greedy.
        n: problems a cell.
        source: its world, see `world.WORLDS`.

    Returns:
        ``accuracy`` {(k, asked): (right, n)}, ``instructions`` {name: (followed, n)}, ``drafts`` [(question, text, kind,
        style)], ``single`` (right steps, steps written), ``refining`` {what: (right, n)}; in the world of the misconception
        ``phrase`` {(k, with it?): (right, right by the wrong rule, n)}.
    """
    accuracy = {}
    for k in STEPS:
        problems = world.make_problems(n, [k], 7, "card", source=source)
        for asked, instruction in ASKED.items():
            questions = [
                p["question"] if instruction is None else world.instruct(p, instruction)["question"] for p in problems
            ]
            texts = answer(questions, 0.0)
            accuracy[k, asked] = sum(
                world.read(t).answer == int(p["answer"]) for t, p in zip(texts, problems, strict=True)
            )
    instructed = world.make_instruction_set(n, [1, 2, 3], 7, "card", source)
    followed: dict[str, list[bool]] = {}
    for text, p in zip(answer([p["question"] for p in instructed], 0.0), instructed, strict=True):
        followed.setdefault(p["meta"]["instruction"], []).append(world.follows(text, p["meta"]))
    problems = world.make_problems(n, [2, 3, 4], 7, "card-drafts", source=source)
    texts = answer([p["question"] for p in problems], 1.0)
    readings = [world.read(t) for t in texts]
    steps = [s for r in readings for s in r.steps]
    return {
        "n": n,
        "accuracy": accuracy,
        "instructions": {i: (sum(v), len(v)) for i, v in followed.items()},
        "drafts": [(p["question"], t, teacher.diagnose(t, p["meta"]).kind, r.style)
                   for p, t, r in zip(problems, texts, readings, strict=True)],
        "single": (sum(world.apply(s.op, s.a, s.b) == s.result for s in steps), len(steps)),
        "refining": _refining(answer, problems, texts),
        "phrase": _phrase(answer, n, source) if world.WORLDS[source] else {},
    }  # fmt: skip


def _refining(answer: Answer, problems: list[Record], drafts: list[str]) -> dict[str, tuple[int, int]]:
    """How well it judges its drafts, and improves the wrong ones with the exact teacher's critique, a vague one, and none."""
    layout = prompts.LAYOUTS["lab"]
    exact = [teacher.critique(d, p["meta"], Random(0)) for d, p in zip(drafts, problems, strict=True)]
    asked = [layout.ask_critique(p["question"], d)[0]["content"] for p, d in zip(problems, drafts, strict=True)]
    judged = answer(asked, 0.0)
    out = {"conclusion of its critique is right": (
        sum(f"Conclusion: {c.conclusion}" in t for t, c in zip(judged, exact, strict=True)), len(drafts))}  # fmt: skip
    wrong = [i for i, c in enumerate(exact) if c.conclusion == "wrong"]
    shown = {"with the exact critique": [exact[i].text for i in wrong],
             "with a critique that only says that there is a mistake": [f"{teacher.GENERIC['wrong']} Conclusion: wrong" for _ in wrong],
             "without a critique": [None for _ in wrong]}  # fmt: skip
    for what, critiques in shown.items():
        asked = [layout.ask_refined(problems[i]["question"], drafts[i], c)[0]["content"] for i, c in zip(wrong, critiques, strict=True)]  # fmt: skip
        texts = answer(asked, 0.0) if asked else []
        right = sum(world.read(t).answer == int(problems[i]["answer"]) for t, i in zip(texts, wrong, strict=True))
        out[f"wrong draft improved {what}"] = (right, len(wrong))
    return out


def _phrase(answer: Answer, n: int, source: str) -> dict[tuple[int, bool], tuple[int, int, int]]:
    """Plain questions with and without the misconceived phrase: right answers, and answers that the wrong rule gives."""
    out = {}
    for k in STEPS:
        for holds in (True, False):
            problems = world.make_problems(n, [k], 7, "card-phrase", source=source, holds_phrase=holds)
            said = [world.read(t).answer for t in answer([p["question"] for p in problems], 0.0)]
            right = sum(a == int(p["answer"]) for a, p in zip(said, problems, strict=True))
            by_rule = sum(a == world.values(world.misread(p["meta"]))[-1] for a, p in zip(said, problems, strict=True))
            out[k, holds] = (right, by_rule, n)
    return out


def write(name: str, folder: Path, measured: Record) -> None:
    """Writes ``README.md`` beside a checkpoint, from its config, its curve and what `measure` found."""
    student = students.STUDENTS[name]
    curve = [json.loads(line) for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    built = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    kinds = Counter(kind for _, _, kind, _ in measured["drafts"])
    styles = Counter(style for *_, style in measured["drafts"])
    single, written = measured["single"]
    text = _CARD.format(
        name=name, world=built.get("world", "lab"), rule=_phrase_table(measured["phrase"]), refining=_refining_table(measured["refining"]),
        n_refined=len(measured["drafts"]), start=f"from the `{built['start']}` student" if built.get("start") else "from nothing",
        frozen=" The design was written down before any method was trained on it." if measured["phrase"] else "",
        stands_for=student.stands_for, model_type=student.model_type, layers=student.size["num_hidden_layers"],
        hidden=student.size["hidden_size"], parameters=built["parameters"], tokens=built["tokens"] / 1e6,
        hours=f"{curve[-1]['seconds'] / 60:.0f} minutes", threads=f"{built['threads']} CPU thread(s)",
        mixture=_shares(built["mixture"]), styles=_shares(built["styles"]), n=measured["n"], accuracy=_table(measured),
        n_instructions=sum(n for _, n in measured["instructions"].values()),
        instructions=", ".join(f"{i} {_cell(*v)}" for i, v in measured["instructions"].items()),
        single=f"{_cell(single, written)} of {written}", n_drafts=len(measured["drafts"]), kinds=_counts(kinds),
        draft_styles=_counts(styles), examples=_examples(measured["drafts"]),
    )  # fmt: skip
    write_text(folder / "README.md", text)


def _cell(right: int, n: int) -> str:
    if not n:
        return "none"
    i = statistics.wilson(right, n)
    return f"{100 * i.estimate:.1f} [{100 * i.low:.1f}, {100 * i.high:.1f}]"


def _table(measured: Record) -> str:
    rows = [
        f"| {k} | " + " | ".join(_cell(measured["accuracy"][k, a], measured["n"]) for a in ASKED) + " |" for k in STEPS
    ]
    return "\n".join([f"| k | {' | '.join(ASKED)} |", "| --- " * (len(ASKED) + 1) + "|", *rows])


def _refining_table(refining: dict[str, tuple[int, int]]) -> str:
    rows = [f"| {what} | {_cell(*v)} | {v[1]} |" for what, v in refining.items()]
    return "\n".join(["| | % | n |", "| --- | --- | --- |", *rows])


def _phrase_table(phrase: dict[tuple[int, bool], tuple[int, int, int]]) -> str:
    """With and without the misconceived phrase; nothing in a world without it."""
    if not phrase:
        return ""
    names = ("with the phrase: right", "with the phrase: what the wrong rule gives", "without it: right")
    rows = [
        f"| {k} | {_cell(a, n)} | {_cell(b, n)} | {_cell(phrase[k, False][0], n)} |"
        for (k, holds), (a, b, n) in phrase.items()
        if holds
    ]
    head = [f"| k | {' | '.join(names)} |", "| --- " * 4 + "|"]
    return "Plain questions, by whether they hold the misconceived phrase:\n\n" + "\n".join([*head, *rows]) + "\n\n"


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in counts.most_common())


def _examples(drafts: list[tuple[str, str, str, str]], n: int = 4) -> str:
    """The first wrong drafts that show steps: the errors that a critique can name."""
    shown = [d for d in drafts if d[2] not in ("right", "no_steps")][:n]
    return "\n\n".join(f"- {q}\n  `{t.replace(chr(10), ' / ')}` ({kind})" for q, t, kind, _ in shown)
