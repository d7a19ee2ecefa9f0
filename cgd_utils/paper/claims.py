"""The claims table: the paper's claims and its reviewers' questions, each with what this run measured and a verdict.

Every entry of `CLAIMS` says its rule and the day on which the rule was fixed, in the words of `verdicts`: *gain*, *matters*, *kept*.
Several measurements of one claim are judged together: a claim about all of them is contradicted by one, a claim that there is one
(``needs: any``) is supported by one. Families are judged each for itself, never together. What the run has no rows for is
``not measured in this run``. ``alone`` is the verdict of one measurement, empty where it only describes. A verdict of a lab run is
about the lab, and says so in its statement where the paper names a benchmark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..core.settings import Profile
from ..core.store import Run
from ..reporting import result_rows, summaries
from . import answer_measures, audit, claim_measures
from .claim_measures import Found, Measure
from .verdicts import GAIN, MARGIN, MATTERS, NOT_MEASURED, VERDICTS, Measured, View, joint, reasons, settled

COLUMNS = [
    "id", "statement", "published", "rule", "profile", "scope", "family", "measured", "estimate", "ci_low", "ci_high", "unit",
    "n", "seeds", "p", "alone", "why", "verdict", "reason", "rule_fixed", "rule_stated", "audit", "command",
]  # fmt: skip


def _c1(v: View) -> Found:
    return claim_measures.gain_over("cft", "distilled_sft")(v)


def _errors_and_biases(v: View) -> Found:
    return [
        *claim_measures.grid("critique_error_rate", GAIN)(v),
        *claim_measures.grid("biased_critiques", GAIN)(v),
    ]


# id -> how a run measures it; C9 is C1 in each family of several
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
    "Q1": claim_measures.grid("draft_source", MATTERS),
    "Q2": claim_measures.runs,
    "Q3": claim_measures.settings,
    "Q4": _errors_and_biases,
    "Q5": claim_measures.leaks,
    "Q6": claim_measures.gain_over("refined_sft", "cgd_no_critique", every=False),
    "Q7": answer_measures.self_refine,
    "Q8": answer_measures.drifts,
    "Q9": answer_measures.loses,
    "Q10": claim_measures.grid("teacher", GAIN),
    "Q11": claim_measures.gain_over("cgd_generic", "cgd_random", "cgd_irrelevant", every=False),
}
# id -> {statement, published, rule, needs, fixed}, in the order of the table
CLAIMS: dict[str, dict[str, Any]] = yaml.safe_load((audit.PUBLISHED / "claims.yaml").read_text(encoding="utf-8"))
OF_THE_PAPER = [claim for claim in CLAIMS if claim.startswith("C")]
OF_REVIEWERS = [claim for claim in CLAIMS if claim.startswith("Q")]


def claims(
    results: pd.DataFrame,
    profile: Profile | None = None,
    analyses: pd.DataFrame | None = None,
    failed: Mapping[str, Sequence[str]] | None = None,
    measured_on: date | None = None,
) -> pd.DataFrame:
    """The claims table: one row a claim, family and measurement; columns as in `COLUMNS`.

    Args:
        results: the rows of ``results.csv``.
        profile: of the run; without it lab counterparts and settings are not told.
        analyses: the rows of ``analyses.csv``, if there are any.
        failed: family → the gates that it failed, see `failed_gates`.
        measured_on: the day of the results, see `measured_on`: a rule that was fixed later was stated after the run.
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
            "rule_fixed": str(words["fixed"]),
            "rule_stated": ""
            if measured_on is None
            else "after the run"
            if words["fixed"] > measured_on
            else "before the run",
            "profile": profile.name if profile else "",
            "audit": flawed.get(claim, ""),
        }
        found = {v.family: _measure(claim, v, len(views)) for v in views}
        for v in views:
            parts = settled(found[v.family], level, (failed or {}).get(v.family, ()))
            verdict = joint((m.verdict for m in parts), words.get("needs", "all") == "all")
            shared = {
                **about,
                "statement": _statement(words["statement"], parts),
                "scope": scope,
                "family": v.family,
                "verdict": verdict,
                "reason": reasons(parts, verdict),
                "command": f"cgd run --profile {about['profile']}",
            }
            out += [{**shared, **_figures(m)} for m in parts]
        if not any(found.values()):
            out.append({**about, "verdict": NOT_MEASURED, "reason": "the run has no rows for it"})
    table = pd.DataFrame(out, columns=COLUMNS)
    words_missing = ["scope", "family", "measured", "unit", "alone", "why", "command"]
    return table.assign(**{c: table[c].astype(object).fillna("") for c in words_missing})


def _measure(claim: str, view: View, families: int) -> Found:
    """What the run measured for a claim in one family; C9 is C1 in each of several."""
    if claim == "C9":
        return _c1(view) if families > 1 else []
    return MEASURES[claim](view)


def _statement(words: str, parts: Sequence[Measured]) -> str:
    """The claim in words; where a lab counterpart stands for a benchmark, the statement says so."""
    mark = "lab counterpart of "
    told = [m.what[m.what.index(mark) :].split(": CGD")[0] for m in parts if mark in m.what]
    return f"{words} (here: {'; '.join(dict.fromkeys(told))})" if told else words


def measured_on(run: Run) -> date | None:
    """The day on which notebook 04 last measured something; None before it ran."""
    path = run.folder / "artifacts" / "results" / "main.json"
    return date.fromtimestamp(path.stat().st_mtime) if path.exists() else None


def failed_gates(tables: Path) -> dict[str, list[str]]:
    """Family → the gates that it failed, from the table that notebook 05 writes; nothing where no gate was measured."""
    path = tables / "gates.csv"
    if not path.exists():
        return {}
    rows = pd.read_csv(path)
    lost = rows[rows["passed"].astype(str) == "False"]
    return {str(family): list(mine["gate"]) for family, mine in lost.groupby("family", sort=False)}


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
        "p": m.p,
        "alone": m.verdict,
        "why": m.reason,
    }


def audience(profile: Profile | None) -> str:
    """What a verdict of a run is about."""
    return "the lab" if profile and profile.data.is_lab else "this run's models"


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
        [
            "id",
            "family",
            "measured",
            "estimate",
            "ci_low",
            "ci_high",
            "unit",
            "n",
            "seeds",
            "p",
            "alone",
            "why",
            "verdict",
        ],
    ]
    shown = shown.astype({"n": int, "seeds": int})
    for c in ("estimate", "ci_low", "ci_high", "p"):
        shown[c] = ["" if pd.isna(x) else f"{float(x):.3g}" for x in shown[c]]
    return shown.reset_index(drop=True)


def summary(made: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: its statement, its verdict in each family, their count where there are several, and the reasons."""
    families = [f for f in dict.fromkeys(made["family"]) if f] or ["run"]
    out = []
    for claim, mine in made.groupby("id", sort=False):
        each = dict(mine.drop_duplicates("family")[["family", "verdict"]].to_numpy())
        unmeasured = {} if any(each) else dict.fromkeys(families, NOT_MEASURED)
        row = {
            "id": claim,
            "statement": mine["statement"].iloc[0],
            **dict.fromkeys(families, ""),
            **(unmeasured or each),
        }
        if len(families) > 1:
            row["families"] = "" if unmeasured else counted(each.values())
        out.append({**row, "reason": "; ".join(dict.fromkeys(filter(None, mine["reason"])))})
    return pd.DataFrame(out)


def counted(found: Iterable[str]) -> str:
    """Verdicts of several families, counted: ``supported in 4 of 5; contradicted in 1 of 5``."""
    each = list(found)
    return "; ".join(f"{v} in {each.count(v)} of {len(each)}" for v in VERDICTS if v in each)
