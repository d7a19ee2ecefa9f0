"""What a critique concludes, and how that agrees with the truth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ..core.records import Record

# a mark or a new line must follow "conclusion": "in conclusion, right triangles …" is none
_CONCLUSION = re.compile(
    r"conclusion[ \t]*(?=[^\w\s,]|\n)(?:\W|\\\w+(?=\{))*?"
    r"(?:(?:the |this )?(?:student['’]s )?(?:final )?(?:draft|answer|solution|response)(?: is|:)?\W*)?"
    r"(?P<negated>(?:is )?not |isn['’]t )?(?P<said>right|wrong|correct|incorrect)\b"
    r"(?!\W*(?:or|/|\|)\W*(?:right|wrong|correct|incorrect)\b)",
    re.IGNORECASE,
)


def conclusion(critique: str) -> str | None:
    """'right' or 'wrong' from a critique's last ``Conclusion: …``, however it is formatted; None if it has none."""
    found = list(_CONCLUSION.finditer(critique.replace("_", "*")))
    if not found:
        return None
    right = found[-1]["said"].lower() in ("right", "correct")
    return "right" if right != bool(found[-1]["negated"]) else "wrong"


def truth(r: Record) -> str:
    return "right" if r["draft_correct"] else "wrong"


def agreement(rows: Sequence[Record]) -> dict[str, int]:
    """How the critiques' conclusions agree with the truth: counts of (draft is …, critique says …)."""
    drafts = ("not graded" if r["draft_correct"] is None else truth(r) for r in rows)
    pairs = zip(drafts, (r["conclusion"] or "nothing" for r in rows), strict=True)
    counts = Counter(f"draft {draft}, critique says {says}" for draft, says in pairs)
    return dict(sorted(counts.items()))
