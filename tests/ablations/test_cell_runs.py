"""Ablation grids: cells, what they change, and what they share."""

from collections import Counter
from random import Random

import pytest

from cgd_utils import methods, prompts
from cgd_utils.ablations import cell_runs, tables
from cgd_utils.ablations.grids import GRIDS, NEEDS, Cell
from cgd_utils.core import profile_files, store
from cgd_utils.core.errors import BadInput
from cgd_utils.core.profile_files import changed
from cgd_utils.evaluation import style_drift
from cgd_utils.reporting import result_rows
from cgd_utils.training import fine_tune

RECORD = {"id": "a", "question": "q", "draft": "1+1=3", "critique": "Step 2 is wrong: 17-3 is 14, not 15. Conclusion: wrong",
          "refined": "1+1=2", "direct": "2", "solution": "2", "answer": "2"}  # fmt: skip


@pytest.mark.parametrize("grid", GRIDS)
def test_every_cell_is_a_valid_profile_and_method(grid, tmp_path):
    run = store.open_run("lab", tmp_path)
    names = [c.name for c in cell_runs.cells(run, grid, "llama")]
    assert len(names) == len(set(names)) >= 2
    for cell in GRIDS[grid].cells:
        methods.parse(cell.method)
        changed(run.profile, cell.changes(run.profile))
        assert (cell.x is not None) == bool(GRIDS[grid].axis)


def test_a_cell_changes_what_it_says(tmp_path):
    run = store.open_run("lab", tmp_path)
    cell = GRIDS["learning_rate"].cell("cgd", 5)
    assert changed(run.profile, cell.changes(run.profile)).training.learning_rate == 5e-4
    with pytest.raises(KeyError, match="no cell of 'cgd' at 3"):
        GRIDS["learning_rate"].cell("cgd", 3)


def test_weaker_drafts_need_a_weaker_model(tmp_path):
    run = store.open_run("lab-full", tmp_path)
    assert "cgd [weaker drafts]" in [c.name for c in cell_runs.cells(run, "draft_source", "s1")]
    assert "cgd [weaker drafts]" not in [c.name for c in cell_runs.cells(run, "draft_source", "olmo")]


def test_a_grid_without_a_cell_is_not_planned(tmp_path):
    changes = {
        "training.validation_rows": 0,
        "training.validation_steps": 0,
        "ablations.grids": ["checkpoint_choice", "critique_content"],
    }
    assert cell_runs.plan(store.open_run("smoke", tmp_path, changes)) == [("llama", "critique_content")]


def test_only_what_can_be_drawn_gets_more_problems_for_a_mix():
    [cell] = [c for c in GRIDS["draft_mix"].cells if c.x == 0.5]
    lab, paper = profile_files.load("lab"), profile_files.load("paper-llama")
    assert cell.changes(lab)["data.rows"] > lab.data.rows
    assert cell.changes(paper)["data.rows"] == paper.data.rows


def test_an_unknown_grid_is_named(tmp_path):
    with pytest.raises(BadInput, match="unknown grid 'nope'"):
        cell_runs.run_grids(store.open_run("smoke", tmp_path), [("llama", "nope")])


def test_a_mix_has_its_share_of_right_drafts_at_equal_size():
    records = [{"id": i, "draft_correct": i % 4 == 0} for i in range(100)]
    for share in (0.0, 0.5, 1.0):
        drawn = fine_tune.draw(records, 0, 0, share)
        assert len(drawn) == 25
        assert Counter(r["draft_correct"] for r in drawn)[True] == round(25 * share)


def test_the_biased_critique_blames_step_one_and_concludes_wrong():
    right = {**RECORD, "critique": "All 2 steps are right. Conclusion: right"}
    rows = methods.rows("cgd_biased", [RECORD, right], prompts.layout("lab"))
    assert "Step 1 is wrong" in rows[0]["prompt"][0]["content"]
    assert all("Conclusion: wrong" in r["prompt"][0]["content"] for r in rows)


def test_random_words_keep_the_length_and_lose_the_sense():
    others = [{**RECORD, "id": str(i), "critique": f"alpha beta {i}"} for i in range(20)]
    (row,) = methods.rows("cgd_random", [others[0]], prompts.layout("lab"))
    text = methods.METHODS["cgd_random"].critique(others[0], others, prompts.layout("lab"), Random(0), 0)
    assert len(text.split()) == 3
    assert row["completion"][0]["content"] == "1+1=2"


def test_joint_rows_learn_critique_and_answer():
    (row,) = methods.rows("cgd_joint", [RECORD], prompts.layout("lab"))
    assert row["completion"][0]["content"] == f"{RECORD['critique']}\n\n{RECORD['refined']}"
    assert RECORD["critique"] not in row["prompt"][0]["content"]


def test_a_grid_reuses_the_main_comparison_and_shares_the_synthesis(smoke_run):
    def count():
        return Counter(p.parent.parent.name for p in smoke_run.folder.glob("artifacts/*/*/manifest.json"))

    before = count()
    small = store.open_run("smoke", smoke_run.folder.parent, {"ablations.seeds": [0], "evaluation.lab_rows": 12})
    rows = cell_runs.run_grids(small, [("llama", "answer_leakage")])["llama", "answer_leakage"]
    after = count()
    assert {r["method"] for r in rows} == {c.name for c in GRIDS["answer_leakage"].cells}
    assert after["drafts"] == before["drafts"]
    assert after["models"] == before["models"] + 2  # the two cells with leaking critiques; the others are loaded
    assert after["records"] == before["records"] + 1
    grid = GRIDS["answer_leakage"]
    shown = tables.grid_table(result_rows.pd.DataFrame(rows, columns=result_rows.COLUMNS), "llama", grid, grid.cells)
    assert list(shown.loc[shown["on"] == "mean", "cell"]) == [c.name for c in grid.cells]


def _artifacts(run):
    return Counter(p.parent.parent.name for p in run.folder.glob("artifacts/*/*/manifest.json"))


def test_a_cell_that_changes_nothing_is_loaded_with_its_evaluation(smoke_run):
    small = store.open_run("smoke", smoke_run.folder.parent, {"ablations.seeds": [0]})
    before = _artifacts(small)
    cell = GRIDS["learning_rate"].cell("cgd", 1)
    assert cell.name in cell_runs.plain(small, "learning_rate", "llama")
    rows = cell_runs.run_cell(small, "llama", cell, 0)
    assert _artifacts(small) == before
    main = {
        (r["benchmark"], r["metric"]): r["value"] for r in cell_runs.run_cell(small, "llama", Cell("cgd", "cgd"), 0)
    }
    assert {(r["benchmark"], r["metric"]): r["value"] for r in rows} == main
    assert {r["method"] for r in rows} == {"cgd [learning rate ×1]"}


def test_a_second_round_drafts_anew_and_shares_the_rest(smoke_run):
    small = store.open_run("smoke", smoke_run.folder.parent, {"ablations.seeds": [0]})
    before = _artifacts(small)
    rows = cell_runs.run_grids(small, [("llama", "second_round")])["llama", "second_round"]
    new = _artifacts(small) - before
    assert {r["method"] for r in rows} == {"cgd", "cgd [second round]", "cgd [same records again]"}
    assert (new["models"], new["drafts"], new["records"]) == (2, 1, 1)
    assert not new["problems"] and not new["merged"]


def test_own_critiques_replace_the_teachers_and_nothing_else(smoke_run):
    from cgd_utils.core.store import Run
    from cgd_utils.synthesis import teaching

    own = Run(changed(smoke_run.profile, {"synthesis.teacher.critic": "student"}), smoke_run.folder)
    theirs, mine = teaching.records(smoke_run, "llama").rows(), teaching.records(own, "llama").rows()
    assert [r["refined"] for r in theirs] == [r["refined"] for r in mine]
    assert [r["draft"] for r in theirs] == [r["draft"] for r in mine]
    assert {r["critic"] for r in mine} == {"llama"}
    assert any(a["critique"] != b["critique"] for a, b in zip(theirs, mine, strict=True))


def test_drift_is_measured_where_a_grid_asks(smoke_run):
    small = store.open_run("smoke", smoke_run.folder.parent, {"ablations.seeds": [0]})
    cell = Cell("cgd", "cgd")
    rows = {
        r["metric"]: r["value"]
        for r in cell_runs.run_cell(small, "llama", cell, 0, drifts=True)
        if r["benchmark"] == "all"
    }
    assert set(rows) == set(style_drift.METRICS)
    assert 0 < rows["weight_distance"] < 100
    base = synthesis_ref(small)
    assert style_drift.weight_distance(base, base) == 0


def synthesis_ref(run):
    from cgd_utils.models import named

    return named.student_ref(run, "llama")


def test_progress_tells_done_stale_and_to_do(smoke_run):
    grid = {"ablations.grids": ["critique_content", "data_size"]}
    run = store.open_run("smoke", smoke_run.folder.parent, grid)
    states = {(r["grid"], r["cell"]): r["state"] for r in cell_runs.states(run)}
    assert {s for (g, _), s in states.items() if g == "critique_content"} == {"done"}
    assert states["data_size", "distilled_sft [8% of the rows]"] == "to do"
    other = store.open_run("smoke", smoke_run.folder.parent, {**grid, "training.learning_rate": 2e-4})
    assert {r["state"] for r in cell_runs.states(other) if r["grid"] == "critique_content"} == {"stale"}


def test_only_the_named_families_get_every_grid(tmp_path):
    run = store.open_run("lab-full", tmp_path)
    plan = cell_runs.plan(run)
    assert len(plan) == len(set(plan))
    grids = Counter(family for family, _ in plan)
    assert grids["s1"] == len(run.profile.ablations.grids) == len(GRIDS)
    assert all(grids[f] == 1 for f in run.profile.models.students if f != "s1")
    assert all(r["state"] == "to do" for r in cell_runs.states(run))
    for family, grid in plan:
        assert set(cell_runs.plain(run, grid, family)) < {c.name for c in cell_runs.cells(run, grid, family)}


def test_a_family_of_the_grids_must_be_a_student(tmp_path):
    with pytest.raises(ValueError, match="families names nobody"):
        store.open_run("lab", tmp_path, {"ablations.families": ["nobody"]})


def test_a_false_critique_turns_the_operation_too():
    text = (
        "Step 2 is wrong. To return things means to give them away: subtract. Step 2 must be 17-3=14. Conclusion: wrong"
    )
    false = methods.falsify(text, Random(0))
    assert "give them away: add" in false and false.endswith("Conclusion: right")


def test_what_a_cell_needs_is_known():
    needs = {c.needs for g in GRIDS.values() for c in g.cells} - {""}
    assert needs == set(NEEDS)


def test_a_real_teacher_leaves_out_the_cells_of_the_exact_one(tmp_path):
    real = {"data.source": "mine.jsonl", "synthesis.teacher.kind": "model", "synthesis.teacher.model": "a/b"}
    run = store.Run(profile_files.load("paper-llama", real), tmp_path)
    names = {c.name for g in GRIDS for c in cell_runs.cells(run, g, "llama")}
    assert not names & {"cgd_biased", "cgd [corrupted drafts]", "cgd [learned teacher]", "cgd [every critique leaks]"}
    assert {"cgd", "cgd [full]", "cgd [own critiques]"} <= names
