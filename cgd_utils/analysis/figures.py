"""Pictures of what the analyses measured, and the forest plot: each takes rows of `reporting.summaries.over_seeds` or `reporting.result_rows.headline`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from ..core.store import Run
from ..methods import colour, display_name
from ..reporting import plots, summaries, tables
from . import failures, inference_time, internals

# Tol's muted set; colour-blind safe
MUTED = ("#DDCC77", "#CC6677", "#332288", "#88CCEE", "#117733", "#AA4499", "#44AA99", "#999933", "#882255")

PART_COLOURS = dict(zip(internals.PARTS, ("#0072B2", "#E69F00", "#D55E00", "#BBBBBB", "#EEEEEE"), strict=True))

PART_NAMES = dict(
    zip(internals.PARTS, ("problem x", "draft y′", "critique c", "the answer ŷ itself", "template"), strict=True)
)


def _error(cells: pd.DataFrame) -> list[pd.Series]:
    return [
        (cells["value"] - cells["ci_low"]).fillna(0).clip(lower=0),
        (cells["ci_high"] - cells["value"]).fillna(0).clip(lower=0),
    ]


def _panels(n: int, width: float, height: float, legend: float = 1.9, **more: Any) -> tuple[Any, Any]:
    """``n`` panels beside each other, with room for a legend at the right; all in inches."""
    import matplotlib.pyplot as plt

    plots.style()
    figure, panels = plt.subplots(
        1, n, figsize=(width * n + legend, height), squeeze=False, layout="constrained", **more
    )
    return figure, panels[0]


def uncertainty(rows: pd.DataFrame, family: str) -> Any:
    """NLL and entropy of ŷ's tokens under each condition, a line a model."""
    figure, panels = _panels(2, 4.2, 3.4)
    conditions = list(internals.CONDITIONS)
    for axes, metric, name in zip(panels, ("nll", "entropy"), ("NLL", "entropy"), strict=True):
        mine = rows[(rows["metric"] == metric) & (rows["family"] == family)]
        methods = list(dict.fromkeys(mine["method"]))
        for i, m in enumerate(methods):
            cells = mine[mine["method"] == m].set_index("condition").reindex(conditions)
            x = [j + (i - (len(methods) - 1) / 2) * 0.1 for j in range(len(conditions))]
            axes.errorbar(x, cells["value"], yerr=_error(cells), marker=plots.MARKERS[i], ms=5, capsize=2, lw=1.2,
                          color=colour(m), label=display_name(m))  # fmt: skip
        axes.set_xticks(
            range(len(conditions)), [c.replace("'", "′").replace(", another c", ",\nanother c") for c in conditions]
        )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("what is given")
        axes.set_ylabel(f"{name} of ŷ (nats a token)")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{family}: how uncertain is the refined answer?", fontsize=10)
    return figure


def attention(rows: pd.DataFrame, family: str) -> Any:
    """Share of the attention of ŷ's tokens on each part, by layer: a panel a model."""
    mine = rows[(rows["family"] == family) & rows["metric"].isin(internals.PARTS)]
    methods = list(dict.fromkeys(mine["method"]))
    figure, panels = _panels(len(methods), 3.0, 3.2, sharey=True)
    for axes, m in zip(panels, methods, strict=True):
        wide = mine[mine["method"] == m].pivot_table(index="condition", columns="metric", values="value", sort=False)
        bottom = pd.Series(0.0, wide.index)
        x = range(len(wide))
        for part in internals.PARTS:
            axes.bar(x, 100 * wide[part], bottom=100 * bottom, color=PART_COLOURS[part], edgecolor="#555555", lw=0.4,
                     label=PART_NAMES[part])  # fmt: skip
            bottom += wide[part]
        step = max(1, len(wide) // 8)
        axes.set_xticks(list(x)[::step], [str(summaries.layer_of(c)) for c in wide.index[::step]])
        axes.set_xlabel("layer")
        axes.set_title(display_name(m), fontsize=10)
        axes.grid(False)
    panels[0].set_ylabel("attention from ŷ's tokens (%)")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{family}: where do the tokens of ŷ look?", fontsize=10)
    return figure


def drift(rows: pd.DataFrame, family: str) -> Any:
    """Cosine between a tuned model's mean hidden state of the question and the base's, by layer."""
    mine = rows[(rows["family"] == family) & (rows["metric"] == "cosine")]
    figure, panels = _panels(1, 5.0, 3.2)
    for i, (m, cells) in enumerate(mine.groupby("method", sort=False)):
        layers = cells["condition"].map(summaries.layer_of)
        panels[0].errorbar(layers, cells["value"], yerr=_error(cells), marker=plots.MARKERS[i], ms=5, capsize=2, lw=1.2,
                           color=colour(m), label=display_name(m))  # fmt: skip
    panels[0].set_xlabel("layer (0 = embeddings)")
    panels[0].set_ylabel("cosine to the base")
    panels[0].ticklabel_format(axis="y", useOffset=False)
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    panels[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[0].set_title(f"{family}: hidden states of the plain question after training", fontsize=10)
    return figure


def dots(
    rows: pd.DataFrame,
    title: str,
    axis: str,
    by: str = "method",
    panel: str = "",
    mark: str = "",
    line: float | None = None,
) -> Any:
    """Values with intervals: a panel a value of the column ``panel``, a row a value of ``by``, a marker a value of ``mark``."""
    names = list(dict.fromkeys(rows[by]))[::-1]
    marks = list(dict.fromkeys(rows[mark])) if mark else [""]
    groups = list(rows.groupby(panel, sort=False)) if panel else [("", rows)]
    height = (0.32 + 0.1 * len(marks)) * len(names) + 1.4
    figure, panels = _panels(len(groups), 3.6 if panel else 5.0, height, 1.9 if mark else 0.8, sharey=True)
    for axes, (shown, mine) in zip(panels, groups, strict=True):
        for i, m in enumerate(marks):
            cells = mine[mine[mark] == m] if mark else mine
            y = [names.index(n) + ((len(marks) - 1) / 2 - i) * 0.2 for n in cells[by]]
            axes.errorbar(cells["value"], y, xerr=_error(cells), fmt=plots.MARKERS[i], ms=5, capsize=2,
                          color=MUTED[(i + 2) % len(MUTED)], label=str(m))  # fmt: skip
        if line is not None:
            axes.axvline(line, color="#555555", lw=1)
        axes.set_yticks(range(len(names)), [display_name(n) for n in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel(axis)
        axes.set_title(shown, fontsize=10)
    if mark:
        panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(title, fontsize=10)
    return figure


def failure_bars(rows: pd.DataFrame, family: str, benchmarks: Sequence[str]) -> Any:
    """What is wrong with the wrong answers: stacked percent of all answers, a panel a benchmark, a bar a method."""
    figure, panels = _panels(len(benchmarks), 3.2, 3.2, sharey=True, sharex=True)
    names = {**failures.LAB_KINDS, **failures.FORMS}
    mine = rows[(rows["family"] == family) & (rows["metric"] != failures.RIGHT)]
    kinds = [k for k in dict.fromkeys(mine["metric"]) if mine.loc[mine["metric"] == k, "value"].max() > 0]
    methods = list(dict.fromkeys(mine["method"]))[::-1]
    for axes, b in zip(panels, benchmarks, strict=True):
        wide = (
            mine[mine["condition"] == b].pivot_table(index="method", columns="metric", values="value").reindex(methods)
        )
        left = pd.Series(0.0, wide.index)
        for i, k in enumerate(kinds):
            axes.barh(
                range(len(methods)),
                wide[k],
                left=left,
                color=MUTED[i % len(MUTED)],
                edgecolor="white",
                lw=0.4,
                label=names[k],
            )
            left += wide[k]
        axes.set_yticks(range(len(methods)), [display_name(m) for m in methods])
        axes.set_xlabel("wrong answers (% of all)")
        axes.set_title(b, fontsize=10)
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{family}: the first thing wrong", fontsize=10)
    return figure


def cost(rows: pd.DataFrame, family: str) -> Any:
    """Accuracy against generated tokens a question: a panel a benchmark, a mark a way of answering."""
    mine = rows[(rows["family"] == family) & (rows["condition"] != summaries.PAIRED)]
    benchmarks = list(dict.fromkeys(mine["condition"]))
    figure, panels = _panels(len(benchmarks), 3.4, 3.2, sharey=True)
    for axes, b in zip(panels, benchmarks, strict=True):
        for i, (m, cells) in enumerate(mine[mine["condition"] == b].groupby("method", sort=False)):
            c = cells.set_index("metric")
            a, t = c.loc["accuracy"], c.loc["tokens"]
            name = m if m == inference_time.SELF_REFINE else f"{display_name(m)}, one pass"
            axes.errorbar(t["value"], a["value"], xerr=[[e.iloc[0]] for e in _error(c.loc[["tokens"]])],
                          yerr=[[e.iloc[0]] for e in _error(c.loc[["accuracy"]])], fmt=plots.MARKERS[i], ms=6, capsize=2,
                          color=colour(m), label=name)  # fmt: skip
        axes.set_xlabel("tokens generated a question")
        axes.set_title(b, fontsize=10)
    panels[0].set_ylabel("accuracy (%)")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{family}: one pass against self-refine", fontsize=10)
    return figure


def pass_at_k(rows: pd.DataFrame, family: str) -> Any:
    """Pass@k of sampled answers against k: a panel a benchmark, a line a model."""
    mine = rows[rows["family"] == family].assign(k=lambda f: f["metric"].map(summaries.samples_of))
    benchmarks = list(dict.fromkeys(mine["condition"]))
    figure, panels = _panels(len(benchmarks), 3.6, 3.2, sharey=True)
    for axes, b in zip(panels, benchmarks, strict=True):
        for i, (m, cells) in enumerate(mine[mine["condition"] == b].groupby("method", sort=False)):
            axes.plot(cells["k"], cells["value"], marker=plots.MARKERS[i], ms=4, color=colour(m), label=display_name(m))
            axes.fill_between(cells["k"], cells["ci_low"].fillna(cells["value"]), cells["ci_high"].fillna(cells["value"]),
                              color=colour(m), alpha=0.13, lw=0)  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(set(mine["k"])), [str(k) for k in sorted(set(mine["k"]))])
        axes.minorticks_off()
        axes.set_xlabel("k")
        axes.set_title(b, fontsize=10)
    panels[0].set_ylabel("Pass@k (%)")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{family}: right at least once in k samples", fontsize=10)
    return figure


def forest_rows(table: pd.DataFrame, methods: Sequence[str], benchmarks: Sequence[str]) -> pd.DataFrame:
    """The rows of `reporting.result_rows.headline` that `forest` draws: CGD − method on each benchmark and the mean."""
    known = table.dropna(subset=["difference"]).rename(columns={"difference_over": "over"})
    shown = known[known["method"].isin(methods) & known["benchmark"].isin(["mean", *benchmarks])]
    return shown[
        [
            "family",
            "method",
            "benchmark",
            "n_seeds",
            "n_questions",
            "difference",
            "difference_low",
            "difference_high",
            "over",
        ]
    ]


def forest(rows: pd.DataFrame) -> Any:
    """CGD − method in points over families and benchmarks: a panel a method, a row a family and benchmark."""
    methods = list(dict.fromkeys(rows["method"]))
    names = list(dict.fromkeys(zip(rows["family"], rows["benchmark"], strict=True)))
    names = sorted(names, key=lambda n: (list(dict.fromkeys(rows["family"])).index(n[0]), n[1] != "mean"))[::-1]
    # a scale of its own for each panel: small differences show
    figure, panels = _panels(len(methods), 2.2, 0.24 * len(names) + 1.3, 0.8, sharey=True)
    for axes, m in zip(panels, methods, strict=True):
        for r in rows[rows["method"] == m].itertuples():
            whole = r.benchmark == "mean"
            half = [[r.difference - r.difference_low], [r.difference_high - r.difference]]
            axes.errorbar(r.difference, names.index((r.family, r.benchmark)), xerr=half if r.difference_low == r.difference_low else None,
                          fmt="D" if whole else "o", ms=6 if whole else 4, capsize=2, color="#D55E00" if whole else "#555555")  # fmt: skip
        axes.axvline(0, color="#000000", lw=0.8)
        axes.set_title(f"CGD − {display_name(m)}", fontsize=10)
        axes.set_xlabel("points")
    panels[0].set_yticks(range(len(names)), [f"{f}  {b}" for f, b in names])
    panels[0].set_ylim(-0.7, len(names) - 0.3)
    return figure


def save_each(run: Run, rows: pd.DataFrame, draw: Callable[[pd.DataFrame, str], Any], name: str, caption: str) -> None:
    """Draws and saves ``analysis_<name>_<family>`` for every family, and prints each caption."""
    for family in dict.fromkeys(rows["family"]):
        mine = rows[rows["family"] == family]
        print(
            plots.save_figure(
                draw(mine, family), run.figures, f"analysis_{name}_{family}", mine, f"{family}: {caption}"
            )
        )


def save_table(run: Run, rows: pd.DataFrame, name: str, columns: str = "condition", digits: int = 2) -> pd.DataFrame:
    """Saves measurements as the table ``analysis_<name>`` and returns it; nothing is saved of no rows."""
    shown = summaries.table(rows, columns, run.profile.evaluation.level, digits)
    if shown.empty:
        return shown
    tables.save_table(shown, run.tables, f"analysis_{name}")
    return shown
