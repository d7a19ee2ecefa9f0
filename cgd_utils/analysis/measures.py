"""Items to measurements: the one way from what was seen of single answers, records or tokens to rows of
``analyses.csv``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.records import Record
from ..evaluation.trained_models import Subject
from ..reporting import summaries

# (condition, metric, value) of one item; a truth value counts for a share in percent, a number for a mean
Item = tuple[str, str, Any]


def about(analysis: str, who: Subject, method: str = "") -> Record:
    """The columns of an analysis of one model; ``method`` where its rows have another name than the model's."""
    return {"analysis": analysis, "family": who.family, "method": method or who.method, "seed": who.seed}


def measured(items: Iterable[Item], level: float, **columns: Any) -> list[Record]:
    """A row a condition and metric, in the order in which they first occur, with n and an interval over the items.

    Shares have Wilson's interval, means the t interval.
    """
    groups: dict[tuple[str, str], list[Any]] = {}
    for condition, metric, value in items:
        groups.setdefault((condition, metric), []).append(value)
    rows = []
    for (condition, metric), values in groups.items():
        summarise = summaries.share if isinstance(values[0], bool) else summaries.mean
        rows.append(summarise(values, level, **columns, condition=condition, metric=metric))
    return rows


def exact(condition: str, metric: str, value: float, n: int, **columns: Any) -> Record:
    """A row for a figure of which nothing was sampled, so it has no interval."""
    figure = {"condition": condition, "metric": metric, "value": value, "n": n, "ci_low": None, "ci_high": None}
    return {**columns, **figure}
