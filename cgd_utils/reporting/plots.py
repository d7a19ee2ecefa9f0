"""Pictures of results: accuracy, gains, losses, one row's tokens."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.files import atomic, write_text
from ..core.records import Record
from ..methods import colour, display_name
from . import summaries
from .result_rows import headline
from .summaries import save_csv

MARKERS = "osD^vP*X<>"
# (family, method, seed) -> rows of a training log
Histories = dict[tuple[str, str, int], list[Record]]


def style() -> None:
    """One look for every figure."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.figsize": (7, 4),
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "savefig.bbox": "tight",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
        }
    )


def save_figure(figure: Any, folder: Path, name: str, plotted: pd.DataFrame, caption: str = "") -> str:
    """Writes a figure as PNG and PDF, the numbers it shows as CSV, and its caption as text; returns the caption.

    The caption ends with what the numbers say of themselves: seeds and n.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "pdf"):
        with atomic(folder / f"{name}.{kind}") as path:
            figure.savefig(path, format=kind, metadata={"CreationDate": None} if kind == "pdf" else {"Software": None})
    save_csv(plotted, folder / f"{name}.csv")
    told = f"{caption or name.replace('_', ' ').capitalize()}. {sizes(plotted)}".strip()
    write_text(folder / f"{name}.txt", told + "\n")
    return told


def sizes(plotted: pd.DataFrame) -> str:
    """How many seeds and items the rows of a figure or table rest on, as a sentence; '' where they do not say."""
    parts = []
    names = {"n_seeds": "seed", "seeds": "seed", "n_questions": "question", "n": "item"}
    for column, name in names.items():
        if column in plotted and plotted[column].notna().any():
            low, high = int(plotted[column].min()), int(plotted[column].max())
            what = f"{low}" if low == high else f"{low} to {high}"
            told = f"{what} {name}{'s' if high != 1 else ''}"
            parts.append(f"n = {told} a model" if column.startswith("n") and column != "n_seeds" else told)
    if not parts:
        return ""
    over = summaries.named([o for c in ("interval_over", "over") if c in plotted for o in plotted[c]])
    return f"{'; '.join(parts)}; bars and bands are intervals over {over or 'nothing sampled'}."


def caption_of(picture: Path) -> str:
    """The caption beside a saved figure; its name where there is none."""
    path = picture.with_suffix(".txt")
    return path.read_text(encoding="utf-8").strip() if path.exists() else picture.stem.replace("_", " ")


def plot_by_steps(
    table: pd.DataFrame,
    family: str,
    benchmarks: Sequence[str],
    trained: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> Any:
    """Accuracy on each benchmark, a line a method, with the intervals of `headline`."""
    import matplotlib.pyplot as plt

    style()
    figure, axes = plt.subplots()
    shown = [m for m in dict.fromkeys(table["method"]) if not methods or m in methods]
    for i, method in enumerate(shown):
        cells = (
            table[(table["family"] == family) & (table["method"] == method)].set_index("benchmark").reindex(benchmarks)
        )
        shift = (i - (len(shown) - 1) / 2) * 0.06
        low, high = (cells["mean"] - cells["ci_low"]).clip(lower=0), (cells["ci_high"] - cells["mean"]).clip(lower=0)
        axes.errorbar(
            [j + shift for j in range(len(benchmarks))],
            cells["mean"],
            yerr=[low.fillna(0), high.fillna(0)],
            marker=MARKERS[i % len(MARKERS)],
            capsize=2,
            lw=1.4,
            ms=5,
            color=colour(method),
            label=display_name(method),
        )
    inside = [j for j, b in enumerate(benchmarks) if b in trained]
    if inside:
        axes.axvspan(min(inside) - 0.4, max(inside) + 0.4, color="#000000", alpha=0.05, lw=0)
        axes.text(
            (min(inside) + max(inside)) / 2,
            103,
            "step counts seen in training",
            ha="center",
            fontsize=8,
            color="#555555",
        )
    axes.set_xticks(range(len(benchmarks)), benchmarks)
    axes.set_ylim(-3, 108)
    if max(map(len, benchmarks), default=0) > 12:  # long names stand aslant
        plt.setp(axes.get_xticklabels(), rotation=30, ha="right")
    axes.set_ylabel("accuracy (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    seeds = int(table["n_seeds"].max())
    axes.set_title(f"{family}: accuracy by benchmark ({seeds} seeds; intervals over seeds and questions)", fontsize=10)
    return figure


def gains(results: pd.DataFrame, benchmarks: Sequence[str] = (), level: float = 0.95) -> pd.DataFrame:
    """What each method gains over the base on the mean, in points: `headline` rows with ``gain`` and its interval."""
    table = headline(results, benchmarks, level, reference="base")
    mine = table[(table["benchmark"] == "mean") & table["difference"].notna()]
    gained = {"gain": -mine["difference"], "gain_low": -mine["difference_high"], "gain_high": -mine["difference_low"]}
    return mine.assign(**gained, over=mine["difference_over"], base=mine["mean"] + mine["difference"])[
        ["family", "method", "n_seeds", "n_questions", *gained, "over", "base"]
    ]


def plot_gain(gained: pd.DataFrame, family: str) -> Any:
    """Rows of `gains` as dots with intervals, paired over seeds."""
    import matplotlib.pyplot as plt

    style()
    mine = gained[gained["family"] == family].iloc[::-1]
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(mine) + 1.2))
    for y, c in enumerate(mine.itertuples()):
        half = None if pd.isna(c.gain_low) else [[c.gain - c.gain_low], [c.gain_high - c.gain]]
        axes.errorbar(c.gain, y, xerr=half, fmt="o", capsize=3, color=colour(c.method))
    axes.axvline(0, color="#555555", lw=1)
    axes.set_yticks(range(len(mine)), [display_name(m) for m in mine["method"]])
    axes.set_ylim(-0.6, len(mine) - 0.4)
    axes.set_xlabel(f"gain over the base student (points; base {mine['base'].mean():.1f}%)")
    axes.set_title(f"{family}: mean gain, {int(mine['n_seeds'].max())} seeds; paired intervals", fontsize=10)
    return figure


def coloured_row(row: Record, tok: Any) -> str:
    """HTML of a tokenised row: prompt tokens grey, learnt tokens orange; all text is escaped."""
    from html import escape

    spans = []
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        text = escape(tok.decode([token])).replace("\n", "↵<br>")
        look = "color:#777" if label == -100 else "background:#E69F0055;color:inherit"
        spans.append(f'<span style="{look}">{text}</span>')
    return f'<div style="font-family:monospace;line-height:1.6">{"".join(spans)}</div>'


def plot_losses(
    histories: Histories,
    validations: Histories | None = None,
) -> Any:
    """Loss, token accuracy and gradient norm by step: a row a family, a colour a method, a line a seed; validation as dots.

    Args:
        histories: (family, method, seed) → rows of ``history.jsonl``.
        validations: (family, method, seed) → rows of ``validation.jsonl``.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogFormatter

    style()
    wanted = {"loss": "loss (nats a learnt token)", "token_accuracy": "token accuracy", "grad_norm": "gradient norm"}
    families = list(dict.fromkeys(k[0] for k in histories)) or [""]
    figure, panels = plt.subplots(len(families), 3, figsize=(12, 3.4 * len(families)), squeeze=False)
    for family, row in zip(families, panels, strict=True):
        mine = {k: h for k, h in histories.items() if k[0] == family}
        for axes, (name, label) in zip(row, wanted.items(), strict=True):
            _plot_steps(axes, mine, validations or {}, name)
            axes.set_xlabel("optimizer step")
            axes.set_ylabel(label)
        row[0].set_title(family if len(families) > 1 else "")
        for axes in (row[0], row[2]):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        if validations:
            row[0].plot([], [], "o", color="#ffffff", mec="#333333", ms=4, label="held-out rows")
    panels[0][2].legend(*panels[0][0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    return figure


def _plot_steps(axes: Any, histories: Histories, validations: Histories, name: str) -> None:
    told: set[str] = set()
    for key, history in histories.items():
        method = key[1]
        known = display_name(method) if method not in told else None
        told.add(method)
        rows = [h for h in history if h.get(name) is not None]
        axes.plot(
            [h["step"] for h in rows], [h[name] for h in rows], color=colour(method), lw=1, alpha=0.8, label=known
        )
        held = [v for v in validations.get(key, []) if v.get(name) is not None]
        axes.plot([v["step"] for v in held], [v[name] for v in held], "o", color=colour(method), ms=4, mec="#333333")


class LiveLosses:
    """The loss curves in a notebook while training runs, drawn anew every few seconds; nothing under papermill.

    ``watch(key)`` gives the function to pass to `training.fine_tune.fine_tune` for the model ``(family, method, seed)``.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds, self.histories = seconds, Histories()
        self._drawn, self._display = 0.0, None

    def watch(self, key: tuple[str, str, int]) -> Any:
        def add(row: Record) -> None:
            self.histories.setdefault(key, []).append(row)
            self._draw()

        return add

    def _draw(self) -> None:
        if os.environ.get("CGD_IN_CHAIN") or time.monotonic() - self._drawn < self.seconds:
            return
        import matplotlib.pyplot as plt
        from IPython.display import display

        figure = plot_losses(self.histories)
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)
        plt.close(figure)
        self._drawn = time.monotonic()
