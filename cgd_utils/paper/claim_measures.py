"""What each claim is measured from: functions of a `paper.verdicts.View` that return what the run has, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from ..ablations.grids import GRIDS, Grid, rate_pair
from ..analysis import inference_time
from ..core import profile_files, statistics
from ..methods import display_name
from ..reporting import result_rows, summaries
from .verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    MIN_SEEDS,
    SUPPORTED,
    Judge,
    Measured,
    View,
    gain,
    matters,
    measured,
)

Found = list[Measured]
Measure = Callable[[View], Found]


def known(parts: Sequence[Measured | None], every: bool = True) -> Found:
    """The measurements that are there; nothing if ``every`` one is needed and one is missing."""
    there = [p for p in parts if p is not None]
    return [] if every and len(there) < len(parts) else there


def gain_over(*methods: str, judge: Judge = gain, every: bool = True) -> Measure:
    return lambda v: known([v.difference(m, judge) for m in methods], every)


def on(benchmark: str, method: str, counterpart: str = "") -> Measure:
    """CGD − method on a benchmark; in the lab on its counterpart, which is named as such."""

    def measure(v: View) -> Found:
        if found := v.difference(method, gain, benchmark):
            return [found]
        name = inference_time.hardest(v.profile).get(counterpart) if v.profile else None
        if name is None:
            return []
        told = f"lab counterpart of {benchmark} ({name}, the longest step count {_KIND[counterpart]}): CGD − {display_name(method)}"
        return known([v.difference(method, gain, name, told)])

    return measure


_KIND = {"in range": "trained on", "beyond": "never trained on"}


def grid(name: str, judge: Judge) -> Measure:
    """The reference of an ablation grid − each of its other cells that the run has."""
    return lambda v: known(
        [
            v.difference(c.name, judge, reference=about.reference)
            for about in grids(name)
            for c in about.cells
            if c.name != about.reference
        ],
        every=False,
    )


def grids(name: str) -> Sequence[Grid]:
    """The ablation grid of that name, or none: a grid may have been taken out."""
    return [GRIDS[name]] if name in GRIDS else []


def low_k(v: View) -> Found:
    """Pass@1 … Pass@8 of CGD − the base's: AIME from the results or the samples, else the lab's counterpart.

    The base is one model, and its questions are a sample like CGD's: both models' intervals over questions take part.
    """
    recorded = pd.DataFrame(inference_time.recorded_pass_at_k(v.results, v.family))
    greedy = v.results[v.results["metric"] == "accuracy"].assign(metric="pass@1", condition=v.results["benchmark"])
    sampled = summaries.pick(v.analyses, "pass@k")
    named = {b: b for b in ("aime24", "aime25")}
    if v.profile and (beyond := inference_time.hardest(v.profile).get("beyond")):
        named[beyond] = f"lab counterpart of AIME ({beyond}, {_KIND['beyond']})"
    out: Found = []
    for benchmark, told in named.items():
        sources = [recorded, sampled, greedy] if benchmark == told else [sampled]
        rows = next((mine for rows in sources if len(rows) and len(mine := rows[rows["condition"] == benchmark])), None)
        if rows is None:
            continue
        for metric in sorted(set(rows["metric"]), key=lambda m: summaries.samples_of(m) or 0):
            ours, base = (rows[(rows["metric"] == metric) & (rows["method"] == m)] for m in ("cgd", "base"))
            if (summaries.samples_of(metric) or 0) <= 8 and len(ours) and len(base):
                each = summaries.minus(ours, base, ["condition"], same_questions=False)
                out += known([measured(each, f"CGD − base, {metric}, {told}", gain, v.level)], every=False)
    return out


def instructions(v: View) -> Found:
    """CGD − base and CFT − base on each instruction benchmark: the one must be kept, the other lost."""

    def kept(low: float, high: float) -> str:
        return SUPPORTED if low >= -MARGIN else CONTRADICTED if high < -MARGIN else INCONCLUSIVE

    def lost(low: float, high: float) -> str:
        return SUPPORTED if high < -MARGIN else CONTRADICTED if low >= -MARGIN else INCONCLUSIVE

    return known(
        [
            v.difference("base", rule, b, reference=m)
            for b in instruction_sets(v)
            for m, rule in (("cgd", kept), ("cft", lost))
        ]
    )


def passes(v: View) -> Found:
    """Passes and generated tokens a question, CGD's one pass − the base's, over seeds (mean over the benchmarks asked)."""

    def none_more(low: float, high: float) -> str:
        return CONTRADICTED if low > 0 else SUPPORTED if high <= 0 else INCONCLUSIVE

    rows = summaries.pick(v.analyses, "cost")
    out: Found = []
    for metric, unit in (("passes", "passes"), ("tokens", "tokens a question")):
        mine = rows[(rows["metric"] == metric) & (rows["condition"] != summaries.PAIRED)]
        ours, base = (mine[mine["method"] == m] for m in ("cgd", "base"))
        if ours.empty or base.empty:
            return []
        each = summaries.minus(ours, base, ["condition"], same_questions=False)
        mean = summaries.average(each, "condition", "mean")
        for found in known([measured(mean, f"{unit}, CGD − base, one pass each", None, v.level, unit)], every=False):
            counted = metric == "passes"  # not sampled
            out.append(replace(found, verdict=none_more(found.estimate, found.estimate)) if counted else found)
    return out


def stability(v: View) -> Found:
    """Change of the mean from one learning rate to five times it: CGD's − CFT's, over seeds."""
    if v.profile is None or not grids("learning_rate"):
        return []
    (about,) = grids("learning_rate")
    changes = []
    for method in ("cgd", "cft"):
        low, high = (about.cell(method, factor).name for factor in rate_pair(v.profile))
        change = result_rows.difference_rows(v.quality, {low: high}, v.headline)
        changes.append(change[change["benchmark"] == "mean"])
    ours, theirs = changes
    each = summaries.minus(ours, theirs, ["benchmark"], same_questions=False)
    found = measured(each, "change at 5× the learning rate, CGD − CFT", gain, v.level)
    return known([found], every=False)


def longer(v: View) -> Found:
    rows = summaries.frame(inference_time.lengths(v.results))
    there = replace(v, analyses=rows)

    def above(low: float, high: float) -> str:
        return gain(low - 1, high - 1)

    return known(
        [
            there.measured(
                f"{m} of CGD's answers, times the base's",
                above,
                "times",
                "lengths",
                method="cgd",
                metric=m,
                condition="times the base",
            )
            for m in ("words", "steps")
        ]
    )


def runs(v: View) -> Found:
    """CGD − each method of the main comparison, paired t-test over seeds, Holm-corrected over the methods."""
    mine = v.table[(v.table["benchmark"] == "mean")].set_index("method")
    main = v.profile.training.methods if v.profile else list(mine.index)
    there = [
        m
        for m in mine.index
        if m in main and m != "cgd" and m != "base" and "p" in mine and not pd.isna(mine.loc[m, "p"])
    ]
    if not there:
        return []
    corrected = statistics.holm(mine.loc[there, "p"].to_numpy(float))
    out = []
    for m, p in zip(there, corrected, strict=True):
        found = v.difference(m)
        if found is None:
            continue
        told = f"{found.what}; sd over seeds {mine.loc['cgd', 'sd']:.2f} and {mine.loc[m, 'sd']:.2f}; Holm-corrected p = {p:.2g}"
        if found.seeds < MIN_SEEDS or p >= 1 - v.level or found.low <= 0 <= found.high:
            verdict = INCONCLUSIVE
        else:
            verdict = SUPPORTED if found.estimate > 0 else CONTRADICTED
        out.append(replace(found, what=told, verdict=verdict))
    return out


def settings(v: View) -> Found:
    if v.profile is None:
        return []
    n = len(profile_files.dotted_fields())
    told = "settings named in the profile and kept in every artifact's manifest, seeds and the split of the problems among them"
    seeds = len(v.profile.training.seeds)
    return [Measured(what=told, estimate=n, seeds=seeds, n=n, verdict=SUPPORTED, unit="settings")]


def leaks(v: View) -> Found:
    tested = grid("answer_leakage", matters)(v)
    share = v.measured(
        "critiques that hold the final answer (all drafts)", None, "percent", "leakage", condition="all drafts"
    )
    masked = v.difference("cgd_masked", matters) if not tested else None
    return [*known([share]), *known([masked], False), *tested]


def instruction_sets(v: View) -> list[str]:
    """The benchmarks of the results that ask for instructions."""
    return list(dict.fromkeys(v.results.loc[v.results["metric"] == "instruction_following", "benchmark"]))
