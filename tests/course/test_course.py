"""The course lab: checks accept every right answer and hint at wrong ones, solutions pass, the student's version does not."""

import json
import re
from dataclasses import dataclass, field
from random import Random

import exercises
import numpy as np
import pytest
from course_lab import SOURCE, STUDENT, HandIn, collect, example, open_lab, seeds, student_version
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils import methods
from cgd_utils.core import bootstrap, effect_sizes, statistics
from cgd_utils.core.errors import BadInput
from cgd_utils.core.files import write_json
from cgd_utils.lab import teacher, world

FOLDER = SOURCE.parent
N = 300  # records of a seat


# ---------------------------------------------------------------- the notebooks
def test_the_student_version_is_in_step():
    assert json.loads(STUDENT.read_text()) == student_version(json.loads(SOURCE.read_text())), (
        "run: python notebooks/course/course_lab.py"
    )


def test_the_student_version_holds_no_solution():
    text, source = STUDENT.read_text(), json.loads(SOURCE.read_text())
    assert "SOLUTION" not in text
    regions = re.findall(
        r"BEGIN SOLUTION\n(.*?)\n### END", "\n".join("".join(c["source"]) for c in source["cells"]), re.DOTALL
    )
    assert len(regions) == len(exercises.EXERCISES) == text.count("# YOUR CODE HERE")
    own = {line.strip() for r in regions for line in r.splitlines() if " = " in line}
    assert not own & {line.strip() for c in json.loads(text)["cells"] for line in "".join(c["source"]).splitlines()}


def test_every_exercise_is_checked_in_its_order():
    code = "\n".join("".join(c["source"]) for c in json.loads(STUDENT.read_text())["cells"])
    assert tuple(re.findall(r'lab\.check\(\s*"(\w+)"', code)) == exercises.EXERCISES == tuple(exercises.CHECKS)


@pytest.mark.parametrize("text", ["### BEGIN SOLUTION\nx = 1", "x = 1\n### END SOLUTION"])
def test_half_a_region_is_refused(text):
    with pytest.raises(BadInput, match="in pairs"):
        student_version({"cells": [{"cell_type": "code", "id": "a", "source": [text]}]})


@pytest.mark.slow
def test_solutions_pass_and_the_student_version_fails_without_an_error(tmp_path):
    import papermill

    tiny = {"data.rows": 32, "training.rows": 16, "training.validation_rows": 8, "training.seeds": [0], "training.epochs": 1, "evaluation.lab_rows": 4,
            "evaluation.benchmarks": ["lab-k2"], "evaluation.sampling.max_new_tokens": 24}  # fmt: skip

    def execute(name, **parameters):
        made = papermill.execute_notebook(
            str(FOLDER / f"{name}.ipynb"), str(tmp_path / f"{name}.ipynb"), kernel_name="python3", progress_bar=False,
            parameters={"outputs": str(tmp_path), "overrides": tiny, **parameters})  # fmt: skip
        return str([o for c in made.cells if c.cell_type == "code" for o in c.outputs])

    said = execute("what_do_critiques_teach_solutions", seat=1)
    sheet = tmp_path / "course" / "hand_in" / "seat-001.json"
    solved = HandIn.model_validate_json(sheet.read_text())
    assert all(solved.passed.values()) and len(solved.passed) == len(exercises.EXERCISES), said
    assert solved.seeds == [1] and solved.prediction == "same"
    assert set(solved.differences) == {"distilled_sft", "cgd_irrelevant", "cgd_no_critique", "refined_sft"}
    assert 'class="cgd-example"' in said
    assert "refined_sft" in execute("instructor_notes", seats=2)

    said = execute("what_do_critiques_teach", seat=1)
    assert not any(HandIn.model_validate_json(sheet.read_text()).passed.values())
    assert said.count("not answered yet") == len(exercises.EXERCISES)
    assert 'class="cgd-example"' not in said  # the teacher's critique stays hidden


# ---------------------------------------------------------------- the checks
@dataclass
class Seat:
    """A seat without models: records of the exact teacher, scores drawn at random."""

    records: list = field(default_factory=list)
    said: dict = field(default_factory=dict)
    shares: dict = field(
        default_factory=lambda: {"cgd": 0.6, "distilled_sft": 0.65, "cgd_generic": 0.55, "refined_sft": 0.62}
    )

    def __post_init__(self):
        for i, p in enumerate(world.make_problems(N, [2, 3], 0, "t")):
            rng = Random(i)
            wrong = i % 3 > 0
            draft = world.corrupt(rng, p["meta"], "steps") if wrong else world.write(p["meta"], "steps")
            made = teacher.critique(draft, p["meta"], rng)
            self.records.append(
                {**p, "draft": draft, "draft_correct": not wrong, "critique": made.text, "conclusion": made.conclusion}
            )
        rng = np.random.default_rng(0)
        hard = rng.random(200)
        self.right = {m: (0.6 * hard + 0.4 * rng.random((3, 200)) < s).astype(float) for m, s in self.shares.items()}

    @property
    def example(self):
        return example(self.records, 3)

    def scores(self, *names):
        return {m: self.right[m] for m in exercises.flat(names)}


@pytest.fixture(scope="module")
def seat():
    return Seat()


def reading(seat, **changed):
    d = teacher.diagnose(seat.example["draft"], seat.example["meta"])
    return {"step": d.step, "value": d.expected.partition("=")[2], "conclusion": "wrong"} | changed


def trust(seat, **changed):
    i = statistics.wilson(sum(methods.leaks(r["critique"], r["answer"]) for r in seat.records), N)
    return {"agree": 1.0, "leaking": i.estimate, "low": i.low, "high": i.high} | changed


def inputs(seat, sees=(), learns=()):
    return {"sees": {"sft": "x", "distilled_sft": "x", "refined_sft": "x", "cft": "x, y'", "cgd": "x, y', c", "inference": "x", **dict(sees)},
            "learns": {"sft": "y", "distilled_sft": "direct", "refined_sft": "ŷ", "cft": "c", "cgd": "ŷ", **dict(learns)}}  # fmt: skip


def gain(seat, **changed):
    a, b = (100 * seat.right[m].mean(axis=1) for m in ("cgd", "distilled_sft"))
    t = statistics.paired_difference(a, b)
    return {"difference": t.difference, "low": t.low, "high": t.high, "shown": t.low > 0 or t.high < 0} | changed


def power(seat, **changed):
    p = seat.right["cgd"].mean()
    needed = next(m for m in range(50, 10**5, 50) if effect_sizes.minimum_detectable_difference(m, p) <= 3)
    return {"smallest": effect_sizes.minimum_detectable_difference(200, p), "needed": needed} | changed


def design(seat, **changed):
    return {"arms": ["cgd_generic", "refined_sft"], "prediction": "better"} | changed


def test_of(seat, p=(), p_holm=(), matters=()):
    seat.said["arms"] = arms = ["cgd_generic", "refined_sft"]
    mine = {a: bootstrap.hierarchical_bootstrap(seat.right["cgd"], seat.right[a]).p for a in arms} | dict(p)
    holm = dict(zip(arms, statistics.holm(list(mine.values())), strict=True)) | dict(p_holm)
    return {"p": mine, "p_holm": holm, "matters": {a: holm[a] < 0.05 for a in arms} | dict(matters)}


test_of.__test__ = False
RIGHT = dict(zip(exercises.EXERCISES, (reading, trust, inputs, gain, power, design, test_of), strict=True))


@pytest.mark.parametrize("exercise", exercises.EXERCISES)
def test_the_right_answer_passes_and_a_blank_does_not(exercise, seat):
    answers = RIGHT[exercise](seat)
    assert exercises.check(seat, exercise, answers) == ""
    for name in answers:
        for empty in (..., None, "", [], {"cgd": ...}):
            assert "not answered yet" in exercises.check(seat, exercise, answers | {name: empty})


def equivalents(seat):
    r, t, g = reading(seat), trust(seat), gain(seat)
    yield "reading", {"step": str(r["step"]), "value": float(r["value"]), "conclusion": " Conclusion: WRONG."}
    yield (
        "trust",
        {"agree": "100 %", "leaking": 100 * t["leaking"], "low": f"{100 * t['low']:.1f}%", "high": round(t["high"], 3)},
    )
    from statsmodels.stats.proportion import proportion_confint

    k = round(N * t["leaking"])
    yield "trust", t | dict(zip(("low", "high"), proportion_confint(k, N, method="beta"), strict=True))
    yield (
        "inputs",
        inputs(
            seat,
            {"cgd": "critique, draft and question", "cft": ["x", "y′"]},
            {"cgd": "refined", "refined_sft": "y\u0302"},
        ),
    )
    yield "gain", {k: round(v, 1) for k, v in g.items() if k != "shown"} | {"shown": "yes" if g["shown"] else np.False_}
    b = bootstrap.hierarchical_bootstrap(seat.right["cgd"], seat.right["distilled_sft"], seed=5)
    yield "gain", g | {"low": 100 * b.low, "high": 100 * b.high, "shown": b.low > 0 or b.high < 0}
    p, n = seat.right["cgd"].mean(), 200
    by_hand = 100 * 2.8 * (2 * p * (1 - p) / n) ** 0.5
    yield "power", {"smallest": by_hand, "needed": n * (by_hand / 3) ** 2}
    yield "design", {"arms": ("cgd_random", "cgd_no_critique", "cgd_masked"), "prediction": " Same "}
    for test in (lambda a, b: bootstrap.paired_bootstrap(a.mean(axis=0), b.mean(axis=0), seed=3).p,
                 lambda a, b: statistics.paired_difference(a.mean(axis=1), b.mean(axis=1)).p):  # fmt: skip
        yield "test", test_of(seat, {a: test(seat.right["cgd"], seat.right[a]) for a in ("cgd_generic", "refined_sft")})


def test_other_ways_to_say_the_right_answer_pass(seat):
    for exercise, answers in equivalents(seat):
        assert exercises.check(seat, exercise, answers) == "", (exercise, answers)


def mistakes(seat):
    r, t, g = reading(seat), trust(seat), gain(seat)
    d = teacher.diagnose(seat.example["draft"], seat.example["meta"])
    naive = sum(x["answer"] in x["critique"] for x in seat.records) / N
    yield "reading", r | {"step": r["step"] - 1}, "count from 1"
    yield "reading", r | {"step": r["step"] + 1}, "earlier step"
    yield "reading", r | {"value": d.written.partition("=")[2]}, "what the draft wrote"
    yield "reading", r | {"value": int(r["value"]) + 1}, "right step, wrong result"
    yield "reading", r | {"conclusion": "right"}, "one word"
    yield "reading", r | {"step": "the second"}, "cannot be read"
    assert naive != t["leaking"]
    yield "trust", t | {"leaking": naive}, "14 within 142"
    yield "trust", t | {"agree": 0.5}, "agree: count"
    yield "trust", t | {"low": 0, "high": 1}, "95% interval"
    yield "inputs", inputs(seat, {"inference": "x, y', c"}), "in an exam"
    yield "inputs", inputs(seat, {"cft": "x, y', c"}), "sees['cft']"
    yield "inputs", inputs(seat, (), {"cgd": "c"}), "learns['cgd']"
    yield "gain", g | {"difference": -g["difference"]}, "the sign"
    yield "gain", g | {"difference": g["difference"] / 100}, "not as a share"
    yield "gain", g | {"shown": not g["shown"]}, "leaves out 0"
    yield "gain", g | {"shown": "perhaps"}, "neither True nor False"
    yield "gain", g | {"low": g["low"] - 9}, "paired"
    yield "power", power(seat, smallest=power(seat)["smallest"] / 100), "not as a share"
    yield "power", power(seat, needed=400), "square root"
    yield "design", design(seat, arms=["cft", "refined_sft"]), "another target"
    yield "design", design(seat, arms=["cgd_masked", "refined_sft"]), "form and content"
    yield "design", design(seat, arms=["cgd_generic", "cgd_random"]), "without any"
    yield "design", design(seat, arms=["cgd_generic"]), "two or three"
    yield "design", design(seat, arms=["cgd", "refined_sft"]), "leave it out"
    yield "design", design(seat, arms=["cgd_generik", "refined_sft"]), "unknown method"
    yield "design", design(seat, prediction="dunno"), "prediction"
    a, b = seat.right["cgd"], seat.right["cgd_generic"]
    unpaired = statistics.independent_difference(a.sum(), a.size, b.sum(), b.size).p
    yield "test", test_of(seat, p={"cgd_generic": 0.999}), "not near any paired test"
    yield "test", test_of(seat, p={"cgd_generic": unpaired}), "independent samples"
    right = test_of(seat)
    yield "test", right | {"p_holm": {k: min(1, v + 0.1) for k, v in right["p"].items()}}, "Holm"
    yield "test", test_of(seat, matters={k: not v for k, v in right["matters"].items()}), "corrected p"
    yield "test", right | {"p": {"refined_sft": 0.5}}, "no entry"


def test_each_common_mistake_gets_a_hint_of_its_own(seat):
    for exercise, answers, hint in mistakes(seat):
        assert hint in exercises.check(seat, exercise, answers), (exercise, answers)


def test_no_hint_holds_the_answer(seat):
    for exercise, answers, _ in mistakes(seat):
        hint = exercises.check(seat, exercise, answers)
        for value in RIGHT[exercise](seat).values():
            numbers = [v for v in (value.values() if isinstance(value, dict) else [value]) if isinstance(v, float)]
            assert not [v for v in numbers if v and v != 1 and f"{v:.3f}"[:5] in hint], hint
    d = teacher.diagnose(seat.example["draft"], seat.example["meta"])
    for step in range(9):
        hint = exercises.check(seat, "reading", {"step": step, "value": 0, "conclusion": "wrong"})
        assert d.expected.partition("=")[2] not in hint


def test_an_unknown_exercise_is_told(seat):
    with pytest.raises(BadInput, match="known are reading"):
        exercises.check(seat, "writing", {})


# ---------------------------------------------------------------- seats and the class
@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 5))
def test_no_two_seats_share_a_seed(a, b, n):
    assert (a == b) == bool(set(seeds(a, n)) & set(seeds(b, n)))


def test_a_seat_replaces_the_seeds_and_nothing_else(tmp_path):
    lab = open_lab(2, outputs=tmp_path, overrides={"data.rows": 50})
    assert lab.run.profile.training.seeds == [6, 7, 8] and lab.run.profile.data.rows == 50
    with pytest.raises(BadInput, match="seat = -1"):
        open_lab(-1, outputs=tmp_path)
    with pytest.raises(BadInput, match="cgd is not trained yet"):
        lab.scores("cgd")


def sheet(folder, seat, name=None, **changed):
    made = {"seat": seat, "seeds": seeds(seat), "questions": {"lab-k2": "a"}, "settings": {"rows": 1},
            "passed": dict.fromkeys(exercises.EXERCISES, True), "differences": {"refined_sft": -1.0 - seat}, "prediction": "same"}  # fmt: skip
    write_json(folder / (name or f"seat-{seat:03d}.json"), made | changed)


def test_a_class_becomes_one_table(tmp_path):
    from scipy.stats import ttest_1samp

    for i in range(5):
        sheet(tmp_path, i, differences={"refined_sft": -1.0 - i, **({"cgd_generic": 2.0} if i == 4 else {})},
              passed={"reading": i > 0})  # fmt: skip
    made = collect(tmp_path)
    row = made.table.set_index("method").loc["refined_sft"]
    told = ttest_1samp([-1, -2, -3, -4, -5], 0)
    assert (row["students"], row["cgd_minus"]) == (5, -3)
    assert [row["low"], row["high"]] == pytest.approx([*told.confidence_interval()])
    assert row["p"] == pytest.approx(told.pvalue)
    assert made.table.set_index("method").loc["cgd_generic", ["low", "p"]].isna().all()
    assert made.passed.set_index("exercise")["right %"][["reading", "test"]].tolist() == [80, 0]
    assert made.left_out == {}


def test_a_hand_in_that_does_not_count_is_named_with_its_reason(tmp_path):
    for i in range(3):
        sheet(tmp_path, i)
    sheet(tmp_path, 1, "seat-001 (copy).json")
    sheet(tmp_path, 7, questions={"lab-k2": "b"})
    sheet(tmp_path, 8, differences={"refined_sft": "much"})
    (tmp_path / "torn.json").write_text('{"seat": 1')
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    made = collect(tmp_path)
    assert made.table["students"].tolist() == [3]
    reasons = {"seat-001.json": "seed 3 is in", "seat-007.json": "other settings", "seat-008.json": "differences",
               "torn.json": "not a hand-in", "binary.json": "not a hand-in"}  # fmt: skip
    assert {n: r in made.left_out[n] for n, r in reasons.items()} == dict.fromkeys(reasons, True)
    assert len(made.left_out) == len(reasons)


def test_a_folder_without_hand_ins_is_told(tmp_path):
    with pytest.raises(BadInput, match="no usable hand-in among 0"):
        collect(tmp_path)
