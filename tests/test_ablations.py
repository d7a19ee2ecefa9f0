"""Ablation grids: cells, what they change, and what they share."""

from collections import Counter
from random import Random

import pytest

from cgd_utils import ablations, artifacts, methods, prompts, reporting, training
from cgd_utils.artifacts import BadInput
from cgd_utils.profiles import changed

RECORD = {"id": "a", "question": "q", "draft": "1+1=3", "critique": "Step 2 is wrong: 17-3 is 14, not 15. Conclusion: wrong",
          "refined": "1+1=2", "direct": "2", "solution": "2", "answer": "2"}  # fmt: skip


@pytest.mark.parametrize("grid", ablations.GRIDS)
def test_every_cell_is_a_valid_profile_and_method(grid, tmp_path):
    run = artifacts.open_run("lab", tmp_path)
    names = [c.name for c in ablations.cells(run, grid, "llama")]
    assert len(names) == len(set(names)) >= 2
    for cell in ablations.GRIDS[grid].cells:
        methods.parse(cell.method)
        changed(run.profile, cell.changes(run.profile))
        assert (cell.x is not None) == bool(ablations.GRIDS[grid].axis)


def test_a_cell_changes_what_it_says(tmp_path):
    run = artifacts.open_run("lab", tmp_path)
    cell = next(c for c in ablations.GRIDS["learning_rate"].cells if c.x == 3 and c.method == "cgd")
    assert changed(run.profile, cell.changes(run.profile)).training.learning_rate == pytest.approx(3e-4)


def test_weaker_drafts_need_a_weaker_model(tmp_path):
    run = artifacts.open_run("lab-full", tmp_path)
    assert "cgd [weaker drafts]" in [c.name for c in ablations.cells(run, "draft_source", "llama")]
    assert "cgd [weaker drafts]" not in [c.name for c in ablations.cells(run, "draft_source", "olmo")]


def test_an_unknown_grid_is_named(tmp_path):
    with pytest.raises(BadInput, match="unknown grid 'nope'"):
        ablations.run_grid(artifacts.open_run("smoke", tmp_path), "llama", "nope")


def test_a_mix_has_its_share_of_right_drafts_at_equal_size():
    records = [{"id": i, "draft_correct": i % 4 == 0} for i in range(100)]
    for share in (0.0, 0.5, 1.0):
        drawn = training.draw(records, 0, 0, share)
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
    small = artifacts.open_run("smoke", smoke_run.folder.parent, {"ablations.seeds": [0], "evaluation.lab_rows": 12})
    rows = ablations.run_grid(small, "llama", "answer_leakage")
    after = count()
    assert {r["method"] for r in rows} == {c.name for c in ablations.GRIDS["answer_leakage"].cells}
    assert after["drafts"] == before["drafts"]
    assert after["models"] == before["models"] + 2  # the two cells with leaking critiques; the others are loaded
    assert after["records"] == before["records"] + 1
    table = reporting.headline(reporting.pd.DataFrame(rows, columns=reporting.COLUMNS))
    shown = reporting.grid_table(table, "llama", [c.name for c in ablations.GRIDS["answer_leakage"].cells])
    assert len(shown) == 4
