"""Verdicts: how the interval of a figure is judged, when it cannot be judged, and what several figures say together.

Intervals are over seeds and questions: those of differences of methods by `core.crossed`, the others by
`core.statistics.summary`. A `Rule` says what a claim needs; its margin is the least that matters, `MARGIN` points for accuracies. The
figures of one claim and family are tested together: their p-values are Holm-corrected, and a difference is *resolved* where the
corrected p-value is below 1 − level.

- *gain*: ``supported`` if resolved on the claimed side and at least the margin; ``contradicted`` if resolved on the other side, or if
  the interval lies within ± the margin (two one-sided tests: no difference that matters); else ``inconclusive``;
- *matters*: the same for a difference in either direction;
- *kept*: ``supported`` if the interval does not reach below −margin; ``contradicted`` if it lies below it, resolved.

``not testable here`` is the verdict of a figure that could not have come out: both arms at a floor or a ceiling, an interval wider than
any difference that one would look for, a comparison whose gates failed. ``by design`` is what the method's definition fixes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan, nan
from typing import Literal

import numpy as np
import pandas as pd

from ..core import statistics
from ..core.settings import Profile
from ..methods import display_name
from ..reporting import paired, result_rows, summaries

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
BY_DESIGN, NOT_TESTABLE, NOT_MEASURED = "by design", "not testable here", "not measured in this run"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTABLE, BY_DESIGN, NOT_MEASURED)
MARGIN = 2.0  # points
MIN_SEEDS = 3  # fewer models show no spread, so nothing is judged by them
FLOOR = 5.0  # percent: arms that all lie below it, or above 100 less it, cannot be told apart
WIDE = 10.0  # points to either side: an inconclusive interval that reaches further could show no difference one would look for


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What the interval of a figure must show; see the module's head.

    Attributes:
        kind: how the interval is judged.
        margin: the least that matters, in the figure's unit; 0: any resolved difference does.
        above: the value that the figure is compared with.
        sign: 1, or -1 where the claim says that the figure lies below.
    """

    kind: Literal["gain", "matters", "kept"] = "gain"
    margin: float = MARGIN
    above: float = 0.0
    sign: Literal[1, -1] = 1


GAIN, MATTERS, KEPT = (Rule(kind=kind) for kind in ("gain", "matters", "kept"))
LOST = Rule(sign=-1)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured for a claim.

    Attributes:
        what: in words.
        estimate: the figure.
        low, high: its interval; ``nan`` where nothing was sampled, or nothing shows how far the figure can be trusted.
        seeds: how many models it rests on.
        n: questions (or other items) a model.
        unit: of the figure.
        rule: by which it is judged; None: it describes, or its ``verdict`` is set.
        arms: percentages that the figure compares, by which a floor or a ceiling is told; none: it has no such ends.
        trained: whether it compares trained methods, which a failed gate makes uninformative.
        enough: whether one model is all that there can be, as of the base: then `MIN_SEEDS` are not asked for.
        p: two-sided, of the figure against 0, where a test gave one; from `settled` on Holm-corrected within the claim and family.
        verdict, reason: what it says by itself, and why; empty where it only describes.
    """

    what: str
    estimate: float
    low: float = nan
    high: float = nan
    seeds: int
    n: int
    unit: str = "points"
    rule: Rule | None = None
    arms: tuple[float, ...] = ()
    trained: bool = False
    enough: bool = False
    p: float = nan
    verdict: str = ""
    reason: str = ""


def measured(
    rows: pd.DataFrame, what: str, rule: Rule | None, level: float, unit: str = "points", enough: bool = False
) -> Measured | None:
    """One figure of the models' rows, over seeds and questions, not judged yet; None without rows.

    Args:
        rows: rows ``{seed, value, n, ci_low, ci_high}`` about the same, one a model.
        what, rule, unit, enough: see `Measured`.
        level: of the interval.
    """
    if rows.empty:
        return None
    (s,) = summaries.over_seeds(rows.assign(what=what), level, ["what"]).itertuples()
    return Measured(
        what=what,
        estimate=s.value,
        low=s.ci_low,
        high=s.ci_high,
        seeds=s.seeds,
        n=s.n,
        rule=rule,
        unit=unit,
        enough=enough,
    )


# ---------------------------------------------------------------- judging
def p_value(m: Measured, level: float) -> float:
    """Two-sided p of a figure against its rule's value; ``nan`` without an interval.

    It is the figure's own where it has one. Else it is read off the interval: the interval's half-width on the side of that value is so many standard errors of Student's t with seeds - 1 degrees of freedom
    (the normal for one model), so p < 1 - level where the interval leaves the value out.
    """
    from scipy.stats import t

    assert m.rule is not None
    if not isnan(m.p):
        return m.p
    distance = m.estimate - m.rule.above
    half = m.estimate - m.low if distance > 0 else m.high - m.estimate
    if isnan(half):
        return nan
    if half <= 0:
        return 1.0 if distance == 0 else 0.0
    freedom = m.seeds - 1 if m.seeds > 1 else np.inf
    return float(2 * t.sf(abs(distance) / half * t.ppf((1 + level) / 2, freedom), freedom))


def judge(rule: Rule, estimate: float, low: float, high: float, resolved: bool) -> tuple[str, str]:
    """Verdict and reason of one interval; ``resolved``: whether it is shown to differ from the rule's value."""
    d = rule.sign * (estimate - rule.above)
    below, above = sorted(rule.sign * (bound - rule.above) for bound in (low, high))
    if rule.kind == "kept":
        if below >= -rule.margin:
            return SUPPORTED, f"no loss of {rule.margin:g} or more"
        if resolved and above < -rule.margin:
            return CONTRADICTED, f"a loss of more than {rule.margin:g}"
        return INCONCLUSIVE, f"a loss of {rule.margin:g} is neither shown nor excluded"
    if -rule.margin < below and above < rule.margin:
        return CONTRADICTED, f"within ±{rule.margin:g}: no difference that matters"
    if not resolved:
        return INCONCLUSIVE, "no difference is shown, and none is excluded"
    if d < 0 and rule.kind == "gain":
        return CONTRADICTED, "the difference points the other way"
    if abs(d) < rule.margin:
        return INCONCLUSIVE, f"a difference is shown, but its estimate is below {rule.margin:g}"
    return SUPPORTED, "a difference that matters is shown"


def untestable(m: Measured) -> str:
    """Why a figure could not have come out either way, from its arms; empty where it could."""
    if m.arms and max(m.arms) < FLOOR:
        return f"floor: what is compared lies below {FLOOR:g}%"
    if m.arms and min(m.arms) > 100 - FLOOR:
        return f"ceiling: what is compared lies above {100 - FLOOR:g}%"
    return ""


def settled(parts: Sequence[Measured], level: float = 0.95, failed: Sequence[str] = ()) -> list[Measured]:
    """The measurements of one claim and family, each with its verdict, reason and corrected p-value.

    Args:
        parts: what was measured; those without a rule keep the verdict that they have.
        level: of their intervals.
        failed: names of the gates that the family failed.
    """
    before = [_before(m, failed) for m in parts]
    tested = [i for i, m in enumerate(before) if m.rule is not None and not m.verdict]
    corrected = statistics.holm([p_value(before[i], level) for i in tested]) if tested else np.array([])
    out = list(before)
    for i, p in zip(tested, corrected, strict=True):
        m = before[i]
        assert m.rule is not None
        verdict, reason = judge(m.rule, m.estimate, m.low, m.high, bool(p < 1 - level))
        wide = m.unit == "points" and m.arms and (m.high - m.low) / 2 > WIDE
        if verdict == INCONCLUSIVE and wide:
            verdict = NOT_TESTABLE
            reason = f"n too small: ±{(m.high - m.low) / 2:.0f} points around the estimate"
        out[i] = replace(m, verdict=verdict, reason=reason, p=float(p))
    return out


def _before(m: Measured, failed: Sequence[str]) -> Measured:
    """A measurement with the verdict that it has before its interval is looked at, if it has one."""
    if m.rule is None:
        return m
    if m.trained and failed:
        return replace(m, verdict=NOT_TESTABLE, reason=f"gate failed: {', '.join(failed)}")
    if reason := untestable(m):
        return replace(m, verdict=NOT_TESTABLE, reason=reason)
    if m.seeds < MIN_SEEDS and not m.enough:
        return replace(m, verdict=INCONCLUSIVE, reason=f"fewer than {MIN_SEEDS} trained models")
    return m


def joint(verdicts: Iterable[str], every: bool = True) -> str:
    """One verdict of several; empty ones only describe, and nothing else is as good as not measured.

    Args:
        verdicts: of the measurements of one claim and family.
        every: the claim needs all of them: one that is contradicted contradicts it. Else one that is supported supports it.
    """
    told = [v for v in verdicts if v]
    if not told:
        return NOT_MEASURED
    for alike in (NOT_TESTABLE, BY_DESIGN, SUPPORTED, CONTRADICTED):
        if set(told) == {alike}:
            return alike
    decides = CONTRADICTED if every else SUPPORTED
    return decides if decides in told else INCONCLUSIVE


def reasons(parts: Sequence[Measured], verdict: str) -> str:
    """Why a joint verdict came out: the distinct reasons of the measurements that share it, else of all that were judged."""
    if verdict == NOT_MEASURED:
        return "the run has only figures that describe"
    alike = [m.reason for m in parts if m.verdict == verdict] or [m.reason for m in parts if m.verdict]
    return "; ".join(dict.fromkeys(filter(None, alike)))


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

    @cached_property
    def question_scores(self) -> paired.Scores:
        """How well its models answered each question."""
        return result_rows.question_scores(self.quality)

    def difference(
        self, method: str, rule: Rule = GAIN, benchmark: str = "mean", what: str = "", reference: str = "cgd"
    ) -> Measured | None:
        """``reference`` − ``method`` on a benchmark, paired by seed and question; None without rows."""
        rows = result_rows.difference_rows(self.quality, {method: reference}, self.headline)
        on = "" if benchmark == "mean" else f", {benchmark}"
        told = what or f"{display_name(reference)} − {display_name(method)}{on}"
        found = self.sharpened(
            measured(rows[rows["benchmark"] == benchmark], told, rule, self.level),
            {reference: 1, method: -1},
            benchmark,
        )
        trained = "base" not in (method, reference)
        return found and replace(found, arms=self.levels(benchmark, method, reference), trained=trained)

    def sharpened(
        self, found: Measured | None, weights: Mapping[str, float], benchmark: str = "mean"
    ) -> Measured | None:
        """A contrast of methods with the interval and p over seeds and questions at once, where the results tell of single questions.

        ``weights`` as in `reporting.paired.Scores.contrast`.
        """
        asked = result_rows.averaged(self.quality, self.headline) if benchmark == "mean" else [benchmark]
        contrast = self.question_scores.contrast(weights, asked, self.level)
        if found is None or contrast is None:
            return found
        test, _ = contrast
        return replace(found, estimate=test.difference, low=test.low, high=test.high, p=test.p)

    def levels(self, benchmark: str, *methods: str) -> tuple[float, ...]:
        """Percent that methods reach on a benchmark, over their seeds; those that the run lacks are left out."""
        rows = self.table[self.table["benchmark"] == benchmark].set_index("method")["mean"]
        return tuple(float(rows[m]) for m in methods if m in rows.index)

    def measured(self, what: str, rule: Rule | None, unit: str, analysis: str, **where: str) -> Measured | None:
        """A figure of notebook 06; ``where`` names the columns of ``analyses.csv`` that pick its rows. None without rows."""
        rows = summaries.pick(self.analyses, analysis, **where)
        return measured(rows, what, rule, self.level, unit, enough=set(rows["method"]) == {"base"})
