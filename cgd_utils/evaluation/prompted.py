"""What prompting alone makes of the base: the words that ask for steps, and the majority of several such answers.

A gain of training that a few words give too is a habit that the student had already; beside these two rows a table shows which it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..core.files import write_json
from ..core.records import Record
from ..core.store import Run
from ..data.benchmarks import Loaded, benchmarks
from ..grading.kinds import canonical
from ..methods import TOLD, VOTED
from . import compare, figures
from .answering import generations, question_keys
from .results import by_question, results
from .scores import scores
from .trained_models import subject


def prompted(run: Run, family: str) -> list[Record]:
    """Result rows of a family's base under `TOLD` and `VOTED`, on the benchmarks whose answers have a gold; none where neither is asked for.

    `TOLD` puts ``evaluation.base_told`` after each question. `VOTED` does too, and takes the most frequent of ``evaluation.base_votes``
    sampled answers (self-consistency, Wang et al. 2023, arXiv 2203.11171), of equally frequent ones the first.
    """
    e, who = run.profile.evaluation, subject(run, family, "base")
    graded = [b for b in benchmarks(run) if b.metric == "accuracy" and b.rule not in (None, "ifeval")]
    out: list[Record] = []
    if graded and e.base_told:
        label = f"{who.label}-told"
        answers = generations(run, who, label, graded, words=e.base_told)
        found = scores(run, label, answers, graded)
        about = {"family": family, "method": TOLD, "seed": None}
        rows, texts = ((a.folder / "rows.jsonl").relative_to(run.folder).as_posix() for a in (found, answers))
        entry = {**about, "rows": rows, "generations": texts, "questions": question_keys(graded)}
        write_json(run.folder / compare.INDEX / f"{label}.json", entry)
        out += results(run, family, TOLD, None, found, answers, graded)
    if graded and e.base_votes:
        label = f"{who.label}-majority"
        sampling = e.sampling.model_copy(update={"n": e.base_votes, "temperature": run.profile.analyses.temperature})
        answers = generations(run, who, label, graded, sampling, e.base_told)
        found_rows = scores(run, label, answers, graded).rows()
        about = {"family": family, "method": VOTED, "seed": None}
        out += [row for b in graded for row in _voted(b, found_rows, about, e.level)]
    return out


def _voted(b: Loaded, scored: Sequence[Record], about: Record, level: float) -> list[Record]:
    questions: dict[str, list[Record]] = {}
    for s in scored:
        if s["benchmark"] == b.name:
            questions.setdefault(s["id"], []).append(s)
    chosen = [majority(samples) for samples in questions.values()]
    share = figures.share([bool(s["correct"]) for s in chosen], level)
    (row,) = figures.rows({**about, "benchmark": b.name}, {b.metric: share})
    return [{**row, figures.BY_QUESTION: by_question(chosen)}]


def majority(samples: Sequence[Record]) -> Record:
    """The score of the most frequent answer to a question, of equally frequent ones the first; the first score where none was read."""
    read = [(canonical(s["extracted"]), s) for s in samples if s["extracted"]]
    if not read:
        return samples[0]
    (most, _), *_ = Counter(answer for answer, _ in read).most_common(1)
    return next(s for answer, s in read if answer == most)
