"""Rows and files: everything around the comparison of two answers."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..core.files import atomic
from ..core.progress import bar
from .extraction import extract
from .rules import Verdict, check_rule, quick

PAIRS_PER_WORKER = 40  # fewer than this do not pay for one more process, which takes about half a second to start


def grade(
    rows: Iterable[dict[str, Any]],
    rule: str = "math",
    workers: int | None = None,
    timeout_s: float = 5.0,
    progress: bool = False,
) -> list[dict[str, Any]]:
    r"""Grades model texts against gold answers.

    Equal pairs of (gold, extracted answer) are compared once. Plain numbers, words, choices and lists of them are
    compared here; only what is left goes to math-verify, in processes that are killed when an answer overruns its time.

    Args:
        rows: ``{"id", "gold", "text"[, "sample", "benchmark"]}``, e.g.
            ``{"id": 7, "gold": "\\frac{1}{2}", "text": "… so it is \\boxed{0.5}."}``. A gold may be a number.
        rule: one of `RULES`, see the package.
        workers: processes for math-verify; None: as the work and the machine's cores suggest, 8 at most.
        timeout_s: wall clock of one comparison in seconds.
        progress: show a progress bar of the comparisons that go to math-verify.

    Returns:
        For each row, in order: ``{["benchmark",] "id", "sample", "extracted", "gold", "correct", "status"}``. `correct`
        is None for status ``timeout`` and for an unparsable gold.

    Raises:
        ValueError: unknown rule, a row without a column, an empty gold, a text that is no string, a row given twice.
    """
    _check_settings(rule, workers, timeout_s)
    checked = _checked((f"row {i}", row) for i, row in enumerate(rows, 1))
    return _grade(list(checked), rule, workers, timeout_s, progress)


def _check_settings(rule: str, workers: int | None, timeout_s: float = 5.0) -> None:
    check_rule(rule)
    if workers is not None and workers < 1:
        raise ValueError(f"workers = {workers} – must be at least 1, or None for as many as the work needs")
    if not timeout_s > 0:
        raise ValueError(f"timeout_s = {timeout_s} – must be > 0")


def _grade(rows: list[dict], rule: str, workers: int | None, timeout_s: float, progress: bool) -> list[dict]:
    answers: dict[str, str | None] = {}
    scores: list[dict[str, Any]] = []
    verdicts: dict[tuple[str, str], Verdict | None] = {}
    for row in rows:
        gold, text = _text(row["gold"]), row["text"]
        if text not in answers:
            answers[text] = extract(text, rule)
        answer = answers[text]
        if answer is not None and (gold, answer) not in verdicts:
            verdicts[gold, answer] = quick(gold, answer, rule)
        head = {"benchmark": row["benchmark"]} if "benchmark" in row else {}
        scores.append({**head, "id": row["id"], "sample": _sample(row), "extracted": answer, "gold": gold})
    _ask_math_verify(verdicts, rule, workers, timeout_s, progress)
    for score in scores:
        answer = score["extracted"]
        verdict = (False, "no_answer") if answer is None else verdicts[score["gold"], answer]
        assert verdict is not None
        score["correct"], score["status"] = verdict
    return scores


def _ask_math_verify(verdicts: dict, rule: str, workers: int | None, timeout_s: float, progress: bool) -> None:
    open_pairs = [pair for pair, verdict in verdicts.items() if verdict is None]
    if not open_pairs:
        return
    from .pool import judge_all

    if workers is None:
        workers = min(os.cpu_count() or 1, 8, 1 + len(open_pairs) // PAIRS_PER_WORKER)
    tasks = [(gold, answer, rule) for gold, answer in open_pairs]
    with bar(total=len(tasks), desc="grading", unit="answer", mininterval=1) if progress else nullcontext() as shown:
        done = judge_all(tasks, workers, timeout_s, shown.update if shown else lambda: None)
    verdicts.update(zip(open_pairs, done, strict=True))


def _text(gold: Any) -> str:
    return gold if isinstance(gold, str) else json.dumps(gold) if isinstance(gold, list) else str(gold)


def _sample(row: dict[str, Any]) -> Any:
    sample = row.get("sample")
    return 0 if sample is None else sample


def _checked(rows: Iterable[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows again; ValueError at the first that cannot be graded, saying where it stands."""
    seen: dict[tuple, str] = {}
    for where, row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{where}: {str(row)[:60]!r} is no record – each must be an object with id, gold and text")
        for column in ("id", "gold", "text"):
            if column not in row:
                have = ", ".join(map(str, row)) or "none"
                raise ValueError(f"{where}: column {column!r} is missing (it has: {have}) – rename or add it")
        if isinstance(row["gold"], dict) or row["gold"] != row["gold"]:
            raise ValueError(f"{where}: gold of id {row['id']!r} is {row['gold']!r} – give a text, a number or a list")
        if row["gold"] is None or row["gold"] == [] or not _text(row["gold"]).strip(" \t\r\n\0$"):
            raise ValueError(f"{where}: gold of id {row['id']!r} is empty – give the gold answer or leave the row out")
        if not isinstance(row["text"], str):
            raise ValueError(
                f"{where}: text of id {row['id']!r} is {row['text']!r} – must be a string ('' for no text)"
            )
        key = tuple(json.dumps(part) for part in (row.get("benchmark"), row["id"], _sample(row)))
        if key in seen:
            raise ValueError(
                f"{where}: (benchmark, id, sample) = ({', '.join(key)}) was given before, in {seen[key]} – "
                "number repeated samples of a question in a column 'sample'"
            )
        seen[key] = where
        yield row


def grade_file(path: str | Path, out: str | Path, rule: str = "math", workers: int | None = None) -> dict[str, Any]:
    """Grades a JSONL file of rows (see `grade`) into a JSONL file of scores, in the order of the input.

    Everything is checked before the first answer is graded; `out` appears whole or not at all.

    Returns:
        ``{"n": 500, "correct": 341, "accuracy": 0.682, "status": {"ok": 496, "no_answer": 4}}``. Accuracy is
        correct / n, so an answer that was not found or not compared counts as not correct; None for an empty file.

    Raises:
        FileNotFoundError: no such file, or no such folder for `out`.
        ValueError: unknown rule; invalid JSON, a missing column, an empty gold or a repeated row, with the line.
    """
    path, out = Path(path), Path(out)
    _check_settings(rule, workers)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file – give a JSONL file of rows with id, gold and text")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"{out}: the folder {out.absolute().parent} does not exist – make it first")
    if out.is_dir() or out.resolve() == path.resolve():
        why = "is a folder" if out.is_dir() else "is the input too"
        raise ValueError(f"{out}: {why} – choose another name for the scores")
    scores = _grade(list(_checked(_read(path))), rule, workers, timeout_s=5.0, progress=sys.stderr.isatty())
    with atomic(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(map(_line, scores))
    return summary(scores)


def summary(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Number of scores, number correct, accuracy and how often each status occurs."""
    correct = sum(score["correct"] is True for score in scores)
    status = dict(Counter(score["status"] for score in scores))
    return {
        "n": len(scores),
        "correct": correct,
        "accuracy": correct / len(scores) if scores else None,
        "status": status,
    }


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows and where they stand; `core.files.read_jsonl` does not say of a valid row in which line it is."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 ({error.reason} in {error.object[error.start :][:1]!r}) – save it as UTF-8"
        ) from None
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield f"{path} line {i}", json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} line {i}: no valid JSON ({error}) – each line must be one object") from None


def _line(score: dict[str, Any]) -> str:
    """One line of JSON: also for readers that split at Unicode's other line ends, and with half a surrogate pair in it."""
    text = json.dumps(score, ensure_ascii=False)
    if not text.isascii() and re.search("[\x85\u2028\u2029\ud800-\udfff]", text):
        text = json.dumps(score)
    return text + "\n"


def disagreements(
    rows: Iterable[dict[str, Any]], rules: tuple[str, ...] = ("math", "relative"), workers: int | None = None
) -> list[dict[str, Any]]:
    """The rows on which rules disagree.

    Args:
        rows: as for `grade`.
        rules: two or more of `RULES`.
        workers: as for `grade`.

    Returns:
        ``{["benchmark",] "id", "sample", "gold", "extracted", "correct"}`` for each, the last two by rule: gold
        0.5 and answer 0.50001 give ``"correct": {"math": False, "relative": True}``.

    Raises:
        ValueError: as `grade`.
    """
    rows = list(rows)
    graded = {rule: grade(rows, rule, workers) for rule in rules}
    found = []
    for scores in zip(*graded.values(), strict=True):
        by_rule = dict(zip(graded, scores, strict=True))
        if len({score["correct"] for score in scores}) > 1:
            head = {k: v for k, v in scores[0].items() if k in ("benchmark", "id", "sample", "gold")}
            columns = {c: {rule: score[c] for rule, score in by_rule.items()} for c in ("extracted", "correct")}
            found.append({**head, **columns})
    return found
