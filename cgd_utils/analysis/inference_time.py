"""What an answer costs, and what more answers bring: self-refine against one pass, Pass@k by sampling, lengths of
answers.

Self-refine (Madaan et al., arXiv 2303.17651): the untrained base drafts, critiques its own draft, and writes the answer
anew: three passes a question. A trained student answers the question alone in one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from .. import prompts
from ..core import many_samples
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.settings import Profile, Sampling
from ..core.store import Artifact, Run, content_key
from ..data.benchmarks import LAB, Loaded, benchmarks
from ..engines import generation, request_log
from ..engines.request_log import Request
from ..evaluation import answering, scores
from ..evaluation import figures as figure_rows
from ..evaluation.trained_models import Subject, subjects
from ..reporting import summaries
from ..synthesis import drafts
from ..synthesis.drafts import ask_model
from .measures import about, exact, measured

HARD = ("aime24", "aime25", "amc23")
PASSES = ("draft", "critique", "refined")
SELF_REFINE = "base, self-refine"  # the method of its cost rows


def hardest(profile: Profile) -> dict[str, str]:
    """The lab benchmarks in place of the paper's hard ones: ``in range`` and ``beyond``, of each the most steps.

    In range means a step count of the training problems; empty outside the lab.
    """
    if not profile.data.is_lab:
        return {}
    known = {b: LAB[b] for b in profile.evaluation.benchmarks if isinstance(b, str) and b in LAB}
    ordered = sorted((k, b) for b, k in known.items())
    kinds = {
        "in range": [b for k, b in ordered if k in profile.data.steps],
        "beyond": [b for k, b in ordered if k not in profile.data.steps],
    }
    return {kind: names[-1] for kind, names in kinds.items() if names}


def asked(run: Run) -> list[Loaded]:
    """The benchmarks that Pass@k and cost are measured on, see ``profile.analyses.benchmarks``."""
    names = run.profile.analyses.benchmarks or list(hardest(run.profile).values()) or list(HARD)
    return [b for b in benchmarks(run) if b.name in names and b.metric == "accuracy"]


def _questions(run: Run, rows: int) -> list[tuple[Loaded, Record]]:
    """The first ``rows`` questions of each benchmark of `asked`."""
    return [(b, question) for b in asked(run) for question in b.problems[:rows]]


def _requests(run: Run, rows: int) -> tuple[list[Request], str]:
    """The requests for `_questions`, and what identifies them."""
    layout = prompts.layout(run.profile.models.layout)
    requests = [answering.request(b, question, layout) for b, question in _questions(run, rows)]
    return requests, content_key([(r.id, r.messages) for r in requests])


def _score(run: Run, rows: Sequence[Record]) -> list[Record]:
    return scores.score(answering.by_benchmark(rows), {b.name: b for b in asked(run)})


# ---------------------------------------------------------------- Pass@k
def samples(run: Run, who: Subject) -> Artifact:
    """Several sampled answers to each question, graded: rows of `evaluation.scores.score`."""
    p = run.profile
    a = p.analyses
    sampling = p.evaluation.sampling.model_copy(update={"n": a.samples, "temperature": a.temperature})
    requests, key = _requests(run, a.sample_rows)

    def build(folder: Path) -> Record:
        log = folder / "log.jsonl"
        rows = ask_model(who.ref, p.generation, requests, sampling, log, f"{who.label}, samples")
        write_jsonl(folder / "rows.jsonl", _score(run, rows))
        return {"rows": len(rows), "tokens": sum(r["n_tokens"] for r in rows)}

    settings = {"sampling": sampling.model_dump(), "questions": key}
    settings |= {"engine": p.generation.identity(), "dtype": who.ref.dtype}
    return run.make("samples", who.label, build, settings=settings, inputs=[who.key], rows=len(requests) * a.samples)


def pass_at_k(run: Run, family: str) -> list[Record]:
    """Measurements: Pass@k in percent for k = 1, 2, 4, … of every analysed model; no rows without samples."""
    n, level = run.profile.analyses.samples, run.profile.evaluation.level
    if not n or not asked(run):
        return []
    ks = [2**i for i in range(n.bit_length())]
    out = []
    for who in subjects(run, family):
        for benchmark, scored in pd.DataFrame(samples(run, who).rows()).groupby("benchmark", sort=False):
            right = scored["correct"].eq(True).groupby(scored["id"], sort=False).sum()
            curve = many_samples.pass_at_k_curve(right.tolist(), n, ks, level=level)
            found = {f"pass@{k}": figure_rows.percent(curve[k]) for k in ks}
            out += figure_rows.rows({**about("pass@k", who), "condition": benchmark}, found)
    return out


def recorded_pass_at_k(results: pd.DataFrame, family: str) -> list[Record]:
    """The same measurements from result rows, where the evaluation took several samples a question; else none."""
    mine = results[results["family"] == family]
    curves = mine[mine["metric"].map(summaries.samples_of).notna()]
    first = mine[mine["benchmark"].isin(curves["benchmark"]) & (mine["metric"] == "accuracy")].assign(metric="pass@1")
    rows = pd.concat([first, curves]).rename(columns={"benchmark": "condition"}).assign(analysis="pass@k")
    return rows.to_dict("records")


# ---------------------------------------------------------------- cost
def one_pass(run: Run, who: Subject) -> Artifact:
    """One greedy answer a question, timed: rows ``{benchmark, id, correct, tokens, seconds, …}``."""
    return _passes(run, who, ("draft",))


def self_refine(run: Run, who: Subject) -> Artifact:
    """Draft, own critique, own refined answer, timed; the last is graded, tokens and seconds are those of all three."""
    return _passes(run, who, PASSES)


def _passes(run: Run, who: Subject, passes: Sequence[str]) -> Artifact:
    p = run.profile
    layout = prompts.layout(p.models.layout)
    prompt: dict[str, Callable[..., Any]] = {
        "draft": layout.ask,
        "critique": layout.ask_critique,
        "refined": layout.ask_refined,
    }
    sampling: Sampling = p.evaluation.sampling.model_copy(update={"n": 1, "temperature": 0.0})
    requests, key = _requests(run, p.analyses.cost_rows)

    def build(folder: Path) -> Record:
        resumed = any(folder.glob("*.log.jsonl"))
        written: dict[str, list[Record]] = {}
        shown = [[question["question"] for _, question in _questions(run, p.analyses.cost_rows)]]
        with closing(generation.open_generator(who.ref, p.generation)) as generator:
            # loads the model, which is no part of an answer's cost
            (folder / "warm.jsonl").unlink(missing_ok=True)
            request_log.generate(generator, requests[:1], sampling, folder / "warm.jsonl", f"{who.label}, load")
            started = time.perf_counter()
            for name in passes:
                # each pass reads the question and what the passes before it wrote
                asked = [Request(r.id, prompt[name](*texts)) for r, *texts in zip(requests, *shown, strict=True)]
                log = folder / f"{name}.log.jsonl"
                written[name] = request_log.generate(generator, asked, sampling, log, f"{who.label}, {name}")
                shown.append([drafts.spoken(r["text"], p.synthesis) for r in written[name]])
            seconds = time.perf_counter() - started
        each = None if resumed else seconds / len(requests)  # a part of the work was done in another process
        rows = []
        for score, *answers in zip(_score(run, written[passes[-1]]), *written.values(), strict=True):
            row = {"benchmark": score["benchmark"], "id": score["id"], "correct": bool(score["correct"])}
            row |= {"seconds": each, "tokens": sum(a["n_tokens"] for a in answers)}
            rows.append({**row, **dict(zip(passes, (a["text"] for a in answers), strict=True))})
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "seconds": None if resumed else round(seconds, 3)}

    settings = {
        "passes": list(passes),
        "sampling": sampling.model_dump(),
        "questions": key,
        "layout": layout.key,
        "dtype": who.ref.dtype,
        "batch": p.generation.model_dump(),
        "thoughts": p.synthesis.thoughts,
    }
    label, expected = f"{who.label}-{len(passes)}", len(requests) * len(passes)
    return run.make("costs", label, build, settings=settings, inputs=[who.key], rows=expected)


def costs(run: Run, family: str) -> list[Record]:
    """Measurements of the base (one pass, self-refine) and of the trained students (one pass).

    Metrics a question: ``accuracy`` (percent), ``tokens`` (generated), ``seconds`` (wall time of the whole batch over
    its questions; this machine's, no interval), ``passes``. ``condition`` is the benchmark, ``method`` for self-refine
    `SELF_REFINE`. Then, for each seed, ``one pass − self-refine`` paired by question.
    """
    if not run.profile.analyses.cost_rows or not asked(run):
        return []
    level = run.profile.evaluation.level
    base, *trained = subjects(run, family)
    refined = self_refine(run, base).rows()
    out = _cost_rows(one_pass(run, base).rows(), 1, level, **about("cost", base))
    out += _cost_rows(refined, len(PASSES), level, **about("cost", base, SELF_REFINE))
    for who in trained:
        columns, rows = about("cost", who), one_pass(run, who).rows()
        out += _cost_rows(rows, 1, level, **columns)
        pairs = list(zip(rows, refined, strict=True))
        accuracy = [(summaries.PAIRED, "accuracy", 100 * (a["correct"] - b["correct"])) for a, b in pairs]
        tokens = [(summaries.PAIRED, "tokens", a["tokens"] - b["tokens"]) for a, b in pairs]
        out += measured([*accuracy, *tokens], level, **columns)
    return out


def _cost_rows(answers: Sequence[Record], passes: int, level: float, **columns: Any) -> list[Record]:
    """Measurements of one way of answering, on each benchmark."""
    out = []
    for benchmark in dict.fromkeys(r["benchmark"] for r in answers):
        rows = [r for r in answers if r["benchmark"] == benchmark]
        accuracy = [(benchmark, "accuracy", r["correct"]) for r in rows]
        tokens = [(benchmark, "tokens", r["tokens"]) for r in rows]
        out += measured([*accuracy, *tokens], level, **columns)
        if rows[0]["seconds"] is not None:
            out.append(exact(benchmark, "seconds", rows[0]["seconds"], len(rows), **columns))
        out.append(exact(benchmark, "passes", passes, len(rows), **columns))
    return out


# ---------------------------------------------------------------- lengths
def lengths(results: pd.DataFrame) -> list[Record]:
    """Measurements: each model's mean words, lines and steps an answer over the accuracy benchmarks, as ``times`` the
    base's.

    From the result rows; ``n`` is the number of answers, and the interval is made over seeds by
    `reporting.summaries.over_seeds`.
    """
    graded = set(results.loc[results["metric"] == "accuracy", "benchmark"])
    mine = results[results["metric"].isin(["words", "lines", "steps"]) & results["benchmark"].isin(graded)]
    out = []
    for (family, metric), rows in mine.groupby(["family", "metric"], sort=False):
        base = rows.loc[rows["method"] == "base", "value"].mean()
        for (method, seed), group in rows.groupby(["method", "seed"], sort=False, dropna=False):
            columns = {"analysis": "lengths", "family": family, "method": method}
            columns["seed"] = None if pd.isna(seed) else int(seed)
            n, value = int(group["n"].sum()), group["value"].mean()
            out.append(exact("an answer", metric, value, n, **columns))
            if method != "base" and base:
                out.append(exact("times the base", metric, value / base, n, **columns))
    return out
