"""What of a run may stand beside a printed number: the same student, teacher, method and data, asked the same benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import yaml

from ..core import statistics
from ..core.records import Record
from ..core.settings import Profile
from ..data.benchmarks import LAB, LAB_INSTRUCTIONS
from ..reporting import result_rows, summaries
from . import audit

_NAMES: Record = yaml.safe_load((audit.PUBLISHED / "printed_names.yaml").read_text(encoding="utf-8"))
BENCHMARKS: dict[str, str] = _NAMES["benchmarks"]
STUDENTS: dict[str, str] = _NAMES["students"]
TEACHERS: dict[str, str] = _NAMES["teachers"]
DATA: dict[tuple[str, int], str] = {(row["source"], row["rows"]): row["printed"] for row in _NAMES["data"]}
WEBINSTRUCT, WEBINSTRUCT_CFT = DATA["webinstruct", 100_000], DATA["webinstruct-cft", 50_000]
# methods whose training rows hold no text of the teacher, or that are not trained
WITHOUT_TEACHER, WITHOUT_DATA = ("base", "sft"), ("base",)


class Missing(str):
    """A cell without a number; the text says what the run lacks. Frames of them are of objects, or pandas makes them plain text."""

    __slots__ = ()


MISSING = Missing("not measured")


def is_missing(cell: Any) -> bool:
    """Whether a cell of a rebuilt table holds no number of the kit."""
    return isinstance(cell, Missing) or cell == ""


@dataclass(frozen=True)
class Printed:
    """What a printed row is about: who learnt from whom, how, and from which data."""

    student: str
    teacher: str
    method: str
    data: str = WEBINSTRUCT


@dataclass(frozen=True)
class Kit:
    """What a run can put into the published tables."""

    profile: Profile
    results: pd.DataFrame
    analyses: pd.DataFrame
    rated: dict[str, list[Record]] = field(default_factory=dict)

    def family(self, student: str) -> str | None:
        """The family whose student is the printed one."""
        models = self.profile.models.students.items()
        return next((family for family, model in models if STUDENTS.get(model) == student), None)

    def stand_ins(self, printed: Sequence[str]) -> dict[str, str]:
        """Lab families of the run → the student of the table that each stands for."""
        from ..lab import students

        known = {f"lab:{name}": about.stands_for for name, about in students.STUDENTS.items()}
        told = {family: known.get(model, "") for family, model in self.profile.models.students.items()}
        return {family: student for family, student in told.items() if student in printed}

    @property
    def teacher(self) -> str:
        """The run's teacher as printed, or in the kit's own words."""
        t = self.profile.synthesis.teacher
        if t.kind == "exact":
            return "the lab's exact teacher"
        if t.kind == "prose":
            return "the kit's exact teacher for prose"
        if t.kind == "data":
            return "texts that came with the data"
        name = t.model or (t.generation.served_as if t.generation else "")
        changed = [f for f in ("relevance", "critic") if getattr(t, f) != type(t).model_fields[f].default]
        return TEACHERS.get(name, name) + "".join(f", other {f}" for f in changed)

    @property
    def data(self) -> str:
        """The run's training data as the table of `DATA` calls them, or in the kit's own words."""
        rows = self.profile.training.rows or self.profile.data.rows
        return DATA.get((self.profile.data.source, rows), f"{self.profile.data.source}, {rows or 'all'} rows")

    def lacks(self, row: Printed) -> Missing | None:
        """What keeps the run's figures out of a printed row; None where student, teacher, method and data agree."""
        family = self.family(row.student)
        if family is None:
            return Missing(f"{MISSING}: no {row.student} in this run")
        differs = [
            f"{what} {theirs}, here {ours}"
            for what, theirs, ours, asked in (
                ("teacher", row.teacher, self.teacher, row.method not in WITHOUT_TEACHER),
                ("data", row.data, self.data, row.method not in WITHOUT_DATA),
            )
            if asked and theirs != ours
        ]
        return Missing(f"{MISSING}: {'; '.join(differs)}") if differs else None

    def cell(self, row: Printed, benchmarks: Sequence[str]) -> str:
        """The kit's number for a printed row: a benchmark as printed, or the mean of several, where all are measured."""
        names = [BENCHMARKS.get(b, b) for b in benchmarks]
        return self.lacks(row) or self.figure(self.family(row.student), row.method, names)

    def figure(
        self, family: str | None, method: str, benchmarks: Sequence[str], metrics: Sequence[str] = result_rows.QUALITY
    ) -> str:
        """``mean [low, high] (n, seeds, what the interval is over)`` over benchmarks, or what is missing."""
        r = self.results
        rows = r[
            (r["family"] == family)
            & (r["method"] == method)
            & r["benchmark"].isin(benchmarks)
            & r["metric"].isin(metrics)
        ]
        if not ((r["family"] == family) & (r["method"] == method)).any():
            return Missing(f"{MISSING}: no {method} in this run")
        if missing := [b for b in benchmarks if b not in set(rows["benchmark"])]:
            return Missing(f"{MISSING}: {', '.join(missing)}")
        if len(benchmarks) > 1:
            rows = summaries.average(rows, "benchmark", "mean")
        return self.told(rows.assign(about=method), ["about", "metric"])

    def measured(self, analysis: str, **where: str) -> str:
        """A measurement of notebook 06 in the same words, or `MISSING`."""
        return self.told(summaries.pick(self.analyses, analysis, **where), summaries.KEYS)

    def told(self, rows: pd.DataFrame, by: Sequence[str], form: str = ".1f") -> str:
        """The first row's mean over seeds with its interval, its n, its seeds and what the interval is over."""
        summed = summaries.over_seeds(rows, self.profile.evaluation.level, by)
        if summed.empty:
            return MISSING
        return _told(summed.iloc[0], form)

    def change(self, family: str, before: str, after: str) -> str:
        """``after`` − ``before``, two methods on the mean of the profile's benchmarks, as `told` tells it."""
        mine = self.results[self.results["family"] == family]
        headline, level = self.profile.evaluation.headline, self.profile.evaluation.level
        rows = result_rows.difference_rows(mine, {before: after}, headline)
        rows = rows[rows["benchmark"] == "mean"]
        averaged = result_rows.averaged(mine, headline)
        found = result_rows.question_scores(mine).contrast({after: 1, before: -1}, averaged, level)
        if found is None or rows.empty:
            return self.told(rows, ["method"], "+.1f")
        test, over = found
        return _told(
            {
                "value": test.difference,
                "ci_low": test.low,
                "ci_high": test.high,
                "n": test.n,
                "seeds": len(rows),
                "over": over,
            },
            "+.1f",
        )

    def lab(self, family: str, method: str) -> dict[str, str]:
        """What a lab student reached on the lab's benchmarks, the mean of its accuracies first; nothing elsewhere."""
        names = [b for b in dict.fromkeys(self.results["benchmark"]) if b in LAB or b in LAB_INSTRUCTIONS]
        averaged = result_rows.averaged(self.results, self.profile.evaluation.headline)
        found = {"mean (lab)": self.figure(family, method, averaged, ["accuracy"])} if names else {}
        return found | {f"{b} (lab)": self.figure(family, method, [b]) for b in names}


def _told(r: Mapping[str, Any] | pd.Series, form: str) -> str:
    over = f", over {r['over']}" if r["over"] else ""
    return f"{statistics.told(r['value'], r['ci_low'], r['ci_high'], form)} (n={r['n']}, seeds={r['seeds']}{over})"


def kit(profile: Profile, results: pd.DataFrame, analyses: pd.DataFrame | None = None) -> Kit:
    """What a run can put into the published tables."""
    return Kit(profile, results, summaries.frame() if analyses is None else analyses)
