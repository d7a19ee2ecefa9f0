"""What an answer costs, and what more answers bring: self-refine against one pass, Pass@k by sampling, lengths of answers.

Self-refine (Madaan et al., arXiv 2303.17651): the untrained base drafts, critiques its own draft, and writes the answer anew:
three passes a question. A trained student answers the question alone in one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .. import prompts
from ..core import statistics
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.settings import Profile, Sampling
from ..core.store import Artifact, Run, content_key
from ..data.benchmarks import LAB, Loaded, benchmarks
from ..engines import generation, request_log
from ..engines.request_log import Request
from ..evaluation import scores
from ..evaluation.trained_models import Subject, subjects
from ..reporting import summaries
from ..synthesis import drafts

HARD = ("aime24", "aime25", "amc23")
PASSES = ("draft", "critique", "refined")
SELF_REFINE = "base, self-refine"  # the method of its cost rows


def hardest(profile: Profile) -> dict[str, str]:
    """The lab benchmarks that stand for the paper's hard ones: ``in range`` and ``beyond``, the largest step count of each kind.

    In range means a step count of the training problems; empty outside the lab.
    """
    if not profile.data.is_lab:
        return {}
    known = {b: LAB[b] for b in profile.evaluation.benchmarks if isinstance(b, str) and b in LAB}
    there = sorted(
        (k, b) for b, (world, k, told) in known.items() if world == profile.data.source and told is not False
    )
    kinds = {
        "in range": [b for k, b in there if k in profile.data.steps],
        "beyond": [b for k, b in there if k not in profile.data.steps],
    }
    return {kind: found[-1] for kind, found in kinds.items() if found}


def asked(run: Run) -> list[Loaded]:
    """The benchmarks that Pass@k and cost are measured on, see ``profile.analyses.benchmarks``."""
    names = run.profile.analyses.benchmarks or list(hardest(run.profile).values()) or list(HARD)
    return [b for b in benchmarks(run) if b.name in names and b.metric == "accuracy"]


def _requests(run: Run, loaded: Sequence[Loaded], rows: int) -> tuple[list[Request], str]:
    layout = prompts.layout(run.profile.models.layout)
    made = [Request(f"{b.name}/{q['id']}", layout.ask(q["question"])) for b in loaded for q in b.problems[:rows]]
    return made, content_key([(r.id, r.messages) for r in made])


def _score(rows: Sequence[Record], loaded: Sequence[Loaded]) -> list[Record]:
    split = [{**r, "benchmark": r["id"].partition("/")[0], "id": r["id"].partition("/")[2]} for r in rows]
    return scores.score(split, {b.name: b for b in loaded})


# ---------------------------------------------------------------- Pass@k
def samples(run: Run, who: Subject) -> Artifact:
    """Several sampled answers to each question, graded: score rows ``{benchmark, id, sample, extracted, gold, correct, status}``."""
    p = run.profile
    a, loaded = p.analyses, asked(run)
    sampling = p.evaluation.sampling.model_copy(update={"n": a.samples, "temperature": a.temperature})
    requests, key = _requests(run, loaded, a.sample_rows)

    def build(folder: Path) -> Record:
        generator = generation.open_generator(who.ref, p.generation)
        try:
            rows = request_log.generate(generator, requests, sampling, folder / "log.jsonl", f"{who.label}, samples")
        finally:
            generator.close()
        write_jsonl(folder / "rows.jsonl", _score(rows, loaded))
        return {"rows": len(rows), "tokens": sum(r["n_tokens"] for r in rows)}

    settings = {
        "sampling": sampling.model_dump(),
        "questions": key,
        "engine": p.generation.identity(),
        "dtype": who.ref.dtype,
    }
    return run.make("samples", who.label, build, settings=settings, inputs=[who.key], rows=len(requests) * a.samples)


def pass_at_k(run: Run, family: str) -> list[Record]:
    """Measurements: Pass@k in percent for k = 1, 2, 4, … of every analysed model; intervals over questions. None without samples."""
    n, level = run.profile.analyses.samples, run.profile.evaluation.level
    if not n or not asked(run):
        return []
    out = []
    for who in subjects(run, family):
        scored = samples(run, who).rows()
        for benchmark in dict.fromkeys(s["benchmark"] for s in scored):
            right: dict[str, int] = {}
            for s in scored:
                if s["benchmark"] == benchmark:
                    right[s["id"]] = right.get(s["id"], 0) + bool(s["correct"])
            ks = [2**i for i in range(n.bit_length())]
            for k, i in statistics.pass_at_k_curve(list(right.values()), n, ks, level=level).items():
                out.append({"analysis": "pass@k", "family": family, "method": who.method, "seed": who.seed, "condition": benchmark,
                            "metric": f"pass@{k}", "value": 100 * i.estimate, "n": i.n, "ci_low": 100 * i.low,
                            "ci_high": 100 * i.high})  # fmt: skip
    return out


def recorded_pass_at_k(results: pd.DataFrame, family: str) -> list[Record]:
    """The same measurements from result rows, where the evaluation itself took several samples a question; else none."""
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
    layout, loaded = prompts.layout(p.models.layout), asked(run)
    sampling: Sampling = p.evaluation.sampling.model_copy(update={"n": 1, "temperature": 0.0})
    requests, key = _requests(run, loaded, p.analyses.cost_rows)
    questions = {f"{b.name}/{q['id']}": q["question"] for b in loaded for q in b.problems}

    def build(folder: Path) -> Record:
        resumed = any(folder.glob("*.log.jsonl"))
        said: dict[str, dict[str, Record]] = {}
        generator = generation.open_generator(who.ref, p.generation)
        try:
            # loads the model, which is no part of an answer's cost
            (folder / "warm.jsonl").unlink(missing_ok=True)
            request_log.generate(generator, requests[:1], sampling, folder / "warm.jsonl", f"{who.label}, load")
            started = time.perf_counter()
            for name in passes:
                now = requests
                if name != "draft":
                    texts = [{k: drafts.spoken(said[k][r.id]["text"], p.synthesis) for k in said} for r in requests]
                    now = [Request(r.id, layout.ask_critique(questions[r.id], t["draft"]) if name == "critique"
                                   else layout.ask_refined(questions[r.id], t["draft"], t["critique"]))
                           for r, t in zip(requests, texts, strict=True)]  # fmt: skip
                rows = request_log.generate(
                    generator, now, sampling, folder / f"{name}.log.jsonl", f"{who.label}, {name}"
                )
                said[name] = {r["id"]: r for r in rows}
            seconds = time.perf_counter() - started
        finally:
            generator.close()
        last = [said[passes[-1]][r.id] for r in requests]
        each = None if resumed else seconds / len(requests)  # a part of the work was done in another process
        write_jsonl(folder / "rows.jsonl", [
            {"benchmark": s["benchmark"], "id": s["id"], "correct": bool(s["correct"]), "seconds": each,
             "tokens": sum(said[n][r.id]["n_tokens"] for n in passes), **{n: said[n][r.id]["text"] for n in passes}}
            for r, s in zip(requests, _score(last, loaded), strict=True)
        ])  # fmt: skip
        return {"rows": len(last), "seconds": None if resumed else round(seconds, 3)}

    settings = {"passes": list(passes), "sampling": sampling.model_dump(), "questions": key, "dtype": who.ref.dtype,
                "batch": p.generation.model_dump(), "thoughts": p.synthesis.thoughts}  # fmt: skip
    return run.make("costs", f"{who.label}-{len(passes)}", build, settings=settings, inputs=[who.key],
                    rows=len(requests) * len(passes))  # fmt: skip


def costs(run: Run, family: str) -> list[Record]:
    """Measurements of the base (one pass, self-refine) and of the trained students (one pass).

    Metrics a question: ``accuracy`` (percent), ``tokens`` (generated), ``seconds`` (wall time of the whole batch over its
    questions; this machine's, no interval), ``passes``. ``condition`` is the benchmark, ``method`` for self-refine
    `SELF_REFINE`. Then, for each seed, ``one pass − self-refine`` paired by question.
    """
    if not run.profile.analyses.cost_rows or not asked(run):
        return []
    base, *trained = subjects(run, family)
    told = [(base, "base", one_pass(run, base), 1), (base, SELF_REFINE, self_refine(run, base), len(PASSES))]
    told += [(w, w.method, one_pass(run, w), 1) for w in trained]
    level, out = run.profile.evaluation.level, []
    refined = told[1][2].rows()
    for who, method, made, passes in told:
        for b in asked(run):
            about = {"analysis": "cost", "family": family, "method": method, "seed": who.seed, "condition": b.name}
            rows = [r for r in made.rows() if r["benchmark"] == b.name]
            out.append(summaries.share([r["correct"] for r in rows], level, **about, metric="accuracy"))
            out.append(summaries.mean([r["tokens"] for r in rows], level, **about, metric="tokens"))
            for metric, value in (("seconds", rows[0]["seconds"]), ("passes", passes)):
                if value is not None:
                    out.append(
                        {**about, "metric": metric, "value": value, "n": len(rows), "ci_low": None, "ci_high": None}
                    )
        if who.seed is not None:
            about = {"analysis": "cost", "family": family, "method": method, "seed": who.seed,
                     "condition": summaries.PAIRED}  # fmt: skip
            pairs = list(zip(made.rows(), refined, strict=True))
            out += [
                summaries.mean([100 * (a["correct"] - b["correct"]) for a, b in pairs], level, **about, metric="accuracy"),
                summaries.mean([a["tokens"] - b["tokens"] for a, b in pairs], level, **about, metric="tokens"),
            ]  # fmt: skip
    return out


# ---------------------------------------------------------------- lengths
def lengths(results: pd.DataFrame) -> list[Record]:
    """Measurements: each model's mean words, lines and steps an answer over the accuracy benchmarks, as ``times`` the base's.

    From the result rows; ``n`` is the number of answers, and the interval is made over seeds by `reporting.summaries.over_seeds`.
    """
    graded = set(results.loc[results["metric"] == "accuracy", "benchmark"])
    mine = results[results["metric"].isin(["words", "lines", "steps"]) & results["benchmark"].isin(graded)]
    out = []
    for (family, metric), rows in mine.groupby(["family", "metric"], sort=False):
        base = rows.loc[rows["method"] == "base", "value"].mean()
        for (method, seed), group in rows.groupby(["method", "seed"], sort=False, dropna=False):
            about = {"analysis": "lengths", "family": family, "method": method, "seed": None if pd.isna(seed) else int(seed),
                     "n": int(group["n"].sum()), "ci_low": None, "ci_high": None}  # fmt: skip
            out.append({**about, "condition": "an answer", "metric": metric, "value": group["value"].mean()})
            if method != "base" and base:
                out.append(
                    {**about, "condition": "times the base", "metric": metric, "value": group["value"].mean() / base}
                )
    return out
