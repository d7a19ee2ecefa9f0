"""Answers graded: one score row a generation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import BadInput
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run
from ..data.benchmarks import Loaded, benchmarks
from ..grading.records import grade
from .answering import VERSIONS


def scores(run: Run, label: str, made: Artifact) -> Artifact:
    """Grades raw answers: one score row a generation, in its order.

    Raises:
        BadInput: the answers are to another version of a benchmark; see `score` too.
    """
    loaded = {b.name: b for b in benchmarks(run)}

    def build(folder: Path) -> Record:
        answered = json.loads((made.folder / VERSIONS).read_text(encoding="utf-8"))
        for name, version in answered.items():
            if name in loaded and version != loaded[name].version:
                raise BadInput(
                    f"generations {label}: they answer another version of benchmark {name!r} (hash of its questions {version[:12]}, now "
                    f"{loaded[name].version[:12]}); bring that version back, or generate again"
                )
        answers = made.rows()
        check_version(answers, loaded)
        rows = score(answers, loaded)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows)}

    rules = {b.name: b.rule for b in loaded.values()}
    return run.make(
        "scores",
        label,
        build,
        settings=rules,
        inputs=[made.key],
    )


def score(rows: Sequence[Record], loaded: dict[str, Loaded]) -> list[Record]:
    """Scores of generation rows; instructions are checked by the lab's own programs.

    Raises:
        BadInput: a row of an unknown benchmark or question, a row given twice.
    """
    out: list[Record | None] = [None] * len(rows)
    if unknown := sorted({r["benchmark"] for r in rows} - set(loaded)):
        raise BadInput(f"generations of benchmark {unknown[0]!r}, which is not among {', '.join(loaded)}")
    for name, b in loaded.items():
        where = [i for i, r in enumerate(rows) if r["benchmark"] == name]
        problems = {q["id"]: q for q in b.problems}
        _known(b, problems, [rows[i] for i in where])
        if b.rule is None:
            from ..lab import world

            for i in where:
                r = rows[i]
                meta = problems[r["id"]]["meta"]
                out[i] = {
                    "benchmark": name, "id": r["id"], "sample": r["sample"], "extracted": r["text"],
                    "gold": meta["instruction"], "correct": world.follows(r["text"], meta), "status": "ok",
                }  # fmt: skip
            continue
        if b.rule == "code":
            from ..grading import code_execution

            graded = code_execution.grade([(problems[rows[i]["id"]], rows[i]["text"]) for i in where])
            for i, g in zip(where, graded, strict=True):
                out[i] = {"benchmark": name, "id": rows[i]["id"], "sample": rows[i]["sample"], "extracted": g.pop("detail"),
                          "gold": "", **g}  # fmt: skip
            continue
        given = [{**rows[i], "gold": problems[rows[i]["id"]]["answer"]} for i in where]
        for i, s in zip(where, grade(given, b.rule), strict=True):
            out[i] = s
    return [o for o in out if o is not None]


def _known(b: Loaded, problems: dict[str, Record], rows: Sequence[Record]) -> None:
    seen: set[tuple[str, int]] = set()
    for r in rows:
        if r["id"] not in problems:
            raise BadInput(
                f"benchmark {b.name!r} has no question {r['id']!r}: the generations belong to another version of it"
            )
        if (r["id"], r["sample"]) in seen:
            raise BadInput(f"benchmark {b.name!r}: generation {r['id']!r}, sample {r['sample']}, occurs twice")
        seen.add((r["id"], r["sample"]))


def check_version(rows: Sequence[Record], loaded: dict[str, Loaded]) -> None:
    """Whether generation rows are all the answers to just these questions.

    Raises:
        BadInput: a prompt that does not hold its question (another version of the benchmark), or a question without an answer.
    """
    for name, b in loaded.items():
        answers = {r["id"]: r for r in rows if r["benchmark"] == name}
        for q in b.problems:
            if q["id"] not in answers:
                raise BadInput(
                    f"benchmark {name!r}: question {q['id']!r} has no answer among the generations; generate again"
                )
            if q["question"].strip() not in answers[q["id"]]["prompt"]:
                raise BadInput(
                    f"benchmark {name!r}: generation {q['id']!r} was asked another question; the generations belong to another version of it"
                )


STATUSES = ("no_answer", "unparsable", "timeout", "killed")
