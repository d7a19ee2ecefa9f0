"""Tables and pictures of the ablation grids: reads result rows only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..core import statistics
from ..methods import colour, display_name
from ..reporting import plots, result_rows, summaries, tables
from .grids import Cell, Grid

LENGTHS = ("tokens", "words", "lines")
DRIFT = {
    "instruction_following": "instructions followed (%)",
    "words": "words an answer",
    "mentions_draft": "answers that speak of a draft (%)",
    "critique_style": "answers that end as a critique (%)",
    "weight_distance": "distance of the weights to the base (%)",
}


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

    Columns: ``on``, ``cell``, ``x`` (the dose), ``questions`` a seed, ``seeds``, mean and sd over seeds, the interval and what it
    is ``over`` (`core.statistics.summary`), ``against`` (the cell it is compared with, `Grid.against`), ``difference`` against − cell
    with interval and p (`reporting.result_rows.differences`), and ``p_holm``, corrected over the grid's comparisons on the same benchmark.
    ``plain`` names the cells that are the main comparison's models under another name: they are not compared with themselves.
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
    order = ["on", "cell", "x", "questions", "seeds", "mean", "sd", "ci_low", "ci_high", "over", "against", "difference",
             "difference_low", "difference_high", "difference_over", "p", "p_holm"]  # fmt: skip
    return table[order]


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
    return pd.DataFrame([
        {"on": r["on"], "cell": r["cell"], "seeds": r["seeds"], "n": r["questions"],
         "mean": statistics.told(r["mean"], r["ci_low"], r["ci_high"]), "intervals over": summaries.named([r["over"]], r["difference_over"]),
         "difference": tables.difference_told(r), "p": tables.p_told(r["p"]), "p (Holm)": tables.p_told(r["p_holm"])}
        for r in table.to_dict("records")
    ])  # fmt: skip


def questions(table: pd.DataFrame) -> str:
    """How many questions a seed each value of a grid's table rests on, in words."""
    asked = table.groupby("on", sort=False)["questions"].first()
    return ", ".join(f"{'mean' if on == 'mean' else 'instructions'} n = {n}" for on, n in asked.items())


def caption(table: pd.DataFrame, grid: Grid, family: str) -> str:
    """What a grid's picture shows."""
    return f"{grid.question} Student {family}; questions a seed: {questions(table)}"


def plot(table: pd.DataFrame, grid: Grid, cells: Sequence[Cell], family: str, base: Mapping[str, float] = {}) -> Any:
    """A grid's picture: curves over the dose, or a dot a cell; a panel each for mean accuracy and instruction following.

    Args:
        table: `grid_table`'s.
        grid: the grid.
        cells: its cells here.
        family: for the title.
        base: the untrained student's value on each panel, drawn as a line.
    """
    import matplotlib.pyplot as plt

    plots.style()
    panels = list(dict.fromkeys(table["on"]))
    height = 3.6 if grid.axis else max(2.2, 0.42 * len(cells) + 1.5)
    figure, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels) + (0 if grid.axis else 1.6), height), squeeze=False,
                                sharey=not grid.axis)  # fmt: skip
    for ax, on in zip(axes[0], panels, strict=True):
        mine = table[table["on"] == on].set_index("cell")
        (_curves if grid.axis else _dots)(ax, mine, grid, cells)
        if on in base:
            (ax.axhline if grid.axis else ax.axvline)(base[on], color="#777777", lw=1, ls=":", label="base", zorder=0)
        name = "mean accuracy (%)" if on == "mean" else f"{on} (%)"
        (ax.set_ylabel if grid.axis else ax.set_xlabel)(name)
    if grid.axis and len({c.line for c in cells}) > 1:
        axes[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    seeds = sorted(set(table["seeds"]))
    told = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
    dotted = "; dotted: the untrained base" if base else ""
    figure.suptitle(
        f"{grid.question}\n{family}, {told} seeds, {_over(table)}; questions a seed: {questions(table)}{dotted}",
        fontsize=9.5,
    )
    figure.tight_layout()
    return figure


def _over(table: pd.DataFrame) -> str:
    return f"intervals over {summaries.named(table['over'])}"


def _error(cells: pd.DataFrame) -> list[pd.Series]:
    return [(cells["mean"] - cells["ci_low"]).fillna(0), (cells["ci_high"] - cells["mean"]).fillna(0)]


def _curves(ax: Any, mine: pd.DataFrame, grid: Grid, cells: Sequence[Cell]) -> None:
    for i, line in enumerate(dict.fromkeys(c.line for c in cells)):
        names = [name for _, name in sorted((c.x, c.name) for c in cells if c.line == line and c.name in mine.index)]
        points = mine.loc[names]
        ax.errorbar(points["x"], points["mean"], yerr=_error(points), marker=plots.MARKERS[i % len(plots.MARKERS)],
                    capsize=2, lw=1.4, ms=5, color=colour(line), label=display_name(line))  # fmt: skip
    if grid.log:
        ax.set_xscale("log")
    ticks = sorted({c.x for c in cells if c.x is not None})
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.minorticks_off()
    ax.set_xlabel(grid.axis)


def _dots(ax: Any, mine: pd.DataFrame, grid: Grid, cells: Sequence[Cell]) -> None:
    shown = [c for c in cells if c.name in mine.index][::-1]
    for y, c in enumerate(shown):
        r = mine.loc[[c.name]]
        ax.errorbar(r["mean"], [y], xerr=_error(r), fmt="o", capsize=3, color=colour(c.name))
    ax.set_yticks(range(len(shown)), [display_name(c.name) for c in shown])
    ax.set_ylim(-0.6, len(shown) - 0.4)


def drift_table(results: pd.DataFrame, family: str, cells: Sequence[Cell], level: float = 0.95) -> pd.DataFrame:
    """What training does besides accuracy: one row a measure and cell, its summary over seeds and questions, and the base's value.

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
    for ax, metric in zip(axes[0], shown, strict=True):
        for i, (line, points) in enumerate(table[table["measure"] == metric].groupby("line", sort=False)):
            points = points.sort_values("x")
            ax.errorbar(points["x"], points["mean"], yerr=_error(points), capsize=2, ms=5, lw=1.4,
                        marker=plots.MARKERS[i], color=colour(line), label=display_name(line))  # fmt: skip
        base = table.loc[table["measure"] == metric, "base"].dropna()
        if len(base):
            ax.axhline(base.iloc[0], color="#777777", lw=1, ls=":")
        ticks = sorted(set(table["x"]))
        ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
        ax.set_xlabel(axis)
        ax.set_title(DRIFT[metric], fontsize=8.5)
    axes[0][-1].plot([], [], color="#777777", lw=1, ls=":", label="base")
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{family}, {int(table['seeds'].max())} seeds, {_over(table)}; no draft was given", fontsize=9.5)
    figure.tight_layout()
    return figure
