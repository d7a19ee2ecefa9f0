"""Drift: what training does to a student besides its accuracy. Cheap measures, from answers that are there already and from weights.

Result rows of the benchmark ``all``: ``mentions_draft`` (percent of answers to plain questions that speak of a draft, a critique or
a revision, though none was given), ``critique_style`` (percent that end in a critique's conclusion), ``weight_distance`` (percent:
norm of the change of the weights over the norm of the base's weights). Lengths and instruction following are in `evaluation.results.results`.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..core import statistics
from ..core.records import Record
from ..core.store import Artifact, Run
from ..models import loading, named
from ..training import fine_tune
from . import answering

METRICS = ("mentions_draft", "critique_style", "weight_distance")
_MENTIONS = re.compile(
    r"\b(draft|critique|feedback|reviewer|improved answer|revised|refined|previous (answer|solution|attempt)|"
    r"step \d+ (is|was) (wrong|missing|right|correct|incorrect))\b",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(r"conclusion\W*(right|wrong|correct|incorrect)\W*$", re.IGNORECASE)


def mentions_draft(text: str) -> bool:
    """Whether an answer speaks of a draft, a critique or a revision."""
    return _MENTIONS.search(text) is not None


def is_critique(text: str) -> bool:
    """Whether a text ends as a critique does."""
    return _CONCLUSION.search(text.strip()) is not None


def rows(run: Run, family: str, name: str, seed: int | None, model: Artifact) -> list[Record]:
    """Drift rows of one trained model, in the fields of `evaluation.results.results`; its answers must have been generated."""
    ref = fine_tune.trained_ref(run, family, model, answering.label(family, name, seed))
    made = answering.generations(run, answering.label(family, name, seed), ref, model.key)
    level, texts = run.profile.evaluation.level, [r["text"] for r in made.rows()]
    about = {"family": family, "method": name, "seed": seed, "benchmark": "all"}
    found = {}
    for metric, holds in (("mentions_draft", mentions_draft), ("critique_style", is_critique)):
        i = statistics.wilson(sum(map(holds, texts)), len(texts), level)
        found[metric] = (100 * i.estimate, i.n, 100 * i.low, 100 * i.high)
    distance = 100 * _distance(run, family, model, ref)
    found["weight_distance"] = (distance, 1, None, None)
    return [
        {**about, "metric": m, "value": v, "n": n, "ci_low": low, "ci_high": high}
        for m, (v, n, low, high) in found.items()
    ]


def _distance(run: Run, family: str, model: Artifact, ref: loading.ModelRef) -> float:
    def build(folder: Path) -> Record:
        return {"distance": weight_distance(named.student_ref(run, family), ref)}

    made = run.make("drift", model.folder.name, build, inputs=[model.key])
    return made.manifest["facts"]["distance"]


def weight_distance(base: loading.ModelRef, tuned: loading.ModelRef) -> float:
    """Norm of the change of the weights over the norm of the base's; adapters count as what they add."""
    from dataclasses import replace

    import torch

    ours = loading.load_model(replace(tuned, quantize=False))
    if tuned.adapter is not None:
        ours = ours.merge_and_unload()
    theirs = dict(loading.load_model(base).named_parameters())
    moved = norm = 0.0
    with torch.no_grad():
        for name, p in ours.named_parameters():
            q = theirs[name].float()
            moved += float((p.float() - q).square().sum())
            norm += float(q.square().sum())
    return (moved / norm) ** 0.5
