"""What each claim is measured from: functions of a `paper.verdicts.View` that return what the run has, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from ..ablations.grids import GRIDS, Grid, rate_pair
from ..analysis import inference_time
from ..core import profile_files, settings_read
from ..methods import display_name
from ..reporting import result_rows, summaries
from .verdicts import BY_DESIGN, CONTRADICTED, GAIN, KEPT, LOST, MATTERS, Measured, Rule, View, measured

Found = list[Measured]
Measure = Callable[[View], Found]


def known(parts: Sequence[Measured | None], every: bool = True) -> Found:
    """The measurements that are there; nothing if ``every`` one is needed and one is missing."""
    there = [p for p in parts if p is not None]
    return [] if every and len(there) < len(parts) else there


def gain_over(*methods: str, rule: Rule = GAIN, every: bool = True) -> Measure:
    return lambda v: known([v.difference(m, rule) for m in methods], every)


def on(benchmark: str, method: str, counterpart: str = "") -> Measure:
    """CGD − method on a benchmark; in the lab on its counterpart, which is named as such."""

    def measure(v: View) -> Found:
        if found := v.difference(method, GAIN, benchmark):
            return [found]
        name = inference_time.hardest(v.profile).get(counterpart) if v.profile else None
        if name is None:
            return []
        told = f"lab counterpart of {benchmark} ({name}, the longest step count {_KIND[counterpart]}): CGD − {display_name(method)}"
        return known([v.difference(method, GAIN, name, told)])

    return measure


LONGER = 0.1  # the least by which an answer is called longer, times the base's
_KIND = {"in range": "trained on", "beyond": "never trained on"}


def grid(name: str, rule: Rule) -> Measure:
    """The reference of an ablation grid − each of its other cells that the run has."""
    return lambda v: known(
        [
            v.difference(c.name, rule, reference=about.reference)
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
                found = measured(each, f"CGD − base, {metric}, {told}", GAIN, v.level)
                arms = tuple(float(side["value"].mean()) for side in (ours, base))
                out += [replace(m, arms=arms) for m in known([found], every=False)]
    return out


def instructions(v: View) -> Found:
    """CGD − base and CFT − base on each instruction benchmark: the one must be kept, the other lost; a base at the floor has none."""
    pairs = [
        (v.difference("base", rule, b, reference=m), v.levels(b, "base"))
        for b in instruction_sets(v)
        for m, rule in (("cgd", KEPT), ("cft", LOST))
    ]
    return known([found and replace(found, arms=base) for found, base in pairs])


def passes(v: View) -> Found:
    """Passes and generated tokens a question, CGD's one pass − the base's, over seeds (mean over the benchmarks asked).

    That a student is asked once is how the method is defined; more passes than the base's would contradict it.
    """
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
            if metric == "passes":  # counted, not sampled
                verdict, reason = (
                    (CONTRADICTED, "more passes") if found.estimate > 0 else (BY_DESIGN, "asked once, like the base")
                )
                found = replace(found, verdict=verdict, reason=reason)
            out.append(found)
    return out


def stability(v: View) -> Found:
    """How much less CGD's mean moves than CFT's from one learning rate to five times it, over seeds.

    Sizes of the changes are compared, whichever way each method moves on average. Both methods must be off the floor at either rate:
    what cannot fall does not move.
    """
    if v.profile is None or not grids("learning_rate"):
        return []
    (about,) = grids("learning_rate")
    changes, levels = [], []
    weights: dict[str, float] = {}
    for side, method in ((-1, "cgd"), (1, "cft")):
        low, high = (about.cell(method, factor).name for factor in rate_pair(v.profile))
        change = result_rows.difference_rows(v.quality, {low: high}, v.headline)
        mean = change[change["benchmark"] == "mean"]
        sign = 1 if mean["value"].mean() >= 0 else -1
        bounds = ["value", "ci_low", "ci_high"] if sign > 0 else ["value", "ci_high", "ci_low"]
        weights |= {high: side * sign, low: -side * sign}
        changes.append(
            mean.assign(**dict(zip(["value", "ci_low", "ci_high"], (sign * mean[c] for c in bounds), strict=True)))
        )
        levels.append(max(v.levels("mean", low, high), default=0.0))
    ours, theirs = changes
    each = summaries.minus(theirs, ours, ["benchmark"], same_questions=False)
    found = v.sharpened(measured(each, "size of the change at 5× the learning rate, CFT − CGD", GAIN, v.level), weights)
    return [replace(m, arms=(min(levels),), trained=True) for m in known([found], every=False)]


def longer(v: View) -> Found:
    """Words and steps of CGD's answers, as multiples of the base's."""
    rows = summaries.frame(inference_time.lengths(v.results))
    there = replace(v, analyses=rows)
    above = Rule(above=1.0, margin=LONGER)
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
    """CGD − each method of the main comparison, with the spread over seeds beside it."""
    sds = v.table[v.table["benchmark"] == "mean"].set_index("method")["sd"]
    main = v.profile.training.methods if v.profile else [m for m in sds.index if m != "base"]
    out: Found = []
    for m in (m for m in sds.index if m in main and m != "cgd"):
        for found in known([v.difference(m)], every=False):
            out.append(replace(found, what=f"{found.what}; sd over seeds {sds['cgd']:.2f} and {sds[m]:.2f}"))
    return out


def settings(v: View) -> Found:
    if v.profile is None:
        return []
    with settings_read.unwatched():  # counting them makes nothing depend on them
        n = profile_files.held(v.profile.model_dump(mode="json"))
    told = "settings named in the profile and kept in every artifact's manifest, seeds and the split of the problems among them"
    seeds = len(v.profile.training.seeds)
    return [
        Measured(
            what=told,
            estimate=n,
            seeds=seeds,
            n=n,
            unit="settings",
            verdict=BY_DESIGN,
            reason="a run has a validated profile",
        )
    ]


def leaks(v: View) -> Found:
    tested = grid("answer_leakage", MATTERS)(v)
    share = v.measured(
        "critiques that hold the final answer (all drafts)", None, "percent", "leakage", condition="all drafts"
    )
    masked = v.difference("cgd_masked", MATTERS) if not tested else None
    return [*known([share]), *known([masked], False), *tested]


def instruction_sets(v: View) -> list[str]:
    """The benchmarks of the results that ask for instructions."""
    return list(dict.fromkeys(v.results.loc[v.results["metric"] == "instruction_following", "benchmark"]))
