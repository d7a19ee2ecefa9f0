"""The exercises of the course lab: what is asked, and a check for each that accepts every right answer and hints at wrong ones.

A check works the answer out from the seat's own data and returns '' or a hint; a hint says where to look, never the value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from cgd_utils import methods
from cgd_utils.ablations import grids
from cgd_utils.core import bootstrap, effect_sizes, statistics
from cgd_utils.core.errors import BadInput
from cgd_utils.core.records import Record
from cgd_utils.lab.teacher import diagnose

if TYPE_CHECKING:
    import numpy as np

# arms of the exercise's ablation: all learn the same targets as cgd, on the same rows
ARMS = tuple(c.name for c in grids.GRIDS["critique_content"].cells if c.name != "cgd")

EXERCISES = ("reading", "trust", "inputs", "gain", "power", "design", "test")


class Seat(Protocol):
    """What a check looks at: `course_lab.Lab` has it."""

    said: Record

    @property
    def records(self) -> list[Record]:
        """Distillation records."""

    @property
    def example(self) -> Record:
        """The record that the seat reads."""

    def scores(self, *names: Any) -> dict[str, np.ndarray]:
        """Right (1) or wrong (0), one array (seeds, questions) a method."""


def check(seat: Seat, exercise: str, answers: Mapping[str, Any]) -> str:
    """'' if the answers to an exercise are right, else a hint.

    Raises:
        BadInput: no such exercise.
    """
    if exercise not in CHECKS:
        raise BadInput(f"exercise {exercise!r}: known are {', '.join(EXERCISES)}")
    if missing := [name for name, value in answers.items() if blank(value)]:
        return f"not answered yet: {', '.join(missing)}"
    try:
        return CHECKS[exercise](seat, **answers)
    except BadInput as e:
        return str(e)
    except (TypeError, ValueError, KeyError, AttributeError) as e:
        return f"the answer cannot be read ({e}); see the comment beside each name for what it should hold"


# ---------------------------------------------------------------- reading answers
def blank(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not value or any(map(blank, value.values()))
    if isinstance(value, list | tuple | set):
        return not value or any(map(blank, value))
    return value is ... or value is None or (isinstance(value, str) and not value.strip())


def flat(names: Sequence[Any]) -> list[str]:
    """Names and lists of names as one list, each once; blanks are left out."""
    single: list[Any] = []
    for item in names:
        single += [item] if isinstance(item, str) or item is ... else item
    return list(dict.fromkeys(name for name in single if not blank(name)))


def _number(value: Any) -> float:
    """A number, or text that is one: ``14``, ``"14"``, ``"−3.5"``, ``"42 %"`` (42)."""
    return float(re.sub(r"[%\s]", "", str(value)).replace("−", "-"))


def _share(value: Any) -> float:
    """A share: 0.42, 42, "42 %" alike."""
    number = _number(value)
    return number / 100 if number > 1 or "%" in str(value) else number


def _yes(value: Any) -> bool:
    """True or False, or a word for it."""
    word = str(value).strip().lower()
    if word not in ("true", "yes", "1", "false", "no", "0"):
        raise ValueError(f"{value!r} is neither True nor False")
    return word in ("true", "yes", "1")


def _near(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance or (a != a and b != b)


def _parts(text: Any) -> set[str]:
    """The parts of an input or target as letters: ``"x, y'"`` → {x, y'}; long names are understood."""
    names = {
        "question": "x",
        "draft": "y'",
        "critique": "c",
        "refined": "ŷ",
        "yhat": "ŷ",
        "y^": "ŷ",
        "solution": "y",
        "answer": "y",
    }
    items = " ".join(text) if isinstance(text, list | tuple | set) else str(text)
    plain = unicodedata.normalize("NFC", re.sub("[′’`]", "'", items).lower())
    words = re.split(r"[\s,;+(){}\[\]]+|\band\b", plain)
    return {names.get(w, w) for w in words if w}


# ---------------------------------------------------------------- checks: '' or a hint
def _reading(seat: Seat, step: Any, value: Any, conclusion: Any) -> str:
    found = diagnose(seat.example["draft"], seat.example["meta"])
    if "wrong" not in str(conclusion).lower() or "right" in str(conclusion).lower():
        return "conclusion: it is about the draft's final answer, and is one word. Is that answer right?"
    given = _number(step)
    if given != found.step:
        if given == found.step - 1:
            return "step: that one holds. Do you count from 1?"
        side = "An earlier step already fails" if given > found.step else "That step holds"
        return f"step: {side}. Go from the top, and take the numbers from the question, not from the line before."
    right = _number(found.expected.partition("=")[2])
    if _number(value) != right:
        if _number(value) == _number(found.written.partition("=")[2]):
            return "value: that is what the draft wrote. Work the step out anew."
        return "value: right step, wrong result. It is the result of this one step, not the final answer."
    return ""


def _trust(seat: Seat, agree: Any, leaking: Any, low: Any, high: Any) -> str:
    from statsmodels.stats.proportion import proportion_confint

    n = len(seat.records)
    told = [r for r in seat.records if r["conclusion"]]
    true = sum((r["conclusion"] == "right") == bool(r["draft_correct"]) for r in told) / len(told)
    if not _near(_share(agree), true, 0.5 / n):
        return "agree: count the records where (conclusion is 'right') equals draft_correct, and divide by all."
    k = sum(methods.leaks(r["critique"], r["answer"]) for r in seat.records)
    naive = sum(r["answer"] in r["critique"] for r in seat.records)
    if not _near(_share(leaking), k / n, 0.5 / n):
        if _near(_share(leaking), naive / n, 0.5 / n):
            return "leaking: `answer in critique` also finds 14 within 142. Look for the answer as a number of its own."
        return "leaking: how many critiques hold the record's final answer as a number of its own, divided by all?"
    bounds = [proportion_confint(k, n, 0.05, m) for m in ("wilson", "beta", "agresti_coull", "jeffreys", "normal")]
    if not any(_near(_share(low), a, 0.002) and _near(_share(high), b, 0.002) for a, b in bounds):
        return "low, high: a 95% interval for a share of this many records; `core.statistics.wilson(k, n)` gives one."
    return ""


def _inputs(seat: Seat, sees: Mapping[str, Any], learns: Mapping[str, Any]) -> str:
    targets = {"solution": {"y"}, "direct": {"direct"}, "refined": {"ŷ"}, "critique": {"c"}}
    if missing := [
        m for m in ("sft", "distilled_sft", "refined_sft", "cft", "cgd") if m not in sees or m not in learns
    ]:
        return f"{missing[0]} has no entry"
    for m in learns:
        method = methods.parse(m)[0]
        if _parts(sees[m]) != _parts(method.shows):
            return f"sees[{m!r}]: look at the left side of its training row above. Which of x, y', c stand there?"
        if _parts(learns[m]) != targets[method.target]:
            return f"learns[{m!r}]: look at the right side of its training row. Which field of the record is it?"
    if _parts(sees.get("inference", "")) != {"x"}:
        return "sees['inference']: what does a trained model get in an exam? It is the same for every method."
    return ""


def _gain(seat: Seat, difference: Any, low: Any, high: Any, shown: Any) -> str:
    right = seat.scores("cgd", "distilled_sft")
    a, b = (100 * right[m].mean(axis=1) for m in ("cgd", "distilled_sft"))
    paired = statistics.paired_difference(a, b)
    given = [_number(v) for v in (difference, low, high)]
    if not _near(given[0], paired.difference, 0.05):
        if _near(given[0], -paired.difference, 0.05):
            return "difference: the sign. CGD minus distilled SFT."
        if _near(100 * given[0], paired.difference, 0.05):
            return "difference: in percentage points, please, not as a share."
        return "difference: the mean of cgd's accuracies minus the mean of distilled_sft's, in points."
    boot = bootstrap.hierarchical_bootstrap(right["cgd"].tolist(), right["distilled_sft"].tolist())
    ends = [(paired.low, paired.high, 0.1), (100 * boot.low, 100 * boot.high, 0.7)]
    if not any(_near(given[1], lo, tol) and _near(given[2], hi, tol) for lo, hi, tol in ends):
        return (
            "low, high: the seeds are paired (a seed draws the same problems for both methods): a 95% interval of the "
            "differences, one a seed. `core.statistics.paired_difference` gives it."
        )
    if _yes(shown) != (given[1] > 0 or given[2] < 0):
        return "shown: a difference is shown where its interval leaves out 0. Does yours?"
    return ""


def _power(seat: Seat, smallest: Any, needed: Any) -> str:
    right = seat.scores("cgd")["cgd"]
    n, p = right.shape[1], float(right.mean())
    expected, given = effect_sizes.minimum_detectable_difference(n, p), _number(smallest)
    if not _near(given, expected, 0.15 * expected):
        if _near(100 * given, expected, 0.15 * expected):
            return "smallest: in percentage points, please, not as a share."
        return "smallest: n is the questions that one model answers, p the accuracy of CGD as a share; power 80%, level 5%."
    if not 2.5 <= effect_sizes.minimum_detectable_difference(max(1, round(_number(needed))), p) <= 3.5:
        return "needed: put your number of questions in as n: it must give about 3 points. The difference falls with the square root of n."
    return ""


def _design(seat: Seat, arms: Any, prediction: Any) -> str:
    arms = flat([arms])
    for arm in arms:
        method = methods.parse(arm)[0]
        if arm == "cgd":
            return "arms: cgd is what every arm is compared with; leave it out."
        if method.target != "refined":
            return f"arms: {arm} learns another target than cgd, so a difference could come from the target or from the critique."
        if arm not in ARMS:
            return f"arms: {arm} changes more than the critique; choose from {', '.join(ARMS)}."
    if not 2 <= len(arms) <= 3:
        return "arms: two or three; each costs one model a seed."
    shows = {arm: methods.parse(arm)[0].shows for arm in arms}
    if not any(s == "x, y', c" and arm != "cgd_masked" for arm, s in shows.items()):
        return "arms: none keeps a critique of the same form while taking away its content. Without it, form and content cannot be told apart."
    if all(s == "x, y', c" for s in shows.values()):
        return "arms: all show some critique. Which arm tells what happens without any?"
    if str(prediction).strip().lower() not in ("better", "same", "worse"):
        return (
            "prediction: 'better', 'same' or 'worse'; there is no wrong one, but it must be made before the training."
        )
    seat.said |= {"arms": arms, "prediction": str(prediction).strip().lower()}
    return ""


def _test(seat: Seat, p: Mapping[str, Any], p_holm: Mapping[str, Any], matters: Mapping[str, Any]) -> str:
    arms = seat.said.get("arms")
    if not arms:
        return "the design comes first: its check must pass"
    if missing := [a for a in arms if not (a in p and a in p_holm and a in matters)]:
        return f"{missing[0]} has no entry in p, p_holm or matters"
    right = seat.scores("cgd", arms)
    for arm in arms:
        if hint := _p_value(_number(p[arm]), right["cgd"], right[arm]):
            return f"p[{arm!r}]: {hint}"
    corrected = statistics.holm([_number(p[a]) for a in arms])
    for arm, holm in zip(arms, corrected, strict=True):
        if not _near(_number(p_holm[arm]), holm, 0.002):
            return (
                f"p_holm[{arm!r}]: Holm's correction of your own p-values, over the arms you tested: no more, no fewer."
            )
        if _yes(matters[arm]) != (holm < 0.05):
            return (
                f"matters[{arm!r}]: true only where the corrected p is below 0.05. 'Not shown' is not 'no difference'."
            )
    return ""


def _p_value(given: float, a: np.ndarray, b: np.ndarray) -> str:
    """'' where ``given`` is near the p of some test that pairs what is paired, and a hint where it is not."""

    def is_(q: float) -> bool:
        return _near(given, q, max(0.005, 0.15 * q))

    paired = [
        bootstrap.hierarchical_bootstrap(a.tolist(), b.tolist()),
        bootstrap.paired_bootstrap(a.mean(axis=0), b.mean(axis=0)),
        statistics.paired_difference(a.mean(axis=1), b.mean(axis=1)),
    ]
    if any(is_(test.p) for test in paired if isinstance(test, statistics.Test)):
        return ""
    if is_(statistics.independent_difference(a.sum(), a.size, b.sum(), b.size).p):
        return "that treats the answers as independent samples. All models answered the same questions: pair them."
    if any(is_(statistics.mcnemar(x, y).p) for x, y in zip(a, b, strict=True)):
        return "that is one seed. Use all of them."
    return "not near any paired test of these scores; `core.bootstrap.hierarchical_bootstrap(cgd, arm)` resamples questions and seeds."


CHECKS: dict[str, Callable[..., str]] = dict(
    zip(EXERCISES, (_reading, _trust, _inputs, _gain, _power, _design, _test), strict=True)
)
