"""Tables and figures: reads result rows only."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import measurements, statistics
from .artifacts import BadInput, Run, atomic, content_key, write_json, write_text
from .measurements import over_seeds, save_csv
from .methods import colour, display_name

Record = dict[str, Any]
COLUMNS = ["family", "method", "seed", "benchmark", "metric", "value", "n", "ci_low", "ci_high"]
QUALITY = ("accuracy", "instruction_following")
MARKERS = "osD^vP*X<>"
# who writes result rows, in the order of ``results.csv``: 04 its models, 05 the cells of its grids
PARTS = ("main", "ablations")


def write_results(run: Run, rows: Sequence[Record], part: str = "main") -> pd.DataFrame:
    """Writes ``results.csv``: these rows as one of `PARTS`, in place of what that part had, and the rows of the others.

    Each (family, method, seed, benchmark, metric) stands once; where parts hold the same row, the last one's values count, at
    the first one's place. A later part that was measured under another profile is left out until its notebook runs again.

    Raises:
        BadInput: an earlier part is not there yet.
    """
    unrelated = {"name", "description", "processes", "ablations", "analyses"}
    key = content_key(run.profile.model_dump(mode="json", exclude=unrelated))
    kept = run.folder / "artifacts" / "results"
    kept.mkdir(parents=True, exist_ok=True)
    write_json(kept / f"{part}.json", {"key": key, "rows": list(rows)})
    found: dict[tuple, Record] = {}
    for name in PARTS:
        path, earlier = kept / f"{name}.json", PARTS.index(name) < PARTS.index(part)
        if earlier and not path.exists():
            raise BadInput(f"{path}: no such file; run 04_evaluate first")
        have = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"key": "", "rows": []}
        for r in have["rows"] if earlier or have["key"] == key else ():
            found[r["family"], r["method"], r["seed"], r["benchmark"], r["metric"]] = r
    frame = pd.DataFrame(list(found.values()), columns=COLUMNS)
    frame["seed"] = frame["seed"].astype("Int64")
    save_csv(frame, run.results_csv)
    return frame


def read_results(run: Run) -> pd.DataFrame:
    """The frame of ``results.csv``.

    Raises:
        BadInput: it is not there yet.
    """
    if not run.results_csv.exists():
        raise BadInput(f"{run.results_csv}: no such file; run 04_evaluate first: {run.command('--to', '04')}")
    return pd.read_csv(run.results_csv, dtype={"seed": "Int64"})


def averaged(results: pd.DataFrame, benchmarks: Sequence[str] = ()) -> list[str]:
    """The benchmarks that ``mean`` is the plain mean of: those named, as far as they are there, else all of accuracy."""
    rows = results[results["metric"].isin(QUALITY)]
    there = rows["benchmark"].isin(benchmarks) if len(benchmarks) else rows["metric"] == "accuracy"
    return list(dict.fromkeys(rows.loc[there, "benchmark"]))


def quality(results: pd.DataFrame, benchmarks: Sequence[str] = ()) -> pd.DataFrame:
    """How good each model is: rows ``{family, method, seed, benchmark, value, n, ci_low, ci_high}``, ``mean`` among the benchmarks."""
    rows = results[results["metric"].isin(QUALITY)].drop(columns="metric")
    return _with_mean(rows, averaged(results, benchmarks))


def _with_mean(rows: pd.DataFrame, benchmarks: Sequence[str]) -> pd.DataFrame:
    graded = rows[rows["benchmark"].isin(benchmarks)]
    if graded.empty:
        return rows
    return pd.concat([measurements.average(graded, "benchmark", "mean"), rows], ignore_index=True)


def questions(results: pd.DataFrame, benchmark: str, benchmarks: Sequence[str] = ()) -> int:
    """Questions asked of a model: of one benchmark, or for ``mean`` of all that it is the mean of."""
    rows = quality(results, benchmarks)
    n = rows.loc[rows["benchmark"] == benchmark, "n"]
    return int(n.max()) if len(n) else 0


def headline(
    results: pd.DataFrame, benchmarks: Sequence[str] = (), level: float = 0.95, reference: str = "cgd"
) -> pd.DataFrame:
    """How good each method is on each benchmark and on their mean, and how far the reference lies above it.

    Args:
        results: rows of ``results.csv``.
        benchmarks: those that ``mean`` is the mean of; none: the accuracy benchmarks.
        level: of the intervals.
        reference: the method that the others are compared with.

    Returns:
        One row a (family, method, benchmark), the benchmark ``mean`` first. In percent: ``mean`` and ``sd`` over the
        ``n_seeds`` models, each asked ``n_questions``, with the interval ``ci_low``, ``ci_high`` and what it is over,
        ``interval_over``: see `statistics.summary`. In points: ``difference``, reference − method, with its interval and p,
        see `differences`; empty for the reference itself.
    """
    keys = ["family", "method", "benchmark"]
    rows = quality(results, benchmarks)
    models = list(dict.fromkeys(zip(rows["family"], rows["method"], strict=True)))
    table = over_seeds(rows, level, keys, limits=(0, 100))
    order = [models.index(pair) for pair in zip(table["family"], table["method"], strict=True)]
    table = table.assign(order=order).sort_values("order", kind="stable").drop(columns="order")
    names = {"value": "mean", "seeds": "n_seeds", "n": "n_questions", "over": "interval_over"}
    against = {method: reference for _, method in models if method != reference}
    found = differences(results, against, benchmarks, level)
    return table.rename(columns=names).merge(found, on=keys, how="left")


def differences(
    results: pd.DataFrame, against: Mapping[str, str], benchmarks: Sequence[str] = (), level: float = 0.95
) -> pd.DataFrame:
    """Paired differences in points, ``against[method]`` − method, one row a (family, method, benchmark), ``mean`` among them.

    Returns:
        ``difference`` with its interval, over seeds (all methods answer the same questions) and the least noise of the
        questions; of one seed, over its questions: see `measurements.minus`. ``p`` is the paired t-test's over seeds alone.
    """
    keys = ["family", "method", "benchmark"]
    single = difference_rows(results, against, benchmarks)
    names = {
        "value": "difference",
        "ci_low": "difference_low",
        "ci_high": "difference_high",
        "over": "difference_over",
    }
    tested = single.groupby(keys, sort=False)["value"].agg(lambda d: statistics.paired_difference(d, [0.0] * len(d)).p)
    out = over_seeds(single, level, keys).rename(columns=names)
    return out.merge(tested.rename("p").reset_index(), on=keys)[[*keys, *names.values(), "p"]]


def difference_rows(results: pd.DataFrame, against: Mapping[str, str], benchmarks: Sequence[str] = ()) -> pd.DataFrame:
    """`differences` seed by seed: rows as those of `quality`."""
    rows = results[results["metric"].isin(QUALITY)].drop(columns="metric")
    theirs = rows[rows["method"].isin(list(against))].assign(other=lambda t: t["method"].map(against))
    ours = rows[rows["method"].isin(list(against.values()))].rename(columns={"method": "other"})
    each = measurements.minus(ours, theirs, ["family", "benchmark", "other"]).drop(columns="other")
    return _with_mean(each, averaged(results, benchmarks))


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
    samples = sorted(filter(measurements.samples_of, set(results["metric"])), key=measurements.samples_of)
    shown = [m for m in (*QUALITY, *samples, *metrics) if (results["metric"] == m).any()]
    summed = over_seeds(results[results["metric"].isin(shown)], level, [*keys, "metric"])
    return measurements.spread(summed, keys, "metric", 1)[[*keys, *measurements.ABOUT, *shown]]


def printed(table: pd.DataFrame, family: str, benchmarks: Sequence[str] | None = None) -> pd.DataFrame:
    """The headline table as people read it: ``mean [interval]`` a benchmark, what the intervals are over, difference and p on the mean."""
    mine = table[table["family"] == family]
    rows = []
    for method, cells in mine.groupby("method", sort=False):
        by = cells.set_index("benchmark").to_dict("index")
        over = measurements.named(cells["interval_over"], by.get("mean", {}).get("difference_over"))
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
    parts = (cell.get(c, float("nan")) for c in ("difference", "difference_low", "difference_high"))
    return statistics.told(*parts, form="+.1f")


def p_told(p: float | None) -> str:
    """A p-value as people read it; '' where there is none."""
    return "" if p is None or pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def save_table(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes a table as CSV, Markdown and LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    save_csv(frame, folder / f"{name}.csv")
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
    over = measurements.named([o for c in ("interval_over", "over") if c in plotted for o in plotted[c]])
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
        axes.errorbar([j + shift for j in range(len(benchmarks))], cells["mean"], yerr=[low.fillna(0), high.fillna(0)],
                      marker=MARKERS[i % len(MARKERS)], capsize=2, lw=1.4, ms=5, color=colour(method),
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
            [h["step"] for h in rows], [h[name] for h in rows], color=colour(method), lw=1, alpha=0.8, label=known
        )
        held = [v for v in validations.get(key, []) if v.get(name) is not None]
        axes.plot([v["step"] for v in held], [v[name] for v in held], "o", color=colour(method), ms=4, mec="#333333")


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
