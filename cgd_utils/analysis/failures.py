"""Where each method loses: what is wrong with the wrong answers, and which questions CGD loses to another method.

In the lab the first thing wrong is known exactly (`lab.teacher.diagnose`). Elsewhere only the form is: cut off, no answer
found, not readable, or an answer that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.records import Record
from ..core.store import Run
from ..data.benchmarks import LAB, Loaded, benchmarks
from ..evaluation import answering, scores
from ..evaluation.trained_models import Subject, seeds, subject
from ..reporting import summaries

LAB_KINDS = {
    "arithmetic": "wrong result of a step", "operation": "wrong operation", "misconception": "the misconception", "operand": "wrong number taken",
    "missing": "steps left out", "extra": "a step too many", "answer": "right steps, other answer",
    "no_steps": "bare wrong answer", "no_answer": "no answer",
}  # fmt: skip
FORMS = {"truncated": "cut off", "no_answer": "no answer found", "unparsable": "not readable", "timeout": "grading timed out",
         "killed": "grading killed", "wrong": "wrong answer"}  # fmt: skip
RIGHT, ALL = "right", "all"


def lost_to(method: str) -> str:
    """The condition of the measurements of questions that ``method`` answers rightly and the reference does not."""
    return f"lost to {method}"


def kind(text: str, score: Record, finish: str, meta: Record | None) -> str:
    """The failure of one answer: `RIGHT`, a key of `LAB_KINDS` (``meta`` is a lab problem's), or of `FORMS`."""
    if score["correct"]:
        return RIGHT
    if meta is not None:
        from ..lab import teacher

        found = teacher.diagnose(text, meta).kind
        return "answer" if found == RIGHT else found  # the grader saw no answer in the form it needs
    if finish == "length":
        return "truncated"
    return score["status"] if score["status"] in FORMS else "wrong"


def answers(run: Run, who: Subject) -> list[Record]:
    """Every graded answer of a model: ``{benchmark, id, sample, text, correct, kind}``, first samples only."""
    made = answering.generations(run, who.label, who.ref, who.key)
    graded = scores.scores(run, who.label, made)
    metas = {(b.name, q["id"]): _meta(b, q) for b in benchmarks(run) for q in b.problems}
    judged = {b.name for b in benchmarks(run) if b.metric == "accuracy"}
    return [
        {"benchmark": s["benchmark"], "id": s["id"], "text": g["text"], "correct": bool(s["correct"]),
         "kind": kind(g["text"], s, g["finish_reason"], metas[s["benchmark"], s["id"]])}
        for g, s in zip(made.rows(), graded.rows(), strict=True) if s["benchmark"] in judged and s["sample"] == 0
    ]  # fmt: skip


def _meta(b: Loaded, question: Record) -> Record | None:
    meta = question.get("meta") or {}
    return meta if b.name in LAB and "steps" in meta else None


def labels(run: Run) -> dict[str, str]:
    """What the kinds that can occur in this run are called."""
    return LAB_KINDS if any(b.name in LAB for b in benchmarks(run)) else FORMS


def everyone(run: Run, family: str) -> list[Subject]:
    """The base and every method of the main comparison, with every analysed seed."""
    return [
        subject(run, family, "base"),
        *(subject(run, family, m, s) for m in run.profile.training.methods for s in seeds(run)),
    ]


def patterns(run: Run, family: str) -> list[Record]:
    """Measurements: percent of a model's answers to a benchmark that fail in each way (Wilson intervals over questions)."""
    out = []
    for who in everyone(run, family):
        rows = answers(run, who)
        for benchmark in dict.fromkeys(r["benchmark"] for r in rows):
            mine = [r["kind"] for r in rows if r["benchmark"] == benchmark]
            about = {"analysis": "failures", "family": family, "method": who.method, "seed": who.seed}
            out += [
                summaries.share([k == name for k in mine], run.profile.evaluation.level, **about, condition=benchmark,
                                   metric=name)
                for name in (RIGHT, *labels(run))
            ]  # fmt: skip
    return out


def losses(run: Run, family: str, reference: str = "cgd") -> list[Record]:
    """Measurements: of the questions that another method answers rightly, the percent that ``reference`` loses, by its failure.

    Paired by seed and question, over all accuracy benchmarks; ``condition`` is ``lost to <method>``, ``metric`` the kind or
    ``all``; ``won from <method>`` is the other way round.
    """
    out = []
    others = ["base", *(m for m in run.profile.training.methods if m != reference)]
    for seed in seeds(run):
        ours = _by_question(answers(run, subject(run, family, reference, seed)))
        about = {"analysis": "losses", "family": family, "method": reference, "seed": seed}
        for other in others:
            theirs = _by_question(answers(run, subject(run, family, other, None if other == "base" else seed)))
            for condition, a, b in ((lost_to(other), ours, theirs), (f"won from {other}", theirs, ours)):
                asked = [a[q]["kind"] for q in b if b[q]["correct"]]
                if not asked:
                    continue
                told = {**about, "condition": condition}
                level = run.profile.evaluation.level
                out.append(summaries.share([k != RIGHT for k in asked], level, **told, metric=ALL))
                out += [summaries.share([k == n for k in asked], level, **told, metric=n) for n in labels(run)]
    return out


def _by_question(rows: Sequence[Record]) -> dict[tuple[str, str], Record]:
    return {(r["benchmark"], r["id"]): r for r in rows}


def examples(run: Run, family: str, other: str, reference: str = "cgd", n: int = 2) -> list[Record]:
    """Questions that ``reference`` loses to ``other`` with the first seed: up to ``n`` of each kind, both answers shown."""
    seed = seeds(run)[0]
    theirs = _by_question(answers(run, subject(run, family, other, None if other == "base" else seed)))
    asked = {(b.name, q["id"]): q for b in benchmarks(run) for q in b.problems}
    out: list[Record] = []
    for key, row in _by_question(answers(run, subject(run, family, reference, seed))).items():
        told = sum(e["kind"] == row["kind"] for e in out)
        if row["kind"] != RIGHT and theirs[key]["correct"] and told < n:
            out.append({"benchmark": key[0], "kind": row["kind"], "question": asked[key]["question"],
                        "answer": asked[key]["answer"], reference: row["text"], other: theirs[key]["text"]})  # fmt: skip
    return out
