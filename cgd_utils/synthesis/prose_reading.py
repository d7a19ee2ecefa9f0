"""What is wrong first in a draft in prose, judged by a problem's worked solution in equations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ..core.errors import BadInput
from ..core.records import Record
from ..grading import equations
from ..grading.equations import Equation, Operation, show
from ..grading.extraction import extract

# the first fault of a draft:
#   calculation  a result is false                    operation  the numbers are right, what is done with them is not
#   operand      a wrong number in a right operation  extra      a step that has no place in the solution
#   missing      a step left out                      final      all steps, but another number as the answer
#   no_answer    all steps, no answer                 unreadable calculations that could not be read
# and without one: right; lucky (the answer is right though a result is false)
KINDS = (
    "right",
    "lucky",
    "calculation",
    "operation",
    "operand",
    "extra",
    "missing",
    "final",
    "no_answer",
    "unreadable",
)
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|-?\.\d+")


@dataclass(frozen=True)
class Diagnosis:
    """The first thing wrong with a draft, and what is right before it.

    Attributes:
        kind: one of `KINDS`.
        equation: the faulty equation, None if no equation is to blame.
        expected: whether the faulty equation is the right operation on the right numbers.
        step: number of the expected step that it should be, from 0; None if all are done.
        done: numbers of the expected steps that are done before the fault.
        good: the draft's equations before the fault, all of them right.
        answer: the draft's final number, None if it has none.
    """

    kind: str
    equation: Equation | None = None
    expected: bool = False
    step: int | None = None
    done: frozenset[int] = frozenset()
    good: tuple[Equation, ...] = ()
    answer: Fraction | None = None

    @property
    def right(self) -> bool:
        return self.kind in ("right", "lucky")


def steps_of(problem: Record) -> tuple[Operation, ...]:
    """The operations of a problem's worked solution, in their order.

    Raises:
        BadInput: no equation of its solution can be read.
    """
    steps = _steps(problem["solution"])
    if not steps:
        raise BadInput(
            f"synthesis.teacher.kind = 'prose': the solution of {problem['id']!r} shows no equation such as 4 * 3 = 12; "
            f"use a teacher of kind model, or leave such problems out"
        )
    return steps


@lru_cache(maxsize=65536)
def _steps(solution: str) -> tuple[Operation, ...]:
    return tuple(o for e in equations.read(solution) for o in _whole(e.operations))


def _whole(operations: Sequence[Operation]) -> list[Operation]:
    """The operations without those that only write a fraction: 1/2 of 30 is one step."""
    return [
        o
        for o, after in zip(operations, [*operations[1:], None], strict=True)
        if not (o.sign == "/" and o.value < 1 and after and after.sign == "*" and o.value in (after.left, after.right))
    ]


def final_number(text: str) -> Fraction | None:
    """The final answer of a text as a number, by the grader's own extraction; None if it names none."""
    answer = extract(text, "math")
    found = _NUMBER.findall(re.sub(r"\\[,!; ]", "", answer)) if answer else []
    if not found:
        return None
    number = found[-1] if "=" in (answer or "") else found[0]
    return Fraction(number.replace(",", ""))


def _same(o: Operation) -> tuple[str, frozenset[Fraction] | tuple[Fraction, Fraction]]:
    """The same for ``3 * 4`` and ``4 * 3``, and for ``1/2 * 8`` and ``8 / 2``."""
    left, right = o.left, o.right
    if o.sign == "*":
        for part, whole in ((left, right), (right, left)):
            if part.numerator == 1 and part.denominator > 1:
                return "/", (whole, Fraction(part.denominator))
    if o.sign in "+*":
        return o.sign, frozenset((left, right))
    return o.sign, (left, right)


def diagnose(draft: str, problem: Record) -> Diagnosis:
    """Finds the first fault of a draft.

    A draft whose final number is right is right. Steps may come in another order, be done together or in the head, or lead
    to the same values in another way.

    Args:
        draft: the draft, without thoughts.
        problem: with ``solution`` and ``answer``.

    Raises:
        BadInput: the problem's solution shows no equation.
    """
    steps = steps_of(problem)
    found = equations.read(draft)
    cut = bool(found) and not found[-1].true and _cut_off(draft, found[-1])
    answer = None if cut else final_number(draft)
    walk = _Walk(steps)
    fault: tuple[str, Equation, int | None] | None = None
    for e in found:
        kind = walk.take(e, believed=cut and e is found[-1])
        if kind:
            fault = (kind, e, walk.meant(e))
            break
    done, good = frozenset(walk.done), tuple(walk.good)
    if answer is not None and answer == final_number(f"Answer: {problem['answer']}"):
        lucky = any(not e.true for e in found)
        false = next((e for e in found if not e.true), None)
        return Diagnosis("lucky" if lucky else "right", false, False, None, done, good, answer)
    if fault:
        kind, e, step = fault
        return Diagnosis(kind, e, walk.is_step(e), step, done, good, answer)
    missing = next((i for i in range(len(steps)) if i not in done), None)
    if missing is None:
        return Diagnosis("no_answer" if answer is None else "final", done=done, good=good, answer=answer)
    if not found and re.search(r"\d[^.\n]*=|=[^.\n]*\d|\d\s*[+×*÷]\s*\$?\d", draft):
        return Diagnosis("unreadable", answer=answer)
    if answer is None and not re.search(r"\d", draft):
        return Diagnosis("no_answer", step=missing, done=done, good=good)
    return Diagnosis("missing", step=missing, done=done, good=good, answer=answer)


def _cut_off(draft: str, e: Equation) -> bool:
    """Whether a text breaks off in the last number of a right calculation: ``12 * 3 = 3``."""
    return not draft[e.end :].strip() and show(e.value).startswith(show(e.claimed))


class _Walk:
    """Goes through a draft's equations beside the steps that are expected."""

    def __init__(self, steps: Sequence[Operation]) -> None:
        self.steps = steps
        self.keys = [_same(o) for o in steps]
        self.done: set[int] = set()
        self.good: list[Equation] = []

    def take(self, e: Equation, believed: bool) -> str:
        """The fault of an equation, '' if it has none. ``believed``: its result counts as true."""
        operations = _whole(e.operations)
        places = [self._place(o) for o in operations]
        if not (e.true or believed):
            wrong_sign = any(
                self._meant(o)[1] == "operation" for o, i in zip(operations, places, strict=True) if i is None
            )
            return "operation" if wrong_sign else "calculation"
        if len(self.steps) - 1 in self.done and len(self.steps) - 1 not in places:
            return "extra"
        undone = [i for i in range(len(self.steps)) if i not in self.done]
        if all(i is not None for i in places):
            self._finish(max(i for i in places if i is not None))
        elif reached := [i for i in undone if self.steps[i].value == e.value]:
            self._finish(reached[0])  # the value of a step, got in another way
        else:
            first = next(o for o, i in zip(operations, places, strict=True) if i is None)
            return self._meant(first)[1]
        if not believed:
            self.good.append(e)
        return ""

    def is_step(self, e: Equation) -> bool:
        """Whether all that an equation calculates is expected."""
        return all(self._place(o) is not None for o in _whole(e.operations))

    def meant(self, e: Equation) -> int | None:
        """The expected step in whose place an equation stands."""
        for o in _whole(e.operations):
            i = self._place(o)
            if i is None or not e.true:
                return self._meant(o)[0] if i is None else i
        return self._next()

    def _next(self) -> int | None:
        return next((i for i in range(len(self.steps)) if i not in self.done), None)

    def _place(self, o: Operation) -> int | None:
        """The step that an operation is; one not yet done, if there are several."""
        found = [i for i, key in enumerate(self.keys) if key == _same(o)]
        return next((i for i in found if i not in self.done), found[0] if found else None)

    def _meant(self, o: Operation) -> tuple[int | None, str]:
        """Which step an operation stands for that is none of them, and what is wrong with it."""
        following = self._next()
        for i in [i for i in range(len(self.steps)) if i not in self.done]:
            if {o.left, o.right} == {self.steps[i].left, self.steps[i].right}:
                return i, "operation" if o.sign != self.steps[i].sign else "operand"
        if following is not None and _same(o)[0] == self.keys[following][0]:
            step = self.steps[following]
            if {o.left, o.right} & {step.left, step.right}:
                return following, "operand"
        return following, "extra"

    def _finish(self, i: int) -> None:
        """Marks a step as done, and those whose results it uses: they were done in the head."""
        if i in self.done:
            return
        self.done.add(i)
        for part in (self.steps[i].left, self.steps[i].right):
            earlier = [j for j in range(i) if self.steps[j].value == part]
            if earlier:
                self._finish(earlier[-1])
