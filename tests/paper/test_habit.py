"""Whether a gain is a habit that a prompt brings, judged from figures."""

import pandas as pd
import pytest

from cgd_utils.core import profile_files
from cgd_utils.core.statistics import Interval
from cgd_utils.methods import TOLD, VOTED
from cgd_utils.paper import habit


def interval(estimate, half=1.0):
    return Interval(estimate, estimate - half, estimate + half, 0.95, 3)


@pytest.mark.parametrize(
    ("gain", "beyond", "kind"),
    [
        (interval(50), interval(0), habit.HABIT),
        (interval(50), interval(-20), habit.HABIT),  # the prompt does better than training
        (interval(50), interval(20), habit.SKILL),
        (interval(50), interval(1.5), habit.OPEN),  # shown, but less than matters, and more is not left out
        (interval(50), interval(5, half=9), habit.OPEN),
        (interval(0.5), interval(20), habit.NONE),
        (interval(-30), interval(-40), habit.NONE),
        (Interval(50, float("nan"), float("nan"), 0.95, 1), interval(20), habit.NONE),
    ],
)
def test_the_kind_follows_the_two_intervals(gain, beyond, kind):
    assert habit.kind(gain, beyond) == kind


def results(told, votes=None):
    cells = [("base", None, 1.0), (TOLD, None, told), *(("distilled_sft", s, 50.0 + s) for s in range(3))]
    cells += [("cgd", s, 45.0 + s) for s in range(3)] + ([(VOTED, None, votes)] if votes else [])
    rows = [
        {"family": "llama", "method": m, "seed": s, "benchmark": b, "metric": "accuracy", "value": v, "n": 1000}
        | {"ci_low": v - 3, "ci_high": v + 3}
        for m, s, v in cells
        for b in ("lab-k2", "lab-k3")
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64"})


@pytest.mark.parametrize(("told", "words"), [(60.0, "habit, not of skill"), (20.0, "more than a habit")])
def test_the_note_names_the_best_method_and_its_figures(told, words):
    note = habit.note(results(told, votes=33.0), "llama", profile_files.load("lab"))
    assert words in note and f"reaches {told}%" in note and "33.0% by the vote of 8" in note
    assert "distilled SFT, 51.0%" in note


def test_without_the_row_nothing_is_said():
    untold = results(20.0)
    assert habit.note(untold[untold["method"] != TOLD], "llama", profile_files.load("lab")) == ""
