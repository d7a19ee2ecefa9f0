"""Answers graded: one score row a generation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.errors import BadInput
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run
from ..data.benchmarks import Loaded, benchmarks
from ..grading.records import grade
from .answering import VERSIONS

STATUSES = ("no_answer", "unparsable", "timeout", "killed")


def scores(run: Run, label: str, answers: Artifact, asked: Sequence[Loaded] = ()) -> Artifact:
    """Grades raw answers to benchmarks (those ``asked``, by default all of the profile): one score row a generation, in its order.

    Raises:
        BadInput: the answers are to another version of a benchmark; see `score` too.
    """
    loaded = {b.name: b for b in asked or benchmarks(run)}

    def build(folder: Path) -> Record:
        answered = json.loads((answers.folder / VERSIONS).read_text(encoding="utf-8"))
        for name, version in answered.items():
            if name in loaded and version != loaded[name].version:
                raise BadInput(
                    f"generations {label}: they answer another version of benchmark {name!r} (hash of its questions "
                    f"{version[:12]}, now {loaded[name].version[:12]}); bring that version back, or generate again"
                )
        generations = answers.rows()
        check_version(generations, loaded)
        rows = score(generations, loaded)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows)}

    rules = {b.name: b.rule for b in loaded.values()}
    return run.make("scores", label, build, settings=rules, inputs=[answers.key])


def score(rows: Sequence[Record], loaded: Mapping[str, Loaded]) -> list[Record]:
    """Scores of generation rows: ``{benchmark, id, sample, extracted, gold, correct, status}``, in the rows' order.

    Raises:
        BadInput: a row of an unknown benchmark or question, a row given twice.
    """
    if unknown := sorted({r["benchmark"] for r in rows} - set(loaded)):
        raise BadInput(f"generations of benchmark {unknown[0]!r}, which is not among {', '.join(loaded)}")
    scored: dict[tuple[str, str, int], Record] = {}
    for name, b in loaded.items():
        answers = [r for r in rows if r["benchmark"] == name]
        questions = _questions(b, answers)
        for r, graded in zip(answers, _graded(b, questions, answers), strict=True):
            scored[name, r["id"], r["sample"]] = graded
    return [scored[r["benchmark"], r["id"], r["sample"]] for r in rows]


def _questions(b: Loaded, answers: Sequence[Record]) -> list[Record]:
    """The question of each answer to a benchmark."""
    known = {q["id"]: q for q in b.problems}
    seen: set[tuple[str, int]] = set()
    for r in answers:
        about = f"benchmark {b.name!r}"
        if r["id"] not in known:
            raise BadInput(f"{about} has no question {r['id']!r}: the generations belong to another version of it")
        if (r["id"], r["sample"]) in seen:
            raise BadInput(f"{about}: generation {r['id']!r}, sample {r['sample']}, occurs twice")
        seen.add((r["id"], r["sample"]))
    return [known[r["id"]] for r in answers]


def _graded(b: Loaded, questions: Sequence[Record], answers: Sequence[Record]) -> list[Record]:
    """Scores of one benchmark's answers: by its rule, by running programs, or by a check of instructions."""
    pairs = list(zip(questions, answers, strict=True))
    if b.rule is None:
        from ..lab import world

        follows = [world.follows(r["text"], q["meta"]) for q, r in pairs]
        return [
            _score(r, r["text"], q["meta"]["instruction"], f, "ok") for (q, r), f in zip(pairs, follows, strict=True)
        ]
    if b.rule == "code":
        from ..grading import code_execution

        outcomes = code_execution.grade([(q, r["text"]) for q, r in pairs])
        return [_score(r, o["detail"], "", o["correct"], o["status"]) for r, o in zip(answers, outcomes, strict=True)]
    if b.rule == "ifeval":
        from ..grading import ifeval

        joined = [({"key": i, "prompt": q["question"], **q["meta"]}, r["text"]) for i, (q, r) in enumerate(pairs)]
        return [
            _score(r, r["text"], ", ".join(q["meta"]["instruction_id_list"]), all(v["strict"]), "ok")
            | {how: v[how] for how in ("strict", "loose")}
            for (q, r), v in zip(pairs, ifeval.score(joined), strict=True)
        ]
    return grade([{**r, "gold": q["answer"]} for q, r in pairs], b.rule)


def _score(answer: Record, extracted: str, gold: str, correct: bool, status: str) -> Record:
    about = {"benchmark": answer["benchmark"], "id": answer["id"], "sample": answer["sample"]}
    return {**about, "extracted": extracted, "gold": gold, "correct": correct, "status": status}


def check_version(rows: Sequence[Record], loaded: Mapping[str, Loaded]) -> None:
    """Whether generation rows are all the answers to just these questions.

    Raises:
        BadInput: a prompt that does not hold its question (another version of the benchmark), or a question without an
            answer.
    """
    prompts = {(r["benchmark"], r["id"]): r["prompt"] for r in rows}
    for name, b in loaded.items():
        for q in b.problems:
            about, prompt = f"benchmark {name!r}", prompts.get((name, q["id"]))
            if prompt is None:
                raise BadInput(f"{about}: question {q['id']!r} has no answer among the generations; generate again")
            if q["question"].strip() not in prompt:
                why = "was asked another question; the generations belong to another version of it"
                raise BadInput(f"{about}: generation {q['id']!r} {why}")
