"""Problem sources: the lab, known hub data sets, any JSONL/CSV/Parquet file or hub id; splits and de-duplication.

A problem: ``{id, source, split, question, answer, solution, meta}``, for example
``{"id": "gsm8k-00000", "source": "gsm8k", "split": "train", "question": "…", "answer": "18", "solution": "…", "meta": {}}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from .artifacts import Artifact, BadInput, Run, read_jsonl, write_jsonl
from .profiles import LAB_SOURCES, Data

Record = dict[str, Any]
FIELDS = ("question", "answer", "solution")
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True)
class Source:
    """A data set on the hub: where it is and which of its columns hold our fields."""

    hub_id: str
    fields: Mapping[str, str]
    config: str | None = None
    split: str = "train"
    note: str = field(default="", compare=False)


SOURCES = {
    "webinstruct": Source("TIGER-Lab/WebInstructSub", {"question": "question", "answer": "answer"}),
    "webinstruct-cft": Source(
        "TIGER-Lab/WebInstruct-CFT", {"question": "input", "solution": "output"}, note="published critiques (GPT-4o)"
    ),
    "metamathqa": Source("meta-math/MetaMathQA", {"question": "query", "answer": "response"}),
    "openmathinstruct2": Source(
        "nvidia/OpenMathInstruct-2",
        {"question": "problem", "answer": "expected_answer", "solution": "generated_solution"},
    ),
    "gsm8k": Source("openai/gsm8k", {"question": "question", "answer": "answer"}, config="main"),
}
# a column that holds our field, if the user names none
GUESSES = {
    "question": ("question", "problem", "prompt", "query", "instruction", "input"),
    "answer": ("answer", "final_answer", "expected_answer", "gold", "response", "output"),
    "solution": ("solution", "rationale", "explanation", "generated_solution"),
}


def problems(run: Run) -> Artifact:
    """The training problems of a run, as an artifact with ``rows.jsonl``."""
    settings = run.profile.data

    def build(folder: Path) -> Record:
        rows, dropped = load_problems(settings)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "dropped": dropped}

    told: Record = settings.model_dump(mode="json")
    if is_file(settings.source):
        from .artifacts import file_hash

        # its content counts, not where it lies
        told |= {"source": Path(settings.source).name, "sha256": file_hash(_existing(settings.source))}
    return run.make("problems", _label(settings.source), build, settings=told, rows=settings.rows)


def _label(source: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(source).stem if is_file(source) else source)


def is_file(source: str) -> bool:
    """Whether a source names a file rather than the lab, a known data set or a hub id."""
    return Path(source).suffix.lower() in SUFFIXES


def load_problems(settings: Data) -> tuple[list[Record], dict[str, int]]:
    """Loads, checks, de-duplicates and draws the problems.

    Returns:
        The problems, and how many rows were dropped for which reason (``empty``, ``duplicate_question``).

    Raises:
        BadInput: missing file or column, duplicate ids, nothing left.
    """
    if settings.is_lab:
        from .lab import world

        if not settings.rows:
            raise BadInput("data.rows = 0 (all) but the lab's problems are endless: give a number")
        return world.make_problems(settings.rows, settings.steps, settings.seed, "train", source=settings.source), {}
    known = SOURCES.get(settings.source)
    if is_file(settings.source):
        name, table = Path(settings.source).stem, read_table(_existing(settings.source))
    else:
        name, table = settings.source, _read_hub(settings, known)
    mapping = {**(dict(known.fields) if known else {}), **settings.fields}
    rows, dropped = to_problems(table, name, settings.split, mapping)
    if not rows:
        raise BadInput(f"data.source {settings.source!r}: no usable rows ({dropped or 'the file is empty'})")
    Random(settings.seed).shuffle(rows)
    return rows[: settings.rows or None], dropped


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.is_file():
        raise BadInput(f"data.source {source!r}: no such file")
    return path


def read_table(path: Path) -> list[Record]:
    """Rows of a JSONL, JSON (a list), CSV or Parquet file.

    Raises:
        BadInput: missing file, unknown kind, or content that is not of its kind.
    """
    import pandas as pd

    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind == ".jsonl":
        return read_jsonl(path)
    try:
        if kind == ".json":
            import json

            rows = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
                raise BadInput(f"{path}: expected a list of objects")
            return rows
        if kind == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
        if kind == ".parquet":
            return pd.read_parquet(path).to_dict("records")
    except BadInput:
        raise
    except Exception as e:
        raise BadInput(f"{path}: cannot be read as {kind[1:].upper()} ({e})") from None
    raise BadInput(f"{path}: unknown kind of file; use one of {', '.join(SUFFIXES)}")


def _read_hub(settings: Data, known: Source | None) -> list[Record]:
    from datasets import load_dataset

    hub_id = known.hub_id if known else settings.source
    config = settings.config or (known.config if known else None)
    if "/" not in hub_id:
        raise BadInput(
            f"data.source {settings.source!r}: not {' or '.join(map(repr, LAB_SOURCES))}, not one of {', '.join(SOURCES)}, not a file "
            f"({', '.join(SUFFIXES)}) and not a hub id (owner/name)"
        )
    try:
        return list(load_dataset(hub_id, config, split=settings.split, revision=settings.revision))
    except Exception as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise BadInput(
            f"data.source {settings.source!r}: {hub_id} could not be loaded from the hub ({reason}). "
            f"Is there a network, does the id exist, and is access granted?"
        ) from None


def to_problems(
    table: Iterable[Mapping[str, Any]],
    source: str,
    split: str,
    mapping: Mapping[str, str],
    keep_duplicates: bool = False,
) -> tuple[list[Record], dict[str, int]]:
    """Rows of any table as problems; see `load_problems` for what is dropped and raised; a benchmark keeps its duplicates."""
    rows, seen_ids, seen_questions, dropped = [], set(), set(), {"empty": 0, "duplicate_question": 0}
    columns: dict[str, str] | None = None
    for i, row in enumerate(table):
        if columns is None:
            columns = _columns(row, source, mapping)
        got = {f: text_of(row.get(c)) for f, c in columns.items()}
        if not got.get("question") or not (got.get("answer") or got.get("solution")):
            dropped["empty"] += 1
            continue
        identity = got.get("id") or f"{source}-{i:05d}"
        if identity in seen_ids:
            raise BadInput(f"data.source {source!r}: id {identity!r} occurs twice; ids must be distinct")
        seen_ids.add(identity)
        if got["question"] in seen_questions and not keep_duplicates:
            dropped["duplicate_question"] += 1
            continue
        seen_questions.add(got["question"])
        solution = got.get("solution") or got["answer"]
        rows.append({
            "id": identity, "source": source, "split": split, "question": got["question"],
            "answer": final_answer(got.get("answer") or solution), "solution": solution, "meta": {},
        })  # fmt: skip
    return rows, {k: v for k, v in dropped.items() if v}


def _columns(row: Mapping[str, Any], source: str, mapping: Mapping[str, str]) -> dict[str, str]:
    for ours, theirs in mapping.items():
        if ours not in (*FIELDS, "id"):
            raise BadInput(f"data.fields: unknown field {ours!r}; use id, {', '.join(FIELDS)}")
        if theirs not in row:
            raise BadInput(
                f"data.source {source!r}: no column {theirs!r} (for {ours}); it has {', '.join(map(str, row))}"
            )
    out = dict(mapping)
    for ours, names in GUESSES.items():
        if ours not in out and (found := next((n for n in names if n in row and n not in out.values()), None)):
            out[ours] = found
    if "question" not in out or not {"answer", "solution"} & set(out):
        raise BadInput(
            f"data.source {source!r}: no column for question or answer among {', '.join(map(str, row))}; "
            f"name them: data.fields = {{question: …, answer: …}}"
        )
    if "id" not in out and isinstance(row.get("id", row.get("unique_id")), str | int):
        out["id"] = "id" if "id" in row else "unique_id"
    return out


def text_of(value: Any) -> str:
    """A cell as text: '' for nothing, lists joined, 27.0 as 27."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple) or hasattr(value, "tolist"):
        return ", ".join(text_of(v) for v in value)
    return str(value).strip()


def final_answer(text: str) -> str:
    """The final answer inside a reference solution: after ``####``, else in the last ``\\boxed{}``, else all of it."""
    if "####" in text:
        return text.rpartition("####")[2].strip().replace(",", "")
    if "\\boxed" in text:
        from .grading import extract

        return extract(text) or text
    return text
