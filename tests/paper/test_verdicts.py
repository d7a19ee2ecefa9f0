"""The verdict that a referee would give of made-up measurements: ``verdict_cases.csv``, one case a line.

A figure is written ``rule estimate [low, high] sSEEDS`` and what else it has: ``arms=a/b`` (percent), ``m`` (margin), ``>`` (the value that
it is compared with), ``sign-`` (the claim says lower), ``unit=``, ``trained`` (a comparison of methods), ``one`` (one model is all there is).
Figures of one claim are parted by ``;``.
"""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core import statistics
from cgd_utils.paper import verdicts
from cgd_utils.paper.verdicts import Measured, Rule

CASES = list(csv.DictReader((Path(__file__).parent / "verdict_cases.csv").open(encoding="utf-8")))
FIGURE = re.compile(r"(\w+) (\S+) \[(\S+), (\S+)\] s(\d+)(.*)")


def figure(text):
    kind, estimate, low, high, seeds, more = FIGURE.fullmatch(text.strip()).groups()
    words = more.split()
    value = {w[0]: float(w[1:]) for w in words if w[0] in "m>" and w[1:].replace(".", "").isdigit()}
    named = dict(w.split("=") for w in words if "=" in w)
    rule = None
    if kind in ("gain", "matters", "kept"):
        rule = Rule(
            kind=kind, margin=value.get("m", 2.0), above=value.get(">", 0.0), sign=-1 if "sign-" in words else 1
        )
    return Measured(
        what=text,
        estimate=float(estimate),
        low=float(low),
        high=float(high),
        seeds=int(seeds),
        n=300,
        unit=named.get("unit", "points"),
        rule=rule,
        arms=tuple(map(float, named["arms"].split("/"))) if "arms" in named else (),
        trained="trained" in words,
        enough="one" in words,
        verdict=verdicts.BY_DESIGN if kind == "design" else "",
    )


def came_out(case):
    parts = [figure(text) for text in case["figures"].split(";")]
    settled = verdicts.settled(parts, 0.95, [g for g in [case["failed"]] if g])
    verdict = verdicts.joint((m.verdict for m in settled), case["needs"] == "all")
    return verdict, verdicts.reasons(settled, verdict)


def agree():
    return all(came_out(c)[0] == c["verdict"] for c in CASES)


@pytest.mark.parametrize("case", CASES, ids=[c["why"] for c in CASES])
def test_a_referee_agrees(case):
    verdict, reason = came_out(case)
    assert verdict == case["verdict"]
    assert case["reason"] in reason


def test_there_are_enough_cases_of_every_verdict():
    assert len(CASES) >= 60
    assert {c["verdict"] for c in CASES} == set(verdicts.VERDICTS)


judge, p_value, joint = verdicts.judge, verdicts.p_value, verdicts.joint
MUTATIONS = {
    "no margin": ("judge", lambda rule, *x: judge(replace(rule, margin=0.0), *x)),
    "a larger margin": ("judge", lambda rule, *x: judge(replace(rule, margin=2 * rule.margin), *x)),
    "the sign is forgotten": ("judge", lambda rule, *x: judge(replace(rule, sign=1), *x)),
    "compared with 0": ("judge", lambda rule, *x: judge(replace(rule, above=0.0), *x)),
    "a gain in either direction": ("judge", lambda rule, *x: judge(replace(rule, kind="matters") if rule.kind == "gain" else rule, *x)),
    "a difference in one direction": ("judge", lambda rule, *x: judge(replace(rule, kind="gain") if rule.kind == "matters" else rule, *x)),
    "kept is a gain": ("judge", lambda rule, *x: judge(replace(rule, kind="gain"), *x)),
    "all is resolved": ("judge", lambda rule, e, low, high, resolved: judge(rule, e, low, high, True)),
    "nothing is resolved": ("judge", lambda rule, e, low, high, resolved: judge(rule, e, low, high, False)),
    "no correction": ("statistics.holm", lambda p: np.asarray(p, float)),
    "Bonferroni for Holm": ("statistics.holm", lambda p: np.minimum(1, np.asarray(p, float) * len(p))),
    "no floor": ("FLOOR", 0.0),
    "a higher floor": ("FLOOR", 6.0),
    "any width": ("WIDE", 1000.0),
    "no width": ("WIDE", 9.9),
    "one seed is enough": ("MIN_SEEDS", 1),
    "four seeds are needed": ("MIN_SEEDS", 4),
    "gates do not count": ("_before", lambda m, failed, before=verdicts._before: before(m, ())),
    "gates count for the base": ("_before", lambda m, failed, before=verdicts._before: before(replace(m, trained=True), failed)),
    "one is always enough": ("joint", lambda v, every=True: joint(v, False)),
    "all are always needed": ("joint", lambda v, every=True: joint(v, True)),
    "nothing is untestable": ("untestable", lambda m: ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_rule_is_noticed(name, monkeypatch):
    where, what = MUTATIONS[name]
    monkeypatch.setattr(f"cgd_utils.paper.verdicts.{where}", what)
    assert not agree()


bounds = st.tuples(st.floats(-50, 50), st.floats(0.01, 30), st.floats(0.01, 30), st.integers(3, 9))


@given(bounds)
def test_p_is_small_just_where_the_interval_leaves_out_the_value(drawn):
    estimate, down, up, seeds = drawn
    m = Measured(
        what="", estimate=estimate, low=estimate - down, high=estimate + up, seeds=seeds, n=9, rule=verdicts.GAIN
    )
    p = verdicts.p_value(m, 0.95)
    assert 0 <= p <= 1
    if min(abs(m.low), abs(m.high)) > 1e-6:
        assert (p < 0.05) == (m.low > 0 or m.high < 0)


@given(bounds, st.sampled_from(["gain", "matters", "kept"]))
def test_a_claim_and_its_mirror_are_never_both_supported(drawn, kind):
    estimate, down, up, seeds = drawn
    m = Measured(
        what="", estimate=estimate, low=estimate - down, high=estimate + up, seeds=seeds, n=9, rule=Rule(kind=kind)
    )
    mirror = replace(m, estimate=-estimate, low=-m.high, high=-m.low)
    both = {verdicts.settled([x])[0].verdict for x in (m, mirror)}
    if kind == "gain":
        assert both != {verdicts.SUPPORTED}
    if kind == "matters":
        assert len(both) == 1


def test_p_values_are_those_of_students_t():
    """Three seeds 4, 5, 6: t = 5 / (1 / sqrt 3) = 8.66 with two degrees of freedom."""
    from scipy.stats import ttest_1samp

    i = statistics.mean_t_interval([4.0, 5.0, 6.0])
    m = Measured(what="", estimate=i.estimate, low=i.low, high=i.high, seeds=3, n=9, rule=verdicts.GAIN)
    assert verdicts.p_value(m, 0.95) == pytest.approx(ttest_1samp([4, 5, 6], 0).pvalue)
