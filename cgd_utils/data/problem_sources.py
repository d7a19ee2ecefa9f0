"""Problem sources: the lab, templates, known hub data sets, any JSONL/CSV/Parquet file or hub id; splits and de-duplication.

A problem: ``{id, source, split, question, answer, solution, meta}``, for example
``{"id": "gsm8k-00000", "source": "gsm8k", "split": "train", "question": "…", "answer": "18", "solution": "…", "meta": {}}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from ..core.errors import BadInput
from ..core.files import file_hash, write_jsonl
from ..core.records import Record
from ..core.settings import LAB_SOURCES, TEMPLATE_SOURCES, Benchmark, Data
from ..core.store import Artifact, Run
from ..grading.extraction import extract
from ..grading.records import grade
from . import gsm_symbolic, word_problems
from .tables import SUFFIXES, read_hub, read_table, text_of

FIELDS = ("question", "answer", "solution")
GIVEN = ("draft", "critique", "refined", "direct")  # texts that a source may bring along, kept in ``meta["given"]``

UNREADABLE_SHARE = 0.02  # more golds than this that the grader cannot read stop a run (`data.unreadable`)
GOLD_WORDS = 10  # a gold of more words is a text, which no final answer equals


def _critiqued(row: Mapping[str, Any]) -> Record:
    """A row of WebInstruct-CFT as question and solution.

    Its ``input`` holds the question and somebody's solution, its ``output`` a critique that ends in ``Conclusion: right``
    or ``wrong``: only a solution that the critique calls right is a reference.
    """
    question, _, solution = str(row["input"]).partition("Solution:\n")
    right = re.search(r"Conclusion:\W*right\b", str(row["output"]), re.IGNORECASE)
    return {**row, "input": question.strip().removeprefix("Question:"), "output": solution if right else ""}


@dataclass(frozen=True)
class Source:
    """A data set on the hub: where it is and which of its columns hold our fields.

    Attributes:
        hub_id, config, split: on the hub.
        fields: our field → its column.
        prepare: makes a row whose columns hold our fields, for a data set that keeps several in one column.
    """

    hub_id: str
    fields: Mapping[str, str]
    config: str | None = None
    split: str = "train"
    prepare: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict


SOURCES = {
    "webinstruct": Source("TIGER-Lab/WebInstructSub", {"question": "question", "answer": "answer"}),
    # solutions that a published critique (GPT-4o) calls right
    "webinstruct-cft": Source(
        "TIGER-Lab/WebInstruct-CFT", {"question": "input", "solution": "output"}, prepare=_critiqued
    ),
    "metamathqa": Source("meta-math/MetaMathQA", {"question": "query", "answer": "response"}),
    "openmathinstruct2": Source(
        "nvidia/OpenMathInstruct-2",
        {"question": "problem", "answer": "expected_answer", "solution": "generated_solution"},
    ),
    "gsm8k": Source("openai/gsm8k", {"question": "question", "answer": "answer"}, config="main"),
}
# columns of whole chats: the user's turn is the question, the assistant's the solution
CHATS = ("messages", "conversations")
# a column that holds our field, if the user names none
GUESSES = {
    "question": ("question", "problem", "prompt", "query", "instruction", "input", *CHATS),
    "answer": ("answer", "final_answer", "expected_answer", "gold", "response", "output"),
    "solution": ("solution", "rationale", "explanation", "generated_solution"),
    **{text: (text,) for text in GIVEN},
}


def problems(run: Run) -> Artifact:
    """The training problems of a run, as an artifact with ``rows.jsonl``."""
    settings = run.profile.data

    def build(folder: Path) -> Record:
        rows, dropped = load_problems(settings)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "dropped": dropped, "ungraded": sum(r["meta"].get("ungraded", False) for r in rows)}

    about: Record = settings.model_dump(mode="json", exclude={"per_seed"})
    if is_file(settings.source):
        # its content counts, not where it lies
        about |= {"source": Path(settings.source).name, "sha256": file_hash(_existing(settings.source))}
    return run.make("problems", _label(settings.source), build, settings=about, rows=settings.rows)


def _label(source: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(source).stem if is_file(source) else source)


def is_file(source: str) -> bool:
    """Whether a source names a file rather than the lab, a known data set or a hub id."""
    return Path(source).suffix.lower() in SUFFIXES


def load_problems(settings: Data) -> tuple[list[Record], dict[str, int]]:
    """Loads, checks, de-duplicates and draws the problems; with ``data.order: first`` the first usable rows as they stand.

    Returns:
        The problems, and how many rows were dropped for which reason: ``empty`` (no question or no answer),
        ``duplicate_question``, ``unreadable`` (`read_golds`).

    Raises:
        BadInput: missing file or column, duplicate ids, too many answers that the grader cannot read, nothing left.
    """
    if settings.is_lab:
        from ..lab import world

        if not settings.rows:
            raise BadInput("data.rows = 0 (all) but the lab's problems are endless: give a number")
        return world.make_problems(settings.rows, list(settings.steps), settings.seed, "train"), {}
    if settings.from_templates:
        if not settings.rows:
            raise BadInput(f"data.rows = 0 (all) but {settings.source}'s problems are endless: give a number")
        return from_templates(settings.source, settings.rows, settings, "train"), {}
    known = SOURCES.get(settings.source)
    if is_file(settings.source):
        name, table = Path(settings.source).stem, read_table(_existing(settings.source))
    else:
        name, table = settings.source, _read_hub(settings, known)
    mapping = {**(dict(known.fields) if known else {}), **settings.fields}
    as_they_stand = settings.order == "first"
    rows, dropped = to_problems(table, name, settings.split, mapping, keep_duplicates=as_they_stand)
    if not rows:
        raise BadInput(f"data.source {settings.source!r}: no usable rows ({dropped or 'the file is empty'})")
    if not as_they_stand:
        Random(settings.seed).shuffle(rows)
    rows, unread = read_golds(rows[: settings.rows or None], settings)
    return rows, {**dropped, "unreadable": unread} if unread else dropped


def from_templates(source: str, rows: int, settings: Data | Benchmark, split: str) -> list[Record]:
    """Problems made from the templates of a source, as the settings say."""
    if source == gsm_symbolic.NAME:
        return gsm_symbolic.make_problems(rows, settings.steps, settings.seed, split, settings.templates)
    return word_problems.make_problems(rows, settings.steps, settings.seed, split, settings.templates, settings.numbers)


def read_golds(rows: Sequence[Record], settings: Data) -> tuple[list[Record], int]:
    """The problems whose answer the grader can compare with, and how many were dropped, as ``data.unreadable`` says.

    With ``keep`` all stay, and those that cannot be compared have ``meta: {"ungraded": true}``.

    Raises:
        BadInput: with ``stop``, more than `UNREADABLE_SHARE` of the answers are unreadable; three of them are shown.
            With ``drop``, all are.
    """
    bad = unreadable([r["answer"] for r in rows])
    unread = [r for r in rows if r["answer"] in bad]
    if settings.unreadable == "keep":
        return [{**r, "meta": {**r["meta"], "ungraded": True}} if r["answer"] in bad else r for r in rows], 0
    too_many = settings.unreadable == "stop" and len(unread) > UNREADABLE_SHARE * len(rows)
    if too_many or len(unread) == len(rows):
        shown = "; ".join(f"{r['id']}: {_short(r['answer'])}" for r in unread[:3])
        raise BadInput(
            f"data.source {settings.source!r}: {len(unread)} of {len(rows)} answers "
            f"({100 * len(unread) / len(rows):.1f}%) are nothing that the grader can read, such as {shown}. Name the column of "
            f"the final answer (data.fields: {{answer: …}}), or end each solution with '#### …' or \\boxed{{…}}; "
            f"data.unreadable: drop leaves such rows out, keep keeps them ungraded"
        )
    return [r for r in rows if r["answer"] not in bad], len(unread)


def unreadable(golds: Iterable[str]) -> set[str]:
    """Those of some golds that no answer can be compared with: the grader cannot parse them, or they are whole texts.

    A text has several lines (a matrix aside) or more than `GOLD_WORDS` words, LaTeX commands not counted.
    """
    distinct = list(dict.fromkeys(golds))
    # any answer will do that equals no gold: what cannot be parsed is told by its status
    asked = [{"id": i, "gold": g, "text": "\\boxed{83117.25}"} for i, g in enumerate(distinct)]
    bad = {s["gold"] for s in grade(asked, "math") if s["correct"] is None and s["status"] == "unparsable"}
    return bad | {g for g in distinct if _is_text(g)}


def _is_text(gold: str) -> bool:
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", gold)
    return ("\n" in gold and "\\begin" not in gold) or len(words) > GOLD_WORDS


def _short(text: str, size: int = 70) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= size else f"{flat[: size - 1]}…")


_REASONS = {
    "empty": "without a question or an answer",
    "duplicate_question": "with a question that came before",
    "unreadable": "with an answer that the grader cannot read",
}


def in_words(facts: Mapping[str, Any]) -> str:
    """The facts of a problems artifact as a sentence: how many problems there are, and what was left out."""
    parts = [f"{facts['rows']} problems"]
    if dropped := facts.get("dropped"):
        parts.append("left out: " + ", ".join(f"{n} {_REASONS[why]}" for why, n in dropped.items()))
    if facts.get("removed"):
        parts.append(f"left out: {facts['removed']} that overlap with a benchmark")
    if facts.get("ungraded"):
        parts.append(f"{facts['ungraded']} have an answer that the grader cannot read and are not graded")
    return "; ".join(parts)


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.is_file():
        raise BadInput(f"data.source {source!r}: no such file")
    return path


def _read_hub(settings: Data, known: Source | None) -> list[Record]:
    hub_id = known.hub_id if known else settings.source
    config = settings.config or (known.config if known else None)
    if "/" not in hub_id:
        raise BadInput(
            f"data.source {settings.source!r}: not {' or '.join(map(repr, (*LAB_SOURCES, *TEMPLATE_SOURCES)))}, not one of {', '.join(SOURCES)}, not a file "
            f"({', '.join(SUFFIXES)}) and not a hub id (owner/name)"
        )
    return read_hub(f"data.source {settings.source!r}: ", hub_id, config, settings.split, settings.revision)


def to_problems(
    table: Iterable[Mapping[str, Any]],
    source: str,
    split: str,
    mapping: Mapping[str, str],
    keep_duplicates: bool = False,
) -> tuple[list[Record], dict[str, int]]:
    """Rows of any table as problems; see `load_problems` for what is dropped and raised; a benchmark keeps its duplicates."""
    rows, seen_ids, seen_questions, dropped = [], set(), set(), {"empty": 0, "duplicate_question": 0}
    columns: dict[str, str] = {}
    known = SOURCES.get(source)
    for i, row in enumerate(table):
        columns = columns or _columns(row, source, mapping)
        prepared = known.prepare(row) if known else row
        try:
            cells = {f: text_of(prepared.get(c), f) for f, c in columns.items()}
        except ValueError as e:
            raise BadInput(f"data.source {source!r}, row {i + 1}: {e}") from None
        question = cells.get("question")
        answer = final_answer(cells.get("answer", "")) or final_answer(cells.get("solution", ""))
        if not question or not answer:
            dropped["empty"] += 1
            continue
        identity = cells.get("id") or f"{source}-{i:05d}"
        if identity in seen_ids:
            raise BadInput(f"data.source {source!r}: id {identity!r} occurs twice; ids must be distinct")
        seen_ids.add(identity)
        if question in seen_questions and not keep_duplicates:
            dropped["duplicate_question"] += 1
            continue
        seen_questions.add(question)
        solution = cells.get("solution") or cells["answer"]
        problem = {"id": identity, "source": source, "split": split, "question": question, "answer": answer}
        given = {text: cells[text] for text in GIVEN if text in cells}
        rows.append({**problem, "solution": solution, "meta": {"given": given} if given else {}})
    return rows, {k: v for k, v in dropped.items() if v}


def _columns(row: Mapping[str, Any], source: str, mapping: Mapping[str, str]) -> dict[str, str]:
    for ours, theirs in mapping.items():
        if ours not in (*FIELDS, *GIVEN, "id"):
            raise BadInput(f"data.fields: unknown field {ours!r}; use id, {', '.join((*FIELDS, *GIVEN))}")
        if theirs not in row:
            raise BadInput(
                f"data.source {source!r}: no column {theirs!r} (for {ours}); it has {', '.join(map(str, row))}"
            )
    out = dict(mapping)
    for ours, names in GUESSES.items():
        if ours not in out and (found := next((n for n in names if n in row and n not in out.values()), None)):
            out[ours] = found
    if out.get("question") in CHATS:
        out.setdefault("solution", out["question"])
    if "question" not in out or not {"answer", "solution"} & set(out):
        raise BadInput(
            f"data.source {source!r}: no column for question or answer among {', '.join(map(str, row))}; "
            f"name them: data.fields = {{question: …, answer: …}}"
        )
    if "id" not in out and isinstance(row.get("id", row.get("unique_id")), str | int):
        out["id"] = "id" if "id" in row else "unique_id"
    return out


def given(problem: Record, text: str) -> str:
    """A text that the source brought along for a problem.

    Raises:
        BadInput: it has no such column; the way out is named.
    """
    texts = problem["meta"].get("given", {})
    if text not in texts:
        raise BadInput(
            f"data.source {problem['source']!r} has no column {text!r}; name it (data.fields: {{{text}: …}}), or make such a file "
            f"with cgd import"
        )
    return str(texts[text])


_MARKED = re.compile(r"####|\\boxed|\banswer\b[\s*_]*(?:is\b|[:：])", re.IGNORECASE)
# a Markdown heading, with text under it, is no mark of an answer
_HEADING = re.compile(r"^\s*####[ \t]*\S.*\n(?=\s*\S)", re.MULTILINE)
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def final_answer(text: str) -> str:
    """The final answer inside a reference solution, as the grader reads one from a model's text (`grading.extract`).

    That is what the last ``\\boxed{}`` holds, else what follows the last ``####`` or ``The answer is:``; a text without such
    a mark is itself the answer. Thousands separators behind a mark go: ``#### 1,250`` is 1250, ``#### 1, 2`` stays a list.

    Returns:
        The answer; '' if there is a mark and nothing behind it.
    """
    body = _HEADING.sub("", text)
    marked = _MARKED.search(body) is not None
    answer = ((extract(body, "exact") or "") if marked else text).strip()
    if not answer.strip(" \t\r\n\0$"):  # what the grader calls an empty gold
        return ""
    return answer.replace(",", "") if marked and _GROUPED.fullmatch(answer) else answer
