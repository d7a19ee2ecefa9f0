"""Is a gain one of habit or of skill? What training brings, beside what a prompt brings without any training."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..core import statistics
from ..core.settings import Profile
from ..methods import TOLD, VOTED, display_name
from ..reporting import result_rows
from .verdicts import MARGIN

HABIT, SKILL, OPEN, NONE = "habit", "skill", "open", "no gain"


def kind(gain: statistics.Interval, beyond: statistics.Interval) -> str:
    """What a gain is, by two differences in points: best trained method − base, and best trained method − base told to write steps.

    `HABIT`: the prompt reaches what training reaches, up to `verdicts.MARGIN`; `SKILL`: training goes beyond the prompt by at least
    that, and the interval leaves out 0; `OPEN`: neither is shown; `NONE`: no trained method is shown to gain anything.
    """
    if not gain.low > 0:
        return NONE
    if beyond.high < MARGIN:
        return HABIT
    return SKILL if beyond.low > 0 and beyond.estimate >= MARGIN else OPEN


def note(results: pd.DataFrame, family: str, profile: Profile) -> str:
    """The sentence under the first table of a family; '' where the base was not told to write steps, or nothing was trained.

    The best trained method is the one with the highest mean, which favours `SKILL`.

    Args:
        results: rows of ``results.csv``.
        family: whose.
        profile: names the methods, the benchmarks of the mean and the level.
    """
    mine = results[results["family"] == family]
    headline = profile.evaluation.headline
    quality = result_rows.quality(mine, headline)
    means = quality[quality["benchmark"] == "mean"].groupby("method")["value"].mean()
    trained = [m for m in profile.training.methods if m in means.index]
    if TOLD not in means.index or not trained:
        return ""
    best = str(means[trained].idxmax())
    gain, beyond = (_difference(mine, best, other, headline, profile.evaluation.level) for other in ("base", TOLD))
    named = display_name(best)
    figures = f"told to write steps, the base alone reaches {means[TOLD]:.1f}%"
    if VOTED in means.index:
        figures += f" ({means[VOTED]:.1f}% by the vote of {profile.evaluation.base_votes})"
    figures += f", the best trained method, {named}, {means[best]:.1f}%"
    told = statistics.told(beyond.estimate, beyond.low, beyond.high, "+.1f")
    judged = {
        HABIT: f"the gain is one of habit, not of skill: the prompt brings it without training ({named} − told base: {told} points)",
        SKILL: f"the gain is more than a habit: training goes {told} points beyond what the prompt brings",
        OPEN: f"whether the gain is one of habit or of skill is open ({named} − told base: {told} points)",
        NONE: "no gain of training over the base is shown",
    }[kind(gain, beyond)]
    return f"{family}: {figures}; {judged}."


def _difference(
    results: pd.DataFrame, ours: str, theirs: str, benchmarks: Sequence[str], level: float
) -> statistics.Interval:
    """``ours`` − ``theirs`` on the mean of the accuracy benchmarks, in points."""
    found = result_rows.differences(results, {theirs: ours}, benchmarks, level)
    row = found[(found["benchmark"] == "mean") & (found["method"] == theirs)].iloc[0]
    low, high = row["difference_low"], row["difference_high"]
    return statistics.Interval(row["difference"], low, high, level, 0)
