"""The distillation records: each draft with its critique, the refined and the direct answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from .. import methods, prompts
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.settings import Engine, Synthesis, Teacher
from ..core.store import Artifact, Run
from ..data import decontamination, problem_sources
from ..engines.request_log import Request
from ..grading import thoughts
from ..grading.records import grade
from ..lab import teacher as lab_teacher
from ..lab.teacher import TeacherSettings
from ..models.loading import ModelRef
from ..models.named import model_key, model_ref, student_ref
from . import prose_teacher
from .conclusions import conclusion
from .drafts import ask_model, drafts, of_seed, rule_of, spoken
from .selection import FAULTS, TEXTS, select

GRADED = ("draft", "refined", "direct")


def records(run: Run, family: str) -> Artifact:
    """The distillation records of a family, filtered as ``synthesis.keep`` says and without thoughts (`spoken`)."""
    p = run.profile
    problems, draft_rows = decontamination.training_problems(run), drafts(run, family)
    teacher = p.synthesis.teacher

    def build(folder: Path) -> Record:
        rows = [
            {
                **question,
                "solution": spoken(question["solution"], p.synthesis),
                "draft": spoken(draft["text"], p.synthesis),
                "draft_source": p.synthesis.draft_source,
                "draft_model": draft["model"],
                "draft_finish": draft["finish_reason"],
                "draft_tokens": draft["n_tokens"],
            }
            for question, draft in zip(problems.rows(), draft_rows.rows(), strict=True)
        ]
        _teach(run, family, rows, folder)
        _swap_irrelevant(rows, teacher.relevance, p.synthesis.seed)
        texts = [text for text in GRADED if all(text in r for r in rows)]
        for text in texts:
            answers = [{"id": r["id"], "gold": r["answer"], "text": r[text]} for r in rows]
            for row, score in zip(rows, grade(answers, rule_of(run)), strict=True):
                row[f"{text}_correct"] = None if row["meta"].get("ungraded") else score["correct"]
        kept, left_out = select(rows, p.synthesis)
        write_jsonl(folder / "rows.jsonl", kept)
        graded = [r for r in rows if r["draft_correct"] is not None and r["refined_correct"] is not None]
        return {
            "rows": len(kept),
            "of": len(rows),
            "left_out": left_out,
            "graded": len(graded),
            "right": {text: sum(bool(r[f"{text}_correct"]) for r in graded) for text in texts},
            "cut": {text: sum(r.get(f"{text}_finish") == "length" for r in rows) for text in TEXTS if text in rows[0]},
            **({"critiques": prose_teacher.report(rows)} if teacher.kind == "prose" else {}),
            **{fault: sum(map(has_fault, rows)) for fault, has_fault in FAULTS.items()},
        }

    elsewhere = {"draft": True, "draft_source": True, "useless": True, "teacher": {"generation"}}
    settings = {
        "synthesis": p.synthesis.model_dump(exclude=elsewhere),
        "layout": prompts.layout(p.models.layout).key,
        "teacher": _teacher_key(run),
    }
    if teacher.critic == "student":
        settings["critic"] = model_key(student_ref(run, family).path)
    return run.make(
        "records", family, build, settings=settings, inputs=[problems.key, draft_rows.key], rows=p.data.rows
    )


def _teacher_key(run: Run) -> Any:
    """What decides the teacher's texts beside the settings: its weights, and how its engine names and stores them."""
    t = run.profile.synthesis.teacher
    if t.kind != "model":
        return None
    engine = t.generation or run.profile.generation
    if not t.model or engine.engine == "openai":
        return [engine.identity(), None, None]
    ref = model_ref(run, t.model, "teacher", revision=t.revision)
    return [engine.identity(), model_key(ref.path), ref.dtype]


def writer_ref(run: Run, model: str | None, name: str, engine: Engine, revision: str | None = None) -> ModelRef:
    """A model that writes for the run without being its student: on a server under its name there, else loaded."""
    if engine.engine == "openai":
        return ModelRef("", engine.served_as)
    return model_ref(run, model or "", name, revision=revision)


def of_seeds(run: Run) -> list[tuple[str, int]]:
    """(family, seed) of all records that training needs: one of a family where its seeds share them; for `seed_records`."""
    t = run.profile.training
    pilot = [t.pilot_seed] if t.searched else []
    seeds = [*t.seeds, *pilot] if run.profile.data.per_seed else t.seeds[:1]
    return [(family, seed) for seed in seeds for family in run.profile.models.students]


def seed_records(run: Run, family: str, seed: int) -> Artifact:
    """The records that a training seed learns from."""
    return records(of_seed(run, seed), family)


def _teach(run: Run, family: str, rows: list[Record], folder: Path) -> None:
    """Gives every record its critique, refined and direct answer."""
    p = run.profile
    teacher, layout = p.synthesis.teacher, prompts.layout(p.models.layout)
    engine = teacher.generation or p.generation

    def ask(ref: ModelRef, engine: Engine, text: str, prompt: Callable[[Record], list[dict[str, str]]]) -> list[Record]:
        requests = [Request(r["id"], prompt(r)) for r in rows]
        log = folder / f"{text}.log.jsonl"
        answers = ask_model(ref, engine, requests, teacher.sampling, log, f"{text} ({ref.name})")
        for row, answer in zip(rows, answers, strict=True):
            row[text] = spoken(answer["text"], p.synthesis)
            row[f"{text}_finish"] = answer["finish_reason"]
            row[f"{text}_tokens"] = answer["n_tokens"]
        return answers

    def ask_critiques(ref: ModelRef, engine: Engine) -> None:
        answers = ask(ref, engine, "critique", lambda r: layout.ask_critique(r["question"], r["draft"]))
        for row, answer in zip(rows, answers, strict=True):
            row |= {"critic": ref.name, "conclusion": conclusion(thoughts.split(answer["text"]).answer)}

    if teacher.kind == "data":
        _take_given(rows, p.training.methods, p.synthesis)
    elif teacher.kind != "model":
        _teach_exactly(rows, teacher, p.synthesis.seed)
    if teacher.critic == "data":
        _take_critiques(rows, p.synthesis)
    if teacher.critic == "student":
        ask_critiques(student_ref(run, family), p.generation)
    if teacher.kind != "model":
        return
    ref = writer_ref(run, teacher.model, (teacher.model or "").rpartition("/")[2], engine, teacher.revision)
    if teacher.critic == "teacher":
        ask_critiques(ref, engine)
    for row in rows:
        row["teacher"] = ref.name
    ask(ref, engine, "refined", lambda r: layout.ask_refined(r["question"], r["draft"], r["critique"]))
    ask(ref, engine, "direct", lambda r: layout.ask_direct(r["question"]))


def _take_given(rows: Sequence[Record], trained: Sequence[str], settings: Synthesis) -> None:
    """The texts that came with the problems; direct answers only where a source has them or a method learns them."""
    learnt = {methods.parse(m)[0].target for m in trained}
    has_direct = any("direct" in row["meta"].get("given", {}) for row in rows)
    for row in rows:
        row["refined"] = spoken(problem_sources.given(row, "refined"), settings)
        if has_direct or "direct" in learnt:
            row["direct"] = spoken(problem_sources.given(row, "direct"), settings)
        row["teacher"] = "data"
    _take_critiques(rows, settings)


def _take_critiques(rows: Sequence[Record], settings: Synthesis) -> None:
    for row in rows:
        text = problem_sources.given(row, "critique")
        concluded = conclusion(thoughts.split(text).answer)
        row |= {"critique": spoken(text, settings), "critic": "data", "conclusion": concluded}


def _teach_exactly(rows: Sequence[Record], teacher: Teacher, seed: int) -> None:
    """The texts of a teacher that knows the truth: the lab's, or the one for prose."""
    knobs = TeacherSettings(teacher.error_rate, teacher.specificity, teacher.relevance, teacher.leakage)
    refining = knobs
    if teacher.refined_error_rate is not None:
        refining = replace(knobs, error_rate=teacher.refined_error_rate)
    for row in rows:
        rng = Random(f"teacher/{seed}/{row['id']}")
        if teacher.kind == "prose":
            written = prose_teacher.critique(row["draft"], row, rng, knobs)
            row["refined"] = prose_teacher.refine(row["draft"], row, rng, refining)
            row["direct"] = prose_teacher.direct(row, rng, knobs)
        else:
            written = lab_teacher.critique(row["draft"], row["meta"], rng, knobs)
            row["refined"] = lab_teacher.refine(row["draft"], row["meta"], rng, refining)
            row["direct"] = lab_teacher.direct(row["meta"], rng, knobs)
        row |= {"critique": written.text, "conclusion": written.conclusion}
        row |= {"teacher": teacher.kind, "teacher_erred": written.erred}


def _swap_irrelevant(rows: list[Record], relevance: float, seed: int) -> None:
    """Gives a share 1 - relevance of the records the critique of the next problem."""
    if relevance >= 1 or len(rows) < 2:
        return
    originals = [r["critique"] for r in rows]
    for row, next_critique in zip(rows, [*originals[1:], originals[0]], strict=True):
        if Random(f"relevance/{seed}/{row['id']}").random() >= relevance:
            row["critique"] = next_critique
