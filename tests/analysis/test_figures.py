"""Pictures of the analyses."""

import pandas as pd
import pytest

from cgd_utils.analysis import figures, inference_time
from cgd_utils.reporting import result_rows, summaries


@pytest.fixture(autouse=True)
def _closed():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def summed(smoke_run, name, **where):
    return summaries.over_seeds(summaries.pick(summaries.read(smoke_run), name, **where))


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
    table = result_rows.headline(result_rows.read_results(smoke_run))
    rows = figures.forest_rows(table, ["sft", "cft"], ["lab-k2", "lab-k3"])
    assert set(rows["benchmark"]) == {"mean", "lab-k2", "lab-k3"}
    figure = figures.forest(rows)
    assert [a.get_title() for a in figure.axes] == ["CGD − SFT", "CGD − CFT"]
    marks = [
        line for a in figure.axes for line in a.lines if len(line.get_xdata()) == 1 and line.get_marker() in ("D", "o")
    ]
    assert len(marks) == len(rows)


def test_pass_at_k_is_drawn_where_the_evaluation_took_samples():
    rows = [
        {"family": "f", "method": m, "seed": seed, "benchmark": b, "metric": metric, "value": value + seed, "n": 20,
         "ci_low": value - 9, "ci_high": value + 9}
        for m in ("base", "cgd") for seed in (0, 1) for b in ("a", "b") for metric, value in (("accuracy", 30.0), ("pass@2", 40.0), ("pass@4", 50.0))
    ]  # fmt: skip
    results = pd.DataFrame(rows)
    assert inference_time.recorded_pass_at_k(results[results["metric"] == "accuracy"], "f") == []
    assert inference_time.recorded_pass_at_k(results, "g") == []
    curves = summaries.over_seeds(pd.DataFrame(inference_time.recorded_pass_at_k(results, "f")))
    figure = figures.pass_at_k(curves, "f")
    assert [a.get_title() for a in figure.axes] == ["a", "b"]
    drawn = figure.axes[0].lines[0]
    assert list(drawn.get_xdata()) == [1, 2, 4] and list(drawn.get_ydata()) == [30.5, 40.5, 50.5]
