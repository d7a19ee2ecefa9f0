"""Evaluation: benchmarks → generations → scores → results.

A benchmark is a list of problems with a name, a grading rule and a metric. Generations are kept raw; grading is a step of
its own that re-runs in seconds without a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ..core import statistics
from ..core.errors import BadInput
from ..core.files import read_jsonl, write_json, write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run
from ..data import general_benchmarks
from ..data.benchmarks import Loaded, benchmarks
from ..engines import generation
from ..grading.kinds import canonical
from ..models import named
from ..models.loading import ModelRef
from . import compare, lm_eval_tasks
from .answering import generations, label, question_keys
from .scores import STATUSES, scores


def results(run: Run, family: str, method: str, seed: int | None, graded: Artifact, made: Artifact) -> list[Record]:
    """Result rows of one model, each with n and an interval: one a benchmark and metric.

    Metrics: the benchmark's own (percent right; with several samples a question their mean, Pass@1), ``pass@k`` and
    ``maj@k`` (percent, several samples only; k doubles up to n), ``tokens``, ``words``, ``steps`` (`steps`) and ``lines`` a text
    (means), and
    the shares (percent) of texts ``truncated`` and not graded: ``no_answer``, ``unparsable``, ``timeout``, ``killed``.
    """
    level = run.profile.evaluation.level
    scored, texts = graded.rows(), made.rows()
    out = []
    for b in benchmarks(run):
        mine = [s for s in scored if s["benchmark"] == b.name]
        said = [t for t in texts if t["benchmark"] == b.name]
        about = {"family": family, "method": method, "seed": seed, "benchmark": b.name}
        found = _quality(b, mine, level)
        for metric, values in (("tokens", [t["n_tokens"] for t in said]), ("words", [len(t["text"].split()) for t in said]),
                               ("steps", [steps(t["text"]) for t in said]), ("lines", [sum(map(bool, t["text"].splitlines())) for t in said])):  # fmt: skip
            found[metric] = statistics.mean_t_interval(values, level)
        found["truncated"] = _share([t["finish_reason"] == "length" for t in said], level)
        for status in STATUSES:
            found[status] = _share([s["status"] == status for s in mine], level)
        out += [{**about, "metric": metric, "value": i.estimate, "n": i.n, "ci_low": i.low, "ci_high": i.high}
                for metric, i in found.items()]  # fmt: skip
    return out


_STEP = re.compile(r"^[\s#*>-]*(?:step\s+\d+|\d+[.)](?=\s))", re.IGNORECASE | re.MULTILINE)


def steps(text: str) -> int:
    """Reasoning steps of a text: those it numbers itself (``Step 2``, ``2.``) if there are two or more, else its lines with text."""
    numbered = len(_STEP.findall(text))
    return numbered if numbered > 1 else sum(bool(line.strip()) for line in text.splitlines())


def _quality(b: Loaded, scored: Sequence[Record], level: float) -> dict[str, statistics.Interval]:
    """A benchmark's metric; with several samples a question also Pass@k and maj@k, intervals over questions."""
    questions: dict[str, list[Record]] = {}
    for s in scored:
        questions.setdefault(s["id"], []).append(s)
    n = min(map(len, questions.values()))
    if n == 1:
        return {b.metric: _share([bool(s["correct"]) for s in scored], level)}
    right = [[bool(s["correct"]) for s in samples[:n]] for samples in questions.values()]
    ks = [2**i for i in range(n.bit_length())]
    curve = statistics.pass_at_k_curve([sum(r) for r in right], n, ks, level=level)
    out = {b.metric: _percent(curve[1]), **{f"pass@{k}": _percent(curve[k]) for k in ks[1:]}}
    if b.rule is not None:
        answers = [[canonical(s["extracted"]) for s in samples[:n]] for samples in questions.values()]
        out |= {f"maj@{k}": _percent(statistics.majority_at_k(answers, right, k, level=level)) for k in ks[1:]}
    return out


def _share(flags: Sequence[bool], level: float) -> statistics.Interval:
    return _percent(statistics.wilson(sum(flags), len(flags), level))


def _percent(i: statistics.Interval) -> statistics.Interval:
    return statistics.Interval(100 * i.estimate, 100 * i.low, 100 * i.high, i.level, i.n)


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
    """Generates, grades and sums up one model; ``model`` None is the untrained base."""
    from ..training import fine_tune

    if model is None:
        ref = named.model_ref(run, named.student(run, family), family)
        key = named.model_key(ref.path)
    else:
        ref, key = fine_tune.trained_ref(run, family, model, label(family, method, seed)), model.key
    name = label(family, method, seed if model is not None else None)
    made = generations(run, name, ref, key)
    graded = scores(run, name, made)
    _index(run, name, {"family": family, "method": method, "seed": seed}, graded, made)
    about = {"family": family, "method": method, "seed": seed}
    general = [{**about, **{k: v for k, v in r.items() if k != "note"}} for r in _general(run, name, ref, key)]
    return results(run, family, method, seed, graded, made) + general


def _general(run: Run, label: str, ref: ModelRef, model_key: str) -> list[Record]:
    """Result rows of the general benchmarks in the profile; none where it names none."""
    settings = run.profile.evaluation
    names = [b for b in settings.benchmarks if isinstance(b, str) and b in general_benchmarks.GENERAL]
    if not names:
        return []

    def build(folder: Path) -> Record:
        generator = generation.open_generator(ref, run.profile.generation)
        try:
            rows, answers = lm_eval_tasks.evaluate(generator, names, settings, folder / "log.jsonl")
        finally:
            generator.close()
        write_jsonl(folder / "answers.jsonl", answers)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "notes": [r["note"] for r in rows if r["note"]]}

    told = {"benchmarks": [general_benchmarks.key(n, settings) for n in names], "sampling": settings.sampling.model_dump(),
            "dtype": ref.dtype, "engine": run.profile.generation.identity(), "level": settings.level}  # fmt: skip
    made = run.make(
        "general",
        label,
        build,
        settings=told,
        inputs=[model_key],
    )
    return made.rows()


def _index(run: Run, label: str, about: Record, graded: Artifact, made: Artifact) -> None:
    """Notes which scores a model has now, and for which questions: what `compare` reads."""
    questions = question_keys(benchmarks(run))
    rows, texts = ((a.folder / "rows.jsonl").relative_to(run.folder).as_posix() for a in (graded, made))
    write_json(
        run.folder / compare.INDEX / f"{label}.json",
        {**about, "rows": rows, "generations": texts, "questions": questions},
    )
