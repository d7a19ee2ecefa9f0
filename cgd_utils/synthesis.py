"""Synthesis: problems → drafts → distillation records (critique, refined answer, direct answer)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from . import decontamination, generation, prompts
from .artifacts import Artifact, BadInput, Run, write_jsonl
from .generation import ModelRef, Request
from .grading import grade
from .methods import leaks
from .profiles import Engine, Sampling, Teacher

Record = dict[str, Any]
CODE = ("synthesis", "generation", "prompts", "lab", "methods", "grading")
_CONCLUSION = re.compile(r"conclusion\W*(right|wrong|correct|incorrect)\b", re.IGNORECASE)


def conclusion(critique: str) -> str | None:
    """'right' or 'wrong' from the last ``Conclusion: …`` of a critique, however it is formatted; None if it has none."""
    found = _CONCLUSION.findall(critique)
    if not found:
        return None
    return {"correct": "right", "incorrect": "wrong"}.get(found[-1].lower(), found[-1].lower())


def model_ref(run: Run, model: str, name: str, *, adapter: str | None = None) -> ModelRef:
    """A model of the run, to be loaded as ``profile.models`` says."""
    m = run.profile.models
    return ModelRef(
        generation.resolve(model), name, adapter, m.revision, m.dtype, m.device, m.trust_remote_code,
        run.profile.training.mode == "qlora" and adapter is not None,
    )  # fmt: skip


def model_key(path: str) -> str:
    """What identifies a model's content: the hash of a local folder's weights, or the hub id."""
    from .artifacts import content_key, file_hash

    folder = Path(path)
    if not folder.is_dir():
        return path
    return content_key([(p.name, file_hash(p)) for p in sorted(folder.glob("*.safetensors"))])


def rule_of(run: Run) -> str:
    """The grading rule for the training problems."""
    return "exact" if run.profile.data.is_lab else "math"


def student(run: Run, family: str) -> str:
    """The model of a family.

    Raises:
        BadInput: the profile has no such family.
    """
    students = run.profile.models.students
    if family not in students:
        raise BadInput(f"family {family!r}: the profile has {', '.join(students)}")
    return students[family]


def drafts(run: Run, family: str) -> Artifact:
    """The drafts y' of a family's student: generation rows in the order of the problems."""
    p = run.profile
    problems = decontamination.problems(run)
    source, sampling = p.synthesis.draft_source, p.synthesis.draft
    model = p.models.weaker[family] if source == "weaker" else student(run, family)
    ref = model_ref(run, model, model.rpartition("/")[2])
    layout = prompts.layout(p.models.layout)

    def build(folder: Path) -> Record:
        rows = problems.rows()
        if source == "corrupted":
            write_jsonl(folder / "rows.jsonl", [_corrupted(r, p.synthesis.seed) for r in rows])
            return {"rows": len(rows)}
        made = _generate(
            run, ref, [Request(r["id"], layout.ask(r["question"])) for r in rows], sampling, folder, "drafts"
        )
        write_jsonl(folder / "rows.jsonl", made)
        return _facts(made)

    settings = {"source": source, "sampling": sampling.model_dump(), "models": p.models.model_dump(exclude={"students", "weaker"}),
                "model": model_key(ref.path), "seed": p.synthesis.seed, "batch": p.generation.model_dump()}  # fmt: skip
    return run.make("drafts", family, build, settings=settings, inputs=[problems.key], code=CODE, rows=p.data.rows)


def _generate(
    run: Run,
    ref: ModelRef,
    requests: list[Request],
    sampling: Sampling,
    folder: Path,
    what: str,
    engine: Engine | None = None,
) -> list[Record]:
    generator = generation.open_generator(ref, engine or run.profile.generation)
    try:
        return generation.generate(generator, requests, sampling, folder / f"{what}.log.jsonl", f"{what} ({ref.name})")
    finally:
        generator.close()


def _facts(rows: Sequence[Record]) -> Record:
    reasons = [r["finish_reason"] for r in rows]
    return {
        "rows": len(rows),
        "tokens": sum(r["n_tokens"] for r in rows),
        **{w: reasons.count(w) for w in set(reasons)},
    }


def _corrupted(problem: Record, seed: int) -> Record:
    from .lab import world

    rng = Random(f"corrupted/{seed}/{problem['id']}")
    text = world.corrupt(rng, problem["meta"], rng.choice(("steps", "verify")))
    return {"id": problem["id"], "sample": 0, "prompt": problem["question"], "text": text, "finish_reason": "stop",
            "n_tokens": 0, "model": "corrupted"}  # fmt: skip


def records(run: Run, family: str) -> Artifact:
    """The distillation records of a family, filtered as ``synthesis.keep`` says."""
    p = run.profile
    problems, made = decontamination.problems(run), drafts(run, family)
    teacher = p.synthesis.teacher

    def build(folder: Path) -> Record:
        rows = [
            {**q, "draft": d["text"], "draft_source": p.synthesis.draft_source, "draft_model": d["model"],
             "draft_finish": d["finish_reason"], "draft_tokens": d["n_tokens"]}
            for q, d in zip(problems.rows(), made.rows(), strict=True)
        ]  # fmt: skip
        if teacher.kind == "exact":
            _teach_exactly(rows, teacher, p.synthesis.seed)
            if teacher.critic == "student":
                _criticise(run, student_ref(run, family), rows, teacher.sampling, folder)
        else:
            _teach_by_model(run, family, rows, teacher, folder)
        _swap_irrelevant(rows, teacher.relevance, p.synthesis.seed)
        for text in ("draft", "refined", "direct"):
            for row, score in zip(rows, grade(_answers(rows, text), rule_of(run)), strict=True):
                row[f"{text}_correct"] = score["correct"]
        kept = [r for r in rows if p.synthesis.keep in ("all", r["conclusion"])]
        complete = [
            r
            for r in kept
            if r["draft"].strip() and r["critique"].strip() and r["refined"].strip() and r["direct"].strip()
        ]
        if not complete:
            raise BadInput(f"synthesis.keep = {p.synthesis.keep!r} leaves no record of {len(rows)}; use 'all'")
        write_jsonl(folder / "rows.jsonl", complete)
        return {"rows": len(complete), "filtered": len(rows) - len(kept), "incomplete": len(kept) - len(complete),
                "no_conclusion": sum(r["conclusion"] is None for r in rows),
                "leaks": sum(leaks(r["critique"], r["answer"]) for r in complete)}  # fmt: skip

    settings = {"synthesis": p.synthesis.model_dump(exclude={"draft", "draft_source"}), "layout": p.models.layout}
    if teacher.critic == "student":
        settings["critic"] = model_key(student_ref(run, family).path)
    return run.make(
        "records", family, build, settings=settings, inputs=[problems.key, made.key], code=CODE, rows=p.data.rows
    )


def _answers(rows: Sequence[Record], text: str) -> list[Record]:
    return [{"id": r["id"], "gold": r["answer"], "text": r[text]} for r in rows]


def _teach_exactly(rows: list[Record], teacher: Teacher, seed: int) -> None:
    from .lab import teacher as exact

    knobs = exact.TeacherSettings(teacher.error_rate, teacher.specificity, teacher.relevance, teacher.leakage)
    for r in rows:
        rng = Random(f"teacher/{seed}/{r['id']}")
        c = exact.critique(r["draft"], r["meta"], rng, knobs)
        r |= {
            "critique": c.text, "conclusion": c.conclusion, "teacher": "exact", "teacher_erred": c.erred,
            "refined": exact.refine(r["draft"], r["meta"], rng, knobs), "direct": exact.direct(r["meta"], rng, knobs),
        }  # fmt: skip


def student_ref(run: Run, family: str) -> ModelRef:
    """How to load a family's untrained student."""
    return model_ref(run, student(run, family), family)


def _criticise(
    run: Run, ref: ModelRef, rows: list[Record], sampling: Sampling, folder: Path, engine: Engine | None = None
) -> None:
    """Has a model write every critique, from question and draft."""
    layout = prompts.layout(run.profile.models.layout)
    requests = [Request(r["id"], layout.ask_critique(r["question"], r["draft"])) for r in rows]
    for r, g in zip(rows, _generate(run, ref, requests, sampling, folder, "critique", engine), strict=True):
        r |= {"critique": g["text"], "critique_finish": g["finish_reason"], "critique_tokens": g["n_tokens"],
              "critic": ref.name, "conclusion": conclusion(g["text"])}  # fmt: skip


def _teach_by_model(run: Run, family: str, rows: list[Record], teacher: Teacher, folder: Path) -> None:
    layout = prompts.layout(run.profile.models.layout)
    engine = teacher.generation
    if engine is not None and engine.engine == "openai":
        ref = ModelRef("", engine.server_model or "")
    else:
        ref = model_ref(run, teacher.model or "", (teacher.model or "").rpartition("/")[2])

    def ask(what: str, requests: list[Request]) -> None:
        for r, g in zip(rows, _generate(run, ref, requests, teacher.sampling, folder, what, engine), strict=True):
            r |= {what: g["text"], f"{what}_finish": g["finish_reason"], f"{what}_tokens": g["n_tokens"]}

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


def agreement(rows: Sequence[Record]) -> dict[str, int]:
    """How the critiques' conclusions agree with the truth: counts of (draft is …, critique says …)."""
    out: dict[str, int] = {}
    for r in rows:
        name = f"draft {'right' if r['draft_correct'] else 'wrong'}, critique says {r['conclusion'] or 'nothing'}"
        out[name] = out.get(name, 0) + 1
    return dict(sorted(out.items()))
