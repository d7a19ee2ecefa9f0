"""The grader on the real benchmark files: golds against themselves and each other, gold solutions as texts."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from cgd_utils.grading.extraction import extract
from cgd_utils.grading.records import grade

FOLDER = os.environ.get("CGD_BENCHMARK_DIR")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CGD_BENCHMARK_DIR is not set: no benchmark files")

# how each file's gold answer is read, and the rule its field grades it by
FILES = {
    "aime24": (lambda r: r["answer"], "math"),
    "aime25": (lambda r: r["answer"], "math"),
    "amc23": (lambda r: str(r["answer"]), "math"),
    "math-500": (lambda r: r["answer"], "math"),
    "minerva_math": (lambda r: extract(r["solution"], "exact"), "relative"),
    "olympiadbench": (lambda r: ", ".join(r["final_answer"]), "math"),
    "theoremqa": (lambda r: r["answer"], "relative"),
    "gsm8k": (lambda r: r["answer"].split("####")[1].strip(), "math"),
}
SAMPLE = 60  # golds of each file in the tests of wrong answers; CGD_GRADING_SAMPLE=0 takes all


def load(name):
    return [json.loads(line) for line in (Path(FOLDER) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def golds(name):
    return [FILES[name][0](row) for row in load(name)]


@pytest.mark.parametrize("name", FILES)
def test_a_gold_answer_equals_itself(name):
    rows = [{"id": i, "gold": g, "text": rf"… so it is \boxed{{{g}}}."} for i, g in enumerate(golds(name))]
    wrong = [s for s in grade(rows, FILES[name][1], workers=2) if s["correct"] is not True]
    assert len(wrong) <= 0.01 * len(rows), wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_gold_answer_differs_from_20_others(name):
    everything, choose = golds(name), random.Random(0)
    sample = int(os.environ.get("CGD_GRADING_SAMPLE", SAMPLE))
    rows = []
    for i, gold in enumerate(choose.sample(everything, min(sample, len(everything))) if sample else everything):
        others = [g for g in dict.fromkeys(everything) if g != gold]
        for k, other in enumerate(choose.sample(others, min(20, len(others)))):
            rows.append({"id": i, "sample": k, "gold": gold, "text": rf"\boxed{{{other}}}"})
    scores = grade(rows, FILES[name][1], workers=2)
    not_wrong = [(s["gold"], s["extracted"], s["correct"], s["status"]) for s in scores if s["correct"] is not False]
    assert len(not_wrong) <= 0.01 * len(rows), f"{len(not_wrong)} of {len(rows)}: {not_wrong[:40]}"


SOLUTIONS = {"math-500": "solution", "minerva_math": "solution", "gsm8k": "answer"}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_gold_solution_is_extracted_and_correct(name):
    rows = [{"id": i, "gold": FILES[name][0](row), "text": row[SOLUTIONS[name]]} for i, row in enumerate(load(name))]
    wrong = [(s["gold"], s["extracted"]) for s in grade(rows, FILES[name][1], workers=2) if s["correct"] is not True]
    assert len(wrong) <= 0.02 * len(rows), wrong
