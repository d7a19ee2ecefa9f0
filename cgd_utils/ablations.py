"""Ablations: grids of cells that share everything they do not change.

A cell is a method and the profile fields that it changes; a cell that only names a method of the main comparison is loaded, not
trained again. Its rows in ``results.csv`` carry the cell's name as their method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import evaluation, progress, training
from .artifacts import BadInput, Run
from .profiles import Profile, changed

Record = dict[str, Any]
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell of a grid.

    Attributes:
        name: in tables and results.
        method: what is trained.
        changes: profile → dotted fields to change.
        x: the dose, for grids that are drawn as curves.
        line: the curve it belongs to.
    """

    name: str
    method: str
    changes: Callable[[Profile], Changes] = lambda _: {}
    x: float | None = None
    line: str = ""


@dataclass(frozen=True)
class Grid:
    """A question and the cells that answer it; ``axis`` names the dose of a grid that is a curve."""

    question: str
    cells: tuple[Cell, ...]
    axis: str = ""


def _plain(*methods: str) -> tuple[Cell, ...]:
    return tuple(Cell(m, m) for m in methods)


def _doses(method: str, field: str, values: Sequence[Any], axis: str, line: str = "") -> tuple[Cell, ...]:
    """A cell a value of one profile field."""
    return tuple(
        Cell(f"{method} [{axis} {v}]", method, lambda _, v=v: {field: v}, float(v), line or method) for v in values
    )


def _rate(method: str, factor: float) -> Cell:
    name = f"{method} [learning rate ×{factor:g}]"
    return Cell(name, method, lambda p: {"training.learning_rate": p.training.learning_rate * factor}, factor, method)


def _rows(method: str, share: float) -> Cell:
    def changes(p: Profile) -> Changes:
        rows = p.training.rows or p.data.rows
        return {"training.rows": max(p.training.batch_size, round(rows * share))}

    return Cell(f"{method} [{share:.0%} of the rows]", method, changes, share, method)


def _mode(name: str, **fields: Any) -> Cell:
    def changes(p: Profile) -> Changes:
        rate = p.training.learning_rate * (10 if p.training.mode == "full" else 1)  # adapters want a higher rate
        return {**{k.replace("__", "."): v for k, v in fields.items()}, "training.learning_rate": rate}

    return Cell(f"cgd [{name}]", "cgd", changes)


def _teacher(name: str, method: str = "cgd", **fields: Any) -> Cell:
    return Cell(f"{method} [{name}]", method, lambda _: {f"synthesis.teacher.{k}": v for k, v in fields.items()})


def _drafts(source: str) -> Cell:
    return Cell(f"cgd [{source} drafts]", "cgd", lambda _: {"synthesis.draft_source": source})


GRIDS: dict[str, Grid] = {
    "critique_content": Grid("Does the critique's content matter?", _plain(
        "cgd", "cgd_irrelevant", "cgd_generic", "cgd_random", "cgd_no_critique", "cgd_masked", "refined_sft")),
    "critique_error_rate": Grid("How does the gain fall as critiques become wrong?", tuple(
        Cell(f"cgd_noisy({p})", f"cgd_noisy({p})", x=p, line="cgd_noisy") for p in (0.0, 0.25, 0.5, 0.75, 1.0)), "share of wrong critiques"),
    "biased_critiques": Grid("What does one systematic bias do?", (*_plain("cgd"), Cell("cgd_biased", "cgd_biased"))),
    "draft_mix": Grid("How many drafts should be right?", _doses(
        "cgd", "training.right_share", (1.0, 0.75, 0.5, 0.25, 0.0), "right"), "share of right drafts, equal size"),
    "draft_source": Grid("Where should flawed drafts come from?", (*_plain("cgd"), _drafts("weaker"), _drafts("corrupted"))),
    "answer_leakage": Grid("Does it matter whether the critique says the answer?", (
        *_plain("cgd", "cgd_masked"), _teacher("every critique leaks", leakage=1.0),
        _teacher("every critique leaks", "cgd_masked", leakage=1.0))),
    "learning_rate": Grid("How sensitive is each method to the learning rate?", tuple(
        _rate(m, f) for m in ("distilled_sft", "cft", "cgd") for f in (0.3, 1.0, 3.0, 10.0)), "learning rate, times the profile's"),
    "epochs": Grid("What does longer training do?", tuple(
        c for m in ("distilled_sft", "cgd") for c in _doses(m, "training.epochs", (1.0, 2.0, 4.0), "epochs")), "epochs"),
    "data_size": Grid("How much data does it take?", tuple(
        _rows(m, s) for m in ("distilled_sft", "cgd") for s in (0.08, 0.25, 0.5, 1.0)), "share of the training rows"),
    "teacher": Grid("Does a stronger teacher make a stronger student?", (
        *_plain("cgd"), _teacher("teacher errs in 25%", error_rate=0.25), _teacher("teacher errs in 50%", error_rate=0.5),
        _teacher("learned teacher", kind="model", model="lab:qwen"))),
    "replay": Grid("Do plain rows in the mix help?", (
        Cell("cgd", "cgd", x=0.0, line="cgd_replay"),
        *(Cell(f"cgd_replay({r})", f"cgd_replay({r})", x=r, line="cgd_replay") for r in (0.25, 0.5, 0.75))), "share of plain rows"),
    "adapters": Grid("Full fine-tuning, LoRA or QLoRA?", (
        *_plain("cgd"), *(_mode(f"LoRA r={r}", training__mode="lora", training__lora__r=r, training__lora__alpha=2 * r) for r in (4, 16, 64)),
        _mode("QLoRA r=16", training__mode="qlora", training__lora__r=16, training__lora__alpha=32))),
    "loss_on_critique": Grid("Should the critique be learnt too?", _plain("cgd", "cgd_joint")),
    "self_critique": Grid("Can the student's own critiques stand in for the teacher's?", (
        *_plain("cgd"), Cell("cgd [own critiques]", "cgd", lambda p: {
            "synthesis.teacher.kind": "model", "synthesis.teacher.model": next(iter(p.models.students.values()))}))),
}  # fmt: skip


def run_grid(run: Run, family: str, grid: str) -> list[Record]:
    """Trains and evaluates every cell of a grid for a family; result rows as in `evaluation.results`.

    A cell that the profile cannot have (weaker drafts without a weaker model) is left out.

    Raises:
        BadInput: unknown grid.
    """
    if grid not in GRIDS:
        raise BadInput(f"ablations.grids: unknown grid {grid!r}; known: {', '.join(GRIDS)}")
    seeds = run.profile.ablations.seeds or run.profile.training.seeds
    plan = [(cell, seed) for cell in cells(run, grid, family) for seed in seeds]
    shown = progress.bar(plan, desc=f"{grid} ({family})", unit="model")
    return [row for cell, seed in shown for row in run_cell(run, family, cell, seed)]


def cells(run: Run, grid: str, family: str) -> list[Cell]:
    """The cells of a grid that a family of this profile can have."""
    p = run.profile
    lacks = {"cgd [weaker drafts]"} if family not in p.models.weaker else set()
    if p.data.source != "lab":
        lacks |= {"cgd [corrupted drafts]", "cgd_biased", *(c.name for c in GRIDS["teacher"].cells[1:])}
        lacks |= {c.name for c in GRIDS["answer_leakage"].cells[2:]}
    if p.synthesis.teacher.kind == "model" and p.data.source == "lab":
        lacks |= {c.name for c in (*GRIDS["teacher"].cells[1:3], *GRIDS["answer_leakage"].cells[2:])}
    return [c for c in GRIDS[grid].cells if c.name not in lacks]


def run_cell(run: Run, family: str, cell: Cell, seed: int) -> list[Record]:
    """Trains (or loads) and evaluates one cell with one seed."""
    alone = changed(run.profile, {"models.students": {family: run.profile.models.students[family]}})
    mine = {"models.students": alone.models.students, **cell.changes(alone)} if cell.changes(alone) else {}
    there = replace(run, profile=changed(run.profile, mine)) if mine else run
    model = training.fine_tune(there, family, cell.method, seed)
    return evaluation.evaluate(there, family, cell.name, seed, model)


def train_and_evaluate(run: Run, family: str, methods: Sequence[str], seeds: Sequence[int]) -> list[Record]:
    """Every method with every seed, nothing changed: trains (or loads) and evaluates."""
    shown = progress.bar([(m, seed) for m in methods for seed in seeds], desc=f"models ({family})", unit="model")
    return [row for m, seed in shown for row in run_cell(run, family, Cell(m, m), seed)]
