"""Verdicts: three ways of judging the interval of a difference, and what a claim is measured from.

Intervals are over seeds and questions (`core.statistics.summary`); those of differences are paired over seeds. `MARGIN` points are the
least that matters:

- *gain*: ``supported`` if it lies above 0, ``contradicted`` if below, else ``inconclusive``;
- *effect*: as *gain*, and ``contradicted`` too if it lies within ± `MARGIN`: no effect worth the name is there;
- *matters*: ``supported`` if it excludes 0, ``contradicted`` if it lies within ± `MARGIN`, else ``inconclusive``.

Fewer than `MIN_SEEDS` trained models show no spread: ``inconclusive``. Several measurements of one claim are judged together (`joint`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import nan

import pandas as pd

from ..core.settings import Profile
from ..methods import display_name
from ..reporting import result_rows, summaries

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
NOT_MEASURED = "not measured in this run"
MARGIN = 2.0
MIN_SEEDS = 3  # fewer models show no spread, so nothing is judged by them


Judge = Callable[[float, float], str]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured for a claim.

    Attributes:
        what: in words.
        estimate: the figure.
        low, high: its interval; ``nan`` where nothing was sampled, or nothing shows how far the figure can be trusted.
        seeds: how many models it rests on.
        n: questions (or other items) a model.
        verdict: its own verdict; None: it describes and is not judged, and carries the joint verdict of the others.
        unit: of the figure.
    """

    what: str
    estimate: float
    low: float = nan
    high: float = nan
    seeds: int
    n: int
    verdict: str | None
    unit: str = "points"


def measured(
    rows: pd.DataFrame, what: str, judge: Judge | None, level: float, unit: str = "points", enough: bool = False
) -> Measured | None:
    """One figure of the models' rows, over seeds and questions; None without rows.

    Args:
        rows: rows ``{seed, value, n, ci_low, ci_high}`` about the same, one a model.
        what: in words.
        judge: gives the verdict of the interval; None: the figure is not judged.
        level: of the interval.
        unit: of the figure.
        enough: whether one model is all that there can be, as of the base: then `MIN_SEEDS` are not asked for.
    """
    if rows.empty:
        return None
    (s,) = summaries.over_seeds(rows.assign(what=what), level, ["what"]).itertuples()
    verdict = judged(judge, s.ci_low, s.ci_high, MIN_SEEDS if enough else s.seeds) if judge else None
    return Measured(
        what=what, estimate=s.value, low=s.ci_low, high=s.ci_high, seeds=s.seeds, n=s.n, verdict=verdict, unit=unit
    )


def gain(low: float, high: float) -> str:
    """Verdict of a claimed gain from the interval of its difference; see the module's head."""
    return SUPPORTED if low > 0 else CONTRADICTED if high < 0 else INCONCLUSIVE


def effect(low: float, high: float) -> str:
    """As `gain`, and an interval within ± `MARGIN` contradicts."""
    return CONTRADICTED if gain(low, high) == INCONCLUSIVE and low > -MARGIN and high < MARGIN else gain(low, high)


def matters(low: float, high: float) -> str:
    """Whether there is a difference at all, in either direction."""
    return SUPPORTED if low > 0 or high < 0 else effect(low, high)


def judged(judge: Judge, low: float, high: float, seeds: int) -> str:
    """The verdict of an interval over seeds: ``inconclusive`` with fewer than `MIN_SEEDS`."""
    return judge(low, high) if seeds >= MIN_SEEDS else INCONCLUSIVE


def joint(verdicts: Iterable[str | None]) -> str:
    """One verdict of several; those that are None do not count, and nothing judged is ``inconclusive``."""
    told = {v for v in verdicts if v is not None}
    return next((v for v in (CONTRADICTED, INCONCLUSIVE, SUPPORTED) if v in told), INCONCLUSIVE)


@dataclass(frozen=True)
class View:
    """What one family of a run has.

    Attributes:
        family: its name.
        profile: of the run, where it is known.
        table: its rows of `reporting.result_rows.headline`.
        results: its rows of ``results.csv``.
        analyses: its rows of ``analyses.csv``.
        level: of the intervals.
    """

    family: str
    profile: Profile | None
    table: pd.DataFrame
    results: pd.DataFrame
    analyses: pd.DataFrame
    level: float

    @property
    def headline(self) -> list[str]:
        """The benchmarks that the mean is of; none: all of accuracy."""
        return self.profile.evaluation.headline if self.profile else []

    @cached_property
    def quality(self) -> pd.DataFrame:
        """The rows of ``results`` that say how good a model is."""
        return self.results[self.results["metric"].isin(result_rows.QUALITY)]

    def difference(
        self, method: str, judge: Judge = gain, benchmark: str = "mean", what: str = "", reference: str = "cgd"
    ) -> Measured | None:
        """``reference`` − ``method`` on a benchmark, paired over seeds; None without rows."""
        rows = result_rows.difference_rows(self.quality, {method: reference}, self.headline)
        on = "" if benchmark == "mean" else f", {benchmark}"
        told = what or f"{display_name(reference)} − {display_name(method)}{on}"
        return measured(rows[rows["benchmark"] == benchmark], told, judge, self.level)

    def measured(self, what: str, judge: Judge | None, unit: str, analysis: str, **where: str) -> Measured | None:
        """A figure of notebook 06; ``where`` names the columns of ``analyses.csv`` that pick its rows. None without rows."""
        rows = summaries.pick(self.analyses, analysis, **where)
        return measured(rows, what, judge, self.level, unit, enough=set(rows["method"]) == {"base"})
