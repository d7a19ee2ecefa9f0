"""Audit of the published tables: do the averages follow from their rows, and which differences exceed sampling noise?

The tables lie in ``published/`` as printed in arXiv 2505.11628.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core import statistics
from ..core.errors import BadInput
from ..core.provenance import PACKAGE
from ..core.records import Record

PUBLISHED = PACKAGE / "published"
HALF_UNIT = 0.05  # averages are printed to one decimal

MATH = ("math500", "minerva_math", "gsm8k", "olympiadbench", "amc23")
# table -> average column -> the columns it averages
AVERAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "table_webinstruct": {"avg_g1": MATH, "avg_g2": ("theoremqa", "gpqa", "mmlu_pro")},
    "table_qwen_cross_family": {"avg": ("math500", "minerva_math", "olympiadbench", "amc23", "aime24")},
}
# questions of each benchmark; a published accuracy is a share of them
QUESTIONS = {
    "math500": 500,
    "minerva_math": 272,
    "gsm8k": 1319,
    "olympiadbench": 675,
    "amc23": 40,
    "aime24": 30,
    "theoremqa": 800,
    "gpqa": 198,
    "mmlu_pro": 12032,
    "ifeval": 541,
    "musr": 756,
    "truthfulqa": 817,
    "bbh": 6511,
    "humaneval": 164,
}
# claims of the paper that are read from an average of these tables
CLAIMS = {
    ("table_webinstruct", "LLaMA3.1-8B-Instruct"): ("C1", "C9"),
    ("table_webinstruct", "S1.1-3B"): ("C1", "C9"),
    ("table_qwen_cross_family", "Qwen2.5-Math-7B"): ("C1", "C9"),
}
DETAILS = ("student", "teacher", "method")


@dataclass(frozen=True)
class Cell:
    """A printed average that does not follow from its row; ``claims`` rest on it."""

    table: str
    row: str
    column: str
    printed: float
    recomputed: float
    claims: str


def averages(folder: Path = PUBLISHED) -> list[Cell]:
    """Recomputes every published average from the printed cells of its row.

    A cell follows if it lies within half a unit of its last printed digit of the mean of its row.

    Args:
        folder: holds ``table_*.csv``; the shipped tables unless a copy is audited.

    Returns:
        The cells that do not follow, in the order of the tables.

    Raises:
        BadInput: a table, a column or a number is missing.
    """
    out = []
    for table, columns in AVERAGES.items():
        for row in read_table(folder, table):
            for column, parts in columns.items():
                printed = number(row, column, table)
                recomputed = sum(number(row, c, table) for c in parts) / len(parts)
                if abs(printed - recomputed) > HALF_UNIT + 1e-9:
                    claims = ", ".join(CLAIMS.get((table, row["student"]), ()))
                    out.append(Cell(table, _name(row), column, printed, round(recomputed, 2), claims))
    return out


def differences(folder: Path = PUBLISHED, level: float = 0.95) -> list[Record]:
    """Published CGD − baseline differences of each benchmark beside what its number of questions can show.

    The answers to each question are not published, so the methods are compared as independent samples (a score test,
    `core.statistics.independent_difference`); with shared questions the true noise is usually smaller. Within each table the
    p-values are Holm-corrected.

    Returns:
        Rows ``{table, student, teacher, baseline, benchmark, n, difference, questions, low, high, p, p_holm, exceeds_noise}``:
        differences in points, ``questions`` the difference in questions.
    """
    out: list[Record] = []
    for table in ("table_webinstruct", "table_qwen_cross_family", "table_ood"):
        mine = [d for ours, row in _pairs(read_table(folder, table)) for d in _compare(table, ours, row, level)]
        for d, p in zip(mine, statistics.holm([d["p"] for d in mine]), strict=True):
            d |= {"p_holm": float(p), "exceeds_noise": bool(p < 1 - level)}
        out += mine
    return out


def _pairs(rows: list[Record]) -> Iterator[tuple[Record, Record]]:
    """Each CGD row with every other row of its student and, where both name one, of its teacher."""
    for ours in (r for r in rows if r["method"] == "cgd"):
        for row in rows:
            same = not ours.get("teacher") or not row.get("teacher") or row["teacher"] == ours["teacher"]
            if row["student"] == ours["student"] and row["method"] != "cgd" and same:
                yield ours, row


def _compare(table: str, ours: Record, row: Record, level: float) -> Iterator[Record]:
    for benchmark, n in QUESTIONS.items():
        if benchmark not in ours:
            continue
        a, b = number(ours, benchmark, table), number(row, benchmark, table)
        right = [round(x * n / 100) for x in (a, b)]
        test = statistics.independent_difference(right[0], n, right[1], n, level)
        yield {
            "table": table,
            "student": ours["student"],
            "teacher": ours.get("teacher") or "",
            "baseline": row["method"],
            "benchmark": benchmark,
            "n": n,
            "difference": round(a - b, 1),
            "questions": right[0] - right[1],
            "low": 100 * test.low,
            "high": 100 * test.high,
            "p": test.p,
        }


def read_table(folder: Path, table: str) -> list[Record]:
    """The rows of a published table, as text.

    Raises:
        BadInput: no such file, or no rows.
    """
    path = Path(folder) / f"{table}.csv"
    if not path.is_file():
        raise BadInput(f"{path}: no such file; the audited folder must hold the published tables under their names")
    with path.open(encoding="utf-8-sig", newline="") as f:
        rows = list(csv.DictReader(f))
    if not rows:
        raise BadInput(f"{path}: no rows")
    return rows


def number(row: Record, column: str, table: str) -> float:
    """A cell as a number.

    Raises:
        BadInput: no such column, or not a number.
    """
    if column not in row:
        raise BadInput(f"{table}: no column {column!r}; columns: {', '.join(k for k in row if k)}")
    try:
        return float(row[column])
    except (TypeError, ValueError):
        raise BadInput(f"{table}, {_name(row)}, {column}: {row[column]!r} is not a number") from None


def _name(row: Record) -> str:
    return " / ".join(row[d] for d in DETAILS if row.get(d))


def rows(folder: Path = PUBLISHED) -> list[Record]:
    """`averages` as plain records."""
    return [asdict(c) for c in averages(folder)]
