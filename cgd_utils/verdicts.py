"""Verdicts: three ways of judging the interval of a difference, and what a claim is measured from.

Intervals are over seeds (paired where two models are compared), over items where there is one model or no spread. `MARGIN` points
are the least that matters:

- *gain*: ``supported`` if it lies above 0, ``contradicted`` if below, else ``inconclusive``;
- *effect*: as *gain*, and ``contradicted`` too if it lies within ± `MARGIN`: no effect worth the name is there;
- *matters*: ``supported`` if it excludes 0, ``contradicted`` if it lies within ± `MARGIN`, else ``inconclusive``.

Fewer than `MIN_SEEDS` trained models show no spread: ``inconclusive``. Several measurements of one claim are judged together (`joint`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from . import measurements, reporting
from .profiles import Profile

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
NOT_MEASURED = "not measured in this run"
MARGIN = 2.0
MIN_SEEDS = 3  # fewer models show no spread, so nothing is judged by them


@dataclass(frozen=True)
class Measured:
    """What was measured for a claim: words, a figure with its interval, what it rests on.

    ``verdict`` None: it describes and is not judged; it carries the joint verdict of the others.
    """

    what: str
    estimate: float
    low: float
    high: float
    seeds: int
    n: int
    verdict: str | None
    unit: str = "points"


def gain(low: float, high: float) -> str:
    """Verdict of a claimed gain from the interval of its difference; see the module's head."""
    return SUPPORTED if low > 0 else CONTRADICTED if high < 0 else INCONCLUSIVE


def effect(low: float, high: float) -> str:
    """As `gain`, and an interval within ± `MARGIN` contradicts."""
    return CONTRADICTED if gain(low, high) == INCONCLUSIVE and low > -MARGIN and high < MARGIN else gain(low, high)


def matters(low: float, high: float) -> str:
    """Whether there is a difference at all, in either direction."""
    return SUPPORTED if low > 0 or high < 0 else effect(low, high)


def judged(judge: Callable[[float, float], str], low: float, high: float, seeds: int) -> str:
    """The verdict of an interval over seeds: ``inconclusive`` with fewer than `MIN_SEEDS`."""
    return judge(low, high) if seeds >= MIN_SEEDS else INCONCLUSIVE


def joint(verdicts: Iterable[str | None]) -> str:
    """One verdict of several; those that are None do not count, and nothing judged is ``inconclusive``."""
    told = {v for v in verdicts if v is not None}
    return next((v for v in (CONTRADICTED, INCONCLUSIVE, SUPPORTED) if v in told), INCONCLUSIVE)


@dataclass(frozen=True)
class View:
    """What one family has: its rows of `reporting.headline`, its results, and its analyses (summed over seeds too)."""

    family: str
    profile: Profile | None
    table: pd.DataFrame
    results: pd.DataFrame
    analyses: pd.DataFrame
    level: float

    def difference(
        self, method: str, judge: Callable[[float, float], str] = gain, benchmark: str = "mean", what: str = "",
        reference: str = "cgd",
    ) -> Measured | None:  # fmt: skip
        """``reference`` − ``method`` on a benchmark, paired over seeds; None without rows."""
        table = self.table if reference == "cgd" else reporting.headline(self.results, (), self.level, reference)
        rows = table[(table["method"] == method) & (table["benchmark"] == benchmark)]
        if rows.empty or "difference" not in rows or pd.isna(rows.iloc[0]["difference"]):
            return None
        r = rows.iloc[0]
        ours = table[(table["method"] == reference) & (table["benchmark"] == benchmark)].iloc[0]
        name = what or f"{name_of(reference)} − {name_of(method)}" + ("" if benchmark == "mean" else f", {benchmark}")
        seeds = int(ours["n_seeds"] if method == "base" else min(ours["n_seeds"], r["n_seeds"]))
        low, high = r["difference_low"], r["difference_high"]
        return Measured(
            name, r["difference"], low, high, seeds, self.questions(benchmark), judged(judge, low, high, seeds)
        )

    def questions(self, benchmark: str) -> int:
        """Questions asked of each model: of one benchmark, or of all graded ones for the mean."""
        rows = self.results[self.results["metric"].isin(reporting.QUALITY)]
        mine = rows[rows["metric"] == "accuracy"] if benchmark == "mean" else rows[rows["benchmark"] == benchmark]
        return int(mine.groupby("benchmark")["n"].max().sum())

    def measured(
        self, what: str, judge: Callable[[float, float], str] | None, unit: str, analysis: str, **where: str
    ) -> Measured | None:
        """A measurement of notebook 06, over seeds; ``what`` may hold its fields in braces. None without rows."""
        rows = measurements.over_seeds(measurements.pick(self.analyses, analysis, **where), self.level)
        if rows.empty:
            return None
        r = rows.iloc[0]
        low, high, seeds = r["ci_low"], r["ci_high"], int(r["seeds"])
        enough = (
            seeds if r["interval"] == "seeds" or r["method"] != "base" else MIN_SEEDS
        )  # the base is one model by nature
        verdict = None if judge is None else judged(judge, low, high, enough)
        return Measured(what.format(**r.to_dict()), r["value"], low, high, seeds, int(r["n"]), verdict, unit)


def name_of(method: str) -> str:
    """What tables call a method."""
    return reporting.display_name(method)
