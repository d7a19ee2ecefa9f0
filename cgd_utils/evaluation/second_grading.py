"""The same answers under further rules (`evaluation.also_grade`): how much of a score is the grader, answer by answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.files import read_jsonl, write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run
from ..data.benchmarks import Loaded, benchmarks
from ..grading.rules import RULES
from . import compare, figures
from .scores import score

ALSO = "also"  # in a model's entry of the index of scores: rule -> score file within the run's folder


def under(run: Run, rule: str) -> dict[str, Loaded]:
    """The benchmarks whose answers are compared with a gold one, under another rule than the run's; ``own`` is each one's own."""
    graded_by = {b.name: b.rule for b in benchmarks(run)}
    return {b.name: b for b in benchmarks(run, rule) if b.rule in RULES and b.rule != graded_by[b.name]}


def regrade(run: Run, label: str, answers: Artifact, rule: str) -> Artifact:
    """Scores of a model's answers under another rule, as `scores.scores`; no model is asked again."""
    loaded = under(run, rule)

    def build(folder: Path) -> Record:
        rows = score([r for r in answers.rows() if r["benchmark"] in loaded], loaded)
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows)}

    settings = {name: b.rule for name, b in loaded.items()}
    return run.make("scores", f"{label}-by-{rule}", build, settings=settings, inputs=[answers.key])


def results(run: Run, about: Record, rule: str, graded: Artifact) -> list[Record]:
    """Result rows ``accuracy_<rule>``, one a benchmark: percent right of all answers with Wilson's interval."""
    out = []
    for name in under(run, rule):
        right = [bool(s["correct"]) for s in graded.rows() if s["benchmark"] == name]
        share = figures.share(right, run.profile.evaluation.level)
        out += figures.rows({**about, "benchmark": name}, {f"accuracy_{rule}": share})
    return out


def _pairs(run: Run) -> Iterator[tuple[Record, str, Record, Record]]:
    """(entry of the index, rule, score by the run's rule, score by that one) of every answer of the comparison."""
    for entry in compare.index(run.folder):
        if entry["method"] not in ("base", *run.profile.training.methods):
            continue
        own = {(s["benchmark"], s["id"], s["sample"]): s for s in read_jsonl(run.folder / entry["rows"])}
        for rule, path in entry.get(ALSO, {}).items():
            if rule in run.profile.evaluation.also_grade:
                for s in read_jsonl(run.folder / path):
                    yield entry, rule, own[s["benchmark"], s["id"], s["sample"]], s


def by_method(run: Run) -> pd.DataFrame:
    """A row a (family, method, rule), all seeds and benchmarks together: ``answers``, percent right under the
    run's rules and under the other one, the ``difference`` in points, and how many answers only the one or the other calls right.
    """
    found: dict[tuple[str, str, str], list[tuple[bool, bool]]] = {}
    for entry, rule, own, other in _pairs(run):
        verdicts = found.setdefault((entry["family"], entry["method"], rule), [])
        verdicts.append((bool(own["correct"]), bool(other["correct"])))
    rows: list[dict[str, Any]] = []
    for (family, method, rule), verdicts in found.items():
        n = len(verdicts)
        ours, theirs = (100 * sum(v[i] for v in verdicts) / n for i in (0, 1))
        about = {"family": family, "method": method, "rule": rule, "answers": n}
        about |= {"run's rule %": ours, "other rule %": theirs, "difference": theirs - ours}
        rows.append({**about, "only run's": verdicts.count((True, False)), "only other": verdicts.count((False, True))})
    return pd.DataFrame(rows)


def disagreements(run: Run) -> pd.DataFrame:
    """Every answer on which two rules differ: whose it is, the gold answer, what was read out, and both verdicts."""
    graded_by = {b.name: b.rule for b in benchmarks(run)}
    rows = []
    for entry, rule, own, other in _pairs(run):
        if bool(own["correct"]) != bool(other["correct"]):
            about = {k: entry[k] for k in ("family", "method", "seed")} | {
                k: own[k] for k in ("benchmark", "id", "gold")
            }
            verdicts = {"rule": graded_by[own["benchmark"]], "says": own["correct"], "other rule": rule}
            rows.append({**about, "read out": other["extracted"], **verdicts, "other says": other["correct"]})
    return pd.DataFrame(rows)
