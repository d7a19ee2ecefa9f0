"""The course lab: training on a seat's own seeds, self-checking exercises, hand-ins, the class's table, the student's version.

Every check works its answer out from the run's own data, so the notebook holds no answers, and each seat has its own. A check
never raises for a wrong answer: it prints a hint, and *Run All* goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import exercises
from exercises import EXERCISES, flat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cgd_utils import methods
from cgd_utils.ablations import cell_runs
from cgd_utils.core import files, provenance, statistics, store
from cgd_utils.core.errors import BadInput
from cgd_utils.core.records import Record
from cgd_utils.core.store import Run
from cgd_utils.data.benchmarks import benchmarks
from cgd_utils.evaluation import answering, results
from cgd_utils.lab.teacher import diagnose
from cgd_utils.reporting import explorer
from cgd_utils.synthesis import teaching

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SOURCE = Path(__file__).with_name("what_do_critiques_teach_solutions.ipynb")
STUDENT = SOURCE.with_name("what_do_critiques_teach.ipynb")


def seeds(seat: int, n: int = 3) -> list[int]:
    """The ``n`` training seeds of a seat: no two seats share one, so a class replicates and does not repeat."""
    if seat < 0 or n < 1:
        raise BadInput(f"seat = {seat}: give each student a whole number from 0 on")
    return list(range(seat * n, (seat + 1) * n))


def open_lab(
    seat: int, profile: str = "course", outputs: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Lab:
    """The lab of a seat; its seeds replace the profile's, as many as the profile has.

    Raises:
        BadInput: a negative seat, or not the lab world; and what `core.store.open_run` raises.
    """
    n = len(store.open_run(profile, outputs, overrides).profile.training.seeds)
    run = store.open_run(profile, outputs, {**(overrides or {}), "training.seeds": seeds(seat, n)})
    if not run.profile.data.is_lab:
        raise BadInput(f"data.source = {run.profile.data.source!r}: the course needs a lab world's problems")
    return Lab(run, seat, next(iter(run.profile.models.students)))


def example(records: Sequence[Record], seat: int) -> Record:
    """The record that a seat reads: a draft of several steps, one of which is wrong, the second or later where there is one.

    Raises:
        BadInput: no such draft.
    """
    found = [r for r in records if diagnose(r["draft"], r["meta"]).kind == "arithmetic"]
    later = [r for r in found if diagnose(r["draft"], r["meta"]).step > 1]
    if not found:
        raise BadInput(f"data.rows: none of {len(records)} drafts has a wrong step to read; raise it")
    return (later or found)[seat % len(later or found)]


@dataclass
class Lab:
    """A seat's lab: its run, and what its student has done so far.

    ``passed``: exercise → right; ``said``: the arms and the prediction; ``trained``: methods.
    """

    run: Run
    seat: int
    family: str
    passed: dict[str, bool] = field(default_factory=dict)
    said: Record = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)

    @cached_property
    def records(self) -> list[Record]:
        """The distillation records of the run; made on first use."""
        return teaching.records(self.run, self.family).rows()

    @property
    def example(self) -> Record:
        """This seat's record to read."""
        return example(self.records, self.seat)

    def train(self, *names: Any) -> None:
        """Trains and evaluates methods (names, or lists of names) with every seed of the seat; finished ones are loaded.

        ``base`` is the untrained student, which is only evaluated.

        Raises:
            BadInput: an unknown method.
        """
        wanted = flat(names)
        if not wanted:
            print("nothing to train yet: answer the exercise above first")
        taught = [name for name in wanted if name != "base"]
        for name in taught:
            methods.parse(name)
        if len(taught) < len(wanted):
            results.evaluate(self.run, self.family, "base")
        cell_runs.main_comparison(self.run, self.family, taught, self.run.profile.training.seeds)
        self.trained = flat([self.trained, wanted])

    def scores(self, *names: Any) -> dict[str, np.ndarray]:
        """Right (1) or wrong (0), one array (seeds, questions) a method; the questions in the same order for all.

        Raises:
            BadInput: a method that has not been trained in this session.
        """
        import numpy as np

        wanted = flat(names)
        if missing := [m for m in wanted if m not in self.trained]:
            raise BadInput(f"{missing[0]} is not trained yet: run the training cell first")
        mine, out = {None, *self.run.profile.training.seeds}, {}
        questions = explorer.outcomes(self.run, self.family, wanted) if wanted else []
        for m in wanted:
            rows = [[float(bool(a["correct"])) for a in q["answers"][m] if a["seed"] in mine] for q in questions]
            out[m] = np.array(rows).T
        return out

    def check(self, exercise: str, **answers: Any) -> None:
        """Prints whether the answers to an exercise are right, or a hint.

        Raises:
            BadInput: no such exercise.
        """
        hint = exercises.check(self, exercise, answers)
        self.passed[exercise] = not hint
        print(f"✘ {exercise}: {hint}" if hint else f"✔ {exercise}: right")

    def hand_in(self) -> Path:
        """Writes what the class's table needs to ``hand_in/seat-NNN.json`` in the run's folder; no name, no text of the student."""
        right = self.scores(m for m in self.trained if m != "base")
        differences = {m: 100 * float((right["cgd"] - right[m]).mean()) for m in right if m != "cgd" and "cgd" in right}
        learnt = set(type(self.run.profile.training).model_fields) - {"seeds", "methods"}
        sheet = HandIn(
            seat=self.seat, seeds=self.run.profile.training.seeds, questions=answering.question_keys(benchmarks(self.run)),
            settings=self.run.profile.model_dump(mode="json", include={"data": True, "synthesis": True, "training": learnt}),
            passed={e: self.passed.get(e, False) for e in EXERCISES}, differences=differences,
            prediction=self.said.get("prediction"), environment=provenance.environment(),
        )  # fmt: skip
        path = self.run.folder / "hand_in" / f"seat-{self.seat:03d}.json"
        files.write_json(path, sheet.model_dump())
        print(f"{sum(sheet.passed.values())} of {len(EXERCISES)} exercises right; hand in {path}")
        return path


# ---------------------------------------------------------------- the class
class HandIn(BaseModel):
    """What a student hands in. ``differences``: CGD minus method, points, mean over the seat's seeds and all questions."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    seat: int = Field(ge=0)
    seeds: list[int] = Field(min_length=1)
    questions: dict[str, str]
    settings: Record
    passed: dict[str, bool]
    differences: dict[str, float]
    prediction: str | None = None
    environment: Record = {}


@dataclass(frozen=True)
class ClassResults:
    """A class's results: ``table`` (a row a method), ``passed`` (a row an exercise), and the files left out, each with its reason."""

    table: pd.DataFrame
    passed: pd.DataFrame
    left_out: dict[str, str]


def collect(folder: str | Path, level: float = 0.95) -> ClassResults:
    """Reads a folder of hand-ins (``*.json``) and makes the class's table: a student is one observation.

    ``cgd_minus`` is the mean over students of the difference CGD − method, with its t interval over students and p. The
    interval speaks for other seeds on these questions and these training problems, not for other questions. A file is left
    out, with its reason, if it is no hand-in, if it shares a seed with an earlier one, or if its settings or questions
    differ from most.

    Raises:
        BadInput: no such folder, or no usable file in it.
    """
    import pandas as pd

    found = sorted(Path(folder).expanduser().glob("*.json"))
    sheets, left_out = {}, {}
    for path in found:
        try:
            sheets[path.name] = HandIn.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as e:
            left_out[path.name] = "not a hand-in: " + " ".join(str(e).split())[:160]
    kinds = [store.content_key(s.questions, s.settings) for s in sheets.values()]
    usual = max(kinds, key=kinds.count, default="")
    taken: dict[int, str] = {}
    for name, kind in zip(list(sheets), kinds, strict=True):
        if kind != usual:
            left_out[name] = "other settings or questions than most of the class"
        elif shared := [s for s in sheets[name].seeds if s in taken]:
            left_out[name] = f"seed {shared[0]} is in {taken[shared[0]]} too: the same models would count twice"
        else:
            taken |= dict.fromkeys(sheets[name].seeds, name)
            continue
        del sheets[name]
    if not sheets:
        raise BadInput(f"{folder}: no usable hand-in among {len(found)} JSON files {left_out or ''}".rstrip())
    rows = []
    for m in dict.fromkeys(m for s in sheets.values() for m in s.differences):
        values = [s.differences[m] for s in sheets.values() if m in s.differences]
        t = statistics.paired_difference(values, [0.0] * len(values), level)
        rows.append(
            {"method": m, "students": len(values), "cgd_minus": t.difference, "low": t.low, "high": t.high, "p": t.p}
        )
    shares = [
        (e, statistics.wilson(sum(s.passed.get(e, False) for s in sheets.values()), len(sheets))) for e in EXERCISES
    ]
    passed = [{"exercise": e, "right %": 100 * i.estimate, "low": 100 * i.low, "high": 100 * i.high} for e, i in shares]
    columns = ["method", "students", "cgd_minus", "low", "high", "p"]
    return ClassResults(pd.DataFrame(rows, columns=columns), pd.DataFrame(passed), left_out)


# ---------------------------------------------------------------- the student's version
_REGION = re.compile(r"^[^\n]*BEGIN SOLUTION[^\n]*\n.*?^[^\n]*END SOLUTION[^\n]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


def student_version(notebook: Record) -> Record:
    """The notebook without its solutions: regions from ``BEGIN SOLUTION`` to ``END SOLUTION`` (nbgrader's markers) are cut.

    In code, ``# YOUR CODE HERE`` stands in their place; the names to fill are set to ``...`` above each region.

    Raises:
        BadInput: a marker without its counterpart.
    """
    out = deepcopy(notebook)
    for cell in out["cells"]:
        stand_in = "# YOUR CODE HERE\n" if cell["cell_type"] == "code" else ""
        text = _REGION.sub(stand_in, "".join(cell["source"])).rstrip("\n")
        if "SOLUTION" in text:
            raise BadInput(f"cell {cell.get('id')!r}: BEGIN SOLUTION and END SOLUTION must stand in pairs")
        cell["source"] = re.sub(r"\n{3,}", "\n\n", text).splitlines(keepends=True)
    return out


def write_student_version() -> Path:
    """Writes the student's notebook from the solutions notebook; ``python notebooks/course/course_lab.py`` does it."""
    made = student_version(json.loads(SOURCE.read_text(encoding="utf-8")))
    files.write_text(STUDENT, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    return STUDENT


if __name__ == "__main__":
    print(write_student_version())
