"""Which records are kept: by the draft's truth or the critique's conclusion, and in which mix."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from ..core.errors import BadInput
from ..core.records import Record
from ..core.settings import Synthesis
from ..methods import leaks
from .conclusions import truth

# what may be wrong with a record, counted in the manifest; `synthesis.leave_out` names those to leave out
FAULTS: dict[str, Callable[[Record], bool]] = {
    "no_conclusion": lambda r: r["conclusion"] is None,
    "disagrees": lambda r: r["draft_correct"] is not None and r["conclusion"] not in (None, truth(r)),
    "truncated": lambda r: any(r.get(f"{t}_finish") == "length" for t in ("critique", "refined", "direct")),
    "leaks": lambda r: leaks(r["critique"], r["answer"]),
}
TEXTS = ("draft", "critique", "refined", "direct")


def select(rows: Sequence[Record], s: Synthesis) -> tuple[list[Record], Record]:
    """The records that a profile keeps, in their order, and how many were left out for what.

    Left out are: records without one of the texts (``incomplete``), those with a fault that ``leave_out`` names, drafts
    that ``keep`` does not want, and what is over the mix ``right_share`` (the first records of each kind stay).

    Raises:
        BadInput: nothing is left.
    """
    reasons = [_reason(r, s) for r in rows]
    left_out = Counter(reason for reason in reasons if reason)
    kept = [i for i, reason in enumerate(reasons) if not reason]
    if s.right_share is not None:
        right, wrong = ([i for i in kept if _kind(rows[i], s) == kind] for kind in ("right", "wrong"))
        mixed = sorted(_mix(right, wrong, s.right_share))
        left_out["right_share"] = len(kept) - len(mixed)
        kept = mixed
    if not kept:
        raise BadInput(
            f"synthesis.keep = {s.keep!r}, keep_by = {s.keep_by!r}, right_share = {s.right_share}, "
            f"leave_out = {s.leave_out} leave no record of {len(rows)} ({dict(left_out)}); loosen them"
        )
    return [rows[i] for i in kept], {reason: n for reason, n in left_out.items() if n}


def _kind(r: Record, s: Synthesis) -> str | None:
    """The side of the mix that a record is on: 'right', 'wrong', or None if its critique concludes nothing."""
    return r["conclusion"] if s.keep_by == "conclusion" else truth(r)


def _reason(r: Record, s: Synthesis) -> str:
    """Why a record is left out; '' if it is not."""
    if not all(r[text].strip() for text in (*TEXTS, "solution") if text in r):
        return "incomplete"
    for fault in s.leave_out:
        if FAULTS[fault](r):
            return fault
    if s.keep not in ("all", _kind(r, s)):
        return "keep"
    if s.right_share is not None and _kind(r, s) is None:
        return "no_conclusion"
    return ""


def _mix(right: list[int], wrong: list[int], share: float) -> list[int]:
    """As many as there are for a share of right ones."""
    size = min(len(right) / share if share else math.inf, len(wrong) / (1 - share) if share < 1 else math.inf)
    n = min(round(size * share), len(right))
    return right[:n] + wrong[: min(round(size) - n, len(wrong))]
