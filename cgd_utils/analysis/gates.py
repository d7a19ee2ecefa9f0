"""Gates: what must hold on the base student and a pilot seed before a comparison of methods can say anything.

1. The student reads critiques: the refined answer is likelier given its own critique than given another problem's.
2. There is something to learn: distilled SFT answers more validation questions right than the base.
3. No method's best learning rate lies at the edge of its list.

Where a gate fails, a comparison is *uninformative*, whatever it shows.
"""

from __future__ import annotations

from typing import TypedDict

from .. import methods
from ..core import statistics
from ..core.store import Run
from ..evaluation.trained_models import looked_at, seeds, subject
from ..training import rate_search
from .internals import ANOTHER, WITH_CRITIQUE, internals

# nats a token by which a student's own critique must beat another's, and points of accuracy that are worth learning;
# fixed on 2026-11-25, before the first comparison on a pretrained student
READS = 0.02
LEARNS = 5.0


class Gate(TypedDict):
    """A gate's reading; ``passed`` is None where the profile does not measure it, and ``reading`` says why."""

    family: str
    gate: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    wanted: str
    passed: bool | None
    reading: str


def measurable(run: Run) -> bool:
    """Whether a gate can be read: a method learns from critiques, or rates are searched."""
    t = run.profile.training
    return t.select == "validation" or any("c" in methods.parse(m)[0].shows.split(", ") for m in t.methods)


def gates(run: Run, family: str) -> list[Gate]:
    """The three gates of a family, measured on its base and on the pilot seed."""
    return [reads_critiques(run, family), something_to_learn(run, family), rates_inside(run, family)]


def reads_critiques(run: Run, family: str) -> Gate:
    """Gate 1: nats a token that the base's own critique saves on ŷ against another problem's."""
    base = subject(run, family, "base")
    rows = internals(run, base, looked_at(run, family, seeds(run)[0])[0]).rows("uncertainty.jsonl")
    nll: dict[str, dict[str, float]] = {WITH_CRITIQUE: {}, ANOTHER: {}}
    for row in rows:
        if row["condition"] in nll:
            nll[row["condition"]][row["id"]] = row["nll"]
    saved = [nll[ANOTHER][i] - own for i, own in nll[WITH_CRITIQUE].items()]
    found = statistics.mean_t_interval(saved, run.profile.evaluation.level)
    return {
        "family": family,
        "gate": "the student reads critiques",
        "value": found.estimate,
        "ci_low": found.low,
        "ci_high": found.high,
        "n": found.n,
        "wanted": f"at least {READS} nats a token",
        "passed": found.estimate >= READS,
        "reading": "NLL of ŷ given another problem's critique less that given its own, on the base",
    }


def something_to_learn(run: Run, family: str) -> Gate:
    """Gate 2: points of validation accuracy by which distilled SFT at its best rate leaves the base behind."""
    t = run.profile.training
    gate: Gate = {
        "family": family,
        "gate": "there is something to learn",
        "value": None,
        "ci_low": None,
        "ci_high": None,
        "n": 0,
        "wanted": f"at least {LEARNS:g} points",
        "passed": None,
        "reading": "validation accuracy of distilled SFT on the pilot seed less the base's",
    }
    if "distilled_sft" not in t.methods or not t.validation_rows or t.select == "none":
        return {**gate, "reading": "not measured: training.select is not validation, or distilled_sft is not trained"}
    points = rate_search.search(run, family, "distilled_sft").rows()
    best = next(p for p in points if p["chosen"])
    base = rate_search.base_accuracy(run, family)
    right = [round(x["accuracy"] * x["n"] / 100) for x in (best, base)]
    test = statistics.independent_difference(right[0], best["n"], right[1], base["n"], run.profile.evaluation.level)
    difference = best["accuracy"] - base["accuracy"]
    low, high = 100 * test.low, 100 * test.high
    return {**gate, "value": difference, "ci_low": low, "ci_high": high, "n": best["n"], "passed": difference >= LEARNS}


def rates_inside(run: Run, family: str) -> Gate:
    """Gate 3: how many methods found their best rate at the edge of its list."""
    searched = run.profile.training.searched
    edges = [m for m in searched if any(p["at_edge"] for p in rate_search.search(run, family, m).rows())]
    reading = f"at the edge: {', '.join(edges)}" if edges else "every searched rate lies inside its list"
    return {
        "family": family,
        "gate": "no best rate at an edge",
        "value": float(len(edges)) if searched else None,
        "ci_low": None,
        "ci_high": None,
        "n": len(searched),
        "wanted": "0 methods",
        "passed": not edges if searched else None,
        "reading": reading if searched else "not measured: one rate a method, so none was searched",
    }
