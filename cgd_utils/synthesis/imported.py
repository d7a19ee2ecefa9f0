"""Critiques and refined answers of other projects as a file that a profile can learn from, see `import_file`.

Published files keep question, draft and critique in one text, as it was shown to the model that learnt from them. A *form* says how
that text comes apart and what the model learnt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import BadInput
from ..core.files import write_jsonl
from ..core.records import Record
from ..data.problem_sources import CHATS, final_answer
from ..data.tables import read_table, text_of
from .conclusions import conclusion

Learnt = Literal["critique", "refined"]
PARTS = ("question", "draft", "critique")
TEXTS = (*PARTS, "refined", "direct", "solution", "answer", "id")
# a column that holds the reply of an instruction row
REPLIES = ("output", "response", "completion")
UNMATCHED_SHARE = 0.02  # more texts than this that do not come apart stop the import


@dataclass(frozen=True)
class Form:
    """How a file keeps its records.

    Attributes:
        pattern: a regular expression over what the model was shown, with groups named like `PARTS`; None = a column each.
        learnt: what the model's reply is.
        about: one line for the help.
    """

    pattern: str | None
    learnt: Learnt
    about: str


FORMS = {
    "columns": Form(
        None, "refined", "a column each: question, draft, critique, refined, and maybe answer, direct, solution"
    ),
    "cft": Form(
        r"(?:.*?Question:)?\s*(?P<question>.+?)\s*\n\s*Solution:\s*(?P<draft>.+)",
        "critique",
        "Critique Fine-Tuning's files (WebInstruct-CFT and those made like it): question and solution shown, the critique learnt",
    ),
}


def import_file(
    source: Path,
    out: Path,
    form: str = "columns",
    pattern: str | None = None,
    learnt: Learnt | None = None,
    answers: Path | None = None,
) -> Record:
    """Writes a file's records as rows ``{id, question, answer, draft, critique, refined, …}`` for ``data.source``.

    Instruction rows (``instruction``, ``input``, ``output``) and chats (``messages``, ``conversations``) are read alike: what was
    shown is instruction and input, or the system's and user's turns; the reply is the output, or the assistant's turn.

    Args:
        source: JSONL, JSON, CSV or Parquet.
        out: a .jsonl file.
        form: a key of `FORMS`.
        pattern: a pattern of the user's own in place of the form's.
        learnt: what the reply is, in place of the form's.
        answers: a file with columns question and answer. Without one a row without an answer gets that of its draft where the
            critique concludes that the draft is right, and is left out where it does not.

    Returns:
        Counts: ``rows``, and of what was left out ``unmatched``, ``incomplete`` and ``no_answer``; ``concludes_right`` and
        ``concludes_wrong`` of the rows' critiques, ``no_conclusion`` where none could be read.

    Raises:
        BadInput: unknown form, a pattern that is none or names other groups, columns missing, more than `UNMATCHED_SHARE` of the
            texts that do not come apart (the first is shown), nothing left.
    """
    chosen = _form(form, pattern, learnt)
    known = _answers(answers) if answers else {}
    rows: list[Record] = []
    counts: Counter[str] = Counter()
    table = read_table(source)
    first_unmatched = ""
    for i, cells in enumerate(table):
        found = _parts(cells, chosen, f"{source}, row {i + 1}")
        if isinstance(found, str):
            counts["unmatched"] += 1
            first_unmatched = first_unmatched or found
            continue
        record = {"id": found.pop("id", "") or f"{source.stem}-{i:05d}", **found}
        record["answer"] = record.get("answer") or known.get(_flat(record["question"]), "") or _vouched_for(record)
        if not all(record.get(text) for text in (*PARTS, chosen.learnt)):
            counts["incomplete"] += 1
        elif not record["answer"]:
            counts["no_answer"] += 1
        else:
            counts[
                {"right": "concludes_right", "wrong": "concludes_wrong"}.get(
                    str(conclusion(record["critique"])), "no_conclusion"
                )
            ] += 1
            rows.append(record)
    if counts["unmatched"] > UNMATCHED_SHARE * len(table):
        raise BadInput(
            f"{source}: {counts['unmatched']} of {len(table)} texts do not match the pattern {chosen.pattern!r}; give one that does "
            f"(--pattern, with the groups {', '.join(PARTS)}). The first: {_short(first_unmatched)}"
        )
    if not rows:
        raise BadInput(
            f"{source}: no record is left of {len(table)} rows ({dict(counts)}); answers come with --answers"
        )
    write_jsonl(out, rows)
    return {"rows": len(rows), **counts}


def _form(name: str, pattern: str | None, learnt: Learnt | None) -> Form:
    if name not in FORMS:
        raise BadInput(f"form {name!r}: use one of {', '.join(FORMS)}")
    form = FORMS[name]
    form = Form(pattern or form.pattern, learnt or form.learnt, form.about)
    if form.pattern is None:
        return form
    try:
        groups = set(re.compile(form.pattern).groupindex)
    except re.error as e:
        raise BadInput(f"pattern {form.pattern!r}: {e}") from None
    needed = {"question", "draft"} | ({"critique"} if form.learnt == "refined" else set())
    if not needed <= groups or not groups <= set(TEXTS):
        raise BadInput(
            f"pattern {form.pattern!r} has the groups {sorted(groups)}; a file whose replies are {form.learnt}s needs {sorted(needed)}, "
            f"written (?P<question>…), and may have {', '.join(sorted(set(TEXTS) - needed))}"
        )
    return form


def _parts(cells: Mapping[str, Any], form: Form, where: str) -> Record | str:
    """A row's texts by their names; what was shown, where it does not come apart."""
    out = {text: text_of(cells[text], text) for text in TEXTS if text in cells}
    if form.pattern is None:
        if missing := [text for text in (*PARTS, form.learnt) if text not in out]:
            raise BadInput(f"{where}: no column {', '.join(missing)}; it has {', '.join(map(str, cells))}")
        return out
    shown, reply = _exchange(cells, where)
    match = re.fullmatch(form.pattern, shown, re.DOTALL)
    if not match:
        return shown or "(empty)"
    return out | {text: (found or "").strip() for text, found in match.groupdict().items()} | {form.learnt: reply}


def _exchange(cells: Mapping[str, Any], where: str) -> tuple[str, str]:
    """What a model was shown, and what it learnt to reply."""
    for column in CHATS:
        if column in cells:
            turns = [(str(t.get("role", t.get("from"))), str(t.get("content", t.get("value")))) for t in cells[column]]
            shown = [text for role, text in turns[:-1] if role not in ("assistant", "gpt")]
            return "\n\n".join(shown).strip(), turns[-1][1].strip() if turns else ""
    reply = next((c for c in REPLIES if c in cells), None)
    shown = [text_of(cells[c]) for c in ("instruction", "input") if c in cells]
    if reply is None or not shown:
        raise BadInput(
            f"{where}: neither instruction/input with {'/'.join(REPLIES)} nor {'/'.join(CHATS)} among {', '.join(map(str, cells))}"
        )
    return "\n\n".join(text for text in shown if text), text_of(cells[reply])


def _answers(path: Path) -> dict[str, str]:
    rows = read_table(path)
    if rows and not {"question", "answer"} <= set(rows[0]):
        raise BadInput(f"{path}: needs the columns question and answer; it has {', '.join(map(str, rows[0]))}")
    return {_flat(text_of(r["question"], "question")): text_of(r["answer"]) for r in rows}


def _vouched_for(record: Mapping[str, str]) -> str:
    """The final answer of a draft that its critique calls right; a draft without a mark of its answer has none."""
    draft = record.get("draft", "")
    if conclusion(record.get("critique", "")) != "right":
        return ""
    found = final_answer(draft)
    return "" if found == draft.strip() and "\n" in found else found


def _flat(text: str) -> str:
    return " ".join(text.split())


def _short(text: str, size: int = 200) -> str:
    flat = _flat(text)
    return repr(flat if len(flat) <= size else f"{flat[: size - 1]}…")
