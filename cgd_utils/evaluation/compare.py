"""Two methods on the same questions: paired differences a benchmark, from score files or from runs.

A side is a score file (as ``cgd grade`` writes it), a run's folder with a method (``outputs/lab:cgd``), or with family
and method (``outputs/lab:llama/cgd``); every seed of the run takes part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import bootstrap, crossed, statistics
from ..core.errors import BadInput
from ..core.files import read_jsonl
from ..core.records import Record

# benchmark -> item id -> (mean score over samples, gold)
Scores = dict[str, dict[str, tuple[float, str]]]
INDEX = "artifacts/scores/index"
ALL = "all questions"


@dataclass(frozen=True)
class Side:
    """One side: its name, the scores of each seed (None: unknown), and benchmark → hash of its questions."""

    name: str
    seeds: dict[int | None, Scores]
    questions: dict[str, str]  # those that are known


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
        command = f"cgd run --profile {Path(folder).name} --outputs {Path(folder).absolute().parent} --to 04"
        raise BadInput(f"{text!r}: {folder} holds no scores; make them with 04_evaluate, for example: {command}")
    entries = index(Path(folder))
    family, _, method = which.rpartition("/")
    chosen = [e for e in entries if e["method"] == method and family in ("", e["family"])]
    if not chosen:
        known = ", ".join(sorted({f"{e['family']}/{e['method']}" for e in entries}))
        raise BadInput(f"{text!r}: {folder} holds no scores of {which!r}; it holds {known}")
    if len({e["family"] for e in chosen}) > 1:
        example = f"{folder}:{chosen[0]['family']}/{method}"
        raise BadInput(f"{text!r}: several families have {method!r}; name one, for example {example}")
    seeds = {e["seed"]: _scores(Path(folder) / e["rows"]) for e in chosen}
    return Side(text, seeds, chosen[0]["questions"])


def index(folder: Path, family: str = "") -> list[Record]:
    """Which scores a run holds, of every family or of one: ``{family, method, seed, rows, questions}``.

    ``rows`` is the score file within the run's folder, ``questions`` a hash of each benchmark's questions.
    """
    entries = [json.loads(p.read_text(encoding="utf-8")) for p in sorted((folder / INDEX).glob("*.json"))]
    return [e for e in entries if family in ("", e["family"])]


def _scores(path: Path) -> Scores:
    samples: dict[tuple[str, str], dict[Any, Record]] = {}
    for i, row in enumerate(read_jsonl(path), 1):
        missing = [f for f in ("id", "correct") if f not in row]
        if missing:
            expected = "score rows have id, correct and maybe benchmark, sample"
            raise BadInput(f"{path}, row {i}: no field {missing[0]!r}; {expected}")
        if row["correct"] not in (True, False, None):
            raise BadInput(f"{path}, row {i}: correct is {row['correct']!r}, not true, false or null")
        tries = samples.setdefault((str(row.get("benchmark") or ""), str(row["id"])), {})
        sample = row.get("sample", 0)
        if sample in tries:
            raise BadInput(f"{path}, row {i}: id {row['id']!r} (sample {sample}) occurs twice")
        tries[sample] = row
    if not samples:
        raise BadInput(f"{path}: no rows")
    scores: Scores = {}
    for (benchmark, name), tries in samples.items():
        first = next(iter(tries.values()))
        score = sum(bool(row["correct"]) for row in tries.values()) / len(tries)
        scores.setdefault(benchmark, {})[name] = (score, str(first.get("gold", "")))
    return scores


def compare(a: Side, b: Side, level: float = 0.95) -> list[Record]:
    """Paired comparison of each benchmark that both sides have, and of `ALL` their questions, in percentage points.

    Of several seeds, interval and ``p`` are those of `core.crossed.crossed_difference`, seeds and questions both drawn from larger
    populations; of one seed, those of the paired bootstrap over questions. ``boot_low`` and ``boot_high`` resample both
    (`core.bootstrap.hierarchical_bootstrap`), as a check. ``p_mcnemar`` is exact, for one seed and one sample; ``p_seeds`` is the
    paired t-test over seeds that both sides have; ``p_holm`` corrects ``p`` over the benchmarks.

    Returns:
        Rows ``{benchmark, n, seeds, a, b, difference, low, high, p, p_holm, p_mcnemar, p_seeds, boot_low, boot_high}``; None where
        not defined.

    Raises:
        BadInput: no benchmark or no seed in common, other questions, other items, or other gold answers.
    """
    left, right = _paired(a, b)
    shared = [name for name in left[0] if name in right[0]]
    if not shared:
        raise BadInput(f"{a.name} has benchmarks {sorted(left[0])}, {b.name} has {sorted(right[0])}: none in common")
    rows, tables = [], []
    for name in shared:
        if a.questions.get(name) and b.questions.get(name) and a.questions[name] != b.questions[name]:
            why = "answered other questions (another version or number of rows)"
            raise BadInput(f"{name}: {a.name} and {b.name} {why}")
        for side, seeds in ((a, left), (b, right)):
            for scores in seeds:
                if name not in scores:
                    raise BadInput(f"{side.name}: not every seed has benchmark {name!r}; evaluate them all first")
                _same_items(name, a.name, left[0][name], side.name, scores[name])
        x, y = ([[scores[name][i][0] for i in left[0][name]] for scores in seeds] for seeds in (left, right))
        tables.append((x, y))
        rows.append({"benchmark": name, **_test(x, y, level)})
    for row, p in zip(rows, statistics.holm([r["p"] for r in rows]), strict=True):
        row["p_holm"] = float(p)
    if len(tables) > 1:
        x, y = ([[s for table in tables for s in table[side][i]] for i in range(len(left))] for side in (0, 1))
        rows.append({"benchmark": ALL, **_test(x, y, level)})
    return rows


def _paired(a: Side, b: Side) -> tuple[list[Scores], list[Scores]]:
    """Both sides' scores by the seeds that they share; a side without seeds stands beside each seed of the other."""
    shared = set(a.seeds) & set(b.seeds)
    if not shared and {None} in (set(a.seeds), set(b.seeds)):
        shared = (set(a.seeds) | set(b.seeds)) - {None}
    if not shared:
        raise BadInput(f"{a.name} has seeds {_ordered(a.seeds)}, {b.name} has {_ordered(b.seeds)}: none in common")
    seeds = _ordered(shared)
    left, right = ([side.seeds[s if s in side.seeds else None] for s in seeds] for side in (a, b))
    return left, right


def _ordered(seeds: Any) -> list[int | None]:
    return sorted(seeds, key=lambda s: -1 if s is None else s)


def unshared(a: Side, b: Side) -> list[str]:
    """Benchmarks that only one side has."""
    ours, theirs = ({name for scores in s.seeds.values() for name in scores} for s in (a, b))
    return sorted(ours ^ theirs)


def _same_items(benchmark: str, a: str, ours: dict, b: str, theirs: dict) -> None:
    about = benchmark or "scores"
    if ours.keys() != theirs.keys():
        other = sorted(ours.keys() ^ theirs.keys())
        raise BadInput(
            f"{about}: {a} and {b} hold other items ({len(ours)} and {len(theirs)}; {len(other)} in one only, "
            f"such as {other[0]!r}); compare answers to the same questions"
        )
    for i, (_, gold) in ours.items():
        if gold and theirs[i][1] and gold != theirs[i][1]:
            raise BadInput(f"{about}: item {i!r} has gold {gold!r} in {a} and {theirs[i][1]!r} in {b}")


def _test(x: list[list[float]], y: list[list[float]], level: float) -> Record:
    """A benchmark's row; ``x`` and ``y`` are scores from 0 to 1, (seeds, items)."""
    boot = bootstrap.hierarchical_bootstrap(x, y, level=level)
    assert isinstance(boot, statistics.Test)
    test = crossed.crossed_difference(x, y, level) if len(x) > 1 else boot
    means_x, means_y = ([sum(r) / len(r) for r in side] for side in (x, y))
    p_mcnemar = p_seeds = None
    if len(x) == 1 and {*x[0], *y[0]} <= {0.0, 1.0}:
        p_mcnemar = statistics.mcnemar(*([score == 1 for score in side[0]] for side in (x, y))).p
    if len(x) > 1:
        p = statistics.paired_difference(means_x, means_y, level).p
        p_seeds = None if p != p else p
    n = len(x) * len(x[0])
    shares = {"a": sum(map(sum, x)) / n, "b": sum(map(sum, y)) / n}
    shares |= {"difference": test.difference, "low": test.low, "high": test.high}
    checks = {"boot_low": 100 * boot.low, "boot_high": 100 * boot.high}
    percent = {name: 100 * value for name, value in shares.items()}
    tests = {"p": test.p, "p_holm": None, "p_mcnemar": p_mcnemar, "p_seeds": p_seeds}
    return {"n": test.n, "seeds": len(x), **percent, **tests, **checks}
