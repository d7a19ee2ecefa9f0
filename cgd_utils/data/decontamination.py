"""Decontamination: training questions that share an 8-gram of words, or their whole text, with a benchmark's questions.

Words are compared in lower case, without punctuation and spacing. A benchmark question shorter than n words counts as shared
only where it is the same as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..core.files import write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run, content_key
from . import benchmarks, general_benchmarks, problem_sources

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return _WORD.findall(text.lower())


class Index:
    """The n-grams and whole questions of benchmarks, to look training questions up in.

    Args:
        questions: benchmark name → its questions.
        n: words of a gram; 0 compares whole questions only.
    """

    def __init__(self, questions: dict[str, Sequence[str]], n: int = 8) -> None:
        self.n = n
        self.grams: dict[str, tuple[str, int]] = {}
        self.whole: dict[str, tuple[str, int]] = {}
        for name, texts in questions.items():
            for i, text in enumerate(texts):
                w = words(text)
                self.whole.setdefault(" ".join(w), (name, i))
                for gram in self._grams(w):
                    self.grams.setdefault(gram, (name, i))

    def _grams(self, w: list[str]) -> Iterable[str]:
        return (" ".join(w[i : i + self.n]) for i in range(len(w) - self.n + 1)) if self.n else ()

    def find(self, question: str) -> tuple[str, int, str, str] | None:
        """The first overlap of a question: (benchmark, number of its question, ``exact`` or ``ngram``, shared text)."""
        w = words(question)
        if found := self.whole.get(" ".join(w)):
            return (*found, "exact", " ".join(w))
        return next(((*self.grams[g], "ngram", g) for g in self._grams(w) if g in self.grams), None)


def overlaps(problems: Iterable[Record], index: Index) -> list[Record]:
    """Training problems that overlap: rows ``{id, benchmark, question_no, kind, shared}``."""
    out = []
    for p in problems:
        if found := index.find(p["question"]):
            out.append(dict(zip(("id", "benchmark", "question_no", "kind", "shared"), (p["id"], *found), strict=True)))
    return out


def questions(run: Run) -> dict[str, list[str]]:
    """The questions of every benchmark in the run's profile; none for a general one whose data is on the hub alone."""
    settings = run.profile.evaluation
    ours = {b.name: [p["question"] for p in b.problems] for b in benchmarks.benchmarks(run)}
    general = [b for b in settings.benchmarks if isinstance(b, str) and b in general_benchmarks.GENERAL]
    return ours | {name: general_benchmarks.questions(name, settings) for name in general}


def index_of(run: Run) -> Index:
    """The index of every benchmark in the run's profile."""
    return Index(questions(run), run.profile.data.decontaminate_ngram)


def problems(run: Run) -> Artifact:
    """The run's training problems; with ``data.decontaminate: remove`` those that overlap no benchmark."""
    made = problem_sources.problems(run)
    if run.profile.data.decontaminate != "remove":
        return made

    def build(folder: Any) -> Record:
        rows = made.rows()
        found = overlaps(rows, index_of(run))
        gone = {f["id"] for f in found}
        write_jsonl(folder / "rows.jsonl", [r for r in rows if r["id"] not in gone])
        write_jsonl(folder / "removed.jsonl", found)
        return {**made.manifest["facts"], "rows": len(rows) - len(gone), "removed": len(gone)}

    settings = {
        "ngram": run.profile.data.decontaminate_ngram,
        "benchmarks": content_key(questions(run)),
    }
    return run.make(
        "problems",
        "decontaminated",
        build,
        settings=settings,
        inputs=[made.key],
    )


def report(run: Run, rows: Sequence[Record]) -> list[Record]:
    """Per benchmark: training problems that overlap with it, by kind, with an example.

    ``questions`` 0: a general benchmark whose data is on the hub alone, so nothing could be compared.
    """
    asked = questions(run)
    found = overlaps(rows, Index(asked, run.profile.data.decontaminate_ngram))
    out = []
    for name, texts in asked.items():
        mine = [f for f in found if f["benchmark"] == name]
        out.append({
            "benchmark": name, "questions": len(texts), "exact": sum(f["kind"] == "exact" for f in mine),
            "ngram": sum(f["kind"] == "ngram" for f in mine), "of": len(rows), "example": mine[0]["shared"] if mine else "",
        })  # fmt: skip
    return out
