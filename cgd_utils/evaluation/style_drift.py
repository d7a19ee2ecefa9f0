"""Drift: what training does to a student besides its accuracy. Cheap measures, from answers that are there already and
from weights.

Result rows of the benchmark ``all``: ``mentions_draft`` (percent of answers to plain questions that speak of a draft, a
critique or a revision, though none was given), ``critique_style`` (percent that end in a critique's conclusion),
``weight_distance`` (percent: norm of the change of the weights over the norm of the base's weights). Lengths and
instruction following are in `evaluation.results.results`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import nan
from pathlib import Path

from ..core.records import Record
from ..core.statistics import Interval
from ..core.store import Artifact, Run
from ..models import loading, named
from . import answering, figures
from .trained_models import subject

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


def rows(run: Run, family: str, name: str, seed: int, model: Artifact) -> list[Record]:
    """Drift rows of one trained model, in the fields of `evaluation.results.results`."""
    who = subject(run, family, name, seed, model)
    level, texts = run.profile.evaluation.level, [r["text"] for r in answering.generations(run, who).rows()]

    def build(folder: Path) -> Record:
        return {"distance": weight_distance(named.student_ref(run, family), who.ref)}

    distance = run.make("drift", model.folder.name, build, inputs=[model.key]).manifest["facts"]["distance"]
    found = {
        "mentions_draft": figures.share([mentions_draft(t) for t in texts], level),
        "critique_style": figures.share([is_critique(t) for t in texts], level),
        "weight_distance": Interval(100 * distance, nan, nan, level, 1),
    }
    return figures.rows({"family": family, "method": name, "seed": seed, "benchmark": "all"}, found)


def weight_distance(base: loading.ModelRef, tuned: loading.ModelRef) -> float:
    """Norm of the change of the weights over the norm of the base's; adapters count as what they add."""
    import torch

    after = loading.load_model(replace(tuned, quantize=False))
    if tuned.adapter is not None:
        after = after.merge_and_unload()
    before = dict(loading.load_model(base).named_parameters())
    moved = norm = 0.0
    with torch.no_grad():
        for name, weights in after.named_parameters():
            old = before[name].float()
            moved += float((weights.float() - old).square().sum())
            norm += float(old.square().sum())
    return (moved / norm) ** 0.5
