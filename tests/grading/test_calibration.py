"""The hand-checked cases that notebook 04 shows."""

import pandas as pd
import pytest

from cgd_utils.core.provenance import PACKAGE
from cgd_utils.grading import records

CASES = pd.read_csv(PACKAGE / "grading" / "calibration.csv", dtype=str, keep_default_na=False)
# where the rule differs from the hand, by what it is made for
LENIENT = {"rounded, no decimal was asked for", "tiny, not equal"}
KNOWN = {"math": set(), "relative": set(), "authors": LENIENT}


@pytest.mark.parametrize("rule", KNOWN)
def test_a_rule_judges_as_the_hand_did(rule):
    rows = [{"id": str(i), "gold": c.gold, "text": c.text} for i, c in enumerate(CASES.itertuples())]
    scores = records.grade(rows, rule)
    differ = {
        c.about for c, s in zip(CASES.itertuples(), scores, strict=True) if ("yes" if s["correct"] else "no") != c.right
    }
    assert differ == KNOWN[rule]
