"""Critique quality and answer leakage: exact in the lab, by judges elsewhere.

A lab critique is *specific* if it names the draft's first wrong step and *informative* if it gives that step's right
value. Judges rate both from 1 to 5 (`prompts.JUDGE`); how far they agree is Cohen's kappa with quadratic weights.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import prompts
from ..core import effect_sizes
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.settings import Judge
from ..core.store import Artifact, Run, content_key
from ..engines.request_log import Request
from ..grading import thoughts
from ..methods import leaks
from ..synthesis import conclusions, teaching
from ..synthesis.drafts import ask_model
from ..synthesis.selection import TEXTS
from .measures import measured

GROUPS = {"all drafts": (True, False), "wrong drafts": (False,), "right drafts": (True,)}


def _by_group(records: Sequence[Record]) -> Iterator[tuple[str, Record]]:
    """Every record under each of the `GROUPS` of drafts that it belongs to."""
    for group, kinds in GROUPS.items():
        yield from ((group, r) for r in records if bool(r["draft_correct"]) in kinds)


def leakage(records: Sequence[Record], level: float = 0.95, **about: Any) -> list[Record]:
    """Measurements: percent of critiques that already hold the final answer, over all, wrong and right drafts."""
    items = ((group, "holds the answer", leaks(r["critique"], r["answer"])) for group, r in _by_group(records))
    return measured(items, level, **about, analysis="leakage")


def lengths(records: Sequence[Record], level: float = 0.95, **about: Any) -> list[Record]:
    """Measurements: mean words and lines of draft, critique, refined and direct answer."""
    counts = {"words": lambda t: len(t.split()), "lines": lambda t: sum(map(bool, t.splitlines()))}
    there = ((text, r[text]) for text in TEXTS for r in records if text in r)
    items = ((text, metric, count(said)) for text, said in there for metric, count in counts.items())
    return measured(items, level, **about, analysis="text lengths")


# ---------------------------------------------------------------- exact, in the lab
def facts(record: Record) -> dict[str, bool]:
    """What is true of a lab critique, from the draft's own diagnosis.

    Returns:
        ``true`` (its conclusion agrees with the draft); for a wrong draft with a wrong or missing step also
        ``specific`` (that step is named) and ``informative`` (its right result is given); for a right draft
        ``false_alarm``.
    """
    from ..lab import teacher

    diagnosis = teacher.diagnose(record["draft"], record["meta"])
    text = record["critique"]
    right, says = diagnosis.kind == "right", conclusions.conclusion(text)
    found = {"true": says == ("right" if right else "wrong")}
    if right:
        found["false_alarm"] = says == "wrong"
    elif diagnosis.step:
        found["specific"] = re.search(rf"\bStep {diagnosis.step}\b", text) is not None
        if diagnosis.expected:
            value = diagnosis.expected.partition("=")[2]
            found["informative"] = re.search(rf"(?<![\d]){value}(?!\d)", text) is not None
    return found


NAMES = {
    "true": "conclusion true",
    "specific": "names the first wrong step",
    "informative": "gives its right value",
    "false_alarm": "blames a right draft",
}


def exact_quality(records: Sequence[Record], level: float = 0.95, **about: Any) -> list[Record]:
    """Measurements of `facts`: percent, with Wilson intervals over the critiques that the fact can be told of."""
    known = [(group, facts(r)) for group, r in _by_group(records)]
    pairs = ((group, found, name) for among in GROUPS for name in NAMES for group, found in known if group == among)
    items = ((group, NAMES[name], found[name]) for group, found, name in pairs if name in found)
    return measured(items, level, **about, analysis="critique quality")


# ---------------------------------------------------------------- judged
def judged(run: Run, family: str) -> dict[str, list[Record]]:
    """The ratings of each judge and run: name → rows ``{id, draft_correct, informativeness, specificity}`` or None."""
    rows = teaching.records(run, family).rows()[: run.profile.analyses.judge_rows]
    ratings = {}
    for number, judge in enumerate(run.profile.analyses.judges):
        for k in range(judge.runs):
            rated = _judge(run, f"{family}-{number}-{k}", judge, k, rows)
            ratings[f"{rated.manifest['facts']['judge']}, run {k + 1}"] = rated.rows()
    return ratings


def _judge(run: Run, label: str, judge: Judge, k: int, rows: Sequence[Record]) -> Artifact:
    """One judge's ``k``-th ratings, each run with a seed of its own."""
    engine = judge.generation or run.profile.generation
    name = (judge.model or engine.served_as).rpartition("/")[2].rpartition(":")[2]
    sampling = judge.sampling.model_copy(update={"n": 1, "seed": judge.sampling.seed + k})

    def build(folder: Path) -> Record:
        ref = teaching.writer_ref(run, judge.model, name, engine)
        if ref.path:
            ref = replace(ref, revision=judge.revision)
        requests = [Request(r["id"], prompts.ask_judge(r["question"], r["draft"], r["critique"])) for r in rows]
        replies = ask_model(ref, engine, requests, sampling, folder / "log.jsonl", f"judge {name}, run {k + 1}")
        rated = []
        for r, reply in zip(rows, replies, strict=True):
            ratings = prompts.ratings(thoughts.split(reply["text"]).answer) or dict.fromkeys(prompts.RATINGS)
            rated.append({"id": r["id"], "draft_correct": r["draft_correct"], **ratings, "reply": reply["text"]})
        write_jsonl(folder / "rows.jsonl", rated)
        return {"judge": name, "unrated": sum(r["informativeness"] is None for r in rated)}

    settings = {
        "judge": judge.model_dump(exclude={"runs", "generation"}),
        "run": k,
        "engine": engine.identity(),
        "rows": content_key([(r["id"], r["question"], r["draft"], r["critique"]) for r in rows]),
    }
    return run.make("judgements", label, build, settings=settings, rows=len(rows))


def agreement(ratings: dict[str, list[Record]], level: float = 0.95) -> list[Record]:
    """How far each two sets of ratings agree, on the critiques that both rated.

    Returns:
        Rows ``{first, second, rating, n, exact, kappa, kappa_low, kappa_high}``: percent rated alike, and Cohen's kappa
        with quadratic weights and its asymptotic interval (statsmodels); kappa is None where nothing varies.
    """
    from scipy.stats import norm
    from statsmodels.stats.inter_rater import cohens_kappa

    z = norm.ppf((1 + level) / 2)
    out = []
    for (a, first), (b, second) in itertools.combinations(ratings.items(), 2):
        for name in prompts.RATINGS:
            pairs = [(x[name], y[name]) for x, y in zip(first, second, strict=True) if x[name] and y[name]]
            counts = np.zeros((5, 5))
            for x, y in pairs:
                counts[x - 1, y - 1] += 1
            row: Record = {"first": a, "second": b, "rating": name, "n": len(pairs), "exact": None}
            row |= {"kappa": None, "kappa_low": None, "kappa_high": None}
            if pairs:
                row["exact"] = 100 * np.trace(counts) / len(pairs)
            if any(np.count_nonzero(counts.sum(axis)) > 1 for axis in (0, 1)):
                found = cohens_kappa(counts, wt="quadratic")
                low, high = found.kappa - z * found.std_kappa, found.kappa + z * found.std_kappa
                row |= {"kappa": found.kappa, "kappa_low": low, "kappa_high": min(1.0, high)}
            out.append(row)
    return out


def rated_quality(rows: Sequence[Record]) -> list[Record]:
    """Ratings by draft, in the layout of the paper's table: wrong and right drafts, their difference and its effect
    size.

    Returns:
        Rows ``{metric, wrong_answer_mean, wrong_answer_sd, right_answer_mean, right_answer_sd, delta, effect, low,
        high, n_wrong, n_right}``; effect is Cohen's d for ratings, an odds ratio with its interval for shares.
    """
    rated = [r for r in rows if r["informativeness"] is not None]
    wrong, right = ([r for r in rated if bool(r["draft_correct"]) is correct] for correct in (False, True))
    if not wrong or not right:
        return []

    def row(metric: str, means: Sequence[float], sds: Sequence[float | None], effect: Sequence[float | None]) -> Record:
        sides = {"wrong_answer_mean": means[0], "wrong_answer_sd": sds[0]}
        sides |= {"right_answer_mean": means[1], "right_answer_sd": sds[1], "delta": means[0] - means[1]}
        sizes = {"n_wrong": len(wrong), "n_right": len(right)}
        return {"metric": metric, **sides, **dict(zip(("effect", "low", "high"), effect, strict=True)), **sizes}

    out = []
    for name in prompts.RATINGS:
        a, b = (np.array([r[name] for r in side], float) for side in (wrong, right))
        sds = [x.std(ddof=1) if len(x) > 1 else None for x in (a, b)]
        d = effect_sizes.cohens_d(a.tolist(), b.tolist()) if len(a) > 1 and len(b) > 1 else None
        out.append(row(f"{name} (1-5)", [a.mean(), b.mean()], sds, [d, None, None]))
    shares = {
        "high quality: both >= 4 (%)": lambda r: min(r[name] for name in prompts.RATINGS) >= 4,
        "maximum informativeness (%)": lambda r: r["informativeness"] == 5,
    }
    for metric, holds in shares.items():
        among_wrong, among_right = (sum(map(holds, side)) for side in (wrong, right))
        ratio = effect_sizes.odds_ratio(among_wrong, len(wrong), among_right, len(right))
        means = [100 * among_wrong / len(wrong), 100 * among_right / len(right)]
        out.append(row(metric, means, [None, None], [ratio.estimate, ratio.low, ratio.high]))
    return out
