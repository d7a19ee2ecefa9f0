"""Synthesis: problems → drafts → distillation records (critique, refined answer, direct answer)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from . import decontamination, generation, prompts, thoughts
from .artifacts import Artifact, BadInput, Run, write_jsonl
from .generation import ModelRef, Request
from .grading import grade
from .methods import leaks
from .profiles import Engine, Sampling, Synthesis, Teacher

Record = dict[str, Any]
# a mark or a new line must follow "conclusion": "in conclusion, right triangles …" is none
_CONCLUSION = re.compile(
    r"conclusion[ \t]*(?=[^\w\s,]|\n)(?:\W|\\\w+(?=\{))*?"
    r"(?:(?:the |this )?(?:student['’]s )?(?:final )?(?:draft|answer|solution|response)(?: is|:)?\W*)?"
    r"(?P<negated>(?:is )?not |isn['’]t )?(?P<said>right|wrong|correct|incorrect)\b(?!\W*(?:or|/|\|)\W*(?:right|wrong|correct|incorrect)\b)",
    re.IGNORECASE,
)


def conclusion(critique: str) -> str | None:
    """'right' or 'wrong' from the last ``Conclusion: …`` of a critique, however it is formatted; None if it has none."""
    found = list(_CONCLUSION.finditer(critique.replace("_", "*")))
    if not found:
        return None
    right = found[-1]["said"].lower() in ("right", "correct")
    return "right" if right != bool(found[-1]["negated"]) else "wrong"


def spoken(text: str, settings: Synthesis) -> str:
    """What of a model's text may be shown to another model or learnt: all but its thoughts, unless they are to be kept.

    A text that was cut off inside a thought leaves nothing, and `select` counts its record as ``incomplete``.
    """
    return text if settings.thoughts == "keep" else thoughts.split(text).answer


def model_ref(run: Run, model: str, name: str, *, adapter: str | None = None, revision: str | None = None) -> ModelRef:
    """A model of the run, to be loaded as ``profile.models`` says."""
    m = run.profile.models
    return ModelRef(
        generation.resolve(model), name, adapter, revision or m.revision, m.dtype, m.device, m.trust_remote_code,
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
        made = ask_model(
            run, ref, [Request(r["id"], layout.ask(r["question"])) for r in rows], sampling, folder, "drafts"
        )
        write_jsonl(folder / "rows.jsonl", made)
        return _facts(made)

    settings = {"source": source, "sampling": sampling.model_dump(), "models": p.models.model_dump(exclude={"students", "weaker"}),
                "model": model_key(ref.path), "seed": p.synthesis.seed, "engine": p.generation.identity()}  # fmt: skip
    return run.make("drafts", family, build, settings=settings, inputs=[problems.key], rows=p.data.rows)


def ask_model(
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
        if teacher.kind == "exact":
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
                **{fault: sum(found(r) for r in rows) for fault, found in FAULTS.items()}}  # fmt: skip

    settings = {"synthesis": p.synthesis.model_dump(exclude={"draft": True, "draft_source": True, "useless": True, "teacher": {"generation"}}),
                "layout": p.models.layout, "teacher": _teacher_key(run)}  # fmt: skip
    if teacher.critic == "student":
        settings["critic"] = model_key(student_ref(run, family).path)
    return run.make("records", family, build, settings=settings, inputs=[problems.key, made.key], rows=p.data.rows)


def truth(r: Record) -> str:
    return "right" if r["draft_correct"] else "wrong"


# what may be wrong with a record, counted in the manifest; `synthesis.leave_out` names those to leave out
FAULTS: dict[str, Callable[[Record], bool]] = {
    "no_conclusion": lambda r: r["conclusion"] is None,
    "disagrees": lambda r: r["draft_correct"] is not None and r["conclusion"] not in (None, truth(r)),
    "truncated": lambda r: any(r.get(f"{t}_finish") == "length" for t in ("critique", "refined", "direct")),
    "leaks": lambda r: leaks(r["critique"], r["answer"]),
}
TEXTS = ("draft", "critique", "refined", "direct")


def select(rows: Sequence[Record], s: Synthesis) -> tuple[list[Record], Record]:
    """The records that a profile keeps, in their order, and how many were left out for what.

    Left out are: records without one of the texts (``incomplete``), those with a fault that ``leave_out`` names, drafts
    that ``keep`` does not want, and what is over the mix ``right_share`` (the first records of each kind stay).

    Raises:
        BadInput: nothing is left.
    """
    left_out: Counter[str] = Counter()
    kinds: dict[str, list[int]] = {"right": [], "wrong": []}
    kept = []
    for i, r in enumerate(rows):
        kind = r["conclusion"] if s.keep_by == "conclusion" else truth(r)
        why = (
            "incomplete"
            if not all(r[t].strip() for t in (*TEXTS, "solution") if t in r)
            else next((f for f in s.leave_out if FAULTS[f](r)), None)
        )
        if why is None and s.keep not in ("all", kind):
            why = "keep"
        if why is None and s.right_share is not None and kind is None:
            why = "no_conclusion"
        if why:
            left_out[why] += 1
            continue
        kept.append(i)
        if kind:
            kinds[kind].append(i)
    if s.right_share is not None:
        chosen = set(_mix(kinds["right"], kinds["wrong"], s.right_share))
        left_out["right_share"] = len(kept) - len(chosen)
        kept = [i for i in kept if i in chosen]
    if not kept:
        raise BadInput(f"synthesis.keep = {s.keep!r}, keep_by = {s.keep_by!r}, right_share = {s.right_share}, leave_out = {s.leave_out} "
                       f"leave no record of {len(rows)} ({dict(left_out)}); loosen them")  # fmt: skip
    return [rows[i] for i in kept], {k: n for k, n in left_out.items() if n}


def _mix(right: list[int], wrong: list[int], share: float) -> list[int]:
    """As many as there are for a share of right ones."""
    size = min(len(right) / share if share else math.inf, len(wrong) / (1 - share) if share < 1 else math.inf)
    n = min(round(size * share), len(right))
    return right[:n] + wrong[: min(round(size) - n, len(wrong))]


def _teacher_key(run: Run) -> Any:
    """What decides the teacher's texts beside the settings: its weights, and how its engine names and stores them."""
    t = run.profile.synthesis.teacher
    if t.kind == "exact":
        return None
    engine = t.generation or run.profile.generation
    served = engine.engine == "openai" or not t.model
    return [engine.identity(), None if served else model_key(generation.resolve(t.model)), run.profile.models.dtype]


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


def agreement(rows: Sequence[Record]) -> dict[str, int]:
    """How the critiques' conclusions agree with the truth: counts of (draft is …, critique says …)."""
    out: dict[str, int] = {}
    for r in rows:
        name = f"draft {'not graded' if r['draft_correct'] is None else truth(r)}, critique says {r['conclusion'] or 'nothing'}"
        out[name] = out.get(name, 0) + 1
    return dict(sorted(out.items()))
