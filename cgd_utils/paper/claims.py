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

from ..core.settings import Profile
from ..reporting import result_rows, summaries
from . import audit, claim_measures
from .claim_measures import Found, Measure
from .verdicts import INCONCLUSIVE, MARGIN, NOT_MEASURED, SUPPORTED, View, effect, joint, matters

COLUMNS = [
    "id", "statement", "published", "rule", "profile", "scope", "family", "measured", "estimate", "ci_low", "ci_high", "unit",
    "n", "seeds", "alone", "verdict", "audit", "command",
]  # fmt: skip


def _published() -> dict[str, str]:
    """The published figures, read from the printed tables where these hold them."""
    web, ood, aime, rate = (
        audit.read_table(audit.PUBLISHED, f"table_{t}") for t in ("webinstruct", "ood", "aime24", "lr_stability")
    )
    content = audit.read_table(audit.PUBLISHED, "table_critique_content")

    def cell(rows: list[dict[str, str]], column: str, **where: str) -> float:
        return float(next(r[column] for r in rows if all(r[k] == x for k, x in where.items())))

    llama, s1 = {"student": "LLaMA3.1-8B-Instruct", "teacher": "LLaMA3.3-70B-Instruct"}, {"student": "S1.1-3B"}
    c2 = cell(web, "amc23", method="cgd", **llama) - cell(web, "amc23", method="cft", **llama)
    c3 = cell(web, "math500", method="cgd", **s1) - cell(web, "math500", method="cft", **s1)
    ifeval = [cell(ood, "ifeval", method=m) for m in ("base", "cgd", "cft_gpt4o")]
    pass1, words, steps = ([cell(aime, s, metric=m) for s in ("base", "cgd")]
                           for m in ("pass@1 greedy (%)", "reasoning length (words)", "reasoning steps"))  # fmt: skip
    code = [cell(ood, "humaneval", method=m) for m in ("base", "cgd")]
    order = " > ".join(r["condition"] for r in sorted(content, key=lambda r: -float(r["math500"])))
    changes = [cell(rate, "change", method=m) for m in ("cgd", "cft")]
    return {
        "C1": "+7 points on average", "C2": f"{c2:+.1f} (LLaMA3.1-8B)", "C3": f"{c3:+.1f} (S1.1-3B)",
        "C4": f"AIME24 Pass@1 {pass1[0]:g} → {pass1[1]:g}", "C5": f"IFEval {ifeval[0]:g} → {ifeval[1]:g} (CGD), {ifeval[2]:g} (CFT)",
        "C6": f"MATH-500: {order}", "C7": "one pass on x", "C8": f"{changes[0]:g} (CGD) against {changes[1]:g} (CFT)",
        "C9": "five families", "C10": f"{words[1] / words[0]:.1f}× words, {steps[1] / steps[0]:.1f}× steps (AIME24)",
        "C11": f"HumanEval {code[0]:g} → {code[1]:g}", "C12": "entropy analysis, no figure in the kit's tables",
        "C13": "layer 0: 48.1% critique, 36.0% draft; last layers > 90% problem",
    }  # fmt: skip


# id -> (statement, rule, measure)
CLAIMS: dict[str, tuple[str, str, Measure]] = {
    "C1": ("CGD beats CFT and standard distillation on average", "gain of the mean over each", claim_measures.gain_over("cft", "distilled_sft")),
    "C2": ("CGD beats CFT on AMC23", "gain", claim_measures.on("amc23", "cft", "beyond")),
    "C3": ("CGD beats CFT on MATH-500", "gain", claim_measures.on("math-500", "cft", "in range")),
    "C4": ("higher Pass@1 and better Pass@k at low k on AIME24 / AIME25", "gain over the base at every measured k ≤ 8", claim_measures.low_k),
    "C5": ("CGD keeps instruction following, CFT loses it",
           f"CGD − base does not reach below −{MARGIN:g}, and CFT − base lies below −{MARGIN:g}", claim_measures.instructions),
    "C6": ("the gain comes from specific, relevant critiques", "gain over irrelevant and generic critiques", claim_measures.gain_over("cgd_irrelevant", "cgd_generic")),
    "C7": ("no extra computation at inference", "passes a question do not lie above the base's (tokens are told beside them)", claim_measures.passes),
    "C8": ("less sensitive to the learning rate than CFT", "gain of the change from one rate to 5 times it", claim_measures.stability),
    "C9": ("holds across model families", "C1 in every family of the run; at least five families", lambda v: []),
    "C10": ("answers become longer, in more steps", "words and steps lie above 1× the base's", claim_measures.longer),
    "C11": ("transfers to code without code in the training data", "gain over the base on HumanEval", claim_measures.on("humaneval", "base")),
    "C12": ("conditioning on the critique lowers the uncertainty on the refined answer",
            "likelihood and entropy of ŷ given (x, y', c) lie below those given (x) and (x, y'), in the base and in CGD", claim_measures.certain),
    "C13": ("attention goes to the critique in early layers and to the problem in late ones",
            "critique − problem above 0 in the first layer and below 0 in the last", claim_measures.attends),
    "Q1": ("the source of the drafts matters", "matters", claim_measures.grid("draft_source", matters)),
    "Q2": ("the gains are significant over several runs", "paired t-test over seeds, Holm-corrected over the methods, p < 5%", claim_measures.runs),
    "Q3": ("every setting and split is named", "the run has a validated profile", claim_measures.settings),
    "Q4": ("the gain falls as critiques become wrong or biased", "effect: CGD above each",
           lambda v: [*claim_measures.grid("critique_error_rate", effect)(v), *claim_measures.grid("biased_critiques", effect)(v)]),
    "Q5": ("answers leaked by critiques, or masking them, change the gain", "matters", claim_measures.leaks),
    "Q6": ("the gain needs conditioning on (y', c), not only the better target", "effect: CGD above refined SFT and above no critique",
           claim_measures.gain_over("refined_sft", "cgd_no_critique", judge=effect, every=False)),
    "Q7": ("one pass of CGD is more accurate than multi-pass self-refine of the base", "gain, paired by question", claim_measures.self_refine),
    "Q8": ("longer training drifts", "effect: one epoch above longer training, in accuracy or instruction following", claim_measures.drifts),
    "Q9": ("CGD loses more than 5% of the questions that another method answers rightly", "percent lost lies above 5 (of 20 questions or more)", claim_measures.loses),
    "Q10": ("a stronger teacher makes a stronger student", "effect: CGD above CGD with each weaker teacher", claim_measures.grid("teacher", effect)),
    "Q11": ("real critiques beat generic, random and irrelevant ones", "effect: CGD above each",
            claim_measures.gain_over("cgd_generic", "cgd_random", "cgd_irrelevant", judge=effect, every=False)),
}  # fmt: skip
_questions = list(CLAIMS).index("Q1")
OF_THE_PAPER, OF_REVIEWERS = list(CLAIMS)[:_questions], list(CLAIMS)[_questions:]


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
    published, flawed = _published(), _flawed()
    name = profile.name if profile else ""
    scope = audience(profile)
    out = []
    for claim, (statement, rule, measure) in CLAIMS.items():
        head = [claim, statement, published.get(claim, ""), rule, name]
        tail = [flawed.get(claim, "")]
        found = {v.family: measure(v) for v in views}
        if claim == "C9":
            found = _families(views)
        for family, parts in found.items():
            verdict = joint(m.verdict for m in parts)
            out += [[*head, scope, family, m.what, m.estimate, m.low, m.high, m.unit, m.n, m.seeds, m.verdict or "", verdict, *tail,
                     f"cgd run --profile {name}"] for m in parts]  # fmt: skip
        if not any(found.values()):
            out.append([*head, "", "", "", None, None, None, "", None, None, "", NOT_MEASURED, *tail, ""])
    return pd.DataFrame(out, columns=COLUMNS)


def audience(profile: Profile | None) -> str:
    """What a verdict of a run is about."""
    return "the lab" if profile and profile.data.is_lab else "this run's models"


def _families(views: Sequence[View], needed: int = 5) -> dict[str, Found]:
    """C1 in every family, judged together; ``inconclusive`` at best with fewer than five, nothing with one."""
    parts = {v.family: claim_measures.gain_over("cft", "distilled_sft")(v) for v in views}
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
