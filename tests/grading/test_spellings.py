"""One answer in many spellings, and its false neighbours: `spellings.tsv`, by kind."""

from pathlib import Path

import pandas as pd
import pytest

from cgd_utils.grading import records

CASES = pd.read_csv(Path(__file__).with_name("spellings.tsv"), sep="\t", dtype=str, keep_default_na=False)


@pytest.mark.parametrize("kind", CASES.kind.unique())
def test_spellings_of_a_kind(kind):
    cases = CASES[CASES.kind == kind].reset_index(drop=True)
    said = kind.startswith("said")
    texts = cases.answer if said else "So we find \\boxed{" + cases.answer + "}."
    rows = [{"id": i, "gold": g, "text": t} for i, (g, t) in enumerate(zip(cases.gold, texts, strict=True))]
    scores = records.grade(rows, workers=1)
    differ = [
        (score["gold"], score["extracted"], case.right)
        for score, case in zip(scores, cases.itertuples(), strict=True)
        if (score["correct"] is True) != (case.right == "yes")
    ]
    assert not differ
