"""Two methods on the same questions: paired differences a benchmark, from score files or from runs.

A side is a score file (as ``cgd grade`` writes it), a run's folder with a method (``outputs/lab:cgd``), or with family and method
(``outputs/lab:llama/cgd``); every seed of the run takes part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import statistics
from ..core.errors import BadInput
from ..core.files import read_jsonl
from ..core.records import Record

Item = tuple[str, str]
INDEX = "artifacts/scores/index"


@dataclass(frozen=True)
class Side:
    """One side: its name, and for each seed (None: unknown) benchmark → item id → (mean score over samples, gold)."""

    name: str
    seeds: dict[int | None, dict[str, dict[str, tuple[float, str]]]]
    questions: dict[str, str]  # benchmark -> hash of its questions, where known


def read_side(text: str) -> Side:
    """Reads one side as the command line names it.

    Raises:
        BadInput: no such file or run, a method that the run has not evaluated, or rows that are no scores.
    """
    if Path(text).is_file():
        return Side(text, {None: _scores(Path(text))}, {})
    folder, _, which = text.rpartition(":")
    if not folder and Path(text).is_dir():
        raise BadInput(f"{text}: is a folder; add the method to compare, for example {text}:cgd")
    if not folder or not Path(folder).is_dir():
        raise BadInput(f"{text!r}: neither a score file nor RUN_FOLDER:METHOD; no such file or folder in {Path.cwd()}")
    if not (Path(folder) / INDEX).is_dir():
        made = f"cgd run --profile {Path(folder).name} --outputs {Path(folder).absolute().parent} --to 04"
        raise BadInput(f"{text!r}: {folder} holds no scores; make them with 04_evaluate, for example: {made}")
    entries = index(Path(folder))
    family, _, method = which.rpartition("/")
    mine = [e for e in entries if e["method"] == method and family in ("", e["family"])]
    if not mine:
        known = ", ".join(sorted({f"{e['family']}/{e['method']}" for e in entries}))
        raise BadInput(f"{text!r}: {folder} holds no scores of {which!r}; it holds {known}")
    if len({e["family"] for e in mine}) > 1:
        raise BadInput(
            f"{text!r}: several families have {method!r}; name one, for example {folder}:{mine[0]['family']}/{method}"
        )
    seeds = {e["seed"]: _scores(Path(folder) / e["rows"]) for e in mine}
    return Side(text, seeds, mine[0]["questions"])


def index(folder: Path, family: str = "") -> list[Record]:
    """Which scores a run holds, of every family or of one: ``{family, method, seed, rows, questions}``.

    ``rows`` is the score file within the run's folder, ``questions`` a hash of each benchmark's questions.
    """
    entries = [json.loads(p.read_text(encoding="utf-8")) for p in sorted((folder / INDEX).glob("*.json"))]
    return [e for e in entries if family in ("", e["family"])]


def _scores(path: Path) -> dict[str, dict[str, tuple[float, str]]]:
    samples: dict[Item, dict[Any, tuple[float, str]]] = {}
    for i, row in enumerate(read_jsonl(path), 1):
        missing = [f for f in ("id", "correct") if f not in row]
        if missing:
            raise BadInput(
                f"{path}, row {i}: no field {missing[0]!r}; score rows have id, correct and maybe benchmark, sample"
            )
        if row["correct"] not in (True, False, None):
            raise BadInput(f"{path}, row {i}: correct is {row['correct']!r}, not true, false or null")
        item, sample = (str(row.get("benchmark") or ""), str(row["id"])), row.get("sample", 0)
        if sample in samples.setdefault(item, {}):
            raise BadInput(f"{path}, row {i}: id {row['id']!r} (sample {sample}) occurs twice")
        samples[item][sample] = (float(bool(row["correct"])), str(row.get("gold", "")))
    if not samples:
        raise BadInput(f"{path}: no rows")
    out: dict[str, dict[str, tuple[float, str]]] = {}
    for (benchmark, name), tries in samples.items():
        values = list(tries.values())
        out.setdefault(benchmark, {})[name] = (sum(v for v, _ in values) / len(values), values[0][1])
    return out


def compare(a: Side, b: Side, level: float = 0.95) -> list[Record]:
    """Paired comparison of each benchmark that both sides have, in percentage points.

    The interval and ``p`` resample questions (and seeds, where there are several: `core.statistics.hierarchical_bootstrap`);
    ``p_mcnemar`` is exact, for one seed and one sample; ``p_seeds`` is the paired t-test over seeds that both sides have;
    ``p_holm`` corrects ``p`` over the benchmarks.

    Returns:
        Rows ``{benchmark, n, seeds, a, b, difference, low, high, p, p_holm, p_mcnemar, p_seeds}``; None where not defined.

    Raises:
        BadInput: no benchmark or no seed in common, other questions, other items, or other gold answers.
    """
    base = next((s for s in (a, b) if set(s.seeds) == {None}), None)
    seeds = sorted(set(a.seeds) & set(b.seeds), key=lambda s: -1 if s is None else s)
    if base is not None and not seeds:  # one model without a seed against each seed of the other
        seeds = sorted(set(a.seeds) | set(b.seeds) - {None}, key=lambda s: -1 if s is None else s)
        seeds = [s for s in seeds if s is not None]
    if not seeds:
        raise BadInput(f"{a.name} has seeds {sorted(a.seeds)}, {b.name} has {sorted(b.seeds)}: none in common")
    left, right = ([s.seeds.get(x, s.seeds.get(None)) for x in seeds] for s in (a, b))
    shared = [name for name in left[0] if name in right[0]]
    if not shared:
        raise BadInput(f"{a.name} has benchmarks {sorted(left[0])}, {b.name} has {sorted(right[0])}: none in common")
    rows = []
    for name in shared:
        if a.questions.get(name) and b.questions.get(name) and a.questions[name] != b.questions[name]:
            raise BadInput(
                f"{name}: {a.name} and {b.name} answered other questions (another version or number of rows)"
            )
        ids = list(left[0][name])
        for side, runs in ((a, left), (b, right)):
            for run in runs:
                if name not in run:
                    raise BadInput(f"{side.name}: not every seed has benchmark {name!r}; evaluate them all first")
                _same_items(name, a.name, left[0][name], side.name, run[name])
        x, y = ([[run[name][i][0] for i in ids] for run in runs] for runs in (left, right))
        rows.append({"benchmark": name, **_test(x, y, level)})
    for row, p in zip(rows, statistics.holm([r["p"] for r in rows]), strict=True):
        row["p_holm"] = float(p)
    return rows


def unshared(a: Side, b: Side) -> list[str]:
    """Benchmarks that only one side has."""
    mine, theirs = ({name for scores in s.seeds.values() for name in scores} for s in (a, b))
    return sorted(mine ^ theirs)


def _same_items(benchmark: str, a: str, mine: dict, b: str, theirs: dict) -> None:
    if mine.keys() != theirs.keys():
        other = sorted(mine.keys() ^ theirs.keys())
        raise BadInput(
            f"{benchmark or 'scores'}: {a} and {b} hold other items ({len(mine)} and {len(theirs)}; {len(other)} in one only, "
            f"such as {other[0]!r}); compare answers to the same questions"
        )
    for i, (_, gold) in mine.items():
        if gold and theirs[i][1] and gold != theirs[i][1]:
            raise BadInput(f"{benchmark or 'scores'}: item {i!r} has gold {gold!r} in {a} and {theirs[i][1]!r} in {b}")


def _test(x: list[list[float]], y: list[list[float]], level: float) -> Record:
    mean = lambda rows: sum(map(sum, rows)) / (len(rows) * len(rows[0]))  # noqa: E731
    test = statistics.hierarchical_bootstrap(x, y, level=level)
    row: Record = {
        "n": test.n, "seeds": len(x), "a": 100 * mean(x), "b": 100 * mean(y), "difference": 100 * test.difference,
        "low": 100 * test.low, "high": 100 * test.high, "p": test.p, "p_holm": None, "p_mcnemar": None, "p_seeds": None,
    }  # fmt: skip
    if len(x) == 1 and {*x[0], *y[0]} <= {0.0, 1.0}:
        row["p_mcnemar"] = statistics.mcnemar(x[0], y[0]).p
    if len(x) > 1:
        p = statistics.paired_difference([sum(r) / len(r) for r in x], [sum(r) / len(r) for r in y], level).p
        row["p_seeds"] = None if p != p else p
    return row
