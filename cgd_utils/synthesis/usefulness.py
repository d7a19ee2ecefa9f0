"""Whether a run's texts are of use: their shares in words, and where the chain stops because they are not.

Called by notebooks 02 and 04. `LIMITS` holds every threshold; ``synthesis.useless: tell`` goes on past them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..core.errors import BadInput
from ..core.records import Record
from ..core.store import Artifact, Run
from ..methods import UNTRAINED

if TYPE_CHECKING:
    import pandas as pd

# share of texts above which they are useless; a refined answer is of use only if it is right more often than the draft
LIMITS = {
    "truncated": 0.5,  # 02: of the drafts, critiques, refined or direct answers; 04: of a trained method's answers
    "no_conclusion": 0.5,  # 02: of the critiques
    "no_answer": 0.5,  # 04: of a trained method's answers
}
_DRAFT_LIMIT, _TEACHER_LIMIT = "synthesis.draft.max_new_tokens", "synthesis.teacher.sampling.max_new_tokens"
_NAMES = {"draft": "drafts", "critique": "critiques", "refined": "refined answers", "direct": "direct answers"}


def after_synthesis(run: Run, records: Mapping[str, Artifact]) -> None:
    """Prints what share of each family's records is of use; notebook 02.

    Raises:
        BadInput: a share is past its limit and ``synthesis.useless`` is ``stop``.
    """
    faults = []
    for family, artifact in records.items():
        lines, found = of_records(artifact.manifest["facts"], run.profile.synthesis.leave_out)
        print(f"{family}: {'; '.join(lines)}")
        faults += [f"{family}: {fault}" for fault in found]
    _stop(run, "the records", faults)


def of_records(facts: Record, leave_out: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The shares of a family's records in words, and what makes them useless.

    Args:
        facts: of the records' manifest: ``of``, ``no_conclusion``, and ``cut`` and ``right`` (text → how many),
            ``graded``.
        leave_out: as ``synthesis.leave_out``; a fault that is left out of the records makes none of them useless.
    """
    n, graded = facts["of"], facts["graded"]
    cut = {text: many / n for text, many in facts["cut"].items()}
    silent = facts["no_conclusion"] / n
    lines = [
        f"{n} records made, {facts['rows']} kept",
        "cut off: " + _shares(cut),
        f"no conclusion can be read in {silent:.0%} of the critiques",
    ]
    faults = [
        f"{share:.0%} of the {_NAMES[text]} were cut off; raise {_DRAFT_LIMIT if text == 'draft' else _TEACHER_LIMIT}"
        for text, share in cut.items()
        if share > LIMITS["truncated"] and (text == "draft" or "truncated" not in leave_out)
    ]
    if silent > LIMITS["no_conclusion"] and "no_conclusion" not in leave_out:
        faults.append(
            f"no conclusion can be read in {silent:.0%} of the critiques; they must end in 'Conclusion: right' or "
            f"'Conclusion: wrong' (a teacher that follows instructions, or a higher {_TEACHER_LIMIT})"
        )
    if not graded:
        return [*lines, "none could be graded"], faults
    right = {text: facts["right"][text] / graded for text in ("draft", "refined", "direct") if text in facts["right"]}
    if right["refined"] <= right["draft"] and right["refined"] < 1:
        faults.append(
            f"{right['refined']:.0%} of the refined answers are right, and {right['draft']:.0%} of the drafts: "
            f"the teacher adds nothing; take a stronger teacher, and look at the golds in notebook 01"
        )
    return [*lines, "right: " + _shares(right)], faults


def _shares(by_text: Mapping[str, float]) -> str:
    return ", ".join(f"{share:.0%} of the {_NAMES[text]}" for text, share in by_text.items())


def after_evaluation(run: Run, results: pd.DataFrame) -> None:
    """Prints what share of each method's answers could be used; notebook 04.

    Raises:
        BadInput: a trained method's share is past its limit and ``synthesis.useless`` is ``stop``. The base model's
            stops
            nothing: what it answers is no fault of the run.
    """
    faults = []
    for (family, method), figures in results.groupby(["family", "method"], sort=False):
        name = f"{family}/{method}"
        n, cut = _share(figures, "truncated")
        _, silent = _share(figures, "no_answer")
        if not n:
            continue
        print(f"{name}: {n} answers, {cut:.0%} cut off, {silent:.0%} without an answer")
        if method in UNTRAINED:
            continue
        if cut > LIMITS["truncated"]:
            faults.append(f"{name}: {cut:.0%} of its answers were cut off; raise evaluation.sampling.max_new_tokens")
        if silent > LIMITS["no_answer"]:
            faults.append(f"{name}: no answer was found in {silent:.0%}; read some in the notebook's tables")
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
