"""What prompting alone makes of the base."""

import pandas as pd
import pytest

from cgd_utils import methods
from cgd_utils.core import store
from cgd_utils.evaluation import prompted
from cgd_utils.evaluation.figures import shares


def scored(*answers):
    return [{"id": "q", "sample": i, "extracted": a, "correct": a == "7"} for i, a in enumerate(answers)]


@pytest.mark.parametrize(
    ("answers", "taken"),
    [
        (("7", "8", "7"), "7"),
        (("8", "7", "8"), "8"),
        (("8", "7"), "8"),  # a tie: the first
        ((None, "7"), "7"),
        (("7.0", "8", "7"), "7.0"),  # equal values vote as one
        ((None, None), None),
    ],
)
def test_the_most_frequent_answer_is_taken(answers, taken):
    assert prompted.majority(scored(*answers))["extracted"] == taken


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    changes = {
        "evaluation.benchmarks": ["lab-k2", "lab-instructions"],
        "evaluation.lab_rows": 30,
        "evaluation.base_told": "Answer in steps.",
        "evaluation.base_votes": 3,
    }
    return store.open_run("smoke", tmp_path_factory.mktemp("out"), changes)


@pytest.fixture(scope="module")
def rows(run):
    return pd.DataFrame(prompted.prompted(run, "llama"))


def test_words_alone_reach_what_the_bare_base_cannot(rows):
    """The shipped student is terse by habit and can write steps: its model card has both figures."""
    right = rows[rows["metric"] == "accuracy"].set_index("method")["value"]
    assert min(right[methods.TOLD], right[methods.VOTED]) > 50


def test_each_row_has_its_interval_and_its_questions_and_instructions_are_left_alone(rows):
    assert set(rows["benchmark"]) == {"lab-k2"}
    right = rows[rows["metric"] == "accuracy"]
    assert (right["ci_low"] < right["ci_high"]).all()
    assert all(len(shares(text)) == 30 for text in right["by_question"])


def test_nothing_is_asked_twice(run, rows):
    made = {p: p.stat().st_mtime_ns for p in (run.folder / "artifacts").rglob("manifest.json")}
    assert pd.DataFrame(prompted.prompted(run, "llama")).equals(rows)
    assert {p: p.stat().st_mtime_ns for p in (run.folder / "artifacts").rglob("manifest.json")} == made


def test_a_profile_that_asks_for_neither_has_no_rows(tmp_path):
    assert (
        prompted.prompted(
            store.open_run("smoke", tmp_path, {"evaluation.base_told": "", "evaluation.base_votes": 0}), "llama"
        )
        == []
    )
