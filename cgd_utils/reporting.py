"""Tables and figures: reads result rows only."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import statistics
from .artifacts import BadInput, Run, atomic, write_text

Record = dict[str, Any]
COLUMNS = ["family", "method", "seed", "benchmark", "metric", "value", "n", "ci_low", "ci_high"]
QUALITY = ("accuracy", "instruction_following")
LABELS = {
    "base": "base", "sft": "SFT", "distilled_sft": "distilled SFT", "refined_sft": "refined SFT", "cft": "CFT", "cgd": "CGD",
    "cgd_no_critique": "CGD, no critique", "cgd_irrelevant": "CGD, irrelevant", "cgd_generic": "CGD, generic",
    "cgd_masked": "CGD, masked", "cgd_random": "CGD, random words", "cgd_biased": "CGD, biased", "cgd_joint": "CGD, loss on c and ŷ",
}  # fmt: skip


def display_name(method: str) -> str:
    """A method's or cell's name as tables and pictures print it: ``cgd [LoRA r=4]`` → CGD [LoRA r=4]."""
    name, bracket, rest = method.partition(" [")
    return LABELS.get(name, name) + bracket + rest


# Okabe-Ito for the main methods, Tol's muted set for the ablations; colour-blind safe
COLOURS = {"base": "#999999", "sft": "#E69F00", "distilled_sft": "#56B4E9", "refined_sft": "#009E73", "cft": "#CC79A7",
           "cgd": "#D55E00", "cgd_no_critique": "#332288", "cgd_irrelevant": "#999933", "cgd_generic": "#44AA99",
           "cgd_masked": "#882255", "cgd_random": "#DDCC77", "cgd_biased": "#AA4499", "cgd_joint": "#117733"}  # fmt: skip
MARKERS = "osD^vP*X<>"


def write_results(run: Run, *parts: Sequence[Record]) -> pd.DataFrame:
    """Writes ``results.csv``: the rows of all parts, each (family, method, seed, benchmark, metric) once, in a fixed order.

    Where parts hold the same row, the last one's values count, at the first one's place.
    """
    rows = {}
    for r in (r for part in parts for r in part):
        seed = None if pd.isna(r["seed"]) else int(r["seed"])
        rows[(r["family"], r["method"], seed, r["benchmark"], r["metric"])] = {**r, "seed": seed}
    frame = pd.DataFrame(list(rows.values()), columns=COLUMNS)
    frame["seed"] = frame["seed"].astype("Int64")
    with atomic(run.results_csv) as path:
        frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    return frame


def read_results(run: Run) -> pd.DataFrame:
    """The frame of ``results.csv``.

    Raises:
        BadInput: it is not there yet.
    """
    if not run.results_csv.exists():
        raise BadInput(f"{run.results_csv}: no such file; run 04_evaluate first: {run.command('--to', '04')}")
    return pd.read_csv(run.results_csv, dtype={"seed": "Int64"})


def per_seed(results: pd.DataFrame, headline: Sequence[str] = ()) -> pd.DataFrame:
    """One row a (family, method, seed): each benchmark's value, and ``mean``: their plain mean over the accuracy benchmarks."""
    quality = results[results["metric"].isin(QUALITY)]
    wide = quality.pivot_table(
        index=["family", "method", "seed"], columns="benchmark", values="value", dropna=False, sort=False
    )
    wide = wide.dropna(how="all")
    graded = list(dict.fromkeys(quality.loc[quality["metric"] == "accuracy", "benchmark"]))
    averaged = [b for b in (headline or graded) if b in wide.columns]
    wide = wide[list(dict.fromkeys(quality["benchmark"]))]
    wide.insert(0, "mean", wide[averaged].mean(axis=1))
    return wide.reset_index()


def headline(
    results: pd.DataFrame, benchmarks: Sequence[str] = (), level: float = 0.95, reference: str = "cgd"
) -> pd.DataFrame:
    """Mean over seeds, sd, t interval, and the paired difference ``reference`` − method with interval and p.

    All in percentage points; ``n_seeds`` models and ``n_questions`` a row. The base is one model, so it has no sd, and its
    difference is to each seed of the reference. ``interval_over`` says what an interval resamples: ``seeds``, or with one
    model, or seeds that agree to the last digit, ``questions`` (the result's own interval; for the mean and for differences the
    half-widths' root sum of squares, as for independent samples, which is on the wide side).
    """
    wide = per_seed(results, benchmarks)
    single = _single_models(results, benchmarks)
    columns = [c for c in wide.columns if c not in ("family", "method", "seed")]
    out = []
    for (family, method), group in wide.groupby(["family", "method"], sort=False):
        ours = wide[(wide["family"] == family) & (wide["method"] == reference)].set_index("seed")
        for column in columns:
            values = group[column].dropna().to_numpy(float)
            if not len(values):  # no benchmark of this kind: a mean of nothing, or one that a method was not asked
                continue
            interval = statistics.mean_t_interval(values, level)
            n, low, high = single[family, method, column]
            alone = len(values) == 1 or float(values.std()) < 1e-9  # no spread to see is no certainty
            row = {"family": family, "method": method, "benchmark": column, "n_seeds": len(values), "n_questions": n,
                   "mean": values.mean(), "sd": values.std(ddof=1) if len(values) > 1 else None,
                   "ci_low": low if alone else interval.low, "ci_high": high if alone else interval.high,
                   "interval_over": "questions" if alone else "seeds"}  # fmt: skip
            if method != reference and len(ours):
                theirs = group.set_index("seed")[column].dropna() if method != "base" else None
                mine = ours[column].dropna()
                both = [
                    (mine[s], values[0] if theirs is None else theirs[s])
                    for s in mine.index
                    if theirs is None or s in theirs.index
                ]
                if both:
                    d = statistics.paired_difference([a for a, _ in both], [b for _, b in both], level)
                    row |= {"difference": d.difference, "difference_low": d.low, "difference_high": d.high, "p": d.p}
                    if pd.isna(d.low) or (d.low == d.high):  # Newcombe's combination of the two intervals
                        _, ours_low, ours_high = single[family, reference, column]
                        (a, b), width = both[0], lambda x, y: (x**2 + y**2) ** 0.5
                        row["difference_low"] = d.difference - width(a - ours_low, high - b)
                        row["difference_high"] = d.difference + width(ours_high - a, b - low)
            out.append(row)
    return pd.DataFrame(out)


def _single_models(
    results: pd.DataFrame, benchmarks: Sequence[str]
) -> dict[tuple[str, str, str], tuple[int, float, float]]:
    """(family, method, benchmark or ``mean``) → questions, and the interval over them of the first model of each."""
    quality = results[results["metric"].isin(QUALITY)]
    quality = quality.drop_duplicates(["family", "method", "benchmark"])
    out = {(r.family, r.method, r.benchmark): (int(r.n), r.ci_low, r.ci_high) for r in quality.itertuples()}
    graded = quality[quality["metric"] == "accuracy"]
    averaged = quality[quality["benchmark"].isin(benchmarks)] if len(benchmarks) else graded
    for (family, method), rows in averaged.groupby(["family", "method"], sort=False):
        k, mean = len(rows), rows["value"].mean()
        down, up = (((rows[c] - rows["value"]) ** 2).sum() ** 0.5 / k for c in ("ci_low", "ci_high"))
        out[family, method, "mean"] = (int(rows["n"].sum()), mean - down, mean + up)
    return out


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
            i = statistics.wilson(round(float((mine["value"] * mine["n"]).sum()) / 100), n)
            row.setdefault("answers", n)
            row[metric] = f"{100 * i.estimate:.1f} [{100 * i.low:.1f}, {100 * i.high:.1f}]"
        out.append(row)
    return pd.DataFrame(out).fillna("")


def length_table(results: pd.DataFrame, metrics: Sequence[str] = ("words", "tokens", "steps")) -> pd.DataFrame:
    """Reasoning length beside accuracy and Pass@k: a row a (family, method, benchmark), ``mean [interval]`` over ``seeds``.

    With one model, or seeds that agree to the last digit, the interval is the first model's own, over its answers (``n``).
    """
    keys = ["family", "method", "benchmark"]
    samples = [m for m in dict.fromkeys(results["metric"]) if m.startswith("pass@")]
    out = []
    for key, rows in results.groupby(keys, sort=False):
        row = {**dict(zip(keys, key, strict=True)), "seeds": max(1, rows["seed"].nunique())}
        for metric in (*QUALITY, *samples, *metrics):
            mine = rows[rows["metric"] == metric]
            if mine.empty:
                continue
            low, high = mine["ci_low"].iloc[0], mine["ci_high"].iloc[0]
            if len(mine) > 1 and mine["value"].std() > 1e-9:
                i = statistics.mean_t_interval(mine["value"].to_numpy(float))
                low, high = i.low, i.high
            row["n"] = int(mine["n"].max())
            row[metric] = f"{mine['value'].mean():.1f} [{low:.1f}, {high:.1f}]"
        out.append(row)
    return pd.DataFrame(out).fillna("")


def printed(table: pd.DataFrame, family: str, benchmarks: Sequence[str] | None = None) -> pd.DataFrame:
    """The headline table as people read it: ``mean ± half-width (n=questions)`` a benchmark, difference and p on the mean."""
    mine = table[table["family"] == family]
    shown = list(benchmarks or dict.fromkeys(mine["benchmark"]))
    rows = []
    for method in dict.fromkeys(mine["method"]):
        cells = mine[mine["method"] == method].set_index("benchmark")
        row = {"method": display_name(method), "seeds": int(cells["n_seeds"].iloc[0])}
        for b in shown:
            if b not in cells.index:
                continue
            half = (cells.loc[b, "ci_high"] - cells.loc[b, "ci_low"]) / 2
            told = f"{b} (n={cells.loc[b, 'n_questions']:.0f})"
            row[told] = f"{cells.loc[b, 'mean']:.1f}" + (f" ± {half:.1f}" if half == half else "")
        c = cells.loc["mean"] if "mean" in cells.index else {}
        has = "difference" in c and c["difference"] == c["difference"]
        row["CGD − method (mean)"] = (
            f"{c['difference']:+.1f} [{c['difference_low']:+.1f}, {c['difference_high']:+.1f}]" if has else ""
        )
        row["p"] = ("<0.001" if c["p"] < 0.001 else f"{c['p']:.3f}") if has and c["p"] == c["p"] else ""
        rows.append(row)
    return pd.DataFrame(rows)


def save_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame as CSV, the same bytes for the same numbers."""
    with atomic(path) as part:
        frame.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def save_table(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes a table as CSV, Markdown and LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / f"{name}.csv") as path:
        frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    write_text(folder / f"{name}.md", frame.to_markdown(index=False, floatfmt=".2f") + "\n")
    text = frame.to_latex(index=False, float_format="%.2f", na_rep="", escape=True)
    for sign, command in (("±", r"$\pm$"), ("−", "$-$"), ("<", "$<$"), ("→", r"$\to$")):
        text = text.replace(sign, command)
    write_text(folder / f"{name}.tex", text)


def style() -> None:
    """One look for every figure."""
    import matplotlib.pyplot as plt

    plt.rcParams.update({
        "figure.figsize": (7, 4), "figure.dpi": 110, "savefig.dpi": 200, "savefig.bbox": "tight", "font.size": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False,
    })  # fmt: skip


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
    return f"{'; '.join(parts)}; bars and bands are 95% intervals, over seeds where there are several."


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
    """Accuracy on each benchmark, a line a method, with t intervals over seeds."""
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
        axes.errorbar([j + shift for j in range(len(benchmarks))], cells["mean"], yerr=[low.fillna(0), high.fillna(0)],
                      marker=MARKERS[i % len(MARKERS)], capsize=2, lw=1.4, ms=5, color=COLOURS.get(method),
                      label=display_name(method))  # fmt: skip
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
    axes.set_title(f"{family}: accuracy by benchmark ({seeds} seeds; 95% intervals)", fontsize=10)
    return figure


def plot_gain(table: pd.DataFrame, family: str, methods: Sequence[str] = ()) -> Any:
    """Gain over the base on the mean of the graded benchmarks, with intervals."""
    import matplotlib.pyplot as plt

    style()
    mine = table[(table["family"] == family) & (table["benchmark"] == "mean")].set_index("method")
    shown = [m for m in mine.index if m != "base" and (not methods or m in methods)][::-1]
    base = mine.loc["base", "mean"]
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(shown) + 1.2))
    for y, method in enumerate(shown):
        c = mine.loc[method]
        half = (
            [[max(0, c["mean"] - c["ci_low"])], [max(0, c["ci_high"] - c["mean"])]]
            if c["ci_low"] == c["ci_low"]
            else None
        )
        axes.errorbar(c["mean"] - base, y, xerr=half, fmt="o", capsize=3, color=COLOURS.get(method, "#333333"))
    axes.axvline(0, color="#555555", lw=1)
    axes.set_yticks(range(len(shown)), [display_name(m) for m in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(f"gain over the base student (points; base {base:.1f}%)")
    axes.set_title(f"{family}: mean gain, {int(mine['n_seeds'].max())} seeds; 95% intervals", fontsize=10)
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
    histories: dict[tuple[str, str, int], list[Record]],
    validations: dict[tuple[str, str, int], list[Record]] | None = None,
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


def _plot_steps(axes: Any, histories: Record, validations: Record, name: str) -> None:
    told: set[str] = set()
    for key, history in histories.items():
        method = key[1]
        known = display_name(method) if method not in told else None
        told.add(method)
        rows = [h for h in history if h.get(name) is not None]
        axes.plot(
            [h["step"] for h in rows], [h[name] for h in rows], color=COLOURS.get(method), lw=1, alpha=0.8, label=known
        )
        held = [v for v in validations.get(key, []) if v.get(name) is not None]
        axes.plot(
            [v["step"] for v in held], [v[name] for v in held], "o", color=COLOURS.get(method), ms=4, mec="#333333"
        )


class LiveLosses:
    """The loss curves in a notebook while training runs, drawn anew every few seconds; nothing under papermill.

    ``watch(key)`` gives the function to pass to `training.fine_tune` for the model ``(family, method, seed)``.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds, self.histories = seconds, dict[tuple[str, str, int], list[Record]]()
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
