"""The rows of ``results.csv``: written by notebooks 04 and 05, read, averaged and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from ..core import statistics
from ..core.errors import BadInput
from ..core.files import write_json
from ..core.records import Record
from ..core.store import Run, content_key
from ..evaluation.figures import BY_QUESTION
from . import paired, summaries
from .summaries import over_seeds, save_csv

# the figures of a row; beside them `paired.BY_QUESTION` tells which questions were answered right, where that is kept
COLUMNS = ["family", "method", "seed", "benchmark", "metric", "value", "n", "ci_low", "ci_high"]
QUALITY = ("accuracy", "instruction_following")

# who writes result rows, in the order of ``results.csv``: 04 its models, 05 the points of a rate search and the cells of its grids
PARTS = ("main", "rates", "ablations")


def write_results(run: Run, rows: Sequence[Record], part: str = "main") -> pd.DataFrame:
    """Writes ``results.csv``: these rows as one of `PARTS`, in place of what that part had, and the rows of the others.

    Each (family, method, seed, benchmark, metric) stands once; where parts hold the same row, the last one's values count, at
    the first one's place. A part after the first that was measured under another profile is left out until its notebook runs again.

    Raises:
        BadInput: the first part is not there yet.
    """
    unrelated = {"name", "description", "processes", "ablations", "analyses"}
    key = content_key(run.profile.model_dump(mode="json", exclude=unrelated))
    kept = run.folder / "artifacts" / "results"
    kept.mkdir(parents=True, exist_ok=True)
    write_json(kept / f"{part}.json", {"key": key, "rows": list(rows)})
    found: dict[tuple, Record] = {}
    for name in PARTS:
        path, first = kept / f"{name}.json", name == PARTS[0]
        if first and not path.exists():
            raise BadInput(f"{path}: no such file; run 04_evaluate first")
        have: Record = {"key": "", "rows": []}
        if path.exists():
            have = json.loads(path.read_text(encoding="utf-8"))
        for r in have["rows"] if first or have["key"] == key else ():
            found[r["family"], r["method"], r["seed"], r["benchmark"], r["metric"]] = r
    frame = pd.DataFrame(list(found.values()), columns=[*COLUMNS, BY_QUESTION])
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
    return pd.concat([summaries.average(graded, "benchmark", "mean"), rows], ignore_index=True)


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
        ``interval_over``: see `core.statistics.summary`. In points: ``difference``, reference − method, with its interval and p,
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
        ``difference`` with its interval and ``p``, over seeds and questions at once: `paired.Scores.contrast`. Where the rows do not tell who
        got which question right, the interval is over seeds and the least noise of the questions (of one seed, over its questions:
        `reporting.summaries.minus`), and ``p`` is the paired t-test's over seeds alone. ``difference_over`` says which it is.
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
    out = out.merge(tested.rename("p").reset_index(), on=keys)[[*keys, *names.values(), "p"]]
    scores = {family: question_scores(results[results["family"] == family]) for family in dict.fromkeys(out["family"])}
    mean = averaged(results, benchmarks)
    for i, row in out.iterrows():
        weights = {against[row["method"]]: 1.0, row["method"]: -1.0}
        asked = mean if row["benchmark"] == "mean" else [row["benchmark"]]
        if found := scores[row["family"]].contrast(weights, asked, level):
            test, over = found
            out.loc[i, [*names.values(), "p"]] = test.difference, test.low, test.high, over, test.p
    return out


def question_scores(results: pd.DataFrame) -> paired.Scores:
    """How well one family's models answered each question; nothing where the rows do not tell."""
    rows = results[results["metric"].isin(QUALITY)]
    return paired.Scores(rows if BY_QUESTION in rows else rows.iloc[:0].assign(**{BY_QUESTION: ""}))


def difference_rows(results: pd.DataFrame, against: Mapping[str, str], benchmarks: Sequence[str] = ()) -> pd.DataFrame:
    """`differences` seed by seed: rows as those of `quality`."""
    rows = results[results["metric"].isin(QUALITY)].drop(columns="metric")
    theirs = rows[rows["method"].isin(list(against))].assign(other=lambda t: t["method"].map(against))
    ours = rows[rows["method"].isin(list(against.values()))].rename(columns={"method": "other"})
    each = summaries.minus(ours, theirs, ["family", "benchmark", "other"]).drop(columns="other")
    return _with_mean(each, averaged(results, benchmarks))
