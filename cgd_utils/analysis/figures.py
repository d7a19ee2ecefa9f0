"""Pictures of what the analyses measured, and the forest plot.

Each takes one family's rows of `reporting.summaries.over_seeds`; `forest` takes rows of
`reporting.result_rows.headline`.
"""

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

# part of the text -> its name and colour
PARTS = {
    internals.X: ("problem x", "#0072B2"),
    internals.DRAFT: ("draft y′", "#E69F00"),
    internals.CRITIQUE: ("critique c", "#D55E00"),
    internals.TARGET: ("the answer ŷ itself", "#BBBBBB"),
    internals.TEMPLATE: ("template", "#EEEEEE"),
}


def _error(cells: pd.DataFrame) -> list[pd.Series]:
    """Lengths of the bars below and above the values; none where there is no interval."""
    below, above = cells["value"] - cells["ci_low"], cells["ci_high"] - cells["value"]
    return [half.fillna(0).clip(lower=0) for half in (below, above)]


def _panels(n: int, width: float, height: float, legend: float = 1.9, **more: Any) -> tuple[Any, Any]:
    """``n`` panels beside each other, with room for a legend at the right; all in inches."""
    import matplotlib.pyplot as plt

    plots.style()
    size = (width * n + legend, height)
    figure, panels = plt.subplots(1, n, figsize=size, squeeze=False, layout="constrained", **more)
    return figure, panels[0]


def _finished(figure: Any, panels: Any, title: str, y: str = "") -> Any:
    """The figure with its title, a legend beside the last panel and the first one's axis named."""
    if y:
        panels[0].set_ylabel(y)
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(title, fontsize=10)
    return figure


def _curve(axes: Any, x: Any, cells: pd.DataFrame, i: int, method: str) -> None:
    """The ``i``-th method's values over ``x``, with intervals."""
    look = {"marker": plots.MARKERS[i], "color": colour(method), "label": display_name(method)}
    axes.errorbar(x, cells["value"], yerr=_error(cells), ms=5, capsize=2, lw=1.2, **look)


def uncertainty(rows: pd.DataFrame, family: str) -> Any:
    """NLL and entropy of ŷ's tokens under each condition, a line a model."""
    figure, panels = _panels(2, 4.2, 3.4)
    conditions = list(internals.CONDITIONS)
    labels = [c.replace("'", "′").replace(", another c", ",\nanother c") for c in conditions]
    for axes, metric, name in zip(panels, ("nll", "entropy"), ("NLL", "entropy"), strict=True):
        by_method = list(rows[rows["metric"] == metric].groupby("method", sort=False))
        for i, (method, cells) in enumerate(by_method):
            x = [j + (i - (len(by_method) - 1) / 2) * 0.1 for j in range(len(conditions))]
            _curve(axes, x, cells.set_index("condition").reindex(conditions), i, method)
        axes.set_xticks(range(len(conditions)), labels)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("what is given")
        axes.set_ylabel(f"{name} of ŷ (nats a token)")
    return _finished(figure, panels, f"{family}: how uncertain is the refined answer?")


def attention(rows: pd.DataFrame, family: str) -> Any:
    """Share of the attention of ŷ's tokens on each part, by layer: a panel a model."""
    by_method = list(rows[rows["metric"].isin(internals.PARTS)].groupby("method", sort=False))
    figure, panels = _panels(len(by_method), 3.0, 3.2, sharey=True)
    for axes, (method, cells) in zip(panels, by_method, strict=True):
        wide = cells.pivot_table(index="condition", columns="metric", values="value", sort=False)
        bottom = pd.Series(0.0, wide.index)
        for part, (name, shade) in PARTS.items():
            look = {"color": shade, "edgecolor": "#555555", "lw": 0.4, "label": name}
            axes.bar(range(len(wide)), 100 * wide[part], bottom=100 * bottom, **look)
            bottom += wide[part]
        step = max(1, len(wide) // 8)
        axes.set_xticks(range(0, len(wide), step), [str(summaries.layer_of(c)) for c in wide.index[::step]])
        axes.set_xlabel("layer")
        axes.set_title(display_name(method), fontsize=10)
        axes.grid(False)
    return _finished(figure, panels, f"{family}: where do the tokens of ŷ look?", "attention from ŷ's tokens (%)")


def drift(rows: pd.DataFrame, family: str) -> Any:
    """Cosine between a tuned model's mean hidden state of the question and the base's, by layer."""
    figure, panels = _panels(1, 5.0, 3.2)
    axes = panels[0]
    for i, (method, cells) in enumerate(rows[rows["metric"] == "cosine"].groupby("method", sort=False)):
        _curve(axes, cells["condition"].map(summaries.layer_of), cells, i, method)
    axes.set_xlabel("layer (0 = embeddings)")
    axes.set_ylabel("cosine to the base")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title(f"{family}: hidden states of the plain question after training", fontsize=10)
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
    """Values with intervals: a panel a value of the column ``panel``, a row one of ``by``, a marker one of ``mark``."""
    names = list(dict.fromkeys(rows[by]))[::-1]
    marks = list(dict.fromkeys(rows[mark])) if mark else [""]
    groups = list(rows.groupby(panel, sort=False)) if panel else [("", rows)]
    height = (0.32 + 0.1 * len(marks)) * len(names) + 1.4
    figure, panels = _panels(len(groups), 3.6 if panel else 5.0, height, 1.9 if mark else 0.8, sharey=True)
    for axes, (name, of_panel) in zip(panels, groups, strict=True):
        for i, m in enumerate(marks):
            cells = of_panel[of_panel[mark] == m] if mark else of_panel
            y = [names.index(n) + ((len(marks) - 1) / 2 - i) * 0.2 for n in cells[by]]
            look = {"fmt": plots.MARKERS[i], "color": MUTED[(i + 2) % len(MUTED)], "label": str(m)}
            axes.errorbar(cells["value"], y, xerr=_error(cells), ms=5, capsize=2, **look)
        if line is not None:
            axes.axvline(line, color="#555555", lw=1)
        axes.set_yticks(range(len(names)), [display_name(n) for n in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel(axis)
        axes.set_title(name, fontsize=10)
    if mark:
        return _finished(figure, panels, title)
    figure.suptitle(title, fontsize=10)
    return figure


def failure_bars(rows: pd.DataFrame, family: str, benchmarks: Sequence[str]) -> Any:
    """What is wrong with the wrong answers: stacked percent of all answers, a panel a benchmark, a bar a method."""
    figure, panels = _panels(len(benchmarks), 3.2, 3.2, sharey=True, sharex=True)
    names = {**failures.LAB_KINDS, **failures.FORMS}
    wrong = rows[rows["metric"] != failures.RIGHT]
    kinds = [k for k, most in wrong.groupby("metric", sort=False)["value"].max().items() if most > 0]
    methods = list(dict.fromkeys(wrong["method"]))[::-1]
    for axes, b in zip(panels, benchmarks, strict=True):
        cells = wrong[wrong["condition"] == b]
        wide = cells.pivot_table(index="method", columns="metric", values="value").reindex(methods)
        left = pd.Series(0.0, wide.index)
        for i, k in enumerate(kinds):
            look = {"color": MUTED[i % len(MUTED)], "edgecolor": "white", "lw": 0.4, "label": names[k]}
            axes.barh(range(len(methods)), wide[k], left=left, **look)
            left += wide[k]
        axes.set_yticks(range(len(methods)), [display_name(m) for m in methods])
        axes.set_xlabel("wrong answers (% of all)")
        axes.set_title(b, fontsize=10)
    return _finished(figure, panels, f"{family}: the first thing wrong")


def cost(rows: pd.DataFrame, family: str) -> Any:
    """Accuracy against generated tokens a question: a panel a benchmark, a mark a way of answering."""
    by_benchmark = list(rows[rows["condition"] != summaries.PAIRED].groupby("condition", sort=False))
    figure, panels = _panels(len(by_benchmark), 3.4, 3.2, sharey=True)
    for axes, (b, of_benchmark) in zip(panels, by_benchmark, strict=True):
        for i, (m, cells) in enumerate(of_benchmark.groupby("method", sort=False)):
            tokens, accuracy = (cells[cells["metric"] == metric] for metric in ("tokens", "accuracy"))
            name = m if m == inference_time.SELF_REFINE else f"{display_name(m)}, one pass"
            bars = {"xerr": _error(tokens), "yerr": _error(accuracy), "ms": 6, "capsize": 2}
            look = {"fmt": plots.MARKERS[i], "color": colour(m), "label": name}
            axes.errorbar(tokens["value"], accuracy["value"], **bars, **look)
        axes.set_xlabel("tokens generated a question")
        axes.set_title(b, fontsize=10)
    return _finished(figure, panels, f"{family}: one pass against self-refine", "accuracy (%)")


def pass_at_k(rows: pd.DataFrame, family: str) -> Any:
    """Pass@k of sampled answers against k: a panel a benchmark, a line a model."""
    curves = rows.assign(k=rows["metric"].map(summaries.samples_of))
    ks = sorted(set(curves["k"]))
    by_benchmark = list(curves.groupby("condition", sort=False))
    figure, panels = _panels(len(by_benchmark), 3.6, 3.2, sharey=True)
    for axes, (b, of_benchmark) in zip(panels, by_benchmark, strict=True):
        for i, (m, cells) in enumerate(of_benchmark.groupby("method", sort=False)):
            low, high = (cells[bound].fillna(cells["value"]) for bound in ("ci_low", "ci_high"))
            axes.plot(cells["k"], cells["value"], marker=plots.MARKERS[i], ms=4, color=colour(m), label=display_name(m))
            axes.fill_between(cells["k"], low, high, color=colour(m), alpha=0.13, lw=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_xlabel("k")
        axes.set_title(b, fontsize=10)
    return _finished(figure, panels, f"{family}: right at least once in k samples", "Pass@k (%)")


FOREST = "family method benchmark n_seeds n_questions difference difference_low difference_high over".split()


def forest_rows(table: pd.DataFrame, methods: Sequence[str], benchmarks: Sequence[str]) -> pd.DataFrame:
    """The rows of `reporting.result_rows.headline` that `forest` draws: CGD − method on each benchmark and the mean."""
    known = table.dropna(subset=["difference"]).rename(columns={"difference_over": "over"})
    return known.loc[known["method"].isin(methods) & known["benchmark"].isin(["mean", *benchmarks]), FOREST]


def forest(rows: pd.DataFrame) -> Any:
    """CGD − method in points over families and benchmarks: a panel a method, a row a family and benchmark."""
    methods, families = (list(dict.fromkeys(rows[c])) for c in ("method", "family"))
    names = list(dict.fromkeys(zip(rows["family"], rows["benchmark"], strict=True)))
    names = sorted(names, key=lambda n: (families.index(n[0]), n[1] != "mean"))[::-1]
    # a scale of its own for each panel: small differences show
    figure, panels = _panels(len(methods), 2.2, 0.24 * len(names) + 1.3, 0.8, sharey=True)
    for axes, m in zip(panels, methods, strict=True):
        for r in rows[rows["method"] == m].itertuples():
            half = [[r.difference - r.difference_low], [r.difference_high - r.difference]]
            bars = None if pd.isna(r.difference_low) else half
            mean = {"fmt": "D", "ms": 6, "color": "#D55E00"}
            look = mean if r.benchmark == "mean" else {"fmt": "o", "ms": 4, "color": "#555555"}
            axes.errorbar(r.difference, names.index((r.family, r.benchmark)), xerr=bars, capsize=2, **look)
        axes.axvline(0, color="#000000", lw=0.8)
        axes.set_title(f"CGD − {display_name(m)}", fontsize=10)
        axes.set_xlabel("points")
    panels[0].set_yticks(range(len(names)), [f"{f}  {b}" for f, b in names])
    panels[0].set_ylim(-0.7, len(names) - 0.3)
    return figure


def save_each(run: Run, rows: pd.DataFrame, draw: Callable[[pd.DataFrame, str], Any], name: str, caption: str) -> None:
    """Draws and saves ``analysis_<name>_<family>`` for every family, and prints each caption."""
    for family, figures in rows.groupby("family", sort=False):
        stem = f"analysis_{name}_{family}"
        print(plots.save_figure(draw(figures, family), run.figures, stem, figures, f"{family}: {caption}"))


def save_table(run: Run, rows: pd.DataFrame, name: str, columns: str = "condition", digits: int = 2) -> pd.DataFrame:
    """Saves measurements as the table ``analysis_<name>`` and returns it; nothing is saved of no rows."""
    shown = summaries.table(rows, columns, run.profile.evaluation.level, digits)
    if shown.empty:
        return shown
    tables.save_table(shown, run.tables, f"analysis_{name}")
    return shown
