"""Which checkpoint is reported: kept along the way, scored on validation and on the test set."""

import pytest

from cgd_utils.ablations import cell_runs, checkpoint_choice
from cgd_utils.ablations.grids import GRIDS
from cgd_utils.ablations.tables import grid_table
from cgd_utils.core import store
from cgd_utils.reporting import result_rows
from cgd_utils.training import fine_tune, kept_models

TINY = {
    "training.seeds": [0, 1], "training.methods": ["cgd"], "training.epochs": 3, "evaluation.lab_rows": 6,
    "evaluation.benchmarks": ["lab-k2"],
}  # fmt: skip


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    run = store.open_run("smoke", tmp_path_factory.mktemp("out"), TINY)
    return run, cell_runs.run_grids(run, [("llama", "checkpoint_choice")])["llama", "checkpoint_choice"]


def test_the_steps_are_evenly_spaced_and_leave_the_last_to_the_model():
    assert kept_models.kept_steps(36, 6) == [6, 12, 18, 24, 30]
    assert kept_models.kept_steps(3, 6) == [1, 2]
    assert kept_models.kept_steps(36, 0) == kept_models.kept_steps(36, 1) == []


def test_every_choice_is_a_row_and_the_test_set_chooses_best(grid):
    run, rows = grid
    assert {r["method"] for r in rows} == {f"cgd [{by}]" for by in checkpoint_choice.CHOICES}
    found = {(r["method"], r["seed"]): r["value"] for r in rows if r["metric"] == "accuracy"}
    for seed in (0, 1):
        best = found["cgd [best on the test set]", seed]
        assert all(found[f"cgd [{by}]", seed] <= best for by in checkpoint_choice.CHOICES)
    assert {s["state"] for s in cell_runs.states(run) if s["grid"] == "checkpoint_choice"} <= {"done"}


def test_the_optimism_is_the_difference_to_the_choice_on_the_test_set(grid):
    import pandas as pd

    run, rows = grid
    chosen = cell_runs.cells(run, "checkpoint_choice", "llama")
    table = grid_table(pd.DataFrame(rows, columns=result_rows.COLUMNS), "llama", GRIDS["checkpoint_choice"], chosen)
    compared = table[table["on"] == "mean"].set_index("cell")["against"]
    assert compared["cgd [best on validation]"] == compared["cgd [last]"] == "cgd [best on the test set]"


def test_the_kept_models_are_those_along_the_way(grid):
    run, _ = grid
    [cell] = [c for c in cell_runs.cells(run, "checkpoint_choice", "llama") if c.choose == "last"]
    changed = cell_runs._changed_run(run, "llama", cell)
    model = fine_tune.fine_tune(changed, "llama", "cgd", 0)
    kept = checkpoint_choice.checkpoints(changed, "llama", "cgd", 0, model)
    assert list(kept) == [1, 2, 3, 4, 5, 6] and kept[6] is model
    weights = {(a.folder / "model" / "model.safetensors").read_bytes() for a in kept.values()}
    assert len(weights) == 6
    plain = fine_tune.fine_tune(run, "llama", "cgd", 0)
    assert (plain.folder / "model" / "model.safetensors").read_bytes() == (
        model.folder / "model" / "model.safetensors"
    ).read_bytes(), "keeping changes nothing in what is trained"


def test_a_profile_without_held_out_questions_has_no_such_cells(tmp_path):
    without = {"training.validation_rows": 0, "training.validation_steps": 0}
    assert cell_runs.cells(store.open_run("smoke", tmp_path, without), "checkpoint_choice", "llama") == []
