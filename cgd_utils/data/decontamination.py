"""Decontamination: training questions that share an 8-gram of words, or their whole text, with a benchmark's questions.

Words are compared in lower case, without punctuation and spacing. A benchmark question shorter than n words counts as shared
only where it is the same as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.files import write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run, content_key
from . import benchmarks, general_benchmarks, problem_sources

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return _WORD.findall(text.lower())


class Overlap(NamedTuple):
    """Where a question overlaps: a benchmark, the number of its question, ``exact`` or ``ngram``, and the shared text."""

    benchmark: str
    question_no: int
    kind: str
    shared: str


class Index:
    """The n-grams and whole questions of benchmarks, to look training questions up in.

    Args:
        questions: benchmark name → its questions.
        n: words of a gram; 0 compares whole questions only.
    """

    def __init__(self, questions: Mapping[str, Sequence[str]], n: int = 8) -> None:
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

    def find(self, question: str) -> Overlap | None:
        """The first overlap of a question, if there is one."""
        w = words(question)
        whole = " ".join(w)
        if whole in self.whole:
            return Overlap(*self.whole[whole], "exact", whole)
        return next((Overlap(*self.grams[g], "ngram", g) for g in self._grams(w) if g in self.grams), None)


def overlaps(problems: Iterable[Record], index: Index) -> list[Record]:
    """Training problems that overlap: rows ``{id, benchmark, question_no, kind, shared}``."""
    found = ((p["id"], index.find(p["question"])) for p in problems)
    return [{"id": i, **overlap._asdict()} for i, overlap in found if overlap]


def questions(run: Run) -> dict[str, list[str]]:
    """The questions of every benchmark in the run's profile; none for a general one whose data is on the hub alone."""
    settings = run.profile.evaluation
    ours = {b.name: [p["question"] for p in b.problems] for b in benchmarks.benchmarks(run)}
    general = [b for b in settings.benchmarks if isinstance(b, str) and b in general_benchmarks.GENERAL]
    return ours | {name: general_benchmarks.questions(name, settings) for name in general}


def training_problems(run: Run) -> Artifact:
    """The run's training problems; with ``data.decontaminate: remove`` those that overlap no benchmark."""
    loaded = problem_sources.problems(run)
    if run.profile.data.decontaminate != "remove":
        return loaded
    n, against = run.profile.data.decontaminate_ngram, questions(run)

    def build(folder: Path) -> Record:
        rows = loaded.rows()
        found = overlaps(rows, Index(against, n))
        removed = {f["id"] for f in found}
        write_jsonl(folder / "rows.jsonl", [r for r in rows if r["id"] not in removed])
        write_jsonl(folder / "removed.jsonl", found)
        return {**loaded.manifest["facts"], "rows": len(rows) - len(removed), "removed": len(removed)}

    settings = {"ngram": n, "benchmarks": content_key(against)}
    return run.make("problems", "decontaminated", build, settings=settings, inputs=[loaded.key])


def report(run: Run, rows: Sequence[Record]) -> list[Record]:
    """Per benchmark: training problems that overlap with it, by kind, with an example.

    ``questions`` 0: a general benchmark whose data is on the hub alone, so nothing could be compared.
    """
    against = questions(run)
    found = overlaps(rows, Index(against, run.profile.data.decontaminate_ngram))
    out = []
    for name, texts in against.items():
        shared = [f for f in found if f["benchmark"] == name]
        exact = sum(f["kind"] == "exact" for f in shared)
        row = {"benchmark": name, "questions": len(texts), "exact": exact, "ngram": len(shared) - exact}
        out.append({**row, "of": len(rows), "example": shared[0]["shared"] if shared else ""})
    return out
