"""Ablations: grids of cells that share everything they do not change.

A cell is a method and the profile fields that it changes; a cell that only names a method of the main comparison is
loaded, not trained again. Its rows in ``results.csv`` carry the cell's name as their method.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from .. import prompts
from ..core import settings_read, source_code
from ..core.errors import BadInput
from ..core.files import write_json
from ..core.profile_files import changed
from ..core.records import Record
from ..core.store import Artifact, Run, content_key
from ..evaluation import results, style_drift, trained_models
from ..methods import leaks
from ..models import named
from ..synthesis import conclusions, teaching
from ..synthesis.drafts import of_seed
from ..training import fine_tune, side_by_side
from . import checkpoint_choice
from .grids import GRIDS, NEEDS, Cell, Grid


class CellState(TypedDict):
    """How far a cell is: ``done``, ``stale`` (its settings or code have changed since) or ``to do``."""

    family: str
    grid: str
    cell: str
    seed: int
    state: str


def plan(run: Run) -> list[tuple[str, str]]:
    """A profile's (family, grid) pairs: ``ablations.families`` get every grid, the others those of ``everywhere``.

    A grid of which a family can have no cell is left out.
    """
    a, students = run.profile.ablations, run.profile.models.students
    for grid in (*a.grids, *a.everywhere):
        _known(grid)
    favoured = a.families or list(students)
    every = dict.fromkeys((*a.grids, *a.everywhere))
    pairs = [
        *((family, grid) for family in favoured for grid in every),
        *((family, grid) for family in students if family not in favoured for grid in a.everywhere),
    ]
    return [(family, grid) for family, grid in pairs if cells(run, grid, family)]


def _known(grid: str) -> Grid:
    if grid not in GRIDS:
        raise BadInput(f"ablations.grids: unknown grid {grid!r}; known: {', '.join(GRIDS)}")
    return GRIDS[grid]


def run_grids(run: Run, chosen: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Record]]:
    """Trains and evaluates every cell of (family, grid) pairs: the pair → its result rows, and drift where a grid asks.

    Cells train side by side where the profile has ``processes`` for it. A cell that the profile cannot have (weaker
    drafts without a weaker model) is left out.

    Raises:
        BadInput: unknown grid. workers.WorkerDied: a process was killed.
    """
    # seed by seed: neighbours differ in their records, so none waits for another's
    wanted = {
        (family, cell.name, seed, _known(grid).drifts): cell
        for seed in seeds(run)
        for family, grid in chosen
        for cell in cells(run, grid, family)
    }
    jobs = [(family, cell, seed, drifts) for (family, _, seed, drifts), cell in wanted.items()]
    rows = dict(zip(wanted, side_by_side.each(run, run_cell, jobs, "cells"), strict=True))
    by_grid: dict[tuple[str, str], list[Record]] = {pair: [] for pair in chosen}
    for family, grid in by_grid:
        for cell in cells(run, grid, family):
            for seed in seeds(run):
                by_grid[family, grid] += rows[family, cell.name, seed, GRIDS[grid].drifts]
    return by_grid


def main_comparison(run: Run, family: str, methods: Sequence[str], seeds: Sequence[int]) -> list[Record]:
    """Every method with every seed, nothing changed: trains (or loads) and evaluates; result rows."""
    jobs = [(family, Cell(m, m), seed) for m in methods for seed in seeds]
    return [row for rows in side_by_side.each(run, run_cell, jobs, f"models ({family})") for row in rows]


def seeds(run: Run) -> list[int]:
    """The seeds of every cell."""
    return run.profile.ablations.seeds or run.profile.training.seeds


def cells(run: Run, grid: str, family: str) -> list[Cell]:
    """The cells of a grid that a family of this profile can have."""
    return [c for c in _known(grid).cells if not c.needs or NEEDS[c.needs](run.profile, family)]


def _changed_run(run: Run, family: str, cell: Cell) -> Run:
    """The run as a cell changes it; the run itself where nothing differs."""
    only = {"models.students": {family: run.profile.models.students[family]}, "ablations.families": []}
    alone = changed(run.profile, only)
    wanted = dict(cell.changes(alone))
    have = settings_read.values(alone, wanted)
    changes = {field: value for field, value in wanted.items() if have[field] != value}
    return replace(run, profile=changed(alone, changes)) if changes else run


def plain(run: Run, grid: str, family: str) -> list[str]:
    """The cells of a grid that change nothing in this profile: models of the main comparison under another name."""
    return [
        c.name
        for c in cells(run, grid, family)
        if not c.after and c.name != c.method and _changed_run(run, family, c) is run
    ]


def records_table(run: Run, family: str, grid: str) -> list[Record]:
    """How good the texts are that each cell learns from, where cells differ in their synthesis; percent of the records.

    ``drafts right``, ``critiques that judge right`` (their conclusion agrees with the draft's truth), ``critiques with
    the answer``, ``refined right``, ``direct right``. Empty for a grid whose cells share their records.
    """
    artifacts: dict[str, tuple[str, Artifact]] = {}
    for cell in cells(run, grid, family):
        if not cell.after:
            records = teaching.records(_changed_run(run, family, cell), family)
            artifacts.setdefault(records.key, (cell.name, records))
    if len(artifacts) < 2:
        return []
    table = []
    for name, records in artifacts.values():
        rows = records.rows()
        holds = {
            "drafts right": [bool(r["draft_correct"]) for r in rows],
            "critiques that judge right": [r["conclusion"] == conclusions.truth(r) for r in rows],
            "critiques with the answer": [leaks(r["critique"], r["answer"]) for r in rows],
            "refined right": [bool(r["refined_correct"]) for r in rows],
            "direct right": [bool(r.get("direct_correct")) for r in rows],
        }
        shares = {measure: 100 * sum(flags) / len(rows) for measure, flags in holds.items()}
        table.append({"records of": name, "n": len(rows), **shares})
    return table


def run_cell(run: Run, family: str, cell: Cell, seed: int, drifts: bool = False) -> list[Record]:
    """Trains (or loads) and evaluates one cell with one seed.

    A cell that changes nothing is the main comparison's model: loaded, and its evaluation too.
    """
    with settings_read.watch() as fields:
        rows = _result_rows(run, family, cell, seed, drifts)
    note = {"key": _key(run, family, cell, fields), "fields": sorted(fields)}
    write_json(_note(run, family, cell, seed), note)
    return rows


def _result_rows(run: Run, family: str, cell: Cell, seed: int, drifts: bool) -> list[Record]:
    changed_run = _changed_run(run, family, cell)
    records = None
    if cell.after:  # a second round: the student is the trained one
        first = fine_tune.fine_tune(run, family, cell.method, seed)
        student = fine_tune.whole(run, family, first, f"{family}-{cell.method}-s{seed}")
        students = {"models.students": {family: str(student)}}
        changed_run = replace(changed_run, profile=changed(changed_run.profile, students))
        records = teaching.records(of_seed(changed_run if cell.after == "fresh" else run, seed), family)
    model = fine_tune.fine_tune(changed_run, family, cell.method, seed, records)
    if cell.choose:
        model = checkpoint_choice.choose(changed_run, family, cell.method, seed, model, cell.choose)
    name = cell.method if changed_run is run else cell.name
    rows = results.evaluate(changed_run, family, name, seed, model)
    if drifts:
        rows += style_drift.rows(changed_run, family, name, seed, model)
    return [{**r, "method": cell.name} for r in rows]


def _note(run: Run, family: str, cell: Cell, seed: int) -> Path:
    """Where a finished cell notes what determined its numbers."""
    return run.folder / "artifacts" / "cells" / f"{trained_models.label(family, cell.name, seed)}.json"


def _key(run: Run, family: str, cell: Cell, fields: Iterable[str]) -> str:
    """Hash of what determines a cell's numbers: the fields that it read, as it changes them, code and base student."""
    decisive = {
        "settings": settings_read.values(_changed_run(run, family, cell).profile, fields),
        "code": source_code.of(run_cell).version,
        "base": named.model_key(named.student_ref(run, family).path),
        "layout": prompts.layout(run.profile.models.layout).key,
    }
    return content_key(cell.name, cell.method, cell.after, decisive)


def _state(run: Run, family: str, cell: Cell, seed: int) -> str:
    try:
        note = json.loads(_note(run, family, cell, seed).read_text(encoding="utf-8"))
        return "done" if note["key"] == _key(run, family, cell, note["fields"]) else "stale"
    except (OSError, ValueError, KeyError):
        return "to do"


def states(run: Run) -> list[CellState]:
    """Every cell of the profile's grids."""
    return [
        {"family": family, "grid": grid, "cell": cell.name, "seed": seed, "state": _state(run, family, cell, seed)}
        for family, grid in plan(run)
        for cell in cells(run, grid, family)
        for seed in seeds(run)
    ]
