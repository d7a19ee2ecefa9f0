"""Whether two answers are equal under a rule.

What can be decided without sympy is (`quick`): equal text, plain numbers, words, choices, and lists of those. The rest
goes to math-verify (`judge`), which can hang on hostile input: `grade` runs it in `pool`'s processes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from . import arithmetic, kinds, notation, values
from .kinds import Listing, Number

RULES = ("math", "relative", "exact")
MAX_CHARS = 2_000  # longer answers are compared as text only; the longest gold of the benchmarks has about 300

Leaf = Callable[[str, str, str], bool | None]
Verdict = tuple[bool | None, str]


class Unparsable(ValueError):
    """An answer that math-verify does not read; `side` says whose: ``gold`` or (the model's) ``answer``."""

    def __init__(self, side: str):
        super().__init__(f"the {side} is no mathematics that math-verify reads")
        self.side = side


def check_rule(rule: str) -> None:
    """Raises ValueError for a rule that is not in `RULES`."""
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} is unknown – choose one of {', '.join(RULES)}")


def equivalent(gold: str, answer: str, rule: str = "math") -> bool | None:
    r"""Whether an answer equals the gold one; None if the gold one is no mathematics that math-verify reads.

    Runs in this process and without a time limit: for the answers of a model use `grade`.

    Args:
        gold: the gold answer, e.g. ``\frac{1}{2}``; it decides what kind of answer is wanted.
        answer: the extracted answer, e.g. ``0.5``.
        rule: ``math``, ``relative`` or ``exact``.

    Raises:
        ValueError: for an unknown rule.
    """
    check_rule(rule)
    return judge(gold, answer, rule)[0]


def judge(gold: str, answer: str, rule: str) -> Verdict:
    """`equivalent`, with the status that says why: ``ok`` or ``unparsable``."""
    return _verdict(gold, answer, rule, _math_verify)


def quick(gold: str, answer: str, rule: str) -> Verdict | None:
    """`judge` as far as it can be told without sympy; None where math-verify has to look."""
    verdict = _verdict(gold, answer, rule, lambda *_: None)
    return None if verdict == (None, "ok") else verdict


def _verdict(gold: str, answer: str, rule: str, leaf: Leaf) -> Verdict:
    try:
        return _equal(gold, answer, rule, leaf), "ok"
    except Unparsable as unparsable:
        return (None if unparsable.side == "gold" else False), "unparsable"


def _equal(gold: str, answer: str, rule: str, leaf: Leaf) -> bool | None:
    """True, False, or None where `leaf` has returned None. The gold answer's kind decides what is compared."""
    if gold.strip() == answer.strip() or ("," in gold and re.sub(", +", ",", gold) == re.sub(", +", ",", answer)):
        return True  # 100,200 could be a number too
    for side, text in (("gold", gold), ("answer", answer)):
        if len(text) > MAX_CHARS:
            raise Unparsable(side)
    gold, answer = notation.clean(gold), notation.clean(answer)
    if not gold:
        raise Unparsable("gold")
    if not answer:
        return False
    if notation.squeeze(gold) == notation.squeeze(answer):
        return True
    if "m" in (gold[-1:], answer[-1:]) and (verdict := _same_time(kinds.clock(gold), kinds.clock(answer))) is not None:
        return verdict

    wanted, given = _number(gold), _number(answer)
    if wanted and not given:
        given = next(filter(None, map(_number, _as_a_number(gold, answer))), None)
    if wanted and given:
        return _numbers_equal(wanted, given, rule)

    if "=" not in gold and "=" in answer and (kinds.words(gold) or kinds.choice(gold) or kinds.based(gold)):
        answer = notation.clean(named[1]) if (named := kinds.assignment(answer)) else answer  # x = Evelyn
    if (text := kinds.words(gold)) is not None:
        if (truth := kinds.truth(gold)) is not None and text in ("true", "false", "yes", "no"):
            return kinds.truth(answer) == truth
        return kinds.words(answer) == text or answer.lower() == text
    if letter := kinds.choice(gold):
        if len(gold) > 1 and len(answer) == 1:
            return answer.upper() == letter
        if other := kinds.choice(answer):
            return other == letter
    if rule == "exact" or (wanted and kinds.words(answer) is not None):
        return False

    if (based := kinds.based(gold)) or kinds.based(answer):
        return _same_in_base(based, kinds.based(answer), gold, answer)
    if "\\cup" in gold and (joined := kinds.union(answer)):
        answer = joined
    decided = _grids_equal(gold, answer, rule, leaf)
    if decided != "open":
        return decided
    decided = _lists_equal(kinds.listing(gold), kinds.listing(answer), gold, answer, rule, leaf)
    if decided != "open":
        return decided
    named, other = kinds.assignment(gold), kinds.assignment(answer)
    if named and other and notation.squeeze(named[0]) == notation.squeeze(other[0]):
        return _equal(named[1], other[1], rule, leaf)
    if named and "=" not in answer:
        return _equal(named[1], answer, rule, leaf)
    if other and "=" not in gold:
        return _equal(gold, other[1], rule, leaf)
    if arithmetic.differ(gold, answer):
        return False
    return leaf(gold, answer, rule)


def _as_a_number(gold: str, answer: str) -> Iterable[str]:
    """Readings of an answer that are safe where the gold answer is a number: elsewhere ``5m`` may hold a variable."""
    yield notation.without_short_unit(answer)
    yield kinds.without_choice(answer)
    if "=" not in gold and (last := kinds.last_of_chain(answer)) is not None:
        yield last


def _number(answer: str) -> Number | None:
    plain = kinds.number(answer)
    if plain is None and "=" in answer and (named := kinds.assignment(answer)):
        plain = kinds.number(notation.clean(named[1]))
    return plain


def _numbers_equal(gold: Number, answer: Number, rule: str) -> bool:
    x, y = gold.value, answer.value
    if rule == "relative":
        x, y = (v.value / 100 if v.percent else v.value for v in (gold, answer))
        return any(_close(v, y) for v in (x, x / 100, x * 100))
    if rule == "exact":
        return x == y and gold.percent == answer.percent
    either = [y]
    if gold.percent != answer.percent:
        either.append(y * 100 if gold.percent else y / 100)
    rounded = gold.decimal or answer.decimal
    margin = Fraction(1, 2) / Fraction(10) ** kinds.decimals(x, y) if rounded else 0
    return any(abs(x - v) <= margin for v in either)


def _close(x: Any, y: Any) -> bool:
    return abs(x - y) <= values.RELATIVE_TOLERANCE * max(abs(x), abs(y))


def _same_in_base(gold: tuple[str, int] | None, answer: tuple[str, int] | None, g: str, a: str) -> bool:
    """``52_8`` equals ``52_8``, and ``52`` where one side leaves the base out; never ``52_9``."""
    if gold and answer:
        try:
            return int(*gold) == int(*answer)
        except ValueError:
            return False
    return (gold[0] if gold else g.lower()) == (answer[0] if answer else a.lower())


def _same_time(gold: tuple[int, int, str] | None, answer: tuple[int, int, str] | None) -> bool | None:
    """``2:30pm`` equals ``2:30pm`` and ``2:30``, not ``2:30am``; None where one is no time or neither has am or pm."""
    if not gold or not answer or not (gold[2] or answer[2]):
        return None
    return gold[:2] == answer[:2] and (gold[2] == answer[2] or "" in (gold[2], answer[2]))


def _grids_equal(gold: str, answer: str, rule: str, leaf: Leaf) -> bool | str | None:
    """`_equal` for a matrix in one spelling and in another; "open" for anything else."""
    if ("\\begin" in gold) == ("\\begin" in answer) or not (x := kinds.grid(gold)) or not (y := kinds.grid(answer)):
        return "open"
    if [len(r) for r in x] != [len(r) for r in y]:
        return False
    return _all(
        _equal(notation.clean(a), notation.clean(b), rule, leaf)
        for r, s in zip(x, y, strict=True)
        for a, b in zip(r, s, strict=True)
    )


def _lists_equal(gold: Listing | None, answer: Listing | None, g: str, a: str, rule: str, leaf: Leaf):
    """`_equal` for several answers in one; "open" if they are no lists, or of kinds that only math-verify compares."""
    if gold and answer is None and len(gold.elements) == 1:
        return _equal(gold.elements[0], a, rule, leaf)
    if answer and gold is None and len(answer.elements) == 1:
        return _equal(g, answer.elements[0], rule, leaf)
    if answer and gold is None and not answer.brackets and _all(_equal(g, e, rule, leaf) for e in answer.elements):
        return True  # 1/2 or 0.5
    if gold is None or answer is None:
        several = bool(gold or answer)
        return False if several and (kinds.number(g) or kinds.number(a)) else "open"
    n = len(gold.elements)
    if n != len(answer.elements) or n > 64:
        return "open"
    brackets = {gold.brackets, answer.brackets}
    if brackets <= {"", "{}"}:
        return _match(gold.elements, answer.elements, rule, leaf)
    if len(brackets) == 1 or "" in brackets or (n > 2 and "{}" not in brackets):
        pairs = zip(gold.elements, answer.elements, strict=True)
        return _all(_equal(x, y, rule, leaf) for x, y in pairs)
    return "open" if "{}" in brackets else False  # (1,2) and [1,2] are different intervals


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    verdicts = list(verdicts)
    return False if False in verdicts else None if None in verdicts else True


def _match(gold: Iterable[str], answer: Iterable[str], rule: str, leaf: Leaf) -> bool | None:
    """Whether each gold element has an answer of its own, in any order."""
    left, undecided = list(answer), False
    for element in gold:
        verdicts = []
        for i, candidate in enumerate(left):
            verdicts.append(not _other_names(element, candidate) and _equal(element, candidate, rule, leaf))
            if verdicts[-1]:
                del left[i]
                break
        else:
            if None not in verdicts and not undecided:
                return False
            undecided = True
    return None if undecided else True


def _other_names(gold: str, answer: str) -> bool:
    """Whether both are assignments, to different names: in a list, ``x=1, y=2`` is not ``x=2, y=1``."""
    named, other = kinds.assignment(gold), kinds.assignment(answer)
    return bool(named and other and notation.squeeze(named[0]) != notation.squeeze(other[0]))


# ---- math-verify --------------------------------------------------------------------------------------------------


def _math_verify(gold: str, answer: str, rule: str) -> bool:
    """The leaf that looks: by values where they can say, else by math-verify's own comparison."""
    from math_verify import verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own timeouts, by SIGALRM, are off
    expected, actual = values.read(gold), values.read(answer)
    if expected is None:
        raise Unparsable("gold")
    if actual is None:
        raise Unparsable("answer")
    decided = None if "%" in gold + answer else values.same(expected, actual, rule)
    if decided is not None:
        return decided
    expected, actual = values.as_math_verify_wants(expected, actual)
    return verify(expected, actual, timeout_seconds=None, allow_set_relation_comp=True)
