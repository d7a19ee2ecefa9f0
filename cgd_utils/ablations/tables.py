"""Tables and pictures of the ablation grids: reads result rows only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..core import statistics
from ..methods import colour, display_name
from ..reporting import plots, result_rows, summaries, tables
from .grids import Cell, Grid

COLUMNS = (
    "on cell x questions seeds mean sd ci_low ci_high over against difference difference_low difference_high "
    "difference_over p p_holm"
).split()
DRIFT = {
    "instruction_following": "instructions followed (%)",
    "words": "words an answer",
    "mentions_draft": "answers that speak of a draft (%)",
    "critique_style": "answers that end as a critique (%)",
    "weight_distance": "distance of the weights to the base (%)",
}
BASE_LINE = {"color": "#777777", "lw": 1, "ls": ":"}


def grid_table(
    results: pd.DataFrame,
    family: str,
    grid: Grid,
    cells: Sequence[Cell],
    plain: Sequence[str] = (),
    headline: Sequence[str] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """A grid's cells on the mean of the accuracy benchmarks and on instruction following.

    Columns: ``on``, ``cell``, ``x`` (the dose), ``questions`` a seed, ``seeds``, mean and sd over seeds, the interval
    and what it is ``over`` (`core.statistics.summary`), ``against`` (the cell it is compared with, `Grid.against`),
    ``difference`` against − cell with interval and p (`reporting.result_rows.differences`), and ``p_holm``, corrected
    over the grid's comparisons on the same benchmark. ``plain`` names the cells that are the main comparison's models
    under another name: they are not compared with themselves.
    """
    mine = results[results["family"] == family]
    shown = ["mean", *instructions(mine)]
    rows = result_rows.quality(mine, headline)
    names = {"benchmark": "on", "method": "cell", "n": "questions", "value": "mean"}
    summed = summaries.over_seeds(rows, level, ["benchmark", "method"], limits=(0, 100)).rename(columns=names)
    doses = pd.DataFrame([{"on": on, "cell": c.name, "x": c.x} for on in shown for c in cells])
    table = doses.merge(summed, on=["on", "cell"])
    compared = {c.name: grid.against(c) for c in cells if c.name not in plain and grid.against(c) != c.name}
    found = result_rows.differences(mine, compared, headline, level).rename(columns=names).drop(columns="family")
    table = table.merge(found, on=["on", "cell"], how="left")
    table["against"] = table["cell"].map(compared).where(table["difference"].notna()).fillna("")
    table["p_holm"] = table.groupby("on", sort=False)["p"].transform(lambda p: statistics.holm(p.to_numpy(float)))
    return table[COLUMNS]


def base_values(results: pd.DataFrame, family: str, headline: Sequence[str] = ()) -> dict[str, float]:
    """The untrained student's mean accuracy and instruction following, by the names of `grid_table`'s ``on``."""
    mine = results[(results["family"] == family) & (results["method"] == "base")]
    rows = result_rows.quality(mine, headline).set_index("benchmark")["value"]
    return {b: float(rows[b]) for b in ("mean", *instructions(mine)) if b in rows}


def instructions(results: pd.DataFrame) -> list[str]:
    """The benchmarks that measure how instructions are followed."""
    return list(dict.fromkeys(results.loc[results["metric"] == "instruction_following", "benchmark"]))


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """A grid's table as people read it."""
    rows = table.to_dict("records")
    shown = table[["on", "cell", "seeds"]].assign(n=table["questions"])
    shown["mean"] = [statistics.told(r["mean"], r["ci_low"], r["ci_high"]) for r in rows]
    shown["intervals over"] = [summaries.named([r["over"]], r["difference_over"]) for r in rows]
    shown["difference"] = [tables.difference_told(r) for r in rows]
    return shown.assign(**{"p": table["p"].map(tables.p_told), "p (Holm)": table["p_holm"].map(tables.p_told)})


def questions(table: pd.DataFrame) -> str:
    """How many questions a seed each value of a grid's table rests on, in words."""
    asked = table.groupby("on", sort=False)["questions"].first()
    return ", ".join(f"{'mean' if on == 'mean' else 'instructions'} n = {n}" for on, n in asked.items())


def caption(table: pd.DataFrame, grid: Grid, family: str) -> str:
    """What a grid's picture shows."""
    return f"{grid.question} Student {family}; questions a seed: {questions(table)}"


def plot(table: pd.DataFrame, grid: Grid, cells: Sequence[Cell], family: str, base: Mapping[str, float] = {}) -> Any:
    """A picture of `grid_table`: curves over the dose, or a dot a cell; a panel for accuracy and one for instructions.

    ``base`` is the untrained student's value on each panel, drawn as a line.
    """
    import matplotlib.pyplot as plt

    plots.style()
    panels = list(dict.fromkeys(table["on"]))
    height = 3.6 if grid.axis else max(2.2, 0.42 * len(cells) + 1.5)
    size = (4.4 * len(panels) + (0 if grid.axis else 1.6), height)
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, sharey=not grid.axis)
    for ax, on in zip(axes[0], panels, strict=True):
        figures = table[table["on"] == on]
        name = "mean accuracy (%)" if on == "mean" else f"{on} (%)"
        if grid.axis:
            lines = figures["cell"].map({c.name: c.line for c in cells})
            _curves(ax, figures.assign(line=lines), grid.axis, grid.log)
            ax.set_ylabel(name)
        else:
            _dots(ax, figures.set_index("cell"), cells)
            ax.set_xlabel(name)
        if on in base:
            (ax.axhline if grid.axis else ax.axvline)(base[on], label="base", zorder=0, **BASE_LINE)
    if grid.axis and len({c.line for c in cells}) > 1:
        axes[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    least, most = table["seeds"].min(), table["seeds"].max()
    seeds = f"{least}" if least == most else f"{least}–{most}"
    dotted = "; dotted: the untrained base" if base else ""
    about = f"{family}, {seeds} seeds, intervals over {summaries.named(table['over'])}; questions a seed: {questions(table)}{dotted}"
    figure.suptitle(f"{grid.question}\n{about}", fontsize=9.5)
    figure.tight_layout()
    return figure


def _error(cells: pd.DataFrame) -> list[pd.Series]:
    """Lengths of the bars below and above the means; none where there is no interval."""
    return [(cells["mean"] - cells["ci_low"]).fillna(0), (cells["ci_high"] - cells["mean"]).fillna(0)]


def _curves(ax: Any, figures: pd.DataFrame, axis: str, log: bool = False) -> None:
    """A curve a value of ``line``, over the dose ``x``."""
    for i, (line, points) in enumerate(figures.groupby("line", sort=False)):
        points = points.sort_values("x")
        look = {"marker": plots.MARKERS[i % len(plots.MARKERS)], "color": colour(line), "label": display_name(line)}
        ax.errorbar(points["x"], points["mean"], yerr=_error(points), capsize=2, lw=1.4, ms=5, **look)
    if log:
        ax.set_xscale("log")
    ticks = sorted(set(figures["x"]))
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.minorticks_off()
    ax.set_xlabel(axis)


def _dots(ax: Any, figures: pd.DataFrame, cells: Sequence[Cell]) -> None:
    """A dot a cell, the first at the top."""
    names = [c.name for c in cells if c.name in figures.index][::-1]
    for y, name in enumerate(names):
        figure = figures.loc[[name]]
        ax.errorbar(figure["mean"], [y], xerr=_error(figure), fmt="o", capsize=3, color=colour(name))
    ax.set_yticks(range(len(names)), [display_name(name) for name in names])
    ax.set_ylim(-0.6, len(names) - 0.4)


def drift_table(results: pd.DataFrame, family: str, cells: Sequence[Cell], level: float = 0.95) -> pd.DataFrame:
    """What training does besides accuracy: one row a measure and cell, its summary over seeds and questions, and the
    base's value.

    The benchmarks' texts are taken together, each benchmark with the same weight.
    """
    mine = results[(results["family"] == family) & results["metric"].isin(DRIFT)]
    rows = summaries.average(mine, "benchmark", "all")
    base = rows[rows["method"] == "base"].set_index("metric")["value"]
    names = {"metric": "measure", "method": "cell", "value": "mean"}
    summed = summaries.over_seeds(rows, level, ["metric", "method"]).rename(columns=names)
    doses = pd.DataFrame([{"measure": m, "cell": c.name, "x": c.x, "line": c.line} for m in DRIFT for c in cells])
    return doses.merge(summed, on=["measure", "cell"]).assign(base=lambda t: t["measure"].map(base))


def plot_drift(table: pd.DataFrame, axis: str, family: str) -> Any:
    """`drift_table` as curves over the dose, a panel a measure."""
    import matplotlib.pyplot as plt

    plots.style()
    shown = [m for m in DRIFT if m in set(table["measure"])]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.1 * len(shown), 3.2), squeeze=False)
    for ax, measure in zip(axes[0], shown, strict=True):
        figures = table[table["measure"] == measure]
        _curves(ax, figures, axis)
        base = figures["base"].dropna()
        if len(base):
            ax.axhline(base.iloc[0], **BASE_LINE)
        ax.set_title(DRIFT[measure], fontsize=8.5)
    axes[0][-1].plot([], [], label="base", **BASE_LINE)
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(
        f"{family}, {int(table['seeds'].max())} seeds, intervals over {summaries.named(table['over'])}; no draft was given",
        fontsize=9.5,
    )
    figure.tight_layout()
    return figure
