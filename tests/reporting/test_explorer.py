"""The example explorer: what it marks, what it escapes, outcomes a method, filters, widgets and what is shown without them."""

import sys
from random import Random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core import store
from cgd_utils.core.errors import BadInput
from cgd_utils.evaluation import compare
from cgd_utils.lab import teacher, world
from cgd_utils.reporting import explorer
from cgd_utils.synthesis import teaching

META = {"k": 2, "start": 12, "steps": [["+", 5], ["-", 3]]}
EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("draft", "line", "why"),
    [
        ("12+5=17\n17-3=14\nAnswer: 14", None, ""),
        ("12+5=17\n17-3=15\nAnswer: 15", 1, "arithmetic of step 2"),
        ("12-5=7\n7-3=4\nAnswer: 4", 0, "wrong operation"),
        ("12+5=16, 16-5=11 no\n12+5=18, 18-5=12 ok\n18-3=15, 15+3=18 ok\nAnswer: 15", 1, "arithmetic of step 1"),
        ("12+5=17\nAnswer: 17", None, "step 2 is missing: 17-3=14"),
        ("12+5=17\n17-3=14\nAnswer: 15", 2, "not their last value"),
        ("Answer: 15", 0, "no step is shown"),
        ("\n15\n", 1, "no step is shown"),
        ("Answer:\n15", 0, "no step is shown"),
        ("I do not know", None, "no answer"),
    ],
)
def test_the_first_wrong_step_is_found(draft, line, why):
    found = explorer.first_wrong(draft, META)
    assert found[0] == line
    assert why in found[1] if why else found[1] == ""


def test_every_kind_of_fault_has_its_words():
    for kind in teacher.KINDS:
        assert kind == "right" or explorer.KINDS[kind]


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from(["steps", "verify"]), st.integers(1, 3))
def test_all_is_right_before_the_marked_line(seed, k, style, slips):
    rng = Random(seed)
    meta = world.make_problem(rng, k)["meta"]
    draft, right = world.corrupt(rng, meta, style, slips), world.write(meta, style)
    where, why = explorer.first_wrong(draft, meta)
    assert why
    steps = [[(s.a, s.op, s.b, s.result) for s in world.read(text).steps] for text in (draft, right)]
    assert steps[0][:where] == steps[1][:where]
    assert steps[0][where : where + 1] != steps[1][where : where + 1] or where == k
    assert str(explorer.marked(draft, meta)[0]).count("<mark>") == 1


def test_real_problems_and_instructed_ones_are_not_marked():
    for meta in ({}, {**META, "instruction": "twice"}):
        assert explorer.marked("12+5=99", meta) == ("12+5=99", "")


def test_changes_are_marked():
    assert str(explorer.changes("1+1=3 Answer: 3", "1+1=2 Answer: 2")) == (
        "<del>1+1=3</del><ins>1+1=2</ins> Answer: <del>3</del><ins>2</ins>"
    )


@given(st.text(), st.text())
def test_changes_hold_both_texts_whole(before, after):
    import re

    from markupsafe import Markup

    html = explorer.changes(before, after)
    kept = [re.sub(rf"<{tag}>.*?</{tag}>", "", html, flags=re.DOTALL) for tag in ("del", "ins")]
    assert [Markup(re.sub(r"</?(ins|del)>", "", k)).unescape() for k in kept] == [after, before]


def test_all_model_text_is_escaped():
    record = dict.fromkeys(("id", "question", "answer", "draft", "critique", "refined"), EVIL)
    answer = {"seed": 0, "sample": 0, "text": EVIL, "extracted": EVIL, "correct": False, "status": EVIL}
    question = {
        "benchmark": EVIL,
        "id": EVIL,
        "question": EVIL,
        "gold": EVIL,
        "meta": META,
        "answers": {EVIL: [answer]},
    }
    for html in (
        explorer.training_example({**record, "draft_correct": False, "refined_correct": None, "meta": META}),
        explorer.benchmark_question(question),
        explorer.benchmark_question(question, limit=9),
        explorer.outcome_page([{**question, "answers": {EVIL: [answer], "cgd": [{**answer, "correct": True}]}}]),
    ):
        assert "<script" not in html
        assert "&lt;script" in html


def test_outcomes_agree_with_the_results(smoke_run):
    questions = explorer.outcomes(smoke_run, "llama")
    p = smoke_run.profile
    results = pd.read_csv(smoke_run.results_csv)
    for method in ("base", *p.training.methods):
        for b in p.evaluation.benchmarks:
            right, n = map(
                sum, zip(*(explorer.tally(q, method) for q in questions if q["benchmark"] == b), strict=True)
            )
            mine = results[(results["method"] == method) & (results["benchmark"] == b)]
            values = mine.loc[mine["metric"].isin(["accuracy", "instruction_following"]), "value"]
            assert n == p.evaluation.lab_rows * (1 if method == "base" else len(p.training.seeds))
            assert 100 * right / n == pytest.approx(values.mean(), abs=1e-3)


def test_cells_of_ablations_are_there_by_name(smoke_run):
    (first, *_) = explorer.outcomes(smoke_run, "llama", ["cgd_generic"])
    assert list(first["answers"]) == ["cgd_generic"]
    with pytest.raises(BadInput, match="ppo.*choose from.*cgd_generic"):  # noqa: RUF043
        explorer.outcomes(smoke_run, "llama", ["ppo"])


def test_answers_to_other_questions_are_left_out(smoke_run):
    changed = store.open_run("smoke", smoke_run.folder.parent, {"evaluation.lab_rows": 13})
    assert {explorer.tally(q, "cgd") for q in explorer.outcomes(changed, "llama")} == {(0, 0)}


def test_before_the_evaluation_it_says_what_to_run(tmp_path):
    with pytest.raises(BadInput, match="run 04_evaluate first"):
        explorer.outcomes(store.open_run("smoke", tmp_path), "llama")


def asked(cgd, sft, benchmark="b"):
    answers = {m: [{"seed": i, "sample": 0, "text": f"{c}", "extracted": "", "correct": c == "1", "status": "ok"}
                   for i, c in enumerate(flags)] for m, flags in (("cgd", cgd), ("sft", sft))}  # fmt: skip
    return {"benchmark": benchmark, "id": f"{cgd}/{sft}", "question": "q?", "gold": "1", "meta": {}, "answers": answers}


def test_questions_are_chosen_by_outcome():
    rows = [asked("111", "000"), asked("110", "100"), asked("10", "00"), asked("000", "111"), asked("11", "11", "c")]
    names = [q["id"] for q in explorer.select(rows, "cgd", "sft")]
    assert names == ["111/000", "110/100"]  # one of two is neither right nor wrong
    assert [q["id"] for q in explorer.select(rows, wrong="cgd")] == ["000/111"]
    assert [q["id"] for q in explorer.select(rows, benchmark="c")] == ["11/11"]
    assert [(c["right"], len(c["questions"])) for c in explorer.contrasts(rows)] == [("cgd", 2), ("sft", 1)]


@pytest.fixture
def shown(monkeypatch):
    import IPython.display

    out = []
    monkeypatch.setattr(IPython.display, "display", out.append)
    return out


def test_the_widgets_filter(shown):
    explorer.browse_outcomes([asked("111", "000"), asked("000", "111")])
    box, plain = shown
    _, filters, row, page = box.children
    assert "111/000" in page.value and row.children[1].value == "1 found"
    right, wrong, _ = filters.children
    right.value, wrong.value = "sft", "cgd"
    assert "000/111" in page.value
    right.value = "cgd"
    assert "loosen a filter" in page.value and row.children[0].max == 1
    right.value = wrong.value = explorer.ANY
    row.children[0].value = 2
    assert "000/111" in page.value
    assert "<details><summary>Without widgets" in plain.data


def test_without_widgets_plain_html_is_shown(shown, monkeypatch, smoke_run):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    explorer.browse_training(teaching.records(smoke_run, "llama").rows())
    (plain,) = shown
    assert "<details open>" in plain.data and plain.data.count('class="cgd-example"') == 3


def test_the_index_is_read_by_family(smoke_run):
    assert compare.index(smoke_run.folder, "qwen") == []
    assert {e["family"] for e in compare.index(smoke_run.folder)} == {"llama"}
