"""What each claim is measured from: functions of a `verdicts.View` that return what the run has, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from . import ablations, inference, measurements, profiles, reporting, statistics
from .verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    MIN_SEEDS,
    SUPPORTED,
    Measured,
    View,
    effect,
    gain,
    judged,
    matters,
    name_of,
)

Found = list[Measured]
Measure = Callable[[View], Found]


def _known(parts: Sequence[Measured | None], every: bool = True) -> Found:
    """The measurements that are there; nothing if ``every`` one is needed and one is missing."""
    there = [p for p in parts if p is not None]
    return [] if every and len(there) < len(parts) else there


def gain_over(*methods: str, judge: Callable[[float, float], str] = gain, every: bool = True) -> Measure:
    return lambda v: _known([v.difference(m, judge) for m in methods], every)


def on(benchmark: str, method: str, counterpart: str = "") -> Measure:
    """CGD − method on a benchmark; in the lab on its counterpart, which is named as such."""

    def measure(v: View) -> Found:
        if found := v.difference(method, gain, benchmark):
            return [found]
        name = inference.hardest(v.profile).get(counterpart) if v.profile else None
        if name is None:
            return []
        told = f"lab counterpart of {benchmark} ({name}, the longest step count {_KIND[counterpart]}): CGD − {name_of(method)}"
        return _known([v.difference(method, gain, name, told)])

    return measure


_KIND = {"in range": "trained on", "beyond": "never trained on"}


def grid(name: str, judge: Callable[[float, float], str], skip: Sequence[str] = ("cgd",)) -> Measure:
    """CGD − each CGD cell of an ablation grid that the run has."""
    return lambda v: _known(
        [v.difference(c.name, judge) for c in cells_of(name) if c.name not in skip and c.name.startswith("cgd")],
        every=False,
    )


def cells_of(name: str) -> Sequence[ablations.Cell]:
    """The cells of an ablation grid; none where there is no such grid."""
    return ablations.GRIDS[name].cells if name in ablations.GRIDS else ()


def low_k(v: View) -> Found:
    """Pass@1 … Pass@8 of CGD − the base's: AIME from the results or the samples, else the lab's counterpart."""
    told: list[tuple[str, pd.DataFrame]] = []
    for b in ("aime24", "aime25"):
        rows = v.results[
            (v.results["benchmark"] == b)
            & (v.results["metric"].str.startswith("pass@") | (v.results["metric"] == "accuracy"))
        ]
        told.append((b, rows.assign(metric=rows["metric"].replace("accuracy", "pass@1"))))
    sampled = measurements.pick(v.analyses, "pass@k")
    beyond = inference.hardest(v.profile).get("beyond") if v.profile else None
    told += [(b, sampled[sampled["condition"] == b]) for b in ("aime24", "aime25")]
    if beyond:
        told.append((f"lab counterpart of AIME ({beyond}, {_KIND['beyond']})", sampled[sampled["condition"] == beyond]))
    out: Found = []
    for name, rows in told:
        if any(m.what.endswith(name) for m in out):
            continue
        for metric in sorted(set(rows["metric"]), key=lambda m: int(m.removeprefix("pass@"))):
            mine = rows[rows["metric"] == metric]
            base, ours = (mine.loc[mine["method"] == m, "value"].to_numpy(float) for m in ("base", "cgd"))
            if len(base) and len(ours) and int(metric.removeprefix("pass@")) <= 8:
                i = statistics.mean_t_interval(ours - base.mean(), v.level)
                n = int(mine["n"].max())
                out.append(
                    Measured(
                        f"CGD − base, {metric}, {name}",
                        i.estimate,
                        i.low,
                        i.high,
                        i.n,
                        n,
                        judged(gain, i.low, i.high, i.n),
                    )
                )
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
    rows = measurements.pick(v.analyses, "cost")
    rows = rows[~rows["condition"].str.contains("−", na=False)]
    out = []
    for metric, unit in (("passes", "passes"), ("tokens", "tokens a question")):
        mine = rows[rows["metric"] == metric].pivot_table(
            index=["method", "seed"], columns="condition", values="value", dropna=False
        )
        mine = mine.dropna(how="all").mean(axis=1)
        if not {"base", "cgd"} <= set(mine.index.get_level_values("method")):
            return []
        i = statistics.mean_t_interval(mine["cgd"].to_numpy(float) - float(mine["base"].iloc[0]), v.level)
        low, high = (i.low, i.high) if i.n > 1 else (i.estimate, i.estimate)
        verdict = None if metric == "tokens" else CONTRADICTED if low > 0 else SUPPORTED if high <= 0 else INCONCLUSIVE
        n = int(rows.loc[rows["metric"] == metric].groupby("condition")["n"].max().sum())
        out.append(Measured(f"{unit}, CGD − base, one pass each", i.estimate, low, high, i.n, n, verdict, unit))
    return out


def stability(v: View) -> Found:
    """Change of the mean from the profile's learning rate to three times it: CGD's − CFT's, over seeds."""
    wide = reporting.per_seed(v.results).set_index(["method", "seed"])["mean"]
    names = [f"{m} [learning rate ×{x}]" for m in ("cgd", "cft") for x in (3, 1)]
    if any(n not in wide.index.get_level_values("method") for n in names):
        return []
    a, b, c, d = (wide.loc[n] for n in names)
    test = statistics.paired_difference((a - b).dropna().to_numpy(), (c - d).dropna().to_numpy(), v.level)
    return [Measured("change at 3× the learning rate, CGD − CFT", test.difference, test.low, test.high, test.n,
                     v.questions("mean"), judged(gain, test.low, test.high, test.n))]  # fmt: skip


def longer(v: View) -> Found:
    rows = measurements.frame(inference.lengths(v.results))
    there = View(v.family, v.profile, v.table, v.results, rows, v.level)

    def above(low: float, high: float) -> str:
        return gain(low - 1, high - 1)

    return _known([there.measured(f"{m} of CGD's answers, times the base's", above, "times", "lengths", method="cgd", metric=m,
                                  condition="times the base") for m in ("words", "steps")])  # fmt: skip


def certain(v: View) -> Found:
    """What the critique adds to (x) and to (x, y'), before and after training."""

    def lower(low: float, high: float) -> str:
        return gain(-high, -low)

    names = {"nll": "negative log-likelihood", "entropy": "entropy"}
    parts = [
        v.measured(f"{names[metric]} of ŷ, {c}, {name_of(m)}", lower, "nats a token", "uncertainty", method=m, metric=metric, condition=c)
        for m in ("base", "cgd") for metric in names for c in ("(x, y', c) − (x)", "(x, y', c) − (x, y')")
    ]  # fmt: skip
    control = [
        v.measured(f"control: {names[m]} of ŷ, the critique − another problem's, CGD", None, "nats a token", "uncertainty",
                   method="cgd", metric=m, condition="(x, y', c) − (x, y', another c)") for m in names
    ]  # fmt: skip
    return [*_known(parts), *_known(control)]


def attends(v: View) -> Found:
    def points(m: Measured | None) -> Measured | None:
        return m and replace(m, estimate=100 * m.estimate, low=100 * m.low, high=100 * m.high)

    def problem(low: float, high: float) -> str:
        return gain(-high, -low)

    parts = [v.measured(f"attention to c − to x, {layer}, CGD", judge, "points", "attention", method="cgd", metric="c − x", condition=layer)
             for layer, judge in (("first layer", gain), ("last layer", problem))]  # fmt: skip
    shares = [v.measured("attention to {metric}, {condition}, CGD", None, "points", "attention", method="cgd", metric=m, condition="layer 0")
              for m in ("c", "y'", "x")]  # fmt: skip
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
        if found.seeds < MIN_SEEDS or p >= 1 - v.level:
            verdict = INCONCLUSIVE
        else:
            verdict = SUPPORTED if found.estimate > 0 else CONTRADICTED
        out.append(replace(found, what=told, verdict=verdict))
    return out


def settings(v: View) -> Found:
    if v.profile is None:
        return []
    n = len(profiles.dotted_fields())
    told = "settings named in the profile and kept in every artifact's manifest, seeds and the split of the problems among them"
    return [Measured(told, n, n, n, len(v.profile.training.seeds), n, SUPPORTED, "settings")]


def leaks(v: View) -> Found:
    tested = grid("answer_leakage", matters)(v)
    share = v.measured(
        "critiques that hold the final answer ({condition})", None, "percent", "leakage", condition="all drafts"
    )
    masked = v.difference("cgd_masked", matters) if not tested else None
    return [*_known([share]), *_known([masked], False), *tested]


def self_refine(v: View) -> Found:
    where = {"analysis": "cost", "method": "cgd", "condition": "one pass − self-refine"}
    return _known([v.measured("accuracy, one pass of CGD − self-refine of the base", gain, "points", metric="accuracy", **where),
                   v.measured("tokens a question, one pass of CGD − self-refine of the base", None, "tokens", metric="tokens", **where)])  # fmt: skip


def drifts(v: View) -> Found:
    """One epoch − longer training in accuracy and instruction following; beside them how the longest-trained students answer."""
    names = [c.name for c in cells_of("epochs") if c.name.startswith("cgd ")]
    if not names:
        return []
    first, *later = names
    parts = [v.difference(m, effect, b, f"{first} − {m}" + ("" if b == "mean" else f", {b}"), reference=first)
             for m in later for b in ("mean", *_instruction_sets(v))]  # fmt: skip
    told = [_mentions(v, m) for m in names]
    cosine = v.measured("cosine of the question's hidden state to the base's, last layer, CGD", None, "cosine", "drift", method="cgd",
                        metric="cosine", condition=_last_layer(v))  # fmt: skip
    return _known([*parts, *told, cosine], False)


def _mentions(v: View, method: str) -> Measured | None:
    """Percent of a method's answers to plain questions that speak of a draft or a critique, over seeds."""
    rows = v.results[(v.results["method"] == method) & (v.results["metric"] == "mentions_draft")]
    if rows.empty:
        return None
    i = statistics.mean_t_interval(rows["value"].to_numpy(float), v.level)
    return Measured(
        f"answers that speak of a draft or critique, {method}",
        i.estimate,
        i.low,
        i.high,
        i.n,
        int(rows["n"].max()),
        None,
        "percent",
    )


def _instruction_sets(v: View) -> list[str]:
    return list(dict.fromkeys(v.results.loc[v.results["metric"] == "instruction_following", "benchmark"]))


def _last_layer(v: View) -> str:
    rows = measurements.pick(v.analyses, "drift", metric="cosine")["condition"]
    return max(rows, key=lambda c: int(c.removeprefix("layer ")), default="")


def loses(v: View, share: float = 5.0, least: int = 20) -> Found:
    """Percent of the questions another method answers rightly that CGD does not, with its most frequent failure.

    Judged where the other method answers at least ``least`` questions rightly, told where it does not.
    """
    rows = measurements.pick(v.analyses, "losses")
    out = []
    for condition in [c for c in dict.fromkeys(rows["condition"]) if c.startswith("lost to")]:
        kinds = rows[(rows["condition"] == condition) & (rows["metric"] != "all")].groupby("metric")["value"].mean()
        often = kinds.idxmax() if len(kinds) and kinds.max() > 0 else ""
        told = f"questions {condition.replace('_', ' ')}" + (
            f"; most often: {often.replace('_', ' ')}" if often else ""
        )
        out.append(
            v.measured(
                told,
                lambda low, high: gain(low - share, high - share),
                "percent",
                "losses",
                condition=condition,
                metric="all",
            )
        )
    return [replace(m, verdict=None) if m.n < least else m for m in _known(out)]
