"""Ablations: grids of cells that share everything they do not change.

A cell is a method and the profile fields that it changes; a cell that only names a method of the main comparison is loaded, not
trained again. Its rows in ``results.csv`` carry the cell's name as their method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import drift, evaluation, synthesis, training
from .artifacts import Artifact, BadInput, Run, code_version, content_key, write_json
from .methods import leaks
from .profiles import Profile, changed
from .progress import bar

Record = dict[str, Any]
Changes = Mapping[str, Any]
# what determines a cell's numbers, for `progress`
CODE = ("ablations", "drift", "evaluation", "training", "methods", "synthesis", "data", "decontamination", "generation", "prompts",
        "grading", "benchmarks", "lab")  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One cell of a grid.

    Attributes:
        name: in tables and results.
        method: what is trained.
        changes: profile → dotted fields to change.
        x: the dose, for grids that are drawn as curves.
        line: the curve it belongs to.
        after: a second round that goes on from the trained student: with ``fresh`` drafts of it and critiques of those, or with
            the ``same`` records again; '' = a cell of one round.
    """

    name: str
    method: str
    changes: Callable[[Profile], Changes] = lambda _: {}
    x: float | None = None
    line: str = ""
    after: str = ""


@dataclass(frozen=True)
class Grid:
    """A question and the cells that answer it.

    Attributes:
        question: what the grid asks.
        cells: the answers.
        axis: the dose of a grid that is a curve; '' = bars.
        drifts: whether `drift` is measured too.
        reference: the cell that the others are compared with.
    """

    question: str
    cells: tuple[Cell, ...]
    axis: str = ""
    drifts: bool = False
    reference: str = "cgd"

    def against(self, cell: Cell) -> str:
        """The cell that another is compared with: CGD at the same dose if the grid has several curves, else the reference."""
        curves = {c.line for c in self.cells}
        if self.axis and len(curves) > 1 and cell.method != "cgd":
            return next((c.name for c in self.cells if c.method == "cgd" and c.x == cell.x), self.reference)
        return self.reference


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
        is_full, wants_full = p.training.mode == "full", fields.get("training__mode") == "full"
        # adapters want a rate ten times as high
        rate = p.training.learning_rate * (1 if is_full == wants_full else 10 if is_full else 0.1)
        return {**{k.replace("__", "."): v for k, v in fields.items()}, "training.learning_rate": rate}

    return Cell(f"cgd [{name}]", "cgd", changes)


def _teacher(name: str, method: str = "cgd", **fields: Any) -> Cell:
    return Cell(f"{method} [{name}]", method, lambda _: {f"synthesis.teacher.{k}": v for k, v in fields.items()})


def _light(p: Profile) -> Changes:
    """Half the rows at a third of the rate."""
    rows = p.training.rows or p.data.rows
    rate = round(p.training.learning_rate / 3, 12)
    return {"training.rows": max(p.training.batch_size, rows // 2), "training.learning_rate": rate}


def _drafts(source: str) -> Cell:
    return Cell(f"cgd [{source} drafts]", "cgd", lambda _: {"synthesis.draft_source": source})


GRIDS: dict[str, Grid] = {
    "critique_content": Grid("Does the critique's content matter?", _plain(
        "cgd", "cgd_irrelevant", "cgd_generic", "cgd_random", "cgd_no_critique", "cgd_masked", "refined_sft")),
    "critique_error_rate": Grid("How does the gain fall as critiques become wrong?", (
        Cell("cgd", "cgd", x=0.0, line="cgd_noisy"),
        *(Cell(f"cgd_noisy({p})", f"cgd_noisy({p})", x=p, line="cgd_noisy") for p in (0.25, 0.5, 0.75, 1.0))), "share of wrong critiques"),
    "biased_critiques": Grid("What does one systematic bias do?", (*_plain("cgd"), Cell("cgd_biased", "cgd_biased"))),
    "draft_mix": Grid("How many drafts should be right?", _doses(
        "cgd", "training.right_share", (1.0, 0.75, 0.5, 0.25, 0.0), "right"), "share of right drafts, equal size", reference="cgd [right 0.5]"),
    "draft_source": Grid("Where should flawed drafts come from?", (*_plain("cgd"), _drafts("weaker"), _drafts("corrupted"))),
    "answer_leakage": Grid("Does it matter whether the critique says the answer?", (
        *_plain("cgd", "cgd_masked"), _teacher("every critique leaks", leakage=1.0),
        _teacher("every critique leaks", "cgd_masked", leakage=1.0))),
    "learning_rate": Grid("How sensitive is each method to the learning rate?", tuple(
        _rate(m, f) for m in ("sft", "distilled_sft", "refined_sft", "cft", "cgd") for f in (0.3, 1.0, 3.0, 10.0)), "learning rate, times the profile's"),
    "epochs": Grid("What does longer training do, and does the student drift?", tuple(
        c for m in ("distilled_sft", "cgd") for c in _doses(m, "training.epochs", (1.0, 2.0, 4.0), "epochs")), "epochs", drifts=True),
    "data_size": Grid("How much data does it take?", tuple(
        _rows(m, s) for m in ("distilled_sft", "cgd") for s in (0.08, 0.25, 0.5, 1.0)), "share of the training rows"),
    "teacher": Grid("Does a stronger teacher make a stronger student?", (
        *_plain("cgd"), _teacher("teacher errs in 25%", error_rate=0.25), _teacher("teacher errs in 50%", error_rate=0.5),
        _teacher("learned teacher", kind="model", model="lab:teacher"))),
    "replay": Grid("Do plain rows in the mix help?", (
        Cell("cgd", "cgd", x=0.0, line="cgd_replay"),
        *(Cell(f"cgd_replay({r})", f"cgd_replay({r})", x=r, line="cgd_replay") for r in (0.25, 0.5, 0.75))), "share of plain rows"),
    "adapters": Grid("Full fine-tuning, LoRA or QLoRA?", (
        *_plain("cgd"), _mode("full", training__mode="full"), *(_mode(f"LoRA r={r}", training__mode="lora", training__lora__r=r, training__lora__alpha=2 * r) for r in (4, 16, 64)),
        _mode("QLoRA r=16", training__mode="qlora", training__lora__r=16, training__lora__alpha=32))),
    "loss_on_critique": Grid("Should the critique be learnt too?", _plain("cgd", "cgd_joint")),
    "self_critique": Grid("Can the student's own critiques stand in for the teacher's?", (
        *_plain("cgd"), _teacher("own critiques", critic="student"),
        Cell("cgd [own critiques and answers]", "cgd", lambda p: {
            "synthesis.teacher.kind": "model", "synthesis.teacher.model": next(iter(p.models.students.values()))}))),
    "second_round": Grid("Does a second, light round on fresh drafts of the trained student still gain?", (
        *_plain("cgd"), Cell("cgd [second round]", "cgd", _light, after="fresh"),
        Cell("cgd [same records again]", "cgd", _light, after="same"))),
}  # fmt: skip


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
    """Trains and evaluates every cell of a grid for a family; result rows as in `evaluation.results`, and drift where asked.

    A cell that the profile cannot have (weaker drafts without a weaker model) is left out.

    Raises:
        BadInput: unknown grid.
    """
    drifts = _known(grid).drifts
    plan = [(cell, seed) for cell in cells(run, grid, family) for seed in seeds(run)]
    shown = bar(plan, desc=f"{grid} ({family})", unit="model")
    return [row for cell, seed in shown for row in run_cell(run, family, cell, seed, drifts)]


def seeds(run: Run) -> list[int]:
    """The seeds of every cell."""
    return run.profile.ablations.seeds or run.profile.training.seeds


def cells(run: Run, grid: str, family: str) -> list[Cell]:
    """The cells of a grid that a family of this profile can have."""
    p = run.profile
    lacks = {"cgd [weaker drafts]"} if family not in p.models.weaker else set()
    if not p.data.is_lab:
        lacks |= {"cgd [corrupted drafts]", "cgd_biased", *(c.name for c in GRIDS["teacher"].cells[1:])}
        lacks |= {c.name for c in GRIDS["answer_leakage"].cells[2:]}
    if p.data.source != "lab":  # the learned teacher knows the first world only
        lacks.add("cgd [learned teacher]")
    if p.synthesis.teacher.kind == "model" and p.data.is_lab:
        lacks |= {c.name for c in (*GRIDS["teacher"].cells[1:3], *GRIDS["answer_leakage"].cells[2:])}
    if p.training.mode == "full":
        lacks.add("cgd [full]")  # the profile's own mode is the plain cell
    return [c for c in GRIDS[grid].cells if c.name not in lacks]


def _there(run: Run, family: str, cell: Cell) -> Run:
    """The run as a cell changes it; the run itself where nothing differs."""
    alone = changed(run.profile, {"models.students": {family: run.profile.models.students[family]}})
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
        made = synthesis.records(_there(run, family, c), family)
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
    there = _there(run, family, cell)
    if cell.after:
        there, records = _second_round(run, there, family, cell, seed)
        model = training.fine_tune(there, family, cell.method, seed, records)
    else:
        model = training.fine_tune(there, family, cell.method, seed)
    told = cell.method if there is run else cell.name
    rows = [{**r, "method": cell.name} for r in evaluation.evaluate(there, family, told, seed, model)]
    if drifts:
        rows += [{**r, "method": cell.name} for r in drift.rows(there, family, told, seed, model)]
    base = synthesis.model_key(synthesis.student_ref(run, family).path)
    write_json(_marker(run, family, cell, seed), {"key": _cell_key(run, family, cell, seed, base)})
    return rows


def _second_round(run: Run, there: Run, family: str, cell: Cell, seed: int) -> tuple[Run, Artifact]:
    """The run whose student is the trained one, and the records of its second round."""
    first = training.fine_tune(run, family, cell.method, seed)
    path = str(training.whole(run, family, first, f"{family}-{cell.method}-s{seed}"))
    there = replace(there, profile=changed(there.profile, {"models.students": {family: path}}))
    return there, synthesis.records(there if cell.after == "fresh" else run, family)


def _marker(run: Run, family: str, cell: Cell, seed: int) -> Any:
    return run.folder / "artifacts" / "cells" / f"{evaluation.label(family, cell.name, seed)}.json"


def _cell_key(run: Run, family: str, cell: Cell, seed: int, base: str) -> str:
    p = _there(run, family, cell).profile
    settings = p.model_dump(exclude={"name": True, "description": True, "ablations": True, "models": {"students", "weaker"},
                                     "training": {"methods", "seeds"}})  # fmt: skip
    return content_key(settings, base, cell.name, cell.method, cell.after, seed, code_version(*CODE))


def states(run: Run) -> list[Record]:
    """Every cell of the profile's grids: ``{family, grid, cell, seed, state}``; state is done, stale or to do."""
    import json

    out = []
    bases = {f: synthesis.model_key(synthesis.student_ref(run, f).path) for f in run.profile.models.students}
    for family, grid in plan(run):
        for cell in cells(run, grid, family):
            for seed in seeds(run):
                try:
                    have = json.loads(_marker(run, family, cell, seed).read_text(encoding="utf-8"))["key"]
                except (OSError, ValueError):
                    have = None
                state = (
                    "to do"
                    if have is None
                    else "done"
                    if have == _cell_key(run, family, cell, seed, bases[family])
                    else "stale"
                )
                out.append({"family": family, "grid": grid, "cell": cell.name, "seed": seed, "state": state})
    return out


def train_and_evaluate(run: Run, family: str, methods: Sequence[str], seeds: Sequence[int]) -> list[Record]:
    """Every method with every seed, nothing changed: trains (or loads) and evaluates."""
    shown = bar([(m, seed) for m in methods for seed in seeds], desc=f"models ({family})", unit="model")
    return [row for m, seed in shown for row in run_cell(run, family, Cell(m, m), seed)]
