"""Tables of results as they are printed and saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..core import statistics
from ..core.files import write_text
from ..methods import display_name
from . import summaries
from .result_rows import QUALITY
from .summaries import over_seeds, save_csv


def answers_table(results: pd.DataFrame, statuses: Sequence[str]) -> pd.DataFrame:
    """Beside every accuracy: what was cut off or not graded, a row a (family, method, benchmark), all seeds' answers together.

    ``accuracy`` (or the benchmark's own metric) and each of ``statuses`` as ``percent [interval]``, Wilson's at 95% over
    ``answers``. Answers to one question by several seeds are not independent, so these intervals are a little narrow.
    """
    keys = ["family", "method", "benchmark"]
    out = []
    for key, rows in results[results["metric"].isin([*QUALITY, *statuses])].groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True))
        for metric, mine in rows.groupby("metric", sort=False):
            n = int(mine["n"].sum())
            right = float((mine["value"] * mine["n"]).sum()) / 100
            i = statistics.wilson(min(max(right, 0.0), n), n)
            row.setdefault("answers", n)
            row[metric] = statistics.told(100 * i.estimate, 100 * i.low, 100 * i.high)
        out.append(row)
    return pd.DataFrame(out).fillna("")


def length_table(
    results: pd.DataFrame, metrics: Sequence[str] = ("words", "tokens", "steps"), level: float = 0.95
) -> pd.DataFrame:
    """Reasoning length beside accuracy and Pass@k: a row a (family, method, benchmark), ``mean [interval]`` a metric."""
    keys = ["family", "method", "benchmark"]
    samples = sorted(filter(summaries.samples_of, set(results["metric"])), key=lambda m: summaries.samples_of(m) or 0)
    shown = [m for m in (*QUALITY, *samples, *metrics) if (results["metric"] == m).any()]
    summed = over_seeds(results[results["metric"].isin(shown)], level, [*keys, "metric"])
    return summaries.spread(summed, keys, "metric", 1)[[*keys, *summaries.ABOUT, *shown]]


def printed(table: pd.DataFrame, family: str, benchmarks: Sequence[str] | None = None) -> pd.DataFrame:
    """The headline table as people read it: ``mean [interval]`` a benchmark, what the intervals are over, difference and p on the mean."""
    mine = table[table["family"] == family]
    rows = []
    for method, cells in mine.groupby("method", sort=False):
        by = cells.set_index("benchmark").to_dict("index")
        over = summaries.named(cells["interval_over"], by.get("mean", {}).get("difference_over"))
        row = {"method": display_name(method), "seeds": int(cells["n_seeds"].max()), "intervals over": over}
        for b in benchmarks or dict.fromkeys(mine["benchmark"]):
            if c := by.get(b):
                row[f"{b} (n={c['n_questions']:.0f})"] = statistics.told(c["mean"], c["ci_low"], c["ci_high"])
        c = by.get("mean", {})
        row["CGD − method (mean)"] = difference_told(c)
        row["p"] = p_told(c.get("p"))
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def difference_told(cell: Mapping[str, Any]) -> str:
    """A row's difference with its interval; '' where it has none."""
    value, low, high = (cell.get(c, float("nan")) for c in ("difference", "difference_low", "difference_high"))
    return statistics.told(value, low, high, "+.1f")


def p_told(p: float | None) -> str:
    """A p-value as people read it; '' where there is none."""
    return "" if p is None or pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def collapsed(frame: pd.DataFrame, title: str) -> Any:
    """A long table behind a line that opens it, for notebooks."""
    from html import escape

    from IPython.display import HTML

    return HTML(f"<details><summary>{escape(title)}</summary>{frame.to_html(index=False, na_rep='')}</details>")


def save_table(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes a table as CSV, Markdown and LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    save_csv(frame, folder / f"{name}.csv")
    write_text(folder / f"{name}.md", frame.to_markdown(index=False, floatfmt=".2f") + "\n")
    text = frame.to_latex(index=False, float_format="%.2f", na_rep="", escape=True)
    for sign, command in (("±", r"$\pm$"), ("−", "$-$"), ("<", "$<$"), ("→", r"$\to$")):
        text = text.replace(sign, command)
    write_text(folder / f"{name}.tex", text)
