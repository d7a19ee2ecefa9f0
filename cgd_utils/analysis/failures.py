"""Where each method loses: what is wrong with the wrong answers, and which questions CGD loses to another method.

In the lab the first thing wrong is known exactly (`lab.teacher.diagnose`). Elsewhere only the form is: cut off, no
answer found, not readable, or an answer that is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..core.records import Record
from ..core.store import Run
from ..data.benchmarks import LAB, benchmarks
from ..evaluation import answering, scores
from ..evaluation.trained_models import Subject, seeds, subject
from .measures import Item, about, measured

LAB_KINDS = {
    "arithmetic": "wrong result of a step",
    "operation": "wrong operation",
    "operand": "wrong number taken",
    "missing": "steps left out",
    "extra": "a step too many",
    "answer": "right steps, other answer",
    "no_steps": "bare wrong answer",
    "no_answer": "no answer",
}
FORMS = {
    "truncated": "cut off",
    "no_answer": "no answer found",
    "unparsable": "not readable",
    "timeout": "grading timed out",
    "killed": "grading killed",
    "wrong": "wrong answer",
}
RIGHT, ALL = "right", "all"
Answers = dict[tuple[str, str], Record]  # (benchmark, question's id) -> answer


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


def answers(run: Run, who: Subject) -> Answers:
    """A model's first answer to every question of an accuracy benchmark: ``{benchmark, text, correct, kind}``."""
    generations = answering.generations(run, who)
    graded = scores.scores(run, who.label, generations)
    found = {}
    asked = {(b.name, q["id"]): q for b in benchmarks(run) if b.metric == "accuracy" for q in b.problems}
    for row, score in zip(generations.rows(), graded.rows(), strict=True):
        key = (score["benchmark"], score["id"])
        if key not in asked or score["sample"] != 0:
            continue
        meta = asked[key].get("meta") or {}
        exact = meta if key[0] in LAB and "steps" in meta else None
        failure = kind(row["text"], score, row["finish_reason"], exact)
        found[key] = {"benchmark": key[0], "text": row["text"], "correct": bool(score["correct"]), "kind": failure}
    return found


def labels(run: Run) -> dict[str, str]:
    """What the kinds that can occur in this run are called."""
    return LAB_KINDS if any(b.name in LAB for b in benchmarks(run)) else FORMS


def patterns(run: Run, family: str) -> list[Record]:
    """Measurements: percent of a model's answers to a benchmark that fail in each way (Wilson intervals over
    questions).

    Of the base and every method of the main comparison, with every analysed seed.
    """
    models = [("base", None), *((method, seed) for method in run.profile.training.methods for seed in seeds(run))]
    out = []
    for method, seed in models:
        who = subject(run, family, method, seed)
        kinds = (RIGHT, *labels(run))
        items = ((a["benchmark"], name, a["kind"] == name) for a in answers(run, who).values() for name in kinds)
        out += measured(items, run.profile.evaluation.level, **about("failures", who))
    return out


def losses(run: Run, family: str, reference: str = "cgd") -> list[Record]:
    """Measurements: of the questions that another method answers rightly, the percent that ``reference`` loses, by its
    failure.

    Paired by seed and question, over all accuracy benchmarks; ``condition`` is ``lost to <method>``, ``metric`` the
    kind or ``all``; ``won from <method>`` is the other way round.
    """

    def items(condition: str, losing: Answers, winning: Answers) -> Iterator[Item]:
        for question, answer in winning.items():
            if answer["correct"]:
                failure = losing[question]["kind"]
                yield condition, ALL, failure != RIGHT
                yield from ((condition, name, failure == name) for name in kinds)

    kinds = labels(run)  # once: it makes the benchmarks anew
    level, out = run.profile.evaluation.level, []
    for seed in seeds(run):
        who = subject(run, family, reference, seed)
        ours = answers(run, who)
        for other in ("base", *(m for m in run.profile.training.methods if m != reference)):
            theirs = answers(run, subject(run, family, other, None if other == "base" else seed))
            out += measured(items(lost_to(other), ours, theirs), level, **about("losses", who))
            out += measured(items(f"won from {other}", theirs, ours), level, **about("losses", who))
    return out


def examples(run: Run, family: str, other: str, reference: str = "cgd", n: int = 2) -> list[Record]:
    """Questions that ``reference`` loses to ``other`` with the first seed, with both answers: ``n`` of each kind."""
    seed = seeds(run)[0]
    theirs = answers(run, subject(run, family, other, None if other == "base" else seed))
    asked = {(b.name, q["id"]): q for b in benchmarks(run) for q in b.problems}
    out: list[Record] = []
    seen: Counter[str] = Counter()
    for key, answer in answers(run, subject(run, family, reference, seed)).items():
        failure = answer["kind"]
        if failure == RIGHT or not theirs[key]["correct"] or seen[failure] == n:
            continue
        seen[failure] += 1
        question = {"question": asked[key]["question"], "answer": asked[key]["answer"]}
        texts = {reference: answer["text"], other: theirs[key]["text"]}
        out.append({"benchmark": key[0], "kind": failure, **question, **texts})
    return out
