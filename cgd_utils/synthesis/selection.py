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
    left_out: Counter[str] = Counter()
    kinds: dict[str, list[int]] = {"right": [], "wrong": []}
    kept = []
    for i, r in enumerate(rows):
        kind = r["conclusion"] if s.keep_by == "conclusion" else truth(r)
        why = (
            "incomplete"
            if not all(r[t].strip() for t in (*TEXTS, "solution") if t in r)
            else next((f for f in s.leave_out if FAULTS[f](r)), None)
        )
        if why is None and s.keep not in ("all", kind):
            why = "keep"
        if why is None and s.right_share is not None and kind is None:
            why = "no_conclusion"
        if why:
            left_out[why] += 1
            continue
        kept.append(i)
        if kind:
            kinds[kind].append(i)
    if s.right_share is not None:
        chosen = set(_mix(kinds["right"], kinds["wrong"], s.right_share))
        left_out["right_share"] = len(kept) - len(chosen)
        kept = [i for i in kept if i in chosen]
    if not kept:
        raise BadInput(f"synthesis.keep = {s.keep!r}, keep_by = {s.keep_by!r}, right_share = {s.right_share}, leave_out = {s.leave_out} "
                       f"leave no record of {len(rows)} ({dict(left_out)}); loosen them")  # fmt: skip
    return [rows[i] for i in kept], {k: n for k, n in left_out.items() if n}


def _mix(right: list[int], wrong: list[int], share: float) -> list[int]:
    """As many as there are for a share of right ones."""
    size = min(len(right) / share if share else math.inf, len(wrong) / (1 - share) if share < 1 else math.inf)
    n = min(round(size * share), len(right))
    return right[:n] + wrong[: min(round(size) - n, len(wrong))]
