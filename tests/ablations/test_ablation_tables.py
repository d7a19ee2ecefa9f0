"""Tables of the ablation grids: what is compared with what, correction within a grid, and the drift measures' table."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cgd_utils.ablations import grids, tables
from cgd_utils.ablations.grids import Cell, Grid
from cgd_utils.evaluation import style_drift
from cgd_utils.reporting import result_rows

CELLS = (Cell("cgd", "cgd"), Cell("cgd_generic", "cgd_generic"), Cell("refined_sft", "refined_sft"))
VALUES = {"cgd": [50, 52, 51, 53, 49], "cgd_generic": [48, 51, 50, 50, 48], "refined_sft": [50, 52, 51, 53, 50]}


def _results(values, benchmark="lab-k2", metric="accuracy", n=200):
    rows = [["llama", m, s, benchmark, metric, v, n, None, None] for m, vs in values.items() for s, v in enumerate(vs)]
    frame = pd.DataFrame(rows, columns=result_rows.COLUMNS)
    frame["seed"] = frame["seed"].astype("Int64")
    return frame


def test_cells_are_compared_with_cgd_paired_over_seeds_and_corrected():
    table = tables.grid_table(_results(VALUES), "llama", Grid("?", CELLS), CELLS).set_index("cell")
    for name in ("cgd_generic", "refined_sft"):
        test = stats.ttest_rel(VALUES["cgd"], VALUES[name])
        assert table.loc[name, "p"] == pytest.approx(test.pvalue)
        assert table.loc[name, "difference"] == pytest.approx(np.mean(VALUES["cgd"]) - np.mean(VALUES[name]))
    smaller, larger = sorted(table.loc[["cgd_generic", "refined_sft"], "p"])
    assert sorted(table["p_holm"].dropna()) == pytest.approx([min(1, 2 * smaller), max(2 * smaller, larger)])
    assert table.loc["cgd", "against"] == "" and table.loc["cgd", "questions"] == 200


def test_curves_are_compared_at_the_same_dose():
    grid = grids.GRIDS["learning_rate"]
    cell = next(c for c in grid.cells if c.method == "cft" and c.x == 5)
    assert grid.against(cell) == "cgd [learning rate ×5]"
    assert grid.against(next(c for c in grid.cells if c.method == "cgd" and c.x == 5)) == "cgd"
    assert grids.GRIDS["critique_error_rate"].against(Cell("cgd_noisy(0.5)", "cgd_noisy(0.5)", x=0.5)) == "cgd"


def test_instructions_have_rows_of_their_own():
    results = pd.concat([_results(VALUES), _results(VALUES, "lab-instructions", "instruction_following", 60)])
    table = tables.grid_table(results, "llama", Grid("?", CELLS), CELLS)
    assert set(table["on"]) == {"mean", "lab-instructions"}
    assert table.set_index(["on", "cell"]).loc[("lab-instructions", "cgd"), "questions"] == 60
    assert table.set_index(["on", "cell"]).loc[("mean", "cgd"), "questions"] == 200
    assert len(tables.printed(table)) == 6


@pytest.mark.parametrize(
    ("text", "mentions", "critique"),
    [
        ("12+5=17\nAnswer: 17", False, False),
        ("Step 2 is wrong: 17-3 is 14, not 15. Conclusion: wrong", True, True),
        ("The draft forgot a step. Answer: 3", True, False),
        ("All 2 steps are right. Conclusion: right\n\n12+5=17\nAnswer: 17", False, False),
        ("**Conclusion: right**", False, True),
        ("He drafted a plan; the conclusion is that 3 is right.", False, False),
    ],
)
def test_answers_in_the_manner_of_a_critique_are_told(text, mentions, critique):
    assert (style_drift.mentions_draft(text), style_drift.is_critique(text)) == (mentions, critique)


def test_the_drift_table_and_pictures_hold_every_measure():
    cells = grids.GRIDS["epochs"].cells
    parts = []
    for metric in tables.DRIFT:
        values = {c.name: [1.0 + c.x, 2.0 + c.x] for c in cells}
        parts.append(_results(values, "all", metric))
    results = pd.concat(parts)
    table = tables.drift_table(results, "llama", cells)
    assert len(table) == len(tables.DRIFT) * len(cells)
    figure = tables.plot_drift(table, "epochs", "llama")
    assert len(figure.axes) == len(tables.DRIFT)


@pytest.mark.parametrize("name", ["critique_content", "learning_rate"])
def test_every_kind_of_grid_is_drawn_with_n_and_seeds(name):
    grid = grids.GRIDS[name]
    values = {c.name: [10.0 + i, 11.0 + i, 12.5 + i] for i, c in enumerate(grid.cells)}
    values.setdefault("cgd", [10.0, 11.0, 12.5])
    table = tables.grid_table(_results(values), "llama", grid, grid.cells)
    figure = tables.plot(table, grid, grid.cells, "llama", {"mean": 3.0})
    told = figure._suptitle.get_text()
    assert "3 seeds" in told and "n = 200" in told
