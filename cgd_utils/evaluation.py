"""Evaluation: benchmarks → generations → scores → results.

A benchmark is a list of problems with a name, a grading rule and a metric. Generations are kept raw; grading is a step of
its own that re-runs in seconds without a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import compare, general_benchmarks, generation, prompts, statistics, synthesis
from .artifacts import Artifact, BadInput, Run, read_jsonl, write_json, write_jsonl
from .benchmarks import Loaded, benchmarks
from .generation import ModelRef, Request
from .grading import canonical, grade

Record = dict[str, Any]
VERSIONS = "questions.json"  # in a folder of generations: benchmark -> version of the questions that were asked


def generations(run: Run, label: str, ref: ModelRef, model_key: str) -> Artifact:
    """The raw answers of one model to every benchmark: rows ``{benchmark, id, sample, prompt, text, …}``."""
    p = run.profile
    loaded = benchmarks(run)
    layout = prompts.layout(p.models.layout)
    sampling = p.evaluation.sampling

    def build(folder: Path) -> Record:
        requests = [Request(f"{b.name}/{q['id']}", layout.ask(q["question"])) for b in loaded for q in b.problems]
        generator = generation.open_generator(ref, p.generation)
        try:
            rows = generation.generate(generator, requests, sampling, folder / "log.jsonl", label)
        finally:
            generator.close()
        told = sampling.model_dump()
        write_json(folder / VERSIONS, question_keys(loaded))
        write_jsonl(
            folder / "rows.jsonl",
            [
                {"benchmark": r["id"].partition("/")[0], **r, "id": r["id"].partition("/")[2], "sampling": told}
                for r in rows
            ],
        )
        return {"rows": len(rows), "tokens": sum(r["n_tokens"] for r in rows),
                "truncated": sum(r["finish_reason"] == "length" for r in rows),
                "too_long": sum(r["finish_reason"] == "too_long" for r in rows)}  # fmt: skip

    settings = {"sampling": sampling.model_dump(), "layout": p.models.layout, "dtype": p.models.dtype,
                "benchmarks": [b.key for b in loaded], "engine": p.generation.identity()}  # fmt: skip
    return run.make(
        "generations", label, build, settings=settings, inputs=[model_key],
        code=("evaluation", "benchmarks", "generation", "thoughts", "decoding", "prompts", "lab.world"),
        rows=sum(len(b.problems) for b in loaded) * sampling.n,
    )  # fmt: skip


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
        code=("evaluation", "benchmarks", "grading", "thoughts", "code_execution", "sandbox", "lab.world"),
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
            from .lab import world

            for i in where:
                r = rows[i]
                meta = problems[r["id"]]["meta"]
                out[i] = {
                    "benchmark": name, "id": r["id"], "sample": r["sample"], "extracted": r["text"],
                    "gold": meta["instruction"], "correct": world.follows(r["text"], meta), "status": "ok",
                }  # fmt: skip
            continue
        if b.rule == "code":
            from . import code_execution

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


def label(family: str, method: str, seed: int | None) -> str:
    """What the folders of a model are called; ``seed`` None is the base."""
    if seed is None:
        return f"{family}-base"
    return re.sub(r"[^\w.×=%-]+", "-", f"{family}-{method}").rstrip("-") + f"-s{seed}"


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
    from . import training

    if model is None:
        ref = synthesis.model_ref(run, synthesis.student(run, family), family)
        key = synthesis.model_key(ref.path)
    else:
        ref, key = training.trained_ref(run, family, model, label(family, method, seed)), model.key
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
            rows, answers = general_benchmarks.evaluate(generator, names, settings, folder / "log.jsonl")
        finally:
            generator.close()
        write_jsonl(folder / "answers.jsonl", answers)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "notes": [r["note"] for r in rows if r["note"]]}

    told = {"benchmarks": [general_benchmarks.key(n, settings) for n in names], "sampling": settings.sampling.model_dump(),
            "dtype": run.profile.models.dtype, "engine": run.profile.generation.identity(), "level": settings.level}  # fmt: skip
    made = run.make(
        "general",
        label,
        build,
        settings=told,
        inputs=[model_key],
        code=("general_benchmarks", "generation", "decoding", "thoughts"),
    )
    return made.rows()


def question_keys(loaded: Sequence[Loaded]) -> dict[str, str]:
    """Benchmark → version of its questions: the same version, the same questions."""
    return {b.name: b.version for b in loaded}


def _index(run: Run, label: str, about: Record, graded: Artifact, made: Artifact) -> None:
    """Notes which scores a model has now, and for which questions: what `compare` reads."""
    questions = question_keys(benchmarks(run))
    rows, texts = ((a.folder / "rows.jsonl").relative_to(run.folder).as_posix() for a in (graded, made))
    write_json(
        run.folder / compare.INDEX / f"{label}.json",
        {**about, "rows": rows, "generations": texts, "questions": questions},
    )
