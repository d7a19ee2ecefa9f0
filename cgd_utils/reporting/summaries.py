"""What is measured, and its sums over seeds: rows of figures, each with n and an interval.

Two kinds of rows, which differ in what they are about: `core.records.Result`, a model on a benchmark (``results.csv``), and
`core.records.AnalysisRow` (``analyses.csv``). `over_seeds` makes of either what tables and pictures show.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core import statistics
from ..core.files import atomic
from ..core.records import Record
from ..core.store import Run
from ..evaluation.figures import BY_QUESTION

COLUMNS = ["analysis", "family", "method", "seed", "condition", "metric", "value", "n", "ci_low", "ci_high"]
KEYS = ["analysis", "family", "method", "condition", "metric"]
FIGURES = ["value", "n", "ci_low", "ci_high"]
# what a table says of its rows: items a model, models, what varies behind the intervals
ABOUT = ["n", "seeds", "intervals over"]
# the condition of the cost rows that are differences, paired by question
PAIRED = "one pass − self-refine"
# figures that are percentages: no interval of theirs leaves 0 to 100
PERCENT_ANALYSES = {"critique quality", "leakage", "failures", "losses", "pass@k"}
COUNTS = {"tokens", "words", "steps", "lines", "seconds", "passes", "weight_distance"}


def samples_of(metric: str) -> int | None:
    """The k of ``pass@k``; None for another metric."""
    found = re.fullmatch(r"pass@(\d+)", metric)
    return int(found[1]) if found else None


def layer_of(condition: str) -> int | None:
    """The number in ``layer 3``; None for another condition."""
    found = re.fullmatch(r"layer (\d+)", condition)
    return int(found[1]) if found else None


def mean(values: Iterable[float], level: float = 0.95, **about: Any) -> Record:
    """A row for the mean of ``values`` with its t interval over them; ``nan`` bounds where they do not differ."""
    i = statistics.mean_t_interval(list(values), level)
    return {**about, "value": i.estimate, "n": i.n, "ci_low": i.low, "ci_high": i.high}


def share(flags: Iterable[bool], level: float = 0.95, **about: Any) -> Record:
    """A row for a share in percent with its Wilson interval."""
    shown = [bool(f) for f in flags]
    i = statistics.wilson(sum(shown), len(shown), level)
    return {**about, "value": 100 * i.estimate, "n": i.n, "ci_low": 100 * i.low, "ci_high": 100 * i.high}


def frame(*parts: Sequence[Record]) -> pd.DataFrame:
    """Rows as a frame with the columns of `COLUMNS`; of rows about the same, the last counts."""
    out = pd.DataFrame([r for part in parts for r in part], columns=COLUMNS)
    out = _floats(out).astype({"seed": "Int64"})
    return out.drop_duplicates([*KEYS, "seed"], keep="last", ignore_index=True)


def path(run: Run) -> Path:
    """Where a run keeps what its analyses measured."""
    return run.folder / "analyses.csv"


def save_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame as CSV, the same bytes for the same numbers."""
    with atomic(path) as part:
        frame.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def keep(run: Run, analyses: Sequence[str], rows: Sequence[Record]) -> pd.DataFrame:
    """Puts the rows of some analyses into ``analyses.csv``, in place of all that these had there; returns their frame.

    The file is in the order of the analyses' names, so it is the same whichever is kept first, and however often.
    """
    new, old = frame(rows), read(run)
    if strangers := set(new["analysis"]) - set(analyses):
        raise ValueError(f"measurements.keep: rows of {sorted(strangers)}, which are not among {list(analyses)}")
    both = pd.concat([part for part in (old[~old["analysis"].isin(analyses)], new) if len(part)] or [new])
    save_csv(both.sort_values("analysis", kind="stable"), path(run))
    return new


def read(run: Run) -> pd.DataFrame:
    """The frame of ``analyses.csv``; no rows where notebook 06 has not run."""
    if not path(run).exists():
        return frame()
    return pd.read_csv(path(run), dtype={"seed": "Int64"}, keep_default_na=True)


def over_seeds(
    rows: pd.DataFrame, level: float = 0.95, by: Sequence[str] = KEYS, limits: tuple[float, float] | None = None
) -> pd.DataFrame:
    """One row a combination of the columns ``by``: a `core.statistics.Summary` of the models' figures over seeds and questions.

    ``limits`` are the smallest and the largest value that there can be; None: as the figures' names tell.
    """
    out = []
    for keys, group in rows.groupby(list(by), sort=False, dropna=False):
        about = dict(zip(by, keys, strict=True))
        value, low, high, n = (group[c].to_numpy(float) for c in ("value", "ci_low", "ci_high", "n"))
        out.append({**about, **asdict(statistics.summary(value, low, high, n, level, limits or _limits(about)))})
    return pd.DataFrame(out, columns=[*by, *statistics.Summary.__dataclass_fields__])


def _limits(about: Record) -> tuple[float, float]:
    """The smallest and the largest value that a figure can have."""
    if about.get("metric") in COUNTS and about.get("condition") != PAIRED:
        return 0, math.inf
    if "analysis" in about:
        percent = about["analysis"] in PERCENT_ANALYSES or (
            about["metric"] == "accuracy" and about["condition"] != PAIRED
        )
    else:
        percent = "metric" in about
    return (0, 100) if percent else (-math.inf, math.inf)


def average(rows: pd.DataFrame, over: str, name: str) -> pd.DataFrame:
    """Rows for the plain mean over the values of a column (benchmarks), which is called ``name`` there: one a model and metric.

    The benchmarks are taken as fixed and their questions as independent samples: distances of bounds add in quadrature, over
    the number of benchmarks. ``n`` is the sum. A bound that is missing in one is missing in the mean.
    """
    rows = _floats(rows)
    keys = [c for c in rows.columns if c not in (over, *FIGURES)]
    down, up = ((rows["value"] - rows[c]).pow(2).fillna(np.inf) for c in ("ci_low", "ci_high"))
    parts = rows.assign(down=down, up=up, k=1)
    out = parts.groupby(keys, sort=False, dropna=False)[["value", "n", "down", "up", "k"]].sum()
    # a missing bound is an infinite one until the sums are made
    out["value"] /= out["k"]
    out["ci_low"] = out["value"] - np.sqrt(out["down"]) / out["k"]
    out["ci_high"] = out["value"] + np.sqrt(out["up"]) / out["k"]
    out = out.replace([np.inf, -np.inf], np.nan).drop(columns=["down", "up", "k"])
    return out.reset_index().assign(**{over: name})


def minus(ours: pd.DataFrame, theirs: pd.DataFrame, on: Sequence[str], same_questions: bool = True) -> pd.DataFrame:
    """Difference rows, ours − theirs, of the same seed and columns ``on``; a base, which is one model, stands for every seed.

    The bounds of a difference are those of two independent samples (Zou and Donner 2008): the cautious choice, since rows do
    not say who got which question right. Over several seeds the paired differences show most of the noise themselves: with
    ``same_questions`` the bounds are then the least that a difference of two percentages allows (`core.statistics.least_noise`).
    """
    sides = [_floats(ours), _floats(theirs)]
    seeds = pd.concat([side["seed"] for side in sides]).dropna().drop_duplicates()
    for i, side in enumerate(sides):
        alone = side["seed"].isna()
        if len(seeds) and alone.any():
            sides[i] = pd.concat([side[~alone], side[alone].drop(columns="seed").merge(seeds, how="cross")])
    both = sides[0].merge(sides[1], on=[*on, "seed"], suffixes=("", "_b"))
    d = (both["value"] - both["value_b"]).round(9)
    down = np.hypot(both["value"] - both["ci_low"], both["ci_high_b"] - both["value_b"])
    up = np.hypot(both["ci_high"] - both["value"], both["value_b"] - both["ci_low_b"])
    if same_questions and len(both):
        least = [100 * statistics.least_noise(x / 100, n) for x, n in zip(d, both["n"], strict=True)]
        about = [c for c in both if c not in ("seed", *(f"{f}{s}" for f in FIGURES for s in ("", "_b")))]
        several = both.groupby(about)["seed"].transform("nunique") > 1
        down, up = down.mask(several, least), up.mask(several, least)
    kept = dict.fromkeys([*sides[0].columns, *sides[1].columns])
    return both[list(kept)].assign(value=d, ci_low=d - down, ci_high=d + up)


def _floats(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with numbers as numbers, a column of bounds that are all None too; without what tells of single questions."""
    numbers = rows.drop(columns=BY_QUESTION, errors="ignore")
    return numbers.astype({"value": float, "ci_low": float, "ci_high": float})


def pick(rows: pd.DataFrame, analysis: str, **where: Any) -> pd.DataFrame:
    """The rows of one analysis that hold the given values."""
    mine = rows[rows["analysis"] == analysis]
    for column, value in where.items():
        mine = mine[mine[column] == value]
    return mine


def table(rows: pd.DataFrame, columns: str = "condition", level: float = 0.95, digits: int = 2) -> pd.DataFrame:
    """Measurements as people read them: ``value [low, high]``, a row a method, a column a value of ``columns``.

    ``n`` (items a model), ``seeds`` (models) and what the intervals are over stand beside.
    """
    summed = over_seeds(rows, level)
    if summed.empty:
        return pd.DataFrame()
    other = "metric" if columns == "condition" else "condition"
    keys = [k for k in ("family", "method", other) if len(set(summed[k])) > 1 or k == "method"]
    return spread(summed, keys, columns, digits)


def spread(summed: pd.DataFrame, keys: Sequence[str], columns: str, digits: int) -> pd.DataFrame:
    """Rows of `over_seeds` as a table: a row a combination of ``keys``, a column a value of ``columns``, `ABOUT` beside them."""
    shown = [statistics.told(r.value, r.ci_low, r.ci_high, f".{digits}f") for r in summed.itertuples()]
    wide = summed.assign(shown=shown).pivot_table(
        index=keys, columns=columns, values="shown", aggfunc="first", sort=False
    )
    rows = summed.groupby(list(keys), sort=False)
    about = pd.concat([rows["n"].min(), rows["seeds"].max(), rows["over"].agg(named)], axis=1, keys=ABOUT)
    return about.join(wide).fillna("").reset_index().rename_axis(columns=None)


def named(over: Iterable[Any], difference: Any = None) -> str:
    """What several intervals are over, each once, and that of a difference where it is another."""
    kinds = list(dict.fromkeys(o for o in over if isinstance(o, str) and o))
    if isinstance(difference, str) and difference and difference not in kinds:
        kinds.append(f"difference: {difference}")
    return "; ".join(kinds)
