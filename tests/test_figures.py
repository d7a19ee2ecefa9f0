"""Pictures of the analyses, and the published tables rebuilt."""

import pandas as pd
import pytest

from cgd_utils import audit, figures, inference, measurements, paper_tables, profiles, reporting


@pytest.fixture(autouse=True)
def _closed():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def summed(smoke_run, name, **where):
    return measurements.over_seeds(measurements.pick(measurements.read(smoke_run), name, **where))


@pytest.mark.parametrize(
    "name", ["attention", "cost", "critiques", "drift", "failures", "lengths", "pass_at_k", "uncertainty"]
)
def test_every_analysis_leaves_a_picture_its_numbers_and_a_caption(smoke_run, name):
    stem = smoke_run.figures / f"analysis_{name}_llama"
    for kind in ("png", "pdf", "csv", "txt"):
        assert stem.with_suffix(f".{kind}").stat().st_size > 0
    plotted = pd.read_csv(stem.with_suffix(".csv"))
    assert {"n", "seeds", "ci_low", "ci_high"} <= set(plotted.columns)
    assert (smoke_run.tables / f"analysis_{name}.csv").exists()


def test_attention_bars_fill_the_whole(smoke_run):
    rows = summed(smoke_run, "attention")
    figure = figures.attention(rows, "llama")
    for axes in figure.axes:
        tops = [
            max(b.get_y() + b.get_height() for b in axes.patches if b.get_x() == x)
            for x in {b.get_x() for b in axes.patches}
        ]
        assert tops == pytest.approx([100.0] * len(tops), abs=0.1)


def test_the_forest_has_a_mark_a_difference(smoke_run):
    table = reporting.headline(reporting.read_results(smoke_run))
    rows = figures.forest_rows(table, ["sft", "cft"], ["lab-k2", "lab-k3"])
    assert set(rows["benchmark"]) == {"mean", "lab-k2", "lab-k3"}
    figure = figures.forest(rows)
    assert [a.get_title() for a in figure.axes] == ["CGD − SFT", "CGD − CFT"]
    marks = [
        line for a in figure.axes for line in a.lines if len(line.get_xdata()) == 1 and line.get_marker() in ("D", "o")
    ]
    assert len(marks) == len(rows)


def results(model, benchmark, method="cgd", seeds=(0, 1, 2), value=50.0, metric="accuracy"):
    rows = [("x", method, s, benchmark, metric, value + (s or 0), 500, value - 4, value + 4) for s in seeds]
    frame = pd.DataFrame(rows, columns=reporting.COLUMNS)
    frame["seed"] = frame["seed"].astype("Int64")
    return frame


def test_a_published_cell_is_filled_by_the_same_student_and_benchmark_only():
    llama = profiles.load("paper-llama", {"models.students": {"x": "meta-llama/Llama-3.1-8B-Instruct"}})
    made = paper_tables.webinstruct(paper_tables.kit(llama, results("", "math-500")))
    mine = made.set_index(["student", "method"])
    ours = mine.loc[("LLaMA3.1-8B-Instruct", "cgd"), "math500 (kit)"]
    assert ours.startswith("51.0 [48.5, 53.5] (n=500, seeds=3)")
    assert mine.loc[("LLaMA3.1-8B-Instruct", "cgd"), "math500 (printed)"] == "54.2"
    assert set(mine.loc["S1.1-3B", "math500 (kit)"]) == {paper_tables.MISSING}
    assert set(made["amc23 (kit)"]) == {paper_tables.MISSING}
    assert set(made["avg_g1 (kit)"]) == {paper_tables.MISSING}


def test_an_average_of_the_kit_needs_all_its_parts():
    llama = profiles.load("paper-llama", {"models.students": {"x": "meta-llama/Llama-3.1-8B-Instruct"}})
    parts = pd.concat([results("", paper_tables.NAMES.get(b, b), value=10.0 * i) for i, b in enumerate(audit.MATH)])
    made = paper_tables.webinstruct(paper_tables.kit(llama, parts)).set_index(["student", "method"])
    assert made.loc[("LLaMA3.1-8B-Instruct", "cgd"), "avg_g1 (kit)"].startswith("21.0 [")


def test_one_run_has_the_interval_over_its_questions():
    llama = profiles.load("paper-llama", {"models.students": {"x": "meta-llama/Llama-3.1-8B-Instruct"}})
    made = paper_tables.webinstruct(paper_tables.kit(llama, results("", "math-500", "sft", seeds=(0,)))).set_index(
        ["student", "method"]
    )
    assert made.loc[("LLaMA3.1-8B-Instruct", "sft"), "math500 (kit)"] == "50.0 [46.0, 54.0] (n=500, seeds=1)"


def test_the_lab_stands_beside_and_not_in_place(smoke_run):
    made = paper_tables.rebuilt(smoke_run, reporting.read_results(smoke_run), measurements.read(smoke_run))
    assert set(made) == set(paper_tables.TABLES)
    for name, table in made.items():
        printed = audit.read_table(audit.PUBLISHED, f"table_{name}")
        assert len(table) == len(printed)
        assert "not measured" in table.to_string()
    web = made["webinstruct"]
    assert set(web["math500 (kit)"]) == {paper_tables.MISSING}
    llama = web[(web["student"] == "LLaMA3.1-8B-Instruct") & (web["method"] == "cgd")].iloc[0]
    assert llama["mean (lab)"].endswith("(n=24, seeds=2)")
    assert set(web.loc[web["student"] == "S1.1-3B", "mean (lab)"]) == {paper_tables.MISSING}


def test_a_judges_ratings_stand_beside_the_printed_ones(smoke_run):
    have = paper_tables.kit(smoke_run.profile, reporting.read_results(smoke_run))
    have.rated["llama"] = [{"metric": "informativeness (1-5)", "wrong_answer_mean": 4.0, "wrong_answer_sd": 0.5, "right_answer_mean": 3.0,
                            "right_answer_sd": None, "effect": 1.5, "low": None, "high": None, "n_wrong": 7, "n_right": 5}]  # fmt: skip
    first = paper_tables.critique_quality(have).iloc[0]
    assert first["wrong answer (printed)"] == "4.36 ± 0.62"
    assert first["llama, wrong answer (kit)"] == "4.00 ± 0.50 (n=7)"
    assert first["llama, effect (kit)"] == "1.50"


def test_pass_at_k_is_drawn_where_the_evaluation_took_samples():
    rows = [
        {"family": "f", "method": m, "seed": seed, "benchmark": b, "metric": metric, "value": value + seed, "n": 20,
         "ci_low": value - 9, "ci_high": value + 9}
        for m in ("base", "cgd") for seed in (0, 1) for b in ("a", "b") for metric, value in (("accuracy", 30.0), ("pass@2", 40.0), ("pass@4", 50.0))
    ]  # fmt: skip
    results = pd.DataFrame(rows)
    assert inference.recorded_pass_at_k(results[results["metric"] == "accuracy"], "f") == []
    assert inference.recorded_pass_at_k(results, "g") == []
    curves = measurements.over_seeds(pd.DataFrame(inference.recorded_pass_at_k(results, "f")))
    figure = figures.pass_at_k(curves, "f")
    assert [a.get_title() for a in figure.axes] == ["a", "b"]
    drawn = figure.axes[0].lines[0]
    assert list(drawn.get_xdata()) == [1, 2, 4] and list(drawn.get_ydata()) == [30.5, 40.5, 50.5]
