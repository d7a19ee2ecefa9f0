"""Synthesis: reading conclusions, choosing records, and what makes work stale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils import artifacts, synthesis
from cgd_utils.artifacts import BadInput
from cgd_utils.profiles import ProfileError, Synthesis, load
from cgd_utils.synthesis import conclusion, select


@pytest.mark.parametrize(
    ("critique", "said"),
    [
        ("Fine.\nConclusion: right", "right"),
        ("… conclusion: WRONG.", "wrong"),
        ("**Conclusion:** wrong", "wrong"),
        ("**Conclusion: Wrong**", "wrong"),
        ("_Conclusion:_ _right_", "right"),
        ("### Conclusion\n\nright", "right"),
        ("`Conclusion: right`", "right"),
        ("Conclusion – incorrect", "wrong"),
        ("Conclusion: [correct]", "right"),
        ("Conclusion: $\\boxed{\\text{wrong}}$", "wrong"),
        ("Conclusion: the draft is wrong.", "wrong"),
        ("Conclusion: The student's final answer is correct.", "right"),
        ("Conclusion: not correct", "wrong"),
        ("Conclusion: The answer is not right", "wrong"),
        ("Conclusion: right\nOn second thoughts.\nConclusion: wrong", "wrong"),
        ("Conclusion：right", "right"),
        ("In conclusion, right triangles are needed here.", None),
        ("Conclusion: right or wrong", None),
        ("Conclusion: right/wrong?", None),
        ("Conclusion: rightly so", None),
        ("I reach no verdict", None),
        ("", None),
    ],
)
def test_conclusions_are_read_however_they_are_formatted(critique, said):
    assert conclusion(critique) == said


@given(st.text(), st.sampled_from(["right", "wrong"]), st.sampled_from(["", "*", "**", "`", "_"]))
def test_the_last_line_decides(text, said, mark):
    assert conclusion(f"{text}\n{mark}Conclusion: {said}{mark}") == said


def record(i, right, says, **more):
    return {"id": str(i), "answer": "7", "draft": "d", "critique": "c", "refined": "r", "direct": "a", "conclusion": says,
            "draft_correct": right, **more}  # fmt: skip


RECORDS = [record(0, True, "right"), record(1, False, "wrong"), record(2, True, "wrong"), record(3, False, None),
           record(4, False, "wrong", refined_finish="length"), record(5, False, "wrong", critique="It is 7."),
           record(6, False, "wrong", direct=" ")]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "ids", "left_out"),
    [
        ({}, "012345", {"incomplete": 1}),
        ({"keep": "wrong"}, "1245", {"incomplete": 1, "keep": 2}),
        ({"keep": "wrong", "keep_by": "truth"}, "1345", {"incomplete": 1, "keep": 2}),
        ({"keep": "right"}, "0", {"incomplete": 1, "keep": 5}),
        ({"leave_out": ["disagrees"]}, "01345", {"incomplete": 1, "disagrees": 1}),
        ({"leave_out": ["no_conclusion", "truncated", "leaks"]}, "012", {"incomplete": 1, "no_conclusion": 1, "truncated": 1, "leaks": 1}),
        ({"right_share": 0.5}, "01", {"incomplete": 1, "no_conclusion": 1, "right_share": 3}),
        ({"right_share": 0.5, "keep_by": "truth"}, "0123", {"incomplete": 1, "right_share": 2}),
        ({"right_share": 0.0}, "1245", {"incomplete": 1, "no_conclusion": 1, "right_share": 1}),
    ],
)  # fmt: skip
def test_what_is_kept_and_what_is_counted(settings, ids, left_out):
    kept, told = select(RECORDS, Synthesis(**settings))
    assert "".join(r["id"] for r in kept) == ids
    assert told == left_out


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0, 1))
def test_a_mix_has_its_share_and_wastes_nothing(drafts, share):
    rows = [record(i, right, "right" if right else "wrong") for i, right in enumerate(drafts)]
    try:
        kept, _ = select(rows, Synthesis(right_share=share))
    except BadInput:
        assert share not in (0, 1) or share != drafts[0]
        return
    right = sum(r["draft_correct"] for r in kept)
    assert abs(right - share * len(kept)) <= 1
    assert right == sum(drafts) or len(kept) - right == len(drafts) - sum(drafts) or abs(right - share * len(kept)) > 0


def test_nothing_left_is_told_with_the_settings():
    with pytest.raises(BadInput, match=r"keep = 'right'.*'keep': 1"):
        select(RECORDS[1:2], Synthesis(keep="right"))


def test_an_unknown_fault_is_refused():
    with pytest.raises(ProfileError, match="leave_out"):
        load("smoke", {"synthesis.leave_out": ["ugly"]})


def test_settings_of_speed_do_not_make_finished_texts_stale(tmp_path):
    """What an engine's error tells the user to change must not throw away the finished rows."""
    run = artifacts.open_run("smoke", tmp_path, {"data.rows": 6})
    made = synthesis.drafts(run, "llama")
    for field, value in (
        ("batch_size", 3),
        ("gpu_memory_utilization", 0.5),
        ("max_model_len", 900),
        ("concurrency", 2),
    ):
        other = artifacts.open_run("smoke", tmp_path, {"data.rows": 6, f"generation.{field}": value})
        assert synthesis.drafts(other, "llama").key == made.key


def test_a_learned_teacher_writes_records_with_its_faults_counted(tmp_path):
    chosen = {"data.rows": 6, "synthesis.teacher.kind": "model", "synthesis.teacher.model": "lab:llama",
              "synthesis.teacher.sampling": {"max_new_tokens": 40}}  # fmt: skip
    made = synthesis.records(artifacts.open_run("smoke", tmp_path, chosen), "llama")
    facts = made.manifest["facts"]
    assert facts["rows"] == len(made.rows()) <= facts["of"] == 6
    assert set(synthesis.FAULTS) <= set(facts)
    assert facts["truncated"] >= sum(r["refined_finish"] == "length" for r in made.rows())
    assert all(r["draft_source"] == "student" and r["teacher"] for r in made.rows())
