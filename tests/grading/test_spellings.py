"""One answer in many spellings, and its false neighbours: `spellings.tsv`, by kind."""

from pathlib import Path

import pandas as pd
import pytest

from cgd_utils import grading

CASES = pd.read_csv(Path(__file__).with_name("spellings.tsv"), sep="\t", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def judged():
    """The table with a column `correct`; what is `said` is a whole text, anything else the content of a box."""
    boxed = "So we find \\boxed{" + CASES.answer + "}."
    texts = CASES.answer.where(CASES.kind.str.startswith("said"), boxed)
    rows = [{"id": i, "gold": g, "text": t} for i, (g, t) in enumerate(zip(CASES.gold, texts, strict=True))]
    return CASES.assign(correct=[score["correct"] is True for score in grading.grade(rows, workers=2)])


@pytest.mark.parametrize("kind", CASES.kind.unique())
def test_spellings_of_a_kind(judged, kind):
    cases = judged[judged.kind == kind]
    assert set(cases.right) == {"yes", "no"}
    differ = cases[cases.correct != (cases.right == "yes")]
    assert differ.empty, differ[["gold", "answer", "right"]].values.tolist()
