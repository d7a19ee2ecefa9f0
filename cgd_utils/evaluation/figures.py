"""Figures of one model as result rows: a share or a mean, each with n and an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase, digits

import numpy as np

from ..core import statistics
from ..core.records import Record
from ..core.statistics import Interval

BY_QUESTION = "by_question"  # the column of `written`
_SIGNS = digits + ascii_lowercase


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


def written(right: Sequence[int], samples: int = 1) -> str:
    """``0110/1``: of each question, in the benchmark's order, how many of its ``samples`` answers are right, a base-36 digit.

    Empty where a digit cannot hold the count.
    """
    return f"{''.join(_SIGNS[k] for k in right)}/{samples}" if samples < len(_SIGNS) else ""


def shares(text: object) -> np.ndarray:
    """The share of right answers of each question, (questions,); empty where ``text`` is not one of `written`."""
    right, _, samples = text.partition("/") if isinstance(text, str) else ("", "", "")
    return np.array([_SIGNS.index(sign) for sign in right], float) / int(samples or 1)
