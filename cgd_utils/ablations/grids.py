"""The grids of notebook 05: what each cell is called, trains and changes. A new ablation is a new entry of `GRIDS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core.settings import Profile

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
        after: a second round that goes on from the trained student: with ``fresh`` drafts of it and critiques of those,
            or with the ``same`` records again; '' = a cell of one round.
        choose: which checkpoint is reported, one of `checkpoint_choice.CHOICES`; '' = the last one, without more ado.
        against: the cell it is compared with; '' = as `Grid.against` says.
        needs: what a profile must have for it, a key of `NEEDS`; '' = nothing.
    """

    name: str
    method: str
    changes: Callable[[Profile], Changes] = lambda _: {}
    x: float | None = None
    line: str = ""
    after: str = ""
    choose: str = ""
    against: str = ""
    needs: str = ""


COMPARED = ("sft", "distilled_sft", "refined_sft", "cft", "cgd")


def _compares(method: str) -> Callable[[Profile, str], bool]:
    """Whether a profile compares a method and holds questions out for validation."""
    return lambda p, _: method in p.training.methods and bool(p.training.validation_rows)


# what a cell may need -> whether a profile has it for a family
NEEDS: dict[str, Callable[[Profile, str], bool]] = {
    "a weaker model": lambda p, family: family in p.models.weaker,
    "lab problems": lambda p, _: p.data.is_lab,
    "the exact teacher": lambda p, _: p.synthesis.teacher.kind in ("exact", "prose"),
    "the first lab world": lambda p, _: p.data.source == "lab",  # all that the learned teacher knows
    "an adapter": lambda p, _: p.training.mode != "full",  # else the profile's own mode is the plain cell
    **{f"{m} and validation rows": _compares(m) for m in COMPARED},
}


@dataclass(frozen=True)
class Grid:
    """A question and the cells that answer it.

    Attributes:
        question: what the grid asks.
        cells: the answers.
        axis: the dose of a grid that is a curve; '' = bars.
        drifts: whether `drift` is measured too.
        reference: the cell that the others are compared with.
        log: whether the dose is drawn on a log scale.
    """

    question: str
    cells: tuple[Cell, ...]
    axis: str = ""
    drifts: bool = False
    reference: str = "cgd"
    log: bool = False

    def cell(self, method: str, x: float) -> Cell:
        """The cell of a method at a dose.

        Raises:
            KeyError: there is none.
        """
        for c in self.cells:
            if c.method == method and c.x == x:
                return c
        doses = sorted({c.x for c in self.cells if c.x is not None})
        raise KeyError(f"{self.question} no cell of {method!r} at {x:g}; doses: {doses}")

    def against(self, cell: Cell) -> str:
        """What a cell is compared with: CGD at the same dose if the grid has several curves, else the reference."""
        if cell.against:
            return cell.against
        curves = {c.line for c in self.cells}
        if self.axis and len(curves) > 1 and cell.method != "cgd":
            return next((c.name for c in self.cells if c.method == "cgd" and c.x == cell.x), self.reference)
        return self.reference


# The paper compares 1e-6 with 5e-6 (`published/table_lr_stability.csv`): the grid goes up and down by that ratio, and
# once further.
PAPER_RATES = (1e-6, 5e-6)
RATE_FACTORS = (0.2, 1.0, 5.0, 10.0)  # times the profile's learning rate


def rate_pair(profile: Profile) -> tuple[float, float]:
    """The two of `RATE_FACTORS` whose change of accuracy stands beside the paper's.

    They are the paper's own rates where the profile trains at its higher one, else its rate and five times that.
    """
    return (0.2, 1.0) if math.isclose(profile.training.common_rate, PAPER_RATES[1]) else (1.0, 5.0)


def scaled_rate(profile: Profile, factor: float) -> float:
    """The profile's learning rate times a factor, without the dust of binary fractions."""
    return float(f"{profile.training.common_rate * factor:.10g}")


def _plain(*methods: str) -> tuple[Cell, ...]:
    return tuple(Cell(m, m) for m in methods)


def _setting(method: str, what: str, fields: Changes, needs: str = "") -> Cell:
    """A method under fixed values of profile fields."""
    return Cell(f"{method} [{what}]", method, lambda _: fields, needs=needs)


def _teacher(method: str, what: str, needs: str, **fields: Any) -> Cell:
    return _setting(method, what, {f"synthesis.teacher.{k}": v for k, v in fields.items()}, needs)


def _doses(method: str, field: str, values: Sequence[float], axis: str) -> tuple[Cell, ...]:
    """A cell a value of one profile field."""
    return tuple(replace(_setting(method, f"{axis} {v}", {field: v}), x=v, line=method) for v in values)


def _shares(method: str, shares: Sequence[float]) -> tuple[Cell, ...]:
    """A method with a parameter, at several of its values, on one curve with plain CGD."""
    curve = (Cell(f"{method}({share})", f"{method}({share})", x=share, line=method) for share in shares)
    return (Cell("cgd", "cgd", x=0.0, line=method), *curve)


# times as many problems, where they can be drawn: a mix is as large as its scarcer kind, and right drafts are scarce
MORE_DRAFTS = 8
ERRS = 0.25  # of the critiques of a teacher whose conclusions are not the truth


def _mix(share: float, by: str = "truth", error_rate: float = 0.0) -> Cell:
    """CGD on a share of drafts that are right, of `MORE_DRAFTS` times as many problems; all shares train on equally many rows."""

    def changes(p: Profile) -> Changes:
        # its answers stay right, so that only what is called right differs
        errs = {"synthesis.teacher.error_rate": error_rate, "synthesis.teacher.refined_error_rate": 0.0}
        rows = MORE_DRAFTS * p.data.rows if p.data.is_drawn else p.data.rows
        fields = {"data.rows": rows, "training.right_share": share, "training.share_by": by}
        return {**fields, **errs} if error_rate else fields

    name = f"cgd [right {share}]" if not error_rate else f"cgd [right by {by} {share}]"
    return Cell(name, "cgd", changes, share, f"by {by}", needs="the exact teacher" if error_rate else "")


KEEP = 6  # checkpoints of a run, the last among them


def _choice(method: str, by: str) -> Cell:
    """A method whose reported checkpoint is chosen; compared with the choice on the test set: the difference is its optimism."""
    against, needs = f"{method} [best on the test set]", f"{method} and validation rows"
    fields = {"training.keep": KEEP}
    return Cell(f"{method} [{by}]", method, lambda _: fields, choose=by, against=against, needs=needs)


def _rate(method: str, factor: float) -> Cell:
    name = f"{method} [learning rate ×{factor:g}]"
    return Cell(name, method, lambda p: {"training.learning_rate": scaled_rate(p, factor)}, factor, method)


def _rows_at(p: Profile, share: float) -> int:
    """A share of the training rows, a batch at least."""
    return max(p.training.batch_size, round((p.training.rows or p.data.rows) * share))


def _rows(method: str, share: float) -> Cell:
    name = f"{method} [{share:.0%} of the rows]"
    return Cell(name, method, lambda p: {"training.rows": _rows_at(p, share)}, share, method)


def _mode(what: str, mode: str, r: int = 0, needs: str = "") -> Cell:
    """CGD with full weights or adapters of rank ``r``; adapters want a rate ten times as high."""
    lora = {"training.lora.r": r, "training.lora.alpha": 2 * r} if r else {}

    def changes(p: Profile) -> Changes:
        is_full, wants_full = p.training.mode == "full", mode == "full"
        rate = p.training.common_rate * (1 if is_full == wants_full else 10 if is_full else 0.1)
        return {"training.mode": mode, **lora, "training.learning_rate": rate}

    return Cell(f"cgd [{what}]", "cgd", changes, needs=needs)


def _light(p: Profile) -> Changes:
    """Half the rows at a third of the rate."""
    rows = max(p.training.batch_size, (p.training.rows or p.data.rows) // 2)
    return {"training.rows": rows, "training.learning_rate": scaled_rate(p, 1 / 3)}


def _own_answers(p: Profile) -> Changes:
    """The student is its own teacher."""
    return {"synthesis.teacher.kind": "model", "synthesis.teacher.model": next(iter(p.models.students.values()))}


GRIDS: dict[str, Grid] = {
    "critique_content": Grid("Does the critique's content matter?", _plain(
        "cgd", "cgd_irrelevant", "cgd_generic", "cgd_random", "cgd_no_critique", "cgd_masked", "refined_sft")),
    "critique_error_rate": Grid(
        "How does the gain fall as critiques become wrong?", _shares("cgd_noisy", (0.25, 0.5, 0.75, 1.0)),
        "share of wrong critiques"),
    "biased_critiques": Grid("What does one systematic bias do?", (
        *_plain("cgd"), Cell("cgd_biased", "cgd_biased", needs="lab problems"))),
    "draft_mix": Grid(
        "How many drafts should be right?", tuple(map(_mix, (1.0, 0.75, 0.5, 0.25, 0.0))),
        "share of right drafts, equal size", reference="cgd [right 0.5]"),
    "conclusion_mix": Grid(
        f"By what is a draft right, where critiques err in {ERRS:.0%}: by the truth, or by the critique's conclusion?",
        tuple(_mix(share, by, ERRS) for by in ("truth", "conclusion") for share in (1.0, 0.5, 0.0)),
        "share of right drafts, equal size", reference="cgd [right by truth 0.5]"),
    "draft_source": Grid("Where should flawed drafts come from?", (
        *_plain("cgd"),
        _setting("cgd", "weaker drafts", {"synthesis.draft_source": "weaker"}, "a weaker model"),
        _setting("cgd", "corrupted drafts", {"synthesis.draft_source": "corrupted"}, "lab problems"))),
    "answer_leakage": Grid("Does it matter whether the critique says the answer?", (
        *_plain("cgd", "cgd_masked"),
        _teacher("cgd", "every critique leaks", "the exact teacher", leakage=1.0),
        _teacher("cgd_masked", "every critique leaks", "the exact teacher", leakage=1.0))),
    "learning_rate": Grid(
        "How sensitive is each method to the learning rate?",
        tuple(_rate(m, f) for m in ("sft", "distilled_sft", "refined_sft", "cft", "cgd") for f in RATE_FACTORS),
        "learning rate, times the profile's", log=True),
    "epochs": Grid(
        "What does longer training do, and does the student drift?",
        tuple(c for m in ("distilled_sft", "cgd") for c in _doses(m, "training.epochs", (1.0, 2.0, 4.0), "epochs")),
        "epochs", drifts=True),
    "data_size": Grid(
        "How much data does it take?",
        tuple(_rows(m, s) for m in ("distilled_sft", "cgd") for s in (0.08, 0.25, 0.5, 1.0)),
        "share of the training rows"),
    "checkpoint_choice": Grid(
        "How much does choosing the checkpoint on the test set add, for each method?",
        tuple(_choice(m, by) for m in COMPARED for by in ("last", "best on validation", "best on the test set"))),
    "teacher": Grid("Does a stronger teacher make a stronger student?", (
        *_plain("cgd"),
        _teacher("cgd", "teacher errs in 25%", "the exact teacher", error_rate=0.25),
        _teacher("cgd", "teacher errs in 50%", "the exact teacher", error_rate=0.5),
        _teacher("cgd", "learned teacher", "the first lab world", kind="model", model="lab:teacher"))),
    "replay": Grid("Do plain rows in the mix help?", _shares("cgd_replay", (0.25, 0.5, 0.75)), "share of plain rows"),
    "adapters": Grid("Full fine-tuning, LoRA or QLoRA?", (
        *_plain("cgd"), _mode("full", "full", needs="an adapter"),
        *(_mode(f"LoRA r={r}", "lora", r) for r in (4, 16, 64)), _mode("QLoRA r=16", "qlora", 16))),
    "loss_on_critique": Grid("Should the critique be learnt too?", _plain("cgd", "cgd_joint")),
    "self_critique": Grid("Can the student's own critiques stand in for the teacher's?", (
        *_plain("cgd"), _teacher("cgd", "own critiques", "", critic="student"),
        Cell("cgd [own critiques and answers]", "cgd", _own_answers))),
    "second_round": Grid("Does a second, light round on fresh drafts of the trained student still gain?", (
        *_plain("cgd"), Cell("cgd [second round]", "cgd", _light, after="fresh"),
        Cell("cgd [same records again]", "cgd", _light, after="same"))),
}  # fmt: skip
