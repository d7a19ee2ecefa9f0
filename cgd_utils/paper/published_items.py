"""Every published table, figure and appendix item, and the run that puts the kit's numbers beside it (``published/items.yaml``)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import yaml

from ..core import profile_files
from ..core.settings import Profile
from .audit import PUBLISHED


@dataclass(frozen=True)
class Item:
    """One published item.

    Attributes:
        item: what it is.
        file: of the shipped tables; '' for what is not at hand as numbers.
        student, teacher: whose rows of the file; None where it has no such column.
        profile, set, grids: the run: a shipped profile, fields to change, grids of notebook 05; no profile where no run can.
        shown: where the run's numbers are found.
        lacks: what the run leaves out, and what to add.
        obstacle: why there is no run.
    """

    item: str
    file: str = ""
    student: str | None = None
    teacher: str | None = None
    profile: str = ""
    set: dict[str, Any] = field(default_factory=dict)
    grids: tuple[str, ...] = ()
    shown: str = ""
    lacks: str = ""
    obstacle: str = ""

    @property
    def changes(self) -> dict[str, Any]:
        """Fields that the run changes in its profile."""
        return self.set | ({"ablations.grids": list(self.grids)} if self.grids else {})

    def settings(self) -> Profile:
        """The run's profile."""
        return profile_files.load(self.profile, self.changes)

    @property
    def command(self) -> str:
        """The run as a command line."""
        told = (f" --set {name}={_quoted(value)}" for name, value in self.changes.items())
        return f"cgd run --profile {self.profile}{''.join(told)}" if self.profile else ""


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}'" if set(text) & set(' "[]{}') else text


def items() -> list[Item]:
    """All items, in the order of the paper."""
    rows = yaml.safe_load((PUBLISHED / "items.yaml").read_text(encoding="utf-8"))
    return [Item(**{**row, "grids": tuple(row.get("grids", ()))}) for row in rows]


def rows_of(item: Item) -> pd.DataFrame:
    """The rows of the shipped tables that an item is about; a base's row, which has no teacher, goes with its student's first item."""
    if not item.file:
        return pd.DataFrame()
    table = pd.read_csv(PUBLISHED / item.file, keep_default_na=False)
    for column, wanted in (("student", item.student), ("teacher", item.teacher)):
        if wanted is not None:
            table = table[table[column] == wanted]
    return table
