"""Evaluation: benchmarks → generations → scores → results.

A benchmark is a list of problems with a name, a grading rule and a metric. Generations are kept raw; grading is a step
of its own that re-runs in seconds without a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from ..core import many_samples, statistics
from ..core.errors import BadInput
from ..core.files import read_jsonl, write_json, write_jsonl
from ..core.records import Record
from ..core.statistics import Interval
from ..core.store import Artifact, Run
from ..data import general_benchmarks
from ..data.benchmarks import Loaded, benchmarks
from ..engines import generation
from ..grading.kinds import canonical
from . import compare, figures, lm_eval_tasks, second_grading
from .answering import generations, question_keys
from .scores import STATUSES, scores
from .trained_models import Subject, subject

_STEP = re.compile(r"^[\s#*>-]*(?:step\s+\d+|\d+[.)](?=\s))", re.IGNORECASE | re.MULTILINE)


def steps(text: str) -> int:
    """Reasoning steps of a text: those it numbers itself (``Step 2``, ``2.``) if there are two or more, else its lines
    with text.
    """
    numbered = len(_STEP.findall(text))
    return numbered if numbered > 1 else sum(bool(line.strip()) for line in text.splitlines())


# what is counted in every answer: of its generation row
COUNTS: dict[str, Callable[[Record], int]] = {
    "tokens": lambda r: r["n_tokens"],
    "words": lambda r: len(r["text"].split()),
    "steps": lambda r: steps(r["text"]),
    "lines": lambda r: sum(map(bool, r["text"].splitlines())),
}


def results(
    run: Run,
    family: str,
    method: str,
    seed: int | None,
    graded: Artifact,
    answers: Artifact,
    asked: Sequence[Loaded] = (),
) -> list[Record]:
    """Result rows of one model, each with n and an interval: one a benchmark (of those ``asked``, by default all) and metric.

    Metrics: the benchmark's own (percent right; with several samples a question their mean, Pass@1), ``pass@k`` and
    ``maj@k`` (percent, several samples only; k doubles up to n), `COUNTS` a text (means), and the shares (percent) of
    texts ``truncated`` and not graded: ``no_answer``, ``unparsable``, ``timeout``, ``killed``.
    """
    level = run.profile.evaluation.level
    all_scores, all_answers = graded.rows(), answers.rows()
    out = []
    for b in asked or benchmarks(run):
        scored = [s for s in all_scores if s["benchmark"] == b.name]
        texts = [t for t in all_answers if t["benchmark"] == b.name]
        found = _quality(b, scored, level)
        for name, count in COUNTS.items():
            found[name] = statistics.mean_t_interval([count(t) for t in texts], level)
        found["truncated"] = figures.share([t["finish_reason"] == "length" for t in texts], level)
        for status in STATUSES:
            found[status] = figures.share([s["status"] == status for s in scored], level)
        rows = figures.rows({"family": family, "method": method, "seed": seed, "benchmark": b.name}, found)
        rows[0][figures.BY_QUESTION] = by_question(scored)
        out += rows
    return out


def by_question(scored: Sequence[Record]) -> str:
    """How many answers to each question are right, in the scores' order: `figures.written`.

    An instruction prompt is right if every instruction in it was followed strictly. Of questions with more answers than others, those
    that all have count.
    """
    questions: dict[str, list[bool]] = {}
    for s in scored:
        questions.setdefault(s["id"], []).append(all(s["strict"]) if "strict" in s else bool(s["correct"]))
    n = min(map(len, questions.values()))
    return figures.written([sum(right[:n]) for right in questions.values()], n)


def _quality(b: Loaded, scored: Sequence[Record], level: float) -> dict[str, Interval]:
    """A benchmark's metric; with several samples a question also Pass@k and maj@k, intervals over questions."""
    questions: dict[str, list[Record]] = {}
    for s in scored:
        questions.setdefault(s["id"], []).append(s)
    n = min(map(len, questions.values()))
    if b.rule == "ifeval":
        return _instructions(scored, level)
    if n == 1:
        return {b.metric: figures.share([bool(s["correct"]) for s in scored], level)}
    right = [[bool(s["correct"]) for s in samples[:n]] for samples in questions.values()]
    ks = [2**i for i in range(n.bit_length())]
    curve = many_samples.pass_at_k_curve([sum(r) for r in right], n, ks, level=level)
    found = {f"pass@{k}" if k > 1 else b.metric: figures.percent(curve[k]) for k in ks}
    if b.rule is not None:
        answers = [[canonical(s["extracted"]) for s in samples[:n]] for samples in questions.values()]
        for k in ks[1:]:
            found[f"maj@{k}"] = figures.percent(many_samples.majority_at_k(answers, right, k, level=level))
    return found


def _instructions(scored: Sequence[Record], level: float) -> dict[str, Interval]:
    """IFEval's four accuracies, called as those of the benchmark ``ifeval``: prompts and instructions, strict and loose."""
    names = {"strict": ("instruction_following", "instruction_strict"), "loose": ("prompt_loose", "instruction_loose")}
    found = {}
    for how, (by_prompt, by_instruction) in names.items():
        found[by_prompt] = figures.share([all(s[how]) for s in scored], level)
        found[by_instruction] = figures.share([kept for s in scored for kept in s[how]], level)
    return found


def recorded(run: Run, label: str) -> list[Record]:
    """The generation rows behind the scores of a model, in their order; ``label`` as in the index of scores.

    Raises:
        BadInput: the model has not been evaluated.
    """
    path = run.folder / compare.INDEX / f"{label}.json"
    if not path.exists():
        raise BadInput(f"{path}: no such file; run 04_evaluate first")
    return read_jsonl(run.folder / json.loads(path.read_text(encoding="utf-8"))["generations"])


def evaluate(
    run: Run, family: str, method: str, seed: int | None = None, model: Artifact | None = None
) -> list[Record]:
    """Generates, grades and sums up one model; ``base`` is the untrained student, see `trained_models.subject`."""
    who = subject(run, family, method, seed, model)
    answers = generations(run, who)
    graded = scores(run, who.label, answers)
    about = {"family": family, "method": method, "seed": seed}
    rows, texts = ((a.folder / "rows.jsonl").relative_to(run.folder).as_posix() for a in (graded, answers))
    # which scores a model has now, and for which questions: what `compare` reads
    entry = {**about, "rows": rows, "generations": texts, "questions": question_keys(benchmarks(run))}
    other: dict[str, Artifact] = {
        rule: second_grading.regrade(run, who.label, answers, rule) for rule in run.profile.evaluation.also_grade
    }
    if other:
        paths: Record = {
            rule: (a.folder / "rows.jsonl").relative_to(run.folder).as_posix() for rule, a in other.items()
        }
        entry |= {second_grading.ALSO: paths}
    write_json(run.folder / compare.INDEX / f"{who.label}.json", entry)
    again = [row for rule, a in other.items() for row in second_grading.results(run, about, rule, a)]
    general = [{**about, **{k: v for k, v in r.items() if k != "note"}} for r in _general(run, who)]
    return results(run, family, method, seed, graded, answers) + again + general


def _general(run: Run, who: Subject) -> list[Record]:
    """Result rows of the general benchmarks in the profile; none where it names none."""
    settings = run.profile.evaluation
    names = [b for b in settings.benchmarks if isinstance(b, str) and b in general_benchmarks.GENERAL]
    if not names:
        return []

    def build(folder: Path) -> Record:
        with closing(generation.open_generator(who.ref, run.profile.generation)) as generator:
            rows, answers = lm_eval_tasks.evaluate(generator, names, settings, folder / "log.jsonl")
        write_jsonl(folder / "answers.jsonl", answers)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "notes": [r["note"] for r in rows if r["note"]]}

    decisive = {
        "benchmarks": [general_benchmarks.key(n, settings) for n in names],
        "sampling": settings.sampling.model_dump(),
        "dtype": who.ref.dtype,
        "engine": run.profile.generation.identity(),
        "level": settings.level,
        "rule": [settings.rule == "authors", "own" in settings.also_grade],
    }
    return run.make("general", who.label, build, settings=decisive, inputs=[who.key]).rows()
