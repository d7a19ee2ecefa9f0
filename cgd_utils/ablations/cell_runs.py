"""Ablations: grids of cells that share everything they do not change.

A cell is a method and the profile fields that it changes; a cell that only names a method of the main comparison is loaded, not
trained again. Its rows in ``results.csv`` carry the cell's name as their method.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..core import settings_read, source_code
from ..core.errors import BadInput
from ..core.files import write_json
from ..core.profile_files import changed
from ..core.records import Record
from ..core.settings import Profile
from ..core.store import Artifact, Run, content_key
from ..evaluation import answering, results, style_drift
from ..methods import leaks
from ..models import named
from ..synthesis import teaching
from ..synthesis.drafts import of_seed
from ..training import fine_tune, side_by_side
from .grids import GRIDS, NEEDS, Cell, Grid


def plan(run: Run) -> list[tuple[str, str]]:
    """The (family, grid) pairs of a profile: ``ablations.families`` get every grid, the others those of ``everywhere``."""
    a = run.profile.ablations
    for g in (*a.grids, *a.everywhere):
        _known(g)
    favoured = a.families or list(run.profile.models.students)
    rest = [f for f in run.profile.models.students if f not in favoured]
    return [
        *((f, g) for f in favoured for g in dict.fromkeys((*a.grids, *a.everywhere))),
        *((f, g) for f in rest for g in a.everywhere),
    ]


def _known(grid: str) -> Grid:
    if grid not in GRIDS:
        raise BadInput(f"ablations.grids: unknown grid {grid!r}; known: {', '.join(GRIDS)}")
    return GRIDS[grid]


def run_grid(run: Run, family: str, grid: str) -> list[Record]:
    """Trains and evaluates every cell of a grid for a family; result rows as in `evaluation.results.results`, and drift where asked.

    A cell that the profile cannot have (weaker drafts without a weaker model) is left out.

    Raises:
        BadInput: unknown grid.
    """
    return run_grids(run, [(family, grid)])[family, grid]


def run_grids(run: Run, chosen: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Record]]:
    """`run_grid` of several (family, grid) pairs at once: cells train side by side where the profile has ``processes`` for it.

    Raises:
        BadInput: unknown grid. workers.WorkerDied: a process was killed.
    """
    wanted = {
        (family, cell.name, seed, drifts): cell
        for seed in seeds(run)  # seed by seed: neighbours differ in their records, so none waits for another's
        for family, grid in chosen
        for drifts in [_known(grid).drifts]
        for cell in cells(run, grid, family)
    }
    jobs = [(family, cell, seed, drifts) for (family, _, seed, drifts), cell in wanted.items()]
    made = dict(zip(wanted, side_by_side.each(run, run_cell, jobs, "cells"), strict=True))
    return {
        (family, grid): [
            row
            for cell in cells(run, grid, family)
            for seed in seeds(run)
            for row in made[family, cell.name, seed, GRIDS[grid].drifts]
        ]
        for family, grid in chosen
    }


def seeds(run: Run) -> list[int]:
    """The seeds of every cell."""
    return run.profile.ablations.seeds or run.profile.training.seeds


def cells(run: Run, grid: str, family: str) -> list[Cell]:
    """The cells of a grid that a family of this profile can have."""
    return [c for c in GRIDS[grid].cells if not c.needs or NEEDS[c.needs](run.profile, family)]


def _there(run: Run, family: str, cell: Cell) -> Run:
    """The run as a cell changes it; the run itself where nothing differs."""
    only = {"models.students": {family: run.profile.models.students[family]}, "ablations.families": []}
    alone = changed(run.profile, only)
    told = cell.changes(alone)
    changes = {k: v for k, v in told.items() if _get(alone, k) != v}
    if not changes:
        return run
    return replace(run, profile=changed(alone, changes))


def _get(profile: Profile, dotted: str) -> Any:
    value: Any = profile
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def plain(run: Run, grid: str, family: str) -> list[str]:
    """The cells of a grid that change nothing in this profile: models of the main comparison under another name."""
    return [
        c.name for c in cells(run, grid, family) if not c.after and _there(run, family, c) is run and c.name != c.method
    ]


def records_table(run: Run, family: str, grid: str) -> list[Record]:
    """How good the texts are that each cell learns from, where cells differ in their synthesis; percent of the records.

    ``drafts right``, ``critiques that judge right`` (their conclusion agrees with the draft's truth), ``critiques with the answer``,
    ``refined right``, ``direct right``. Empty for a grid whose cells share their records.
    """
    out, seen = [], set()
    for c in cells(run, grid, family):
        if c.after:
            continue
        made = teaching.records(_there(run, family, c), family)
        if made.key in seen:
            continue
        seen.add(made.key)
        rows = made.rows()
        share = lambda flags: 100 * sum(flags) / len(rows)  # noqa: B023, E731
        out.append({
            "records of": c.name, "n": len(rows), "drafts right": share(bool(r["draft_correct"]) for r in rows),
            "critiques that judge right": share(r["conclusion"] == ("right" if r["draft_correct"] else "wrong") for r in rows),
            "critiques with the answer": share(leaks(r["critique"], r["answer"]) for r in rows),
            "refined right": share(bool(r["refined_correct"]) for r in rows),
            "direct right": share(bool(r["direct_correct"]) for r in rows),
        })  # fmt: skip
    return out if len(out) > 1 else []


def run_cell(run: Run, family: str, cell: Cell, seed: int, drifts: bool = False) -> list[Record]:
    """Trains (or loads) and evaluates one cell with one seed.

    A cell that changes nothing is the main comparison's model: loaded, and its evaluation too.
    """
    with settings_read.watch() as fields:
        rows = _train_and_evaluate(run, family, cell, seed, drifts)
    about = _determined_by(run, family, cell, fields)
    write_json(_marker(run, family, cell, seed), {**about, "fields": sorted(fields)})
    return rows


def _train_and_evaluate(run: Run, family: str, cell: Cell, seed: int, drifts: bool) -> list[Record]:
    there = _there(run, family, cell)
    if cell.after:
        there, records = _second_round(run, there, family, cell, seed)
        model = fine_tune.fine_tune(there, family, cell.method, seed, records)
    else:
        model = fine_tune.fine_tune(there, family, cell.method, seed)
    told = cell.method if there is run else cell.name
    rows = [{**r, "method": cell.name} for r in results.evaluate(there, family, told, seed, model)]
    if drifts:
        rows += [{**r, "method": cell.name} for r in style_drift.rows(there, family, told, seed, model)]
    return rows


def _second_round(run: Run, there: Run, family: str, cell: Cell, seed: int) -> tuple[Run, Artifact]:
    """The run whose student is the trained one, and the records of its second round."""
    first = fine_tune.fine_tune(run, family, cell.method, seed)
    path = str(fine_tune.whole(run, family, first, f"{family}-{cell.method}-s{seed}"))
    there = replace(there, profile=changed(there.profile, {"models.students": {family: path}}))
    return there, teaching.records(of_seed(there if cell.after == "fresh" else run, seed), family)


def _marker(run: Run, family: str, cell: Cell, seed: int) -> Any:
    return run.folder / "artifacts" / "cells" / f"{answering.label(family, cell.name, seed)}.json"


def _determined_by(run: Run, family: str, cell: Cell, fields: Iterable[str]) -> Record:
    """What determines a cell's numbers: the fields that it read, as the cell changes them, the code and the base student."""
    there = _there(run, family, cell).profile
    about = {
        "settings": settings_read.values(there, fields),
        "code": source_code.of(run_cell).version,
        "base": named.model_key(named.student_ref(run, family).path),
    }
    return {"key": content_key(cell.name, cell.method, cell.after, about)}


def _state(run: Run, family: str, cell: Cell, seed: int) -> str:
    try:
        have = json.loads(_marker(run, family, cell, seed).read_text(encoding="utf-8"))
        now = _determined_by(run, family, cell, have["fields"])
    except (OSError, ValueError, KeyError):
        return "to do"
    return "done" if have["key"] == now["key"] else "stale"


def states(run: Run) -> list[Record]:
    """Every cell of the profile's grids: ``{family, grid, cell, seed, state}``; state is done, stale or to do."""
    return [
        {"family": family, "grid": grid, "cell": cell.name, "seed": seed, "state": _state(run, family, cell, seed)}
        for family, grid in plan(run)
        for cell in cells(run, grid, family)
        for seed in seeds(run)
    ]


def train_and_evaluate(run: Run, family: str, methods: Sequence[str], seeds: Sequence[int]) -> list[Record]:
    """Every method with every seed, nothing changed: trains (or loads) and evaluates."""
    jobs = [(family, Cell(m, m), seed) for m in methods for seed in seeds]
    return [row for rows in side_by_side.each(run, run_cell, jobs, f"models ({family})") for row in rows]
