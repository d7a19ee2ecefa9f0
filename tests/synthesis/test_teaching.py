"""Synthesis: reading conclusions, choosing records, and what makes work stale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils import methods, prompts
from cgd_utils.core import store
from cgd_utils.core.errors import BadInput, ProfileError
from cgd_utils.core.profile_files import load
from cgd_utils.core.settings import Synthesis
from cgd_utils.core.training_settings import METHODS
from cgd_utils.engines import generation
from cgd_utils.synthesis import selection, teaching
from cgd_utils.synthesis.conclusions import conclusion
from cgd_utils.synthesis.drafts import drafts, spoken
from cgd_utils.synthesis.selection import select


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
    run = store.open_run("smoke", tmp_path, {"data.rows": 6})
    made = drafts(run, "llama")
    for engine, field, value in (
        ("transformers", "batch_size", 3),
        ("transformers", "gpu_memory_utilization", 0.5),
        ("vllm", "max_model_len", 900),
        ("auto", "max_model_len", 900),
        ("openai", "concurrency", 2),
    ):
        changes = {"data.rows": 6, "generation.engine": engine, f"generation.{field}": value}
        assert drafts(store.open_run("smoke", tmp_path, changes), "llama").key == made.key


def test_a_learned_teacher_writes_records_with_its_faults_counted(tmp_path):
    chosen = {"data.rows": 6, "synthesis.teacher.kind": "model", "synthesis.teacher.model": "lab:llama",
              "synthesis.teacher.sampling": {"max_new_tokens": 40}}  # fmt: skip
    made = teaching.records(store.open_run("smoke", tmp_path, chosen), "llama")
    facts = made.manifest["facts"]
    assert facts["rows"] == len(made.rows()) <= facts["of"] == 6
    assert set(selection.FAULTS) <= set(facts)
    assert facts["truncated"] >= sum(r["refined_finish"] == "length" for r in made.rows())
    assert all(r["draft_source"] == "student" and r["teacher"] for r in made.rows())


class Thinker:
    """An engine whose model thinks aloud: the draft, the critique, the refined and the direct answer in turn."""

    identity = "thinker"

    def __init__(self, texts):
        self.texts = texts

    def batches(self, requests):
        return [requests]

    def generate(self, batch, sampling):
        return [
            {"id": r.id, "sample": s, "prompt": r.messages[-1]["content"], "text": self.text(r.messages[-1]["content"]),
             "finish_reason": "stop", "n_tokens": 9, "model": "thinker"}
            for r, s in batch
        ]  # fmt: skip

    def text(self, prompt):
        if "Critique:" in prompt:
            return self.texts["refined"]
        return self.texts["critique" if "Write a critique." in prompt else "plain"]

    def close(self):
        pass


THINKING = {"plain": "<think>Secret one.</think>\nAnswer: 4", "critique": "[THINK]Conclusion: wrong[/THINK]Conclusion: right",
            "refined": "Secret two.</think>Answer: 5"}  # fmt: skip
SPOKEN = {"draft": "Answer: 4", "critique": "Conclusion: right", "refined": "Answer: 5", "direct": "Answer: 4"}


def thought_over(tmp_path, monkeypatch, texts, **settings):
    monkeypatch.setattr(generation, "open_generator", lambda ref, engine: Thinker(texts))
    chosen = {"data.rows": 3, "synthesis.teacher.kind": "model", "synthesis.teacher.model": "lab:llama"}
    run = store.open_run("smoke", tmp_path, chosen | {f"synthesis.{k}": v for k, v in settings.items()})
    return run, teaching.records(run, "llama")


def test_no_thought_reaches_a_prompt_or_a_target(tmp_path, monkeypatch):
    run, made = thought_over(tmp_path, monkeypatch, THINKING)
    for row in made.rows():
        assert {t: row[t] for t in SPOKEN} == SPOKEN
        assert row["conclusion"] == "right"
    layout = prompts.layout(run.profile.models.layout)
    for name in METHODS:
        assert not any(word in str(methods.rows(name, made.rows(), layout)) for word in ("Secret", "THINK", "think>"))
    asked = [r["prompt"] for what in ("critique", "refined", "direct") for r in made.rows(f"{what}.log.jsonl")]
    assert len(asked) == 9
    assert not any(word in prompt for prompt in asked for word in ("Secret", "THINK", "think>"))
    # the raw texts stay
    assert {r["text"] for r in drafts(run, "llama").rows()} == {THINKING["plain"]}
    assert {r["text"] for r in made.rows("refined.log.jsonl")} == {THINKING["refined"]}


def test_thoughts_are_kept_where_the_profile_says_so_and_only_records_are_made_anew(tmp_path, monkeypatch):
    run, made = thought_over(tmp_path, monkeypatch, THINKING, thoughts="keep")
    kept = dict(
        zip(
            ("draft", "critique", "refined", "direct"),
            (THINKING[k] for k in ("plain", "critique", "refined", "plain")),
            strict=True,
        )
    )
    for row in made.rows():
        assert {t: row[t] for t in kept} == kept
        assert row["conclusion"] == "right"
    other, without = thought_over(tmp_path, monkeypatch, THINKING)
    assert made.key != without.key
    assert drafts(run, "llama").key == drafts(other, "llama").key


def test_a_text_that_was_cut_off_in_a_thought_leaves_its_record_out(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="'incomplete': 3"):
        thought_over(tmp_path, monkeypatch, THINKING | {"critique": "<think>The draft is right. Conclusion: right"})


def test_a_data_sets_own_solution_loses_its_thought_too():
    problem = {"solution": "<think>Hm.</think> 4"}
    assert spoken(problem["solution"], Synthesis()) == "4"
    assert spoken(problem["solution"], Synthesis(thoughts="keep")) == problem["solution"]
    kept, left_out = select(
        [record(0, True, "right", solution=" "), record(1, True, "right", solution="4")], Synthesis()
    )
    assert ([r["id"] for r in kept], left_out) == (["1"], {"incomplete": 1})


def test_each_training_seed_may_have_its_own_problems(tmp_path):
    from cgd_utils import open_run
    from cgd_utils.data import decontamination
    from cgd_utils.synthesis.drafts import of_seed

    changes = {"data.source": "word-problems", "data.rows": 6, "data.steps": [1], "synthesis.teacher.kind": "prose"}
    shared = open_run("smoke", tmp_path, changes)
    own = open_run("smoke", tmp_path, {**changes, "data.per_seed": True})
    assert of_seed(shared, 3) is shared
    keys = [decontamination.training_problems(of_seed(own, s)).key for s in (0, 1, 2)]
    assert (
        len(set(keys)) == 3
        and keys[0] == decontamination.training_problems(shared).key == decontamination.training_problems(own).key
    )
