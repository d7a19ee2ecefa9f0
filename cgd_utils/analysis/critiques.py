"""Critique quality and answer leakage: exact in the lab, by judges elsewhere.

A lab critique is *specific* if it names the draft's first wrong step and *informative* if it gives that step's right value.
Judges rate both from 1 to 5 (`prompts.JUDGE`); how far they agree is Cohen's kappa with quadratic weights.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import prompts
from ..core import statistics
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.settings import Judge
from ..core.store import Artifact, Run, content_key
from ..engines import generation, request_log
from ..engines.request_log import Request
from ..grading import thoughts
from ..methods import leaks
from ..models import named
from ..models.loading import ModelRef
from ..reporting import summaries
from ..synthesis import conclusions, teaching

GROUPS = {"all drafts": (True, False), "wrong drafts": (False,), "right drafts": (True,)}


def leakage(records: Sequence[Record], level: float = 0.95, **about: Any) -> list[Record]:
    """Measurements: percent of critiques that already hold the final answer, over all, wrong and right drafts."""
    out = []
    for name, kinds in GROUPS.items():
        mine = [leaks(r["critique"], r["answer"]) for r in records if bool(r["draft_correct"]) in kinds]
        if mine:
            out.append(
                summaries.share(mine, level, **about, analysis="leakage", condition=name, metric="holds the answer")
            )
    return out


def lengths(records: Sequence[Record], level: float = 0.95, **about: Any) -> list[Record]:
    """Measurements: mean words and lines of draft, critique, refined and direct answer."""
    out = []
    for text in ("draft", "critique", "refined", "direct"):
        about |= {"analysis": "text lengths", "condition": text}
        out.append(summaries.mean([len(r[text].split()) for r in records], level, **about, metric="words"))
        out.append(
            summaries.mean([sum(map(bool, r[text].splitlines())) for r in records], level, **about, metric="lines")
        )
    return out


# ---------------------------------------------------------------- exact, in the lab
def facts(record: Record) -> Record:
    """What is true of a lab critique, from the draft's own diagnosis.

    Returns:
        ``true`` (its conclusion agrees with the draft); for a wrong draft with a wrong or missing step also ``specific``
        (that step is named) and ``informative`` (its right result is given); for a right draft ``false_alarm``.
    """
    from ..lab import teacher

    found = teacher.diagnose(record["draft"], record["meta"])
    text = record["critique"]
    right = found.kind == "right"
    out: Record = {"true": conclusions.conclusion(text) == ("right" if right else "wrong")}
    if right:
        return {**out, "false_alarm": conclusions.conclusion(text) == "wrong"}
    if found.step:
        out["specific"] = re.search(rf"\bStep {found.step}\b", text) is not None
        if found.expected:
            value = found.expected.partition("=")[2]
            out["informative"] = re.search(rf"(?<![\d]){value}(?!\d)", text) is not None
    return out


NAMES = {"true": "conclusion true", "specific": "names the first wrong step", "informative": "gives its right value",
         "false_alarm": "blames a right draft"}  # fmt: skip


def exact_quality(records: Sequence[Record], level: float = 0.95, **about: Any) -> list[Record]:
    """Measurements of `facts`: percent, with Wilson intervals over the critiques that the fact can be told of."""
    told = [(bool(r["draft_correct"]), facts(r)) for r in records]
    out = []
    for group, kinds in GROUPS.items():
        for name, metric in NAMES.items():
            mine = [f[name] for right, f in told if right in kinds and name in f]
            if mine:
                about |= {"analysis": "critique quality", "condition": group}
                out.append(summaries.share(mine, level, **about, metric=metric))
    return out


# ---------------------------------------------------------------- judged
def judged(run: Run, family: str) -> dict[str, list[Record]]:
    """The ratings of every judge and run: name → rows ``{id, draft_correct, informativeness, specificity}`` (None: no rating)."""
    records = teaching.records(run, family)
    rows = records.rows()[: run.profile.analyses.judge_rows]
    out = {}
    for j, judge in enumerate(run.profile.analyses.judges):
        for k in range(judge.runs):
            made = _judge(run, family, judge, j, k, rows)
            out[f"{made.manifest['facts']['judge']}, run {k + 1}"] = made.rows()
    return out


def _judge(run: Run, family: str, judge: Judge, j: int, k: int, rows: Sequence[Record]) -> Artifact:
    engine = judge.generation or run.profile.generation
    name = (judge.model or engine.served_as).rpartition("/")[2].rpartition(":")[2]
    sampling = judge.sampling.model_copy(update={"n": 1, "seed": judge.sampling.seed + k})

    def build(folder: Path) -> Record:
        if engine.engine == "openai":
            ref = ModelRef("", engine.served_as)
        else:
            ref = replace(named.model_ref(run, judge.model or "", name), revision=judge.revision)
        requests = [Request(r["id"], prompts.ask_judge(r["question"], r["draft"], r["critique"])) for r in rows]
        generator = generation.open_generator(ref, engine)
        try:
            replies = request_log.generate(
                generator, requests, sampling, folder / "log.jsonl", f"judge {name}, run {k + 1}"
            )
        finally:
            generator.close()
        none = dict.fromkeys(prompts.RATINGS)
        kept = []
        for r, g in zip(rows, replies, strict=True):
            rated = prompts.ratings(thoughts.split(g["text"]).answer) or none
            kept.append({"id": r["id"], "draft_correct": r["draft_correct"], **rated, "reply": g["text"]})
        write_jsonl(folder / "rows.jsonl", kept)
        return {"judge": name, "unrated": sum(r["informativeness"] is None for r in kept)}

    settings = {"judge": judge.model_dump(exclude={"runs", "generation"}), "run": k, "engine": engine.identity(),
                "rows": content_key([(r["id"], r["question"], r["draft"], r["critique"]) for r in rows])}  # fmt: skip
    return run.make("judgements", f"{family}-{j}-{k}", build, settings=settings, rows=len(rows))


def agreement(ratings: dict[str, list[Record]], level: float = 0.95) -> list[Record]:
    """How far each two sets of ratings agree, on the critiques that both rated.

    Returns:
        Rows ``{first, second, rating, n, exact, kappa, kappa_low, kappa_high}``: percent rated alike, and Cohen's kappa with
        quadratic weights and its asymptotic interval (statsmodels); kappa is None where nothing varies.
    """
    import numpy as np
    from scipy.stats import norm
    from statsmodels.stats.inter_rater import cohens_kappa

    out = []
    for (a, first), (b, second) in itertools.combinations(ratings.items(), 2):
        for name in prompts.RATINGS:
            pairs = [(x[name], y[name]) for x, y in zip(first, second, strict=True) if x[name] and y[name]]
            row = {"first": a, "second": b, "rating": name, "n": len(pairs), "exact": None, "kappa": None,
                   "kappa_low": None, "kappa_high": None}  # fmt: skip
            if pairs:
                table = np.zeros((5, 5))
                for x, y in pairs:
                    table[x - 1, y - 1] += 1
                row["exact"] = 100 * np.trace(table) / len(pairs)
                if len({x for x, _ in pairs}) > 1 or len({y for _, y in pairs}) > 1:
                    found = cohens_kappa(table, wt="quadratic")
                    half = norm.ppf((1 + level) / 2) * found.std_kappa
                    row |= {
                        "kappa": found.kappa,
                        "kappa_low": found.kappa - half,
                        "kappa_high": min(1.0, found.kappa + half),
                    }
            out.append(row)
    return out


def rated_quality(rows: Sequence[Record]) -> list[Record]:
    """Ratings by draft, in the layout of the paper's table: wrong and right drafts, their difference and its effect size.

    Returns:
        Rows ``{metric, wrong_answer_mean, wrong_answer_sd, right_answer_mean, right_answer_sd, delta, effect, low, high,
        n_wrong, n_right}``; effect is Cohen's d for ratings, an odds ratio with its interval for shares.
    """
    import numpy as np

    rated = [r for r in rows if r["informativeness"] is not None]
    wrong, right = ([r for r in rated if bool(r["draft_correct"]) is told] for told in (False, True))
    if not wrong or not right:
        return []
    sizes = {"n_wrong": len(wrong), "n_right": len(right)}
    out = []
    for name in prompts.RATINGS:
        a, b = (np.array([r[name] for r in side], float) for side in (wrong, right))
        spread = [x.std(ddof=1) if len(x) > 1 else None for x in (a, b)]
        d = statistics.cohens_d(a, b) if len(a) > 1 and len(b) > 1 else None
        out.append({"metric": f"{name} (1-5)", "wrong_answer_mean": a.mean(), "wrong_answer_sd": spread[0],
                    "right_answer_mean": b.mean(), "right_answer_sd": spread[1], "delta": a.mean() - b.mean(), "effect": d,
                    "low": None, "high": None, **sizes})  # fmt: skip
    for metric, holds in (("high quality: both >= 4 (%)", lambda r: min(r[n] for n in prompts.RATINGS) >= 4),
                          ("maximum informativeness (%)", lambda r: r["informativeness"] == 5)):  # fmt: skip
        counts = [sum(map(holds, side)) for side in (wrong, right)]
        ratio = statistics.odds_ratio(counts[0], len(wrong), counts[1], len(right))
        shares = [100 * c / len(side) for c, side in zip(counts, (wrong, right), strict=True)]
        out.append({"metric": metric, "wrong_answer_mean": shares[0], "wrong_answer_sd": None, "right_answer_mean": shares[1],
                    "right_answer_sd": None, "delta": shares[0] - shares[1], "effect": ratio.estimate, "low": ratio.low,
                    "high": ratio.high, **sizes})  # fmt: skip
    return out
