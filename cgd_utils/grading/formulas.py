"""Answers as sympy objects, read by math-verify's parser, and the judge of last resort that compares these."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any

from .values import DOUBLE_FACTORIAL, same

_INEQUALITY, _JOINT = re.compile(r"[<>]|\\(?:[lg]e|ne)(?![A-Za-z])"), re.compile(r",|\\(?:lor|land|cup)(?![A-Za-z])")
_COMMAND_OR_I = re.compile(r"\\(?:text|math\w+)\s*\{[^{}]*\}|\\[A-Za-z]+|I")


class Unparsable(ValueError):
    """An answer that math-verify does not read; `side` says whose: ``gold`` or (the model's) ``answer``."""

    def __init__(self, side: str):
        super().__init__(f"the {side} is no mathematics that math-verify reads")
        self.side = side


def judge(gold: str, answer: str, rule: str) -> bool:
    """Whether two cleaned answers are equal: by their values where these can say, else by math-verify's comparison.

    Raises:
        Unparsable: one of them is no mathematics.
    """
    from math_verify import verify
    from sympy import Set

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own timeouts, by SIGALRM, are off
    one_case = not (_tells_cases_apart(gold) or _tells_cases_apart(answer))
    sides = []
    for side, text in (("gold", gold), ("answer", answer)):
        sides.append(read(text, one_case))
        if sides[-1] is None:
            raise Unparsable(side)
    if any(isinstance(side, Set) for side in sides):
        sides = [_as_set(side) for side in sides]
    expected, actual = sides
    decided = None if "%" in gold + answer else same(expected, actual, rule)
    if decided is not None:
        return decided
    return verify(expected, actual, timeout_seconds=None, allow_set_relation_comp=True)


@lru_cache(maxsize=4096)
def read(answer: str, one_case: bool = True) -> Any:
    r"""A cleaned answer as a sympy object, or None if math-verify's parser does not read it.

    Inequalities that are joined by \lor, \land or commas become the set of their solutions.
    """
    from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from math_verify.grader import should_treat_as_complex
    from math_verify.parser import get_last_eq

    if _INEQUALITY.search(answer) and _JOINT.search(answer) and (found := _solutions(answer, one_case)) is not None:
        return found
    # I may be a current or a moment of inertia, and !! would be read as the factorial of a factorial
    latex = _COMMAND_OR_I.sub(lambda m: m[0] if m[0] != "I" else r"\text{capitali}", answer.replace("%", "\\%"))
    latex = re.sub(r"\\log\s*_\s*(?:\{e\}|e)", r"\\ln ", latex)
    latex = re.sub(r"_(?:\{e\}|e)", "_{ee}", latex)  # m_e has no power of e in it
    latex = re.sub(r"(\d+|[A-Za-z]|\([^()]*\))!\s*\^", r"(\1!)^", latex)
    latex = latex.replace("!!", rf"^{{\text{{{DOUBLE_FACTORIAL}}}}}")
    # units=False: with it, the m of 6m is dropped as a metre also where it is a variable; `notation` handles units
    form = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    latex = normalize_latex(latex, form)
    for text in dict.fromkeys((latex, get_last_eq(latex))):
        with suppress(Exception):  # the parser raises anything on what it does not know
            return latex2sympy(
                text,
                is_real=not should_treat_as_complex(text),
                normalization_config=None,
                conversion_config=ConversionConfig(lowercase_symbols=one_case),
            )
    return None


def _tells_cases_apart(answer: str) -> bool:
    """Whether a letter stands in both cases, as in M/m, which is not 1."""
    letters = set(re.sub(r"\\[A-Za-z]+|[A-Za-z]{4,}", "", answer))
    return any(letter.isalpha() and letter.swapcase() in letters for letter in letters)


def _solutions(answer: str, one_case: bool) -> Any:
    r"""``x<1 \lor x>3`` as a set. Parts joined by commas hold together if they can, else one of them does."""
    from sympy import Intersection, Set, Union

    sets, variables = [], set()
    for either in re.split(r"\\lor\b|\\cup\b", answer):
        parts = [read(part.strip(), one_case) for part in re.split(r"\\land\b|,", either)]
        variables |= {symbol for part in parts for symbol in getattr(part, "free_symbols", ())}
        parts = [_as_set(part) for part in parts]
        if len(variables) != 1 or not all(isinstance(part, Set) for part in parts):
            return None
        common = Intersection(*parts)
        sets += parts if common.is_empty and "\\land" not in either else [common]
    return Union(*sets)


def _as_set(found: Any) -> Any:
    """The solutions of an inequality in one variable; anything else as it is."""
    from sympy import And, Intersection
    from sympy.core.relational import Relational

    with suppress(NotImplementedError, ValueError, TypeError, AttributeError):
        if isinstance(found, And):
            return Intersection(*(part.as_set() for part in found.args))
        if isinstance(found, Relational) and len(found.free_symbols) == 1:
            return found.as_set()
    return found
