"""The claims table: the paper's claims and its reviewers' questions, each with what this run measured and a verdict.

Every entry of `CLAIMS` says its rule beforehand, in the words of `verdicts`: *gain*, *effect*, *matters*. Several measurements
of one claim are judged together: ``contradicted`` if one is, else ``inconclusive`` if one is, else ``supported``. Fewer than
three trained models judge nothing (``inconclusive``). What the run has no rows for is ``not measured in this run``. ``alone``
is the verdict of one measurement, empty where it only describes. A verdict of a lab run is about the lab.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import yaml

from ..core.settings import Profile
from ..reporting import result_rows, summaries
from . import answer_measures, audit, claim_measures
from .claim_measures import Found, Measure
from .verdicts import INCONCLUSIVE, MARGIN, NOT_MEASURED, SUPPORTED, Measured, View, effect, joint, matters

COLUMNS = [
    "id", "statement", "published", "rule", "profile", "scope", "family", "measured", "estimate", "ci_low", "ci_high", "unit",
    "n", "seeds", "alone", "verdict", "audit", "command",
]  # fmt: skip


def _c1(v: View) -> Found:
    return claim_measures.gain_over("cft", "distilled_sft")(v)


def _errors_and_biases(v: View) -> Found:
    return [
        *claim_measures.grid("critique_error_rate", effect)(v),
        *claim_measures.grid("biased_critiques", effect)(v),
    ]


# id -> how a run measures it; C9 is C1 over the families, see `_families`
MEASURES: dict[str, Measure] = {
    "C1": _c1,
    "C2": claim_measures.on("amc23", "cft", "beyond"),
    "C3": claim_measures.on("math-500", "cft", "in range"),
    "C4": claim_measures.low_k,
    "C5": claim_measures.instructions,
    "C6": claim_measures.gain_over("cgd_irrelevant", "cgd_generic"),
    "C7": claim_measures.passes,
    "C8": claim_measures.stability,
    "C10": claim_measures.longer,
    "C11": claim_measures.on("humaneval", "base"),
    "C12": answer_measures.certain,
    "C13": answer_measures.attends,
    "Q1": claim_measures.grid("draft_source", matters),
    "Q2": claim_measures.runs,
    "Q3": claim_measures.settings,
    "Q4": _errors_and_biases,
    "Q5": claim_measures.leaks,
    "Q6": claim_measures.gain_over("refined_sft", "cgd_no_critique", judge=effect, every=False),
    "Q7": answer_measures.self_refine,
    "Q8": answer_measures.drifts,
    "Q9": answer_measures.loses,
    "Q10": claim_measures.grid("teacher", effect),
    "Q11": claim_measures.gain_over("cgd_generic", "cgd_random", "cgd_irrelevant", judge=effect, every=False),
}
# id -> {statement, published, rule}, in the order of the table
CLAIMS: dict[str, dict[str, str]] = yaml.safe_load((audit.PUBLISHED / "claims.yaml").read_text(encoding="utf-8"))
OF_THE_PAPER = [claim for claim in CLAIMS if claim.startswith("C")]
OF_REVIEWERS = [claim for claim in CLAIMS if claim.startswith("Q")]


def claims(results: pd.DataFrame, profile: Profile | None = None, analyses: pd.DataFrame | None = None) -> pd.DataFrame:
    """The claims table: one row a claim, family and measurement; columns as in `COLUMNS`.

    Args:
        results: the rows of ``results.csv``.
        profile: of the run; without it lab counterparts and settings are not told.
        analyses: the rows of ``analyses.csv``, if there are any.
    """
    level = profile.evaluation.level if profile else 0.95
    headline = profile.evaluation.headline if profile else ()
    table = result_rows.headline(results, headline, level)
    inner = summaries.frame() if analyses is None else analyses
    families = list(dict.fromkeys(results["family"]))
    views = [View(f, profile, table[table["family"] == f], results[results["family"] == f], inner[inner["family"] == f], level)
             for f in families]  # fmt: skip
    flawed = _flawed()
    scope = audience(profile)
    out = []
    for claim, words in CLAIMS.items():
        about = {
            "id": claim,
            "statement": words["statement"],
            "published": words.get("published", ""),
            "rule": words["rule"].format(margin=f"{MARGIN:g}"),
            "profile": profile.name if profile else "",
            "audit": flawed.get(claim, ""),
        }
        found = _families(views) if claim == "C9" else {v.family: MEASURES[claim](v) for v in views}
        for family, parts in found.items():
            verdict = joint(m.verdict for m in parts)
            command = f"cgd run --profile {about['profile']}"
            out += [
                {**about, "scope": scope, "family": family, "verdict": verdict, "command": command, **_figures(m)}
                for m in parts
            ]
        if not any(found.values()):
            out.append({**about, "verdict": NOT_MEASURED})
    table = pd.DataFrame(out, columns=COLUMNS)
    words_missing = ["scope", "family", "measured", "unit", "alone", "command"]
    return table.fillna(dict.fromkeys(words_missing, ""))


def _figures(m: Measured) -> dict[str, object]:
    """The columns of one measurement."""
    return {
        "measured": m.what,
        "estimate": m.estimate,
        "ci_low": m.low,
        "ci_high": m.high,
        "unit": m.unit,
        "n": m.n,
        "seeds": m.seeds,
        "alone": m.verdict or "",
    }


def audience(profile: Profile | None) -> str:
    """What a verdict of a run is about."""
    return "the lab" if profile and profile.data.is_lab else "this run's models"


def _families(views: Sequence[View], needed: int = 5) -> dict[str, Found]:
    """C1 in every family, judged together; ``inconclusive`` at best with fewer than five, nothing with one."""
    parts = {v.family: _c1(v) for v in views}
    if len(views) < 2 or not all(parts.values()):
        return {}
    verdict = joint(m.verdict for found in parts.values() for m in found)
    if verdict == SUPPORTED and len(views) < needed:
        verdict = INCONCLUSIVE
    return {f: [replace(m, verdict=verdict) for m in found] for f, found in parts.items()}


def _flawed() -> dict[str, str]:
    """Claim → the printed averages it rests on that do not follow from their own rows."""
    out: dict[str, list[str]] = {}
    for cell in audit.averages():
        for claim in filter(None, cell.claims.split(", ")):
            out.setdefault(claim, []).append(
                f"{cell.row} {cell.column}: printed {cell.printed:g}, recomputed {cell.recomputed:g}"
            )
    return {claim: "; ".join(cells) for claim, cells in out.items()}


def readable(made: pd.DataFrame) -> pd.DataFrame:
    """What each verdict rests on, for reading: the measured rows with three significant digits."""
    shown = made.loc[
        made["measured"] != "",
        ["id", "family", "measured", "estimate", "ci_low", "ci_high", "unit", "n", "seeds", "alone", "verdict"],
    ]
    shown = shown.astype({"n": int, "seeds": int})
    for c in ("estimate", "ci_low", "ci_high"):
        shown[c] = ["" if pd.isna(x) else f"{float(x):.3g}" for x in shown[c]]
    return shown.reset_index(drop=True)


def summary(made: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: its statement and its verdict in each family (joint where several measurements were made)."""
    wide = made.assign(family=made["family"].where(made["family"] != "", "run"))
    rows = wide.groupby(["id", "statement", "family"], sort=False)["verdict"].first().unstack(fill_value="")
    order = {claim: i for i, claim in enumerate(CLAIMS)}
    return (
        rows.reset_index()
        .sort_values("id", key=lambda s: s.map(order))
        .reset_index(drop=True)
        .rename_axis(columns=None)
    )
