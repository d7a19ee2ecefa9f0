"""Whether two answers are equal under a rule.

What can be decided without sympy is (`quick`): equal text, plain numbers, words, choices, and lists of those. The rest
goes to math-verify (`judge`), which can hang on hostile input: `grade` runs it in `pool`'s processes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from . import arithmetic, formulas, kinds, notation, phrases
from .formulas import Unparsable
from .kinds import Listing, Number
from .values import numbers_equal

RULES = ("math", "relative", "exact", "authors")
MAX_CHARS = 2_000  # longer answers are compared as text only; the longest gold of the benchmarks has about 300

Verdict = tuple[bool | None, str]
Judge = Callable[["_Pair"], bool | None]


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
        rule: one of `RULES`.

    Raises:
        ValueError: for an unknown rule.
    """
    check_rule(rule)
    return judge(gold, answer, rule)[0]


def judge(gold: str, answer: str, rule: str) -> Verdict:
    """`equivalent`, with the status that says why: ``ok`` or ``unparsable``."""
    return _verdict(_Pair(gold, answer, rule, _ask_math_verify))


def quick(gold: str, answer: str, rule: str) -> Verdict | None:
    """`judge` as far as it can be told without sympy; None where math-verify has to look."""
    try:
        return _verdict(_Pair(gold, answer, rule, _ask_later))
    except _Later:
        return None


class _Later(Exception):
    """Only math-verify can say."""


class _Pair(NamedTuple):
    """A gold answer and another one, the rule, and the judge of last resort, which sees what no other can tell."""

    gold: str
    answer: str
    rule: str
    last: Callable[[_Pair], bool]

    def equal(self, gold: str, answer: str) -> bool:
        """Whether two other texts, mostly parts of these, are equal by the same rule."""
        return _equal(self._replace(gold=gold, answer=answer))


def _verdict(pair: _Pair) -> Verdict:
    try:
        return _equal(pair), "ok"
    except Unparsable as unparsable:
        return (None if unparsable.side == "gold" else False), "unparsable"


def _equal(pair: _Pair) -> bool:
    """Asks the judges in turn, each of which says True or False, or None for what it cannot tell; then the last one."""
    verdict = _first_of(JUDGES_OF_TEXT, pair)
    if verdict is None:
        pair = _cleaned(pair)
        verdict = _first_of(JUDGES, pair)
    return pair.last(pair) if verdict is None else verdict


def _first_of(judges: Iterable[Judge], pair: _Pair) -> bool | None:
    return next((verdict for judge in judges if (verdict := judge(pair)) is not None), None)


def _cleaned(pair: _Pair) -> _Pair:
    """Both answers in one notation; what one of them leaves open is read as the other suggests."""
    gold, answer = notation.clean(pair.gold), notation.clean(pair.answer)
    if not gold:
        raise Unparsable("gold")
    if notation.says_by_what(gold) != notation.says_by_what(answer):  # dy/dx and y'
        gold, answer = notation.without_variable(gold), notation.without_variable(answer)
    if not re.search("[CAP]", gold):
        answer = notation.with_binomials(answer)
    elif not re.search("[CAP]", answer):
        gold = notation.with_binomials(gold)
    return pair._replace(gold=gold, answer=answer)


def _same_text(pair: _Pair) -> bool | None:
    gold, answer = pair.gold, pair.answer
    if gold.strip() == answer.strip() or ("," in gold and re.sub(", +", ",", gold) == re.sub(", +", ",", answer)):
        return True  # 100,200 could be a number too
    for side, text in (("gold", gold), ("answer", answer)):
        if len(text) > MAX_CHARS:
            raise Unparsable(side)
    return None


def _same_quantity(pair: _Pair) -> bool | None:
    """3 hours 20 minutes and 200 minutes; one unit alone is set aside later."""
    gold, answer = phrases.quantity(pair.gold), phrases.quantity(pair.answer)
    if pair.rule == "exact" or not gold or not answer or gold[0] != answer[0] or gold[2] == answer[2] == 1:
        return None
    return gold[1] == answer[1]


def _same_but_for_a_condition(pair: _Pair) -> bool | None:
    r"""``\frac{x}{x-1}`` and ``\frac{x}{x-1}, x \ne 1``; two conditions must agree as formulas, or in their numbers."""
    (gold, condition), (answer, other) = map(phrases.split_condition, (pair.gold, pair.answer))
    if pair.rule == "exact" or not (condition or other):
        return None
    if condition and other and phrases.is_relation(condition) and phrases.is_relation(other):
        return pair.equal(gold, answer) and pair.equal(condition, other)
    numbers, others = (re.findall(r"\d+", said) for said in (condition, other))
    return not (numbers and others and numbers != others) and pair.equal(gold, answer)


def _same_notation(pair: _Pair) -> bool | None:
    if not pair.answer:
        return False
    return True if notation.squeeze(pair.gold) == notation.squeeze(pair.answer) else None


def _same_time(pair: _Pair) -> bool | None:
    """``2:30pm`` equals ``2:30pm`` and ``2:30``, not ``2:30am``; where neither has am or pm it may be a ratio."""
    if "m" not in (pair.gold[-1:], pair.answer[-1:]):
        return None
    gold, answer = kinds.clock(pair.gold), kinds.clock(pair.answer)
    if not gold or not answer or not (gold[2] or answer[2]):
        return None
    return gold[:2] == answer[:2] and (gold[2] == answer[2] or "" in (gold[2], answer[2]))


def _same_number(pair: _Pair) -> bool | None:
    gold = _number(pair.gold)
    if gold and (answer := _as_a_number(pair.gold, pair.answer)):
        return numbers_equal(gold, answer, pair.rule)
    return False if gold and kinds.words(_value_of_words(pair)) is not None else None


def _same_words(pair: _Pair) -> bool | None:
    text, answer = kinds.words(pair.gold), _value_of_words(pair)
    if text is None:
        return None
    if (truth := kinds.truth(pair.gold)) is not None and text in ("true", "false", "yes", "no"):
        return kinds.truth(answer) == truth
    return kinds.words(answer) == text or answer.lower() == text


def _same_choice(pair: _Pair) -> bool | None:
    letter, answer = kinds.choice(pair.gold), _value_of_words(pair)
    if letter and len(pair.gold) > 1 and len(answer) == 1:
        return answer.upper() == letter
    other = kinds.choice(answer) if letter else None
    return other == letter if other else None


def _value_of_words(pair: _Pair) -> str:
    """The answer; without its name where the gold one is no formula, as in x = Evelyn."""
    gold, answer = pair.gold, pair.answer
    if "=" in answer and "=" not in gold and (kinds.words(gold) or kinds.choice(gold) or kinds.based(gold)):
        return notation.clean(named[1]) if (named := kinds.assignment(answer)) else answer
    return answer


def _not_the_same_text(pair: _Pair) -> bool | None:
    return False if pair.rule == "exact" else None


def _same_in_base(pair: _Pair) -> bool | None:
    """``52_8`` equals ``52_8``, and ``52`` where one side leaves the base out; never ``52_9``."""
    answer = _value_of_words(pair)
    gold, other = kinds.based(pair.gold), kinds.based(answer)
    if gold and other:
        try:
            return int(*gold) == int(*other)
        except ValueError:
            return False
    if not (gold or other):
        return None
    return (gold[0] if gold else pair.gold.lower()) == (other[0] if other else answer.lower())


def _same_union(pair: _Pair) -> bool | None:
    """``(1,2), (3,4)`` is a union where the gold answer is one."""
    joined = kinds.joined_intervals(pair.answer) if "\\cup" in pair.gold else None
    return pair.equal(pair.gold, joined) if joined else None


def _same_grid(pair: _Pair) -> bool | None:
    """A matrix in one spelling and in another."""
    if ("\\begin" in pair.gold) == ("\\begin" in pair.answer):
        return None
    x, y = kinds.grid(pair.gold), kinds.grid(pair.answer)
    if not x or not y:
        return None
    if [len(row) for row in x] != [len(row) for row in y]:
        return False
    return _all_equal(pair, (cell for row in x for cell in row), (cell for row in y for cell in row))


def _same_list(pair: _Pair) -> bool | None:
    """Several answers in one; None also for kinds of lists that only math-verify compares."""
    gold, answer = kinds.listing(pair.gold), kinds.listing(pair.answer)
    if gold and answer:
        return _same_elements(pair, gold, answer)
    if gold and len(gold.elements) == 1:
        return pair.equal(gold.elements[0], pair.answer)
    if answer and len(answer.elements) == 1:
        return pair.equal(pair.gold, answer.elements[0])
    if answer and not answer.brackets and _all_equal(pair, [pair.gold] * len(answer.elements), answer.elements):
        return True  # 1/2 or 0.5
    one_number = kinds.number(pair.gold) or kinds.number(pair.answer)
    return False if (gold or answer) and one_number else None


def _same_elements(pair: _Pair, gold: Listing, answer: Listing) -> bool | None:
    n, brackets = len(gold.elements), {gold.brackets, answer.brackets}
    if n != len(answer.elements) or n > 64:
        return None
    if brackets <= {"", "{}"}:
        return _same_in_any_order(pair, gold.elements, answer.elements)
    if len(brackets) == 1 or "" in brackets or (n > 2 and "{}" not in brackets):
        return _all_equal(pair, gold.elements, answer.elements)
    return None if "{}" in brackets else False  # (1,2) and [1,2] are different intervals


def _same_assignment(pair: _Pair) -> bool | None:
    """x = 5 and 5, x = 5 and x = 5.0; equations as such, and other names, are for math-verify."""
    named, other = kinds.assignment(pair.gold), kinds.assignment(pair.answer)
    if named and other and notation.squeeze(named[0]) == notation.squeeze(other[0]):
        return pair.equal(named[1], other[1])
    if named and "=" not in pair.answer:
        return pair.equal(named[1], pair.answer)
    if other and "=" not in pair.gold:
        return pair.equal(pair.gold, other[1])
    return None


def _visibly_different(pair: _Pair) -> bool | None:
    if pair.rule == "authors":  # what differs visibly may still round to one decimal
        return None
    return False if arithmetic.differ(pair.gold, pair.answer) else None


JUDGES_OF_TEXT: tuple[Judge, ...] = (_same_text, _same_quantity, _same_but_for_a_condition)
JUDGES: tuple[Judge, ...] = (
    *(_same_notation, _same_time, _same_number, _same_words, _same_choice, _not_the_same_text),
    *(_same_in_base, _same_union, _same_grid, _same_list, _same_assignment, _visibly_different),
)


def _as_a_number(gold: str, answer: str) -> Number | None:
    """The number of an answer where the gold one is a number: elsewhere ``5m`` may hold a variable."""
    last = kinds.last_of_chain(answer) if "=" not in gold else None
    readings = (answer, notation.without_short_unit(answer), kinds.without_choice(answer), last or answer)
    return next(filter(None, map(_number, readings)), None)


def _number(answer: str) -> Number | None:
    plain = kinds.number(answer)
    if plain is None and "=" in answer and (named := kinds.assignment(answer)):
        plain = kinds.number(notation.clean(named[1]))
    return plain


def _all_equal(pair: _Pair, gold: Iterable[str], answer: Iterable[str]) -> bool:
    """Whether the parts are equal one by one; one that differs decides, whatever math-verify says of the others."""
    later = False
    for x, y in zip(gold, answer, strict=True):
        try:
            if not pair.equal(notation.clean(x), notation.clean(y)):
                return False
        except _Later:
            later = True
    if later:
        raise _Later
    return True


def _same_in_any_order(pair: _Pair, gold: Iterable[str], answer: Iterable[str]) -> bool:
    """Whether each gold element has an answer of its own."""
    left, later = list(answer), False
    for element in gold:
        open_here = False
        for i, candidate in enumerate(left):
            try:
                if not _other_names(element, candidate) and pair.equal(element, candidate):
                    del left[i]
                    break
            except _Later:
                open_here = True
        else:
            if not open_here and not later:
                return False
            later = True
    if later:
        raise _Later
    return True


def _other_names(gold: str, answer: str) -> bool:
    """Whether both are assignments, to different names: in a list, ``x=1, y=2`` is not ``x=2, y=1``."""
    named, other = kinds.assignment(gold), kinds.assignment(answer)
    return bool(named and other and notation.squeeze(named[0]) != notation.squeeze(other[0]))


def _ask_later(pair: _Pair) -> bool:
    raise _Later


def _ask_math_verify(pair: _Pair) -> bool:
    return formulas.judge(pair.gold, pair.answer, pair.rule)
