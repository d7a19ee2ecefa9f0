"""Whom evaluation and analyses look at: the base and the trained models of a run, and the records they never learnt."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core.records import Record
from ..core.store import Artifact, Run
from ..models import named
from ..models.loading import ModelRef
from ..synthesis import teaching
from ..training import fine_tune


@dataclass(frozen=True)
class Subject:
    """A model of the run: the untrained base (``seed`` None), or a trained one; ``key`` identifies its weights."""

    family: str
    method: str
    seed: int | None
    ref: ModelRef
    key: str

    @property
    def label(self) -> str:
        return label(self.family, self.method, self.seed)


def label(family: str, method: str, seed: int | None) -> str:
    """What the folders of a model are called; ``seed`` None is the base."""
    if seed is None:
        return f"{family}-base"
    return re.sub(r"[^\w.×=%-]+", "-", f"{family}-{method}").rstrip("-") + f"-s{seed}"


def subject(run: Run, family: str, method: str, seed: int | None = None, model: Artifact | None = None) -> Subject:
    """The untrained ``base`` of a family, or a trained model.

    Without ``model`` a trained one is that of the main comparison: loaded, or trained if it is missing.
    """
    if method == "base":
        ref = named.student_ref(run, family)
        return Subject(family, "base", None, ref, named.model_key(ref.path))
    model = model or fine_tune.fine_tune(run, family, method, seed or 0)
    ref = fine_tune.trained_ref(run, family, model, label(family, method, seed))
    return Subject(family, method, seed, ref, model.key)


def subjects(run: Run, family: str) -> list[Subject]:
    """The base, then every analysed method with every analysed seed."""
    methods = [m for m in run.profile.analyses.methods if m in run.profile.training.methods]
    return [subject(run, family, "base"), *(subject(run, family, m, s) for m in methods for s in seeds(run))]


def seeds(run: Run) -> list[int]:
    """The analysed seeds."""
    return run.profile.training.seeds[: run.profile.analyses.seeds]


def looked_at(run: Run, family: str, seed: int) -> tuple[list[Record], bool]:
    """The records that a seed's models are looked at with, and whether these models never saw them.

    They are records that the seed did not draw for training; where it drew all, they are the first of those it learnt.
    """
    t, rows = run.profile.training, teaching.seed_records(run, family, seed).rows()
    drawn = {r["id"] for r in fine_tune.draw(rows, t.rows, seed, t.right_share, t.validation_rows, t.share_by)}
    unseen = [r for r in rows if r["id"] not in drawn]
    return (unseen or rows)[: run.profile.analyses.rows], bool(unseen)
