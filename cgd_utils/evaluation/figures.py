"""Figures of one model as result rows: a share or a mean, each with n and an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core import statistics
from ..core.records import Record
from ..core.statistics import Interval


def percent(i: Interval) -> Interval:
    """A share as a percentage."""
    return Interval(100 * i.estimate, 100 * i.low, 100 * i.high, i.level, i.n)


def share(flags: Sequence[bool], level: float) -> Interval:
    """Percent of the flags that are set, with Wilson's interval."""
    return percent(statistics.wilson(sum(flags), len(flags), level))


def rows(about: Record, found: Mapping[str, Interval]) -> list[Record]:
    """One row a metric: ``{**about, metric, value, n, ci_low, ci_high}``."""
    return [
        {**about, "metric": metric, "value": i.estimate, "n": i.n, "ci_low": i.low, "ci_high": i.high}
        for metric, i in found.items()
    ]
