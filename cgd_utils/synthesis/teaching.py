"""The distillation records: each draft with its critique, the refined and the direct answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from .. import prompts
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.settings import Engine, Sampling, Teacher
from ..core.store import Artifact, Run
from ..data import decontamination
from ..engines.request_log import Request
from ..grading import thoughts
from ..grading.records import grade
from ..lab import teacher as lab_teacher
from ..lab.teacher import TeacherSettings
from ..models import loading
from ..models.loading import ModelRef
from ..models.named import model_key, model_ref, student_ref
from . import prose_teacher
from .conclusions import conclusion
from .drafts import ask_model, drafts, rule_of, spoken
from .selection import FAULTS, TEXTS, select


def records(run: Run, family: str) -> Artifact:
    """The distillation records of a family, filtered as ``synthesis.keep`` says and without thoughts (`spoken`)."""
    p = run.profile
    problems, made = decontamination.problems(run), drafts(run, family)
    teacher = p.synthesis.teacher

    def build(folder: Path) -> Record:
        rows = [
            {**q, "solution": spoken(q["solution"], p.synthesis), "draft": spoken(d["text"], p.synthesis),
             "draft_source": p.synthesis.draft_source, "draft_model": d["model"],
             "draft_finish": d["finish_reason"], "draft_tokens": d["n_tokens"]}
            for q, d in zip(problems.rows(), made.rows(), strict=True)
        ]  # fmt: skip
        if teacher.kind != "model":
            _teach_exactly(rows, teacher, p.synthesis.seed)
            if teacher.critic == "student":
                _criticise(run, student_ref(run, family), rows, teacher.sampling, folder)
        else:
            _teach_by_model(run, family, rows, teacher, folder)
        _swap_irrelevant(rows, teacher.relevance, p.synthesis.seed)
        for text in ("draft", "refined", "direct"):
            for row, score in zip(rows, grade(_answers(rows, text), rule_of(run)), strict=True):
                row[f"{text}_correct"] = None if row["meta"].get("ungraded") else score["correct"]
        kept, left_out = select(rows, p.synthesis)
        write_jsonl(folder / "rows.jsonl", kept)
        graded = [r for r in rows if r["draft_correct"] is not None and r["refined_correct"] is not None]
        return {"rows": len(kept), "of": len(rows), "left_out": left_out, "graded": len(graded),
                "right": {t: sum(bool(r[f"{t}_correct"]) for r in graded) for t in ("draft", "refined", "direct")},
                "cut": {t: sum(r.get(f"{t}_finish") == "length" for r in rows) for t in TEXTS},
                **({"critiques": prose_teacher.report(rows)} if teacher.kind == "prose" else {}),
                **{fault: sum(found(r) for r in rows) for fault, found in FAULTS.items()}}  # fmt: skip

    settings = {"synthesis": p.synthesis.model_dump(exclude={"draft": True, "draft_source": True, "useless": True, "teacher": {"generation"}}),
                "layout": p.models.layout, "teacher": _teacher_key(run)}  # fmt: skip
    if teacher.critic == "student":
        settings["critic"] = model_key(student_ref(run, family).path)
    return run.make("records", family, build, settings=settings, inputs=[problems.key, made.key], rows=p.data.rows)


def _teacher_key(run: Run) -> Any:
    """What decides the teacher's texts beside the settings: its weights, and how its engine names and stores them."""
    t = run.profile.synthesis.teacher
    if t.kind != "model":
        return None
    engine = t.generation or run.profile.generation
    served = engine.engine == "openai" or not t.model
    return [engine.identity(), None if served else model_key(loading.resolve(t.model)), run.profile.models.dtype]


def _answers(rows: Sequence[Record], text: str) -> list[Record]:
    return [{"id": r["id"], "gold": r["answer"], "text": r[text]} for r in rows]


def _teach_exactly(rows: list[Record], teacher: Teacher, seed: int) -> None:
    """The texts of a teacher that knows the truth: the lab's, or the one for prose."""
    knobs = TeacherSettings(teacher.error_rate, teacher.specificity, teacher.relevance, teacher.leakage)
    refining = knobs
    if teacher.refined_error_rate is not None:
        refining = replace(knobs, error_rate=teacher.refined_error_rate)
    for r in rows:
        rng = Random(f"teacher/{seed}/{r['id']}")
        if teacher.kind == "prose":
            c = prose_teacher.critique(r["draft"], r, rng, knobs)
            refined, direct = prose_teacher.refine(r["draft"], r, rng, refining), prose_teacher.direct(r, rng, knobs)
        else:
            c = lab_teacher.critique(r["draft"], r["meta"], rng, knobs)
            refined = lab_teacher.refine(r["draft"], r["meta"], rng, refining)
            direct = lab_teacher.direct(r["meta"], rng, knobs)
        r |= {
            "critique": c.text, "conclusion": c.conclusion, "teacher": teacher.kind, "teacher_erred": c.erred,
            "refined": refined, "direct": direct,
        }  # fmt: skip


def _criticise(
    run: Run, ref: ModelRef, rows: list[Record], sampling: Sampling, folder: Path, engine: Engine | None = None
) -> None:
    """Has a model write every critique, from question and draft."""
    layout = prompts.layout(run.profile.models.layout)
    requests = [Request(r["id"], layout.ask_critique(r["question"], r["draft"])) for r in rows]
    for r, g in zip(rows, ask_model(run, ref, requests, sampling, folder, "critique", engine), strict=True):
        r |= {
            "critique": spoken(g["text"], run.profile.synthesis),
            "critique_finish": g["finish_reason"],
            "critique_tokens": g["n_tokens"],
            "critic": ref.name,
            "conclusion": conclusion(thoughts.split(g["text"]).answer),
        }


def _teach_by_model(run: Run, family: str, rows: list[Record], teacher: Teacher, folder: Path) -> None:
    layout = prompts.layout(run.profile.models.layout)
    engine = teacher.generation
    if engine is not None and engine.engine == "openai":
        ref = ModelRef("", engine.server_model or "")
    else:
        ref = model_ref(run, teacher.model or "", (teacher.model or "").rpartition("/")[2], revision=teacher.revision)

    def ask(what: str, requests: list[Request]) -> None:
        for r, g in zip(rows, ask_model(run, ref, requests, teacher.sampling, folder, what, engine), strict=True):
            said = spoken(g["text"], run.profile.synthesis)
            r |= {what: said, f"{what}_finish": g["finish_reason"], f"{what}_tokens": g["n_tokens"]}

    if teacher.critic == "student":
        _criticise(run, student_ref(run, family), rows, teacher.sampling, folder)
    else:
        _criticise(run, ref, rows, teacher.sampling, folder, engine)
    for r in rows:
        r["teacher"] = ref.name
    ask("refined", [Request(r["id"], layout.ask_refined(r["question"], r["draft"], r["critique"])) for r in rows])
    ask("direct", [Request(r["id"], layout.ask(r["question"])) for r in rows])


def _swap_irrelevant(rows: list[Record], relevance: float, seed: int) -> None:
    """Gives a share 1 - relevance of the records the critique of the next problem."""
    if relevance >= 1 or len(rows) < 2:
        return
    originals = [r["critique"] for r in rows]
    for i, r in enumerate(rows):
        if Random(f"relevance/{seed}/{r['id']}").random() >= relevance:
            r["critique"] = originals[(i + 1) % len(rows)]
