"""What the analyses measure: one row a figure, with n and an interval, kept in ``analyses.csv`` beside ``results.csv``.

A row: ``{analysis, family, method, seed, condition, metric, value, n, ci_low, ci_high}``. ``seed`` is empty for the base;
``n`` counts what the interval is over (records, questions, critiques). `over_seeds` makes of it what tables show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import statistics
from .artifacts import Run, atomic

Record = dict[str, Any]
COLUMNS = ["analysis", "family", "method", "seed", "condition", "metric", "value", "n", "ci_low", "ci_high"]
KEYS = ["analysis", "family", "method", "condition", "metric"]


def mean(values: Iterable[float], level: float = 0.95, **about: Any) -> Record:
    """A row for the mean of ``values`` with its t interval over them; ``nan`` bounds for one value."""
    i = statistics.mean_t_interval(list(values), level)
    return {**about, "value": i.estimate, "n": i.n, "ci_low": i.low, "ci_high": i.high}


def share(flags: Iterable[bool], level: float = 0.95, **about: Any) -> Record:
    """A row for a share in percent with its Wilson interval."""
    told = [bool(f) for f in flags]
    i = statistics.wilson(sum(told), len(told), level)
    return {**about, "value": 100 * i.estimate, "n": i.n, "ci_low": 100 * i.low, "ci_high": 100 * i.high}


def frame(*parts: Sequence[Record]) -> pd.DataFrame:
    """Rows as a frame with the columns of `COLUMNS`."""
    out = pd.DataFrame([r for part in parts for r in part], columns=COLUMNS)
    out["seed"] = out["seed"].astype("Int64")
    return out


def path(run: Run) -> Path:
    """Where a run keeps what its analyses measured."""
    return run.folder / "analyses.csv"


def write(run: Run, *parts: Sequence[Record]) -> pd.DataFrame:
    """Writes ``analyses.csv`` and returns its frame."""
    out = frame(*parts)
    with atomic(path(run)) as part:
        out.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")
    return out


def read(run: Run) -> pd.DataFrame:
    """The frame of ``analyses.csv``; no rows where notebook 06 has not run."""
    if not path(run).exists():
        return frame()
    return pd.read_csv(path(run), dtype={"seed": "Int64"}, keep_default_na=True)


def over_seeds(rows: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row a (analysis, family, method, condition, metric): mean over seeds with its t interval.

    Where there is one model (the base, or one seed), or seeds agree to the last digit, the row keeps its own interval over items; ``interval`` says which it is,
    ``seeds`` how many models, ``n`` how many items each was measured on (the mean).
    """
    out = []
    for keys, group in rows.groupby(KEYS, sort=False, dropna=False):
        about = dict(zip(KEYS, keys, strict=True)) | {"seeds": len(group), "n": round(group["n"].mean())}
        i = statistics.mean_t_interval(group["value"].to_numpy(float), level)
        if len(group) > 1 and (i.high > i.low or group["ci_low"].isna().all()):  # no spread to see is no certainty
            out.append({**about, "value": i.estimate, "ci_low": i.low, "ci_high": i.high, "interval": "seeds"})
        else:
            out.append({**about, **group[["value", "ci_low", "ci_high"]].mean().to_dict(), "interval": "items"})
    return pd.DataFrame(out, columns=[*KEYS, "seeds", "n", "value", "ci_low", "ci_high", "interval"])


def pick(rows: pd.DataFrame, analysis: str, **where: Any) -> pd.DataFrame:
    """The rows of one analysis that hold the given values."""
    mine = rows[rows["analysis"] == analysis]
    for column, value in where.items():
        mine = mine[mine[column] == value]
    return mine


def table(rows: pd.DataFrame, columns: str = "condition", level: float = 0.95, digits: int = 2) -> pd.DataFrame:
    """Measurements as people read them: ``value [low, high]``, a row a method, a column a value of ``columns``.

    ``n`` (items a model) and ``seeds`` (models) stand beside; an interval is over seeds where there are several.
    """
    summed = over_seeds(rows, level)
    if summed.empty:
        return pd.DataFrame()
    other = "metric" if columns == "condition" else "condition"
    summed["shown"] = [_shown(r.value, r.ci_low, r.ci_high, digits) for r in summed.itertuples()]
    keys = [k for k in ("family", "method", other) if len(set(summed[k])) > 1 or k == "method"]
    wide = summed.pivot_table(index=keys, columns=columns, values="shown", aggfunc="first", sort=False)
    about = summed.groupby(keys, sort=False).agg(n=("n", "min"), seeds=("seeds", "max"))
    return about.join(wide).fillna("").reset_index().rename_axis(columns=None)


def _shown(value: float, low: float, high: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text if pd.isna(low) or pd.isna(high) else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"
