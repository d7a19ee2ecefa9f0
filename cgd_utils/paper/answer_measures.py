"""What claims about answers are measured from: how sure, attentive, long and wrong they are; see `claim_measures`."""

from __future__ import annotations

from dataclasses import replace

from ..analysis import failures, inference_time
from ..methods import display_name
from ..reporting import summaries
from .claim_measures import Found, grids, instruction_sets, known
from .verdicts import GAIN, Measured, Rule, View, measured

LEAST_NATS = 0.02  # nats a token that matter, as in the gate on critiques


def certain(v: View) -> Found:
    """What the critique adds to (x) and to (x, y'), before and after training."""
    lower = Rule(sign=-1, margin=LEAST_NATS)
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
    return [*known(parts), *known(control)]


def attends(v: View) -> Found:
    def points(m: Measured | None) -> Measured | None:
        return m and replace(m, estimate=100 * m.estimate, low=100 * m.low, high=100 * m.high)

    problem = Rule(sign=-1)
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
        for layer, judge in (("first layer", GAIN), ("last layer", problem))
    ]
    shares = [
        v.measured(
            f"attention to {m}, layer 0, CGD", None, "points", "attention", method="cgd", metric=m, condition="layer 0"
        )
        for m in ("c", "y'", "x")
    ]
    return [*known([points(m) for m in parts]), *known([points(m) for m in shares])]


def self_refine(v: View) -> Found:
    """Accuracy and tokens of CGD's one pass − the base's self-refine, paired by question."""
    where = {"analysis": "cost", "method": "cgd", "condition": summaries.PAIRED}
    rows = summaries.pick(v.analyses, "cost", metric="accuracy")
    rows = rows[rows["condition"] != summaries.PAIRED]
    arms = tuple(rows.loc[rows["method"].isin(["cgd", inference_time.SELF_REFINE])].groupby("method")["value"].mean())
    found = v.measured(
        "accuracy, one pass of CGD − self-refine of the base", GAIN, "points", metric="accuracy", **where
    )
    return known(
        [
            found and replace(found, arms=arms),
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
        v.difference(m, GAIN, b, f"{first} − {m}" + ("" if b == "mean" else f", {b}"), reference=first)
        for m in later
        for b in ("mean", *instruction_sets(v))
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
    return known([*parts, *told, cosine], False)


def _mentions(v: View, method: str) -> Measured | None:
    """Percent of a method's answers to plain questions that speak of a draft or a critique, over seeds."""
    rows = v.results[(v.results["method"] == method) & (v.results["metric"] == "mentions_draft")]
    return measured(rows, f"answers that speak of a draft or critique, {method}", None, v.level, "percent")


def _last_layer(v: View) -> str:
    rows = summaries.pick(v.analyses, "drift", metric="cosine")["condition"]
    return max(rows, key=lambda c: summaries.layer_of(c) or 0, default="")


def loses(v: View, share: float = 5.0, least: int = 20) -> Found:
    """Percent of the questions another method answers rightly that CGD does not, with its most frequent failure.

    Judged where the other method answers at least ``least`` questions rightly, told where it does not.
    """
    more = Rule(above=share, margin=0.0)
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
    return [replace(m, rule=None) if m.n < least else m for m in known(out, every=False)]
