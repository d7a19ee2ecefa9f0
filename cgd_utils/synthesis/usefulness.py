"""Whether a run's texts are of use: their shares in words, and where the chain stops because they are not.

Called by notebooks 02 and 04. `LIMITS` holds every threshold; ``synthesis.useless: tell`` goes on past them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..core.errors import BadInput
from ..core.records import Record
from ..core.store import Artifact, Run
from .selection import TEXTS

if TYPE_CHECKING:
    import pandas as pd

# share of texts above which they are useless; a refined answer is of use only if it is right more often than the draft
LIMITS = {
    "truncated": 0.5,  # 02: of the drafts, critiques, refined or direct answers; 04: of a trained method's answers
    "no_conclusion": 0.5,  # 02: of the critiques
    "no_answer": 0.5,  # 04: of a trained method's answers
}
_LIMIT_OF = {
    "draft": "synthesis.draft.max_new_tokens",
    **dict.fromkeys(("critique", "refined", "direct"), "synthesis.teacher.sampling.max_new_tokens"),
}
_NAMES = {"draft": "drafts", "critique": "critiques", "refined": "refined answers", "direct": "direct answers"}


def after_synthesis(run: Run, records: Mapping[str, Artifact]) -> None:
    """Prints what share of each family's records is of use; notebook 02.

    Raises:
        BadInput: a share is past its limit and ``synthesis.useless`` is ``stop``.
    """
    faults = []
    for family, made in records.items():
        lines, found = of_records(made.manifest["facts"], run.profile.synthesis.leave_out)
        print(f"{family}: {'; '.join(lines)}")
        faults += [f"{family}: {f}" for f in found]
    _stop(run, "the records", faults)


def of_records(facts: Record, leave_out: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The shares of a family's records in words, and what makes them useless.

    Args:
        facts: of the records' manifest: ``of``, ``no_conclusion``, and ``cut`` and ``right`` (text → how many), ``graded``.
        leave_out: as ``synthesis.leave_out``; a fault that is left out of the records makes none of them useless.
    """
    n = facts["of"]
    cut = {t: facts["cut"][t] / n for t in TEXTS}
    silent = facts["no_conclusion"] / n
    told = [
        f"{n} records made, {facts['rows']} kept",
        "cut off: " + ", ".join(f"{_percent(s)} of the {_NAMES[t]}" for t, s in cut.items()),
        f"no conclusion can be read in {_percent(silent)} of the critiques",
    ]
    faults = [
        f"{_percent(s)} of the {_NAMES[t]} were cut off; raise {_LIMIT_OF[t]}"
        for t, s in cut.items()
        if s > LIMITS["truncated"] and (t == "draft" or "truncated" not in leave_out)
    ]
    if silent > LIMITS["no_conclusion"] and "no_conclusion" not in leave_out:
        faults.append(
            f"no conclusion can be read in {_percent(silent)} of the critiques; they must end in 'Conclusion: right' or "
            f"'Conclusion: wrong' (a teacher that follows instructions, or a higher {_LIMIT_OF['critique']})"
        )
    graded, right = facts["graded"], facts["right"]
    if not graded:
        told.append("none could be graded")
        return told, faults
    told.append(
        "right: "
        + ", ".join(
            f"{_percent(k / graded)} of the {_NAMES[t]}"
            for t, k in ((t, right[t]) for t in ("draft", "refined", "direct"))
        )
    )
    if right["refined"] <= right["draft"] and right["refined"] < graded:
        faults.append(
            f"{_percent(right['refined'] / graded)} of the refined answers are right, and {_percent(right['draft'] / graded)} of "
            f"the drafts: the teacher adds nothing; take a stronger teacher, and look at the golds in notebook 01"
        )
    return told, faults


def after_evaluation(run: Run, results: pd.DataFrame) -> None:
    """Prints what share of each method's answers could be used; notebook 04.

    Raises:
        BadInput: a trained method's share is past its limit and ``synthesis.useless`` is ``stop``. The base model's stops
            nothing: what it answers is no fault of the run.
    """
    faults = []
    for (family, method), mine in results.groupby(["family", "method"], sort=False):
        n, cut = _share(mine, "truncated")
        _, silent = _share(mine, "no_answer")
        if not n:
            continue
        print(f"{family}/{method}: {n} answers, {_percent(cut)} cut off, {_percent(silent)} without an answer")
        if method == "base":
            continue
        if cut > LIMITS["truncated"]:
            faults.append(
                f"{family}/{method}: {_percent(cut)} of its answers were cut off; raise evaluation.sampling.max_new_tokens"
            )
        if silent > LIMITS["no_answer"]:
            faults.append(
                f"{family}/{method}: no answer was found in {_percent(silent)}; read some in the notebook's tables"
            )
    _stop(run, "the answers", faults)


def _share(results: pd.DataFrame, metric: str) -> tuple[int, float]:
    """How many texts the result rows of a metric are about, and its share among all of them."""
    rows = results[results["metric"] == metric]
    n = int(rows["n"].sum())
    return n, float((rows["value"] * rows["n"]).sum()) / 100 / n if n else 0.0


def _stop(run: Run, what: str, faults: Sequence[str]) -> None:
    if not faults:
        return
    message = f"{what} are of little use: " + "; ".join(faults)
    if run.profile.synthesis.useless == "stop":
        raise BadInput(f"{message}. To go on anyway: --set synthesis.useless=tell (limits: docs/troubleshooting.md)")
    print(f"warning: {message}")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
