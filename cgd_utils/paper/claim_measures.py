"""What each claim is measured from: functions of a `paper.verdicts.View` that return what the run has, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from ..ablations.grids import GRIDS, Grid, rate_pair
from ..analysis import failures, inference_time
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
    effect,
    gain,
    matters,
    measured,
)

Found = list[Measured]
Measure = Callable[[View], Found]


def _known(parts: Sequence[Measured | None], every: bool = True) -> Found:
    """The measurements that are there; nothing if ``every`` one is needed and one is missing."""
    there = [p for p in parts if p is not None]
    return [] if every and len(there) < len(parts) else there


def gain_over(*methods: str, judge: Judge = gain, every: bool = True) -> Measure:
    return lambda v: _known([v.difference(m, judge) for m in methods], every)


def on(benchmark: str, method: str, counterpart: str = "") -> Measure:
    """CGD − method on a benchmark; in the lab on its counterpart, which is named as such."""

    def measure(v: View) -> Found:
        if found := v.difference(method, gain, benchmark):
            return [found]
        name = inference_time.hardest(v.profile).get(counterpart) if v.profile else None
        if name is None:
            return []
        told = f"lab counterpart of {benchmark} ({name}, the longest step count {_KIND[counterpart]}): CGD − {display_name(method)}"
        return _known([v.difference(method, gain, name, told)])

    return measure


_KIND = {"in range": "trained on", "beyond": "never trained on"}


def grid(name: str, judge: Judge) -> Measure:
    """The reference of an ablation grid − each of its other cells that the run has."""
    return lambda v: _known(
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
                out += _known([measured(each, f"CGD − base, {metric}, {told}", gain, v.level)], every=False)
    return out


def instructions(v: View) -> Found:
    """CGD − base and CFT − base on each instruction benchmark: the one must be kept, the other lost."""

    def kept(low: float, high: float) -> str:
        return SUPPORTED if low >= -MARGIN else CONTRADICTED if high < -MARGIN else INCONCLUSIVE

    def lost(low: float, high: float) -> str:
        return SUPPORTED if high < -MARGIN else CONTRADICTED if low >= -MARGIN else INCONCLUSIVE

    return _known(
        [
            v.difference("base", rule, b, reference=m)
            for b in _instruction_sets(v)
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
        for found in _known([measured(mean, f"{unit}, CGD − base, one pass each", None, v.level, unit)], every=False):
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
    return _known([found], every=False)


def longer(v: View) -> Found:
    rows = summaries.frame(inference_time.lengths(v.results))
    there = replace(v, analyses=rows)

    def above(low: float, high: float) -> str:
        return gain(low - 1, high - 1)

    return _known(
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


def certain(v: View) -> Found:
    """What the critique adds to (x) and to (x, y'), before and after training."""

    def lower(low: float, high: float) -> str:
        return gain(-high, -low)

    names = {"nll": "negative log-likelihood", "entropy": "entropy"}
    parts = [
        v.measured(
            f"{names[metric]} of ŷ, {c}, {display_name(m)}",
            lower,
            "nats a token",
            "uncertainty",
            method=m,
            metric=metric,
            condition=c,
        )
        for m in ("base", "cgd")
        for metric in names
        for c in ("(x, y', c) − (x)", "(x, y', c) − (x, y')")
    ]
    control = [
        v.measured(
            f"control: {names[m]} of ŷ, the critique − another problem's, CGD",
            None,
            "nats a token",
            "uncertainty",
            method="cgd",
            metric=m,
            condition="(x, y', c) − (x, y', another c)",
        )
        for m in names
    ]
    return [*_known(parts), *_known(control)]


def attends(v: View) -> Found:
    def points(m: Measured | None) -> Measured | None:
        return m and replace(m, estimate=100 * m.estimate, low=100 * m.low, high=100 * m.high)

    def problem(low: float, high: float) -> str:
        return gain(-high, -low)

    parts = [
        v.measured(
            f"attention to c − to x, {layer}, CGD",
            judge,
            "points",
            "attention",
            method="cgd",
            metric="c − x",
            condition=layer,
        )
        for layer, judge in (("first layer", gain), ("last layer", problem))
    ]
    shares = [
        v.measured(
            f"attention to {m}, layer 0, CGD", None, "points", "attention", method="cgd", metric=m, condition="layer 0"
        )
        for m in ("c", "y'", "x")
    ]
    return [*_known([points(m) for m in parts]), *_known([points(m) for m in shares])]


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
    return [*_known([share]), *_known([masked], False), *tested]


def self_refine(v: View) -> Found:
    where = {"analysis": "cost", "method": "cgd", "condition": summaries.PAIRED}
    return _known(
        [
            v.measured(
                "accuracy, one pass of CGD − self-refine of the base", gain, "points", metric="accuracy", **where
            ),
            v.measured(
                "tokens a question, one pass of CGD − self-refine of the base", None, "tokens", metric="tokens", **where
            ),
        ]
    )


def drifts(v: View) -> Found:
    """One epoch − longer training in accuracy and instruction following; beside them how the longest-trained students answer."""
    longer = [
        c.name for about in grids("epochs") for c in sorted(about.cells, key=lambda c: c.x or 0) if c.method == "cgd"
    ]
    if not longer:
        return []
    first, *later = longer
    parts = [
        v.difference(m, effect, b, f"{first} − {m}" + ("" if b == "mean" else f", {b}"), reference=first)
        for m in later
        for b in ("mean", *_instruction_sets(v))
    ]
    told = [_mentions(v, m) for m in longer]
    cosine = v.measured(
        "cosine of the question's hidden state to the base's, last layer, CGD",
        None,
        "cosine",
        "drift",
        method="cgd",
        metric="cosine",
        condition=_last_layer(v),
    )
    return _known([*parts, *told, cosine], False)


def _mentions(v: View, method: str) -> Measured | None:
    """Percent of a method's answers to plain questions that speak of a draft or a critique, over seeds."""
    rows = v.results[(v.results["method"] == method) & (v.results["metric"] == "mentions_draft")]
    return measured(rows, f"answers that speak of a draft or critique, {method}", None, v.level, "percent")


def _instruction_sets(v: View) -> list[str]:
    return list(dict.fromkeys(v.results.loc[v.results["metric"] == "instruction_following", "benchmark"]))


def _last_layer(v: View) -> str:
    rows = summaries.pick(v.analyses, "drift", metric="cosine")["condition"]
    return max(rows, key=lambda c: summaries.layer_of(c) or 0, default="")


def loses(v: View, share: float = 5.0, least: int = 20) -> Found:
    """Percent of the questions another method answers rightly that CGD does not, with its most frequent failure.

    Judged where the other method answers at least ``least`` questions rightly, told where it does not.
    """

    def more(low: float, high: float) -> str:
        return gain(low - share, high - share)

    rows = summaries.pick(v.analyses, "losses")
    out = []
    for other in dict.fromkeys(v.results["method"]):
        condition = failures.lost_to(other)
        kinds = (
            rows[(rows["condition"] == condition) & (rows["metric"] != failures.ALL)].groupby("metric")["value"].mean()
        )
        often = f"; most often: {kinds.idxmax().replace('_', ' ')}" if len(kinds) and kinds.max() > 0 else ""
        told = f"questions lost to {display_name(other)}{often}"
        out.append(v.measured(told, more, "percent", "losses", condition=condition, metric=failures.ALL))
    return [replace(m, verdict=None) if m.n < least else m for m in _known(out, every=False)]
