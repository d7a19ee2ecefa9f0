"""The paper's claims and its reviewers' questions, each with what this run measured and a verdict by a rule stated beforehand.

Rules, all on 95% intervals over seeds (paired differences, `reporting.headline`):

- a difference is ``supported`` if its interval lies above 0, ``contradicted`` if it lies below, else ``inconclusive``;
- a claim of several differences is ``supported`` if all are, ``contradicted`` if one is, else ``inconclusive``;
- "kept" means that the interval of the loss does not reach below -2 points, "lost" that it lies below -2 points;
- what the run has no rows for is ``not measured in this run``.

A verdict of a lab run is about the lab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from . import reporting, statistics

NOT_MEASURED = "not measured in this run"
MARGIN = 2.0
COLUMNS = [
    "id",
    "statement",
    "published",
    "family",
    "measured",
    "estimate",
    "ci_low",
    "ci_high",
    "seeds",
    "verdict",
    "command",
]


@dataclass(frozen=True)
class Measured:
    """What was measured for a claim: a figure with its interval, in words and numbers."""

    what: str
    estimate: float
    low: float
    high: float
    seeds: int
    verdict: str


@dataclass(frozen=True)
class View:
    """One family's rows of `reporting.headline`, and its raw results."""

    table: pd.DataFrame
    results: pd.DataFrame

    def difference(self, method: str, benchmark: str = "mean", what: str = "") -> Measured | None:
        """CGD − method on a benchmark; None without rows."""
        rows = self.table[(self.table["method"] == method) & (self.table["benchmark"] == benchmark)]
        if rows.empty or pd.isna(rows.iloc[0].get("difference")):
            return None
        r = rows.iloc[0]
        ours = self.table[(self.table["method"] == "cgd") & (self.table["benchmark"] == benchmark)].iloc[0]
        low, high = r["difference_low"], r["difference_high"]
        return Measured(
            what or f"CGD − {reporting.LABELS.get(method, method)}",
            r["difference"],
            low,
            high,
            int(ours["n_seeds"]),
            sign(low, high) if ours["n_seeds"] > 1 else "inconclusive",  # one seed: its interval is over questions only
        )

    def against_base(self, method: str, metric: str) -> Measured | None:
        """Method − base on the benchmarks of a metric (their mean), over seeds."""
        rows = self.results[self.results["metric"] == metric]
        base = rows[rows["method"] == "base"].groupby("benchmark")["value"].mean()
        mine = rows[(rows["method"] == method) & rows["seed"].notna()].pivot_table(
            index="seed", columns="benchmark", values="value"
        )
        if base.empty or mine.empty:
            return None
        i = statistics.mean_t_interval((mine - base).mean(axis=1).to_numpy())
        return Measured(
            f"{reporting.LABELS.get(method, method)} − base, {metric}",
            i.estimate,
            i.low,
            i.high,
            i.n,
            sign(i.low, i.high),
        )


def sign(low: float, high: float) -> str:
    """Verdict of a claimed gain from the interval of its difference."""
    return "supported" if low > 0 else "contradicted" if high < 0 else "inconclusive"


def _all(parts: Sequence[Measured | None]) -> list[Measured]:
    """Several differences as one claim: each is shown, each carries the joint verdict."""
    if not parts or any(p is None for p in parts):
        return []
    known = [p for p in parts if p is not None]
    verdicts = {p.verdict for p in known}
    joint = (
        "contradicted" if "contradicted" in verdicts else "inconclusive" if "inconclusive" in verdicts else "supported"
    )
    return [Measured(p.what, p.estimate, p.low, p.high, p.seeds, joint) for p in known]


def _gain_over(*methods: str) -> Callable[[View], list[Measured]]:
    return lambda v: _all([v.difference(m) for m in methods])


def _on(benchmark: str, method: str) -> Callable[[View], list[Measured]]:
    return lambda v: _all([v.difference(method, benchmark, f"CGD − {method}, {benchmark}")])


def _instructions(v: View) -> list[Measured]:
    ours, theirs = (v.against_base(m, "instruction_following") for m in ("cgd", "cft"))
    if ours is None or theirs is None:
        return []
    kept = "supported" if ours.low >= -MARGIN else "contradicted" if ours.high < -MARGIN else "inconclusive"
    lost = "supported" if theirs.high < -MARGIN else "contradicted" if theirs.low >= -MARGIN else "inconclusive"
    return _all([Measured(m.what, m.estimate, m.low, m.high, m.seeds, x) for m, x in ((ours, kept), (theirs, lost))])


def _stability(v: View) -> list[Measured]:
    """Change of the mean from the profile's learning rate to three times it: CGD's minus CFT's, over seeds."""
    wide = reporting.per_seed(v.results).set_index(["method", "seed"])["mean"]
    names = [f"{m} [learning rate ×{x}]" for m in ("cgd", "cft") for x in (3, 1)]
    if any(n not in wide.index.get_level_values("method") for n in names):
        return []
    a, b, c, d = (wide.loc[n] for n in names)
    test = statistics.paired_difference((a - b).dropna().to_numpy(), (c - d).dropna().to_numpy())
    return [
        Measured(
            "change at 3× the learning rate, CGD − CFT",
            test.difference,
            test.low,
            test.high,
            test.n,
            sign(test.low, test.high),
        )
    ]


def _longer(v: View) -> list[Measured]:
    found = [v.against_base("cgd", m) for m in ("words", "lines")]
    return _all(found)


def _plain_difference(name: str) -> Callable[[View], list[Measured]]:
    """CGD − a cell, without a claimed direction: an effect is shown or not."""

    def measure(v: View) -> list[Measured]:
        m = v.difference(name)
        if m is None:
            return []
        return [
            Measured(
                m.what,
                m.estimate,
                m.low,
                m.high,
                m.seeds,
                "inconclusive" if m.low <= 0 <= m.high else "a difference is shown",
            )
        ]

    return measure


def _several(*names: str) -> Callable[[View], list[Measured]]:
    return lambda v: [m for n in names for m in _plain_difference(n)(v)]


CLAIMS: dict[str, tuple[str, str, Callable[[View], list[Measured]] | None]] = {
    "C1": ("CGD beats CFT and standard distillation on average", "+7 points on average", _gain_over("cft", "distilled_sft")),
    "C2": ("CGD beats CFT on AMC23", "+15.0 (LLaMA3.1-8B)", _on("amc23", "cft")),
    "C3": ("CGD beats CFT on MATH-500", "+12.2 (S1.1-3B)", _on("math-500", "cft")),
    "C4": ("CGD has a higher Pass@1 on AIME24", "3.3 → 16.7", _on("aime24", "base")),
    "C5": ("CGD keeps instruction following, CFT loses it", "76.9 → 76.1 (CGD), 55.6 (CFT)", _instructions),
    "C6": ("the gain comes from specific, relevant critiques", "A > C > B", _gain_over("cgd_irrelevant", "cgd_generic")),
    "C7": ("no extra computation at inference", "one pass on x", None),
    "C8": ("less sensitive to the learning rate than CFT", "−2.6 against −9.2", _stability),
    "C9": ("holds in every model family (C1 a family)", "five families", _gain_over("cft", "distilled_sft")),
    "C10": ("answers become longer, in more steps", "4.4× words, 3.0× steps", _longer),
    "C11": ("transfers to code", "59.7 → 64.6 (HumanEval)", _on("humaneval", "base")),
    "C12": ("the critique lowers the uncertainty on the refined answer", "entropy analysis", None),
    "C13": ("attention goes to the critique early, to the problem late", "layer 0: 48.1% critique", None),
    "Q1": ("does the source of drafts matter?", "", _several("cgd [weaker drafts]", "cgd [corrupted drafts]")),
    "Q4": ("how does the gain fall as critiques become wrong?", "", _several("cgd_noisy(0.5)", "cgd_noisy(1.0)", "cgd_biased")),
    "Q5": ("does masking a leaked answer change the gain?", "", _several("cgd_masked", "cgd_masked [every critique leaks]")),
    "Q6": ("is the gain from the target, or from conditioning on (y', c)?", "", _several("refined_sft", "cgd_no_critique")),
    "Q7": ("accuracy against multi-pass self-refine", "", None),
    "Q8": ("does longer training drift?", "", _several("cgd [epochs 2.0]", "cgd [epochs 4.0]")),
    "Q10": ("does a stronger teacher make a stronger student?", "", _several("cgd [teacher errs in 25%]", "cgd [teacher errs in 50%]")),
    "Q11": ("do generic or random critiques do as well?", "", _several("cgd_generic", "cgd_random", "cgd_irrelevant")),
}  # fmt: skip


def claims(results: pd.DataFrame, profile: str = "lab", level: float = 0.95) -> pd.DataFrame:
    """The claims table: one row a claim, family and measurement; columns as in `COLUMNS`."""
    table = reporting.headline(results, (), level)
    out = []
    for name, (statement, published, measure) in CLAIMS.items():
        found = 0
        for family in dict.fromkeys(results["family"]):
            view = View(table[table["family"] == family], results[results["family"] == family])
            for m in measure(view) if measure else ():
                found += 1
                out.append([name, statement, published, family, m.what, m.estimate, m.low, m.high, m.seeds, m.verdict,
                            f"make reproduce PROFILE={profile}"])  # fmt: skip
        if not found:
            out.append([name, statement, published, "", "", None, None, None, None, NOT_MEASURED, ""])
    return pd.DataFrame(out, columns=COLUMNS)
