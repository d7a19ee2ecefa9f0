"""Tables and pictures of the ablation grids: reads result rows only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from . import reporting, statistics
from .ablation_grids import Cell, Grid

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

    Columns: ``on``, ``cell``, ``x`` (the dose), ``questions`` a seed, ``seeds``, mean, sd and t interval over seeds, ``against``
    (the cell it is compared with, `Grid.against`), ``difference`` against − cell, paired over seeds, with interval and p, and
    ``p_holm``, corrected over the grid's comparisons on the same benchmark. ``plain`` names the cells that are the main comparison's
    models under another name: they are not compared with themselves.
    """
    wide = reporting.per_seed(results[results["family"] == family], headline).set_index(["method", "seed"])
    asked = results[results["metric"].isin(reporting.QUALITY)].groupby("benchmark")["n"].max()
    graded = [b for b in (headline or asked.index) if b in wide and not _instructed(results, b)]
    columns = {"mean": sum(asked[b] for b in graded), **{b: asked[b] for b in wide.columns if _instructed(results, b)}}
    out = []
    for on, questions in columns.items():
        for c in cells:
            if c.name not in wide.index.get_level_values("method"):
                continue
            mine = wide.loc[c.name, on].dropna()
            if mine.empty:
                continue
            i = statistics.mean_t_interval(mine.to_numpy(float), level)
            row = {"on": on, "cell": c.name, "x": c.x, "questions": int(questions), "seeds": len(mine), "mean": i.estimate,
                   "sd": mine.std(ddof=1), "ci_low": i.low, "ci_high": i.high, "against": ""}  # fmt: skip
            other = grid.against(c)
            if other != c.name and other in wide.index.get_level_values("method") and c.name not in plain:
                both = pd.concat([wide.loc[other, on], mine], axis=1, keys=["a", "b"]).dropna()
                if len(both):
                    d = statistics.paired_difference(both["a"].to_numpy(float), both["b"].to_numpy(float), level)
                    row |= {
                        "against": other,
                        "difference": d.difference,
                        "difference_low": d.low,
                        "difference_high": d.high,
                        "p": d.p,
                    }
            out.append(row)
    frame = pd.DataFrame(out)
    if "p" in frame:
        frame["p_holm"] = frame.groupby("on", sort=False)["p"].transform(lambda p: statistics.holm(p.to_numpy(float)))
    return frame


def base_values(results: pd.DataFrame, family: str, headline: Sequence[str] = ()) -> dict[str, float]:
    """The untrained student's mean accuracy and instruction following, by the names of `grid_table`'s ``on``."""
    wide = reporting.per_seed(results[(results["family"] == family) & (results["method"] == "base")], headline)
    return {} if wide.empty else {b: float(wide[b].iloc[0]) for b in wide if b == "mean" or _instructed(results, b)}


def _instructed(results: pd.DataFrame, benchmark: str) -> bool:
    return "instruction_following" in set(results.loc[results["benchmark"] == benchmark, "metric"])


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """A grid's table as people read it."""
    rows = []
    for r in table.to_dict("records"):
        row = {"on": r["on"], "cell": r["cell"], "seeds": r["seeds"], "n": r["questions"],
               "mean": f"{r['mean']:.1f} [{r['ci_low']:.1f}, {r['ci_high']:.1f}]", "difference": "", "p": "", "p (Holm)": ""}  # fmt: skip
        if r.get("against") and r.get("difference") == r.get("difference"):
            row |= {
                "difference": f"{r['difference']:+.1f} [{r['difference_low']:+.1f}, {r['difference_high']:+.1f}]",
                "p": _p(r["p"]),
                "p (Holm)": _p(r["p_holm"]),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _p(value: float) -> str:
    return "" if value != value else "<0.001" if value < 0.001 else f"{value:.3f}"


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

    reporting.style()
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
        f"{grid.question}\n{family}, {told} seeds, 95% t intervals; questions a seed: {questions(table)}{dotted}",
        fontsize=9.5,
    )
    figure.tight_layout()
    return figure


def _curves(ax: Any, mine: pd.DataFrame, grid: Grid, cells: Sequence[Cell]) -> None:
    for i, line in enumerate(dict.fromkeys(c.line for c in cells)):
        points = sorted((c.x, c.name) for c in cells if c.line == line and c.name in mine.index and c.x is not None)
        names = [name for _, name in points]
        mean = mine.loc[names, "mean"]
        half = (mean - mine.loc[names, "ci_low"]).fillna(0)
        colour = reporting.COLOURS.get(line, reporting.COLOURS["cgd"] if not i else None)
        ax.errorbar([x for x, _ in points], mean, yerr=half, marker=reporting.MARKERS[i % len(reporting.MARKERS)], capsize=2, lw=1.4,
                    ms=5, color=colour, label=reporting.display_name(line))  # fmt: skip
    if "rate" in grid.axis or "times" in grid.axis:
        ax.set_xscale("log")
    ticks = sorted({c.x for c in cells if c.x is not None})
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.minorticks_off()
    ax.set_xlabel(grid.axis)


def _dots(ax: Any, mine: pd.DataFrame, grid: Grid, cells: Sequence[Cell]) -> None:
    shown = [c for c in cells if c.name in mine.index][::-1]
    for y, c in enumerate(shown):
        r = mine.loc[c.name]
        half = [[r["mean"] - r["ci_low"]], [r["ci_high"] - r["mean"]]] if r["ci_low"] == r["ci_low"] else None
        colour = reporting.COLOURS.get(c.name, reporting.COLOURS.get(c.method, "#333333"))
        ax.errorbar(r["mean"], y, xerr=half, fmt="o", capsize=3, color=colour)
    ax.set_yticks(range(len(shown)), [reporting.display_name(c.name) for c in shown])
    ax.set_ylim(-0.6, len(shown) - 0.4)


def drift_table(results: pd.DataFrame, family: str, cells: Sequence[Cell], level: float = 0.95) -> pd.DataFrame:
    """What training does besides accuracy: one row a measure and cell, mean and t interval over seeds, and the base's value."""
    mine = results[(results["family"] == family) & results["metric"].isin(DRIFT)]
    per_seed = mine.groupby(["metric", "method", "seed"], dropna=False, sort=False)["value"].mean().reset_index()
    out = []
    for metric in DRIFT:
        for c in cells:
            values = per_seed[(per_seed["metric"] == metric) & (per_seed["method"] == c.name)]["value"].to_numpy(float)
            if len(values):
                i = statistics.mean_t_interval(values, level)
                base = per_seed[(per_seed["metric"] == metric) & (per_seed["method"] == "base")]["value"]
                out.append({"measure": metric, "cell": c.name, "x": c.x, "line": c.line, "seeds": len(values), "mean": i.estimate,
                            "ci_low": i.low, "ci_high": i.high, "base": float(base.iloc[0]) if len(base) else None})  # fmt: skip
    return pd.DataFrame(out)


def plot_drift(table: pd.DataFrame, axis: str, family: str) -> Any:
    """`drift_table` as curves over the dose, a panel a measure."""
    import matplotlib.pyplot as plt

    reporting.style()
    shown = [m for m in DRIFT if m in set(table["measure"])]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.1 * len(shown), 3.2), squeeze=False)
    for ax, metric in zip(axes[0], shown, strict=True):
        for i, (line, points) in enumerate(table[table["measure"] == metric].groupby("line", sort=False)):
            points = points.sort_values("x")
            ax.errorbar(points["x"], points["mean"], yerr=(points["mean"] - points["ci_low"]).fillna(0), capsize=2, ms=5, lw=1.4,
                        marker=reporting.MARKERS[i], color=reporting.COLOURS.get(line), label=reporting.display_name(line))  # fmt: skip
        base = table.loc[table["measure"] == metric, "base"].dropna()
        if len(base):
            ax.axhline(base.iloc[0], color="#777777", lw=1, ls=":")
        ticks = sorted(set(table["x"]))
        ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
        ax.set_xlabel(axis)
        ax.set_title(DRIFT[metric], fontsize=8.5)
    axes[0][-1].plot([], [], color="#777777", lw=1, ls=":", label="base")
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{family}, {int(table['seeds'].max())} seeds, 95% t intervals; no draft was given", fontsize=9.5)
    figure.tight_layout()
    return figure
