"""Tables and figures from result rows."""

import pandas as pd
import pytest

from cgd_utils import reporting

RESULTS = pd.DataFrame(
    [("f", m, s, b, "accuracy", v, 100, max(0.0, v - 9), v + 9.0)
     for m, seeds in {"base": [None], "sft": [0, 1, 2], "cgd": [0, 1, 2]}.items()
     for s in seeds for b, v in (("a", 10 + 10 * (m == "cgd") + (s or 0) * (1 + (m == "cgd"))), ("b", 30))],
    columns=reporting.COLUMNS,
)  # fmt: skip


def row(method, benchmark="mean"):
    table = reporting.headline(RESULTS)
    return table[(table["method"] == method) & (table["benchmark"] == benchmark)].iloc[0]


def test_the_headline_averages_benchmarks_then_seeds():
    assert row("sft")["mean"] == pytest.approx((10.0 + 11.0 + 12.0) / 3 / 2 + 15.0)
    assert row("sft")["n_seeds"] == 3


def test_one_model_has_an_interval_over_questions():
    cell = row("base", "a")
    assert (cell["interval_over"], cell["n_questions"], cell["ci_low"], cell["ci_high"]) == ("questions", 100, 1, 19)
    mean = row("base")
    assert mean["n_questions"] == 200
    assert mean["ci_low"] == pytest.approx(20 - (2 * 9**2) ** 0.5 / 2)
    one = RESULTS[RESULTS["seed"].isna() | (RESULTS["seed"] == 0)]
    cells = reporting.headline(one).set_index(["method", "benchmark"])
    cell = cells.loc["sft", "a"]  # 20 − 10, each ± 9
    assert (cell["difference"], cell["difference_low"]) == (10, pytest.approx(10 - (2 * 9**2) ** 0.5))
    assert pd.isna(cell["p"])


def test_seeds_that_agree_to_the_last_digit_are_no_certainty():
    assert row("cgd", "b")["interval_over"] == "questions"
    assert row("cgd", "b")["ci_low"] < 30 < row("cgd", "b")["ci_high"]


def test_every_number_of_the_printed_table_has_n_and_an_interval():
    shown = reporting.printed(reporting.headline(RESULTS), "f")
    columns = [c for c in shown if "(n=" in c]
    assert columns == ["mean (n=200)", "a (n=100)", "b (n=100)"]
    assert shown[columns].map(lambda cell: "±" in cell).all().all()


def test_statuses_stand_beside_the_accuracy_with_all_seeds_answers():
    shares = RESULTS[RESULTS["benchmark"] == "a"].assign(metric="no_answer", value=4.0)
    shown = reporting.answers_table(pd.concat([RESULTS, shares]), ["no_answer"]).set_index(["method", "benchmark"])
    assert shown.loc[("cgd", "a"), "answers"] == 300
    assert shown.loc[("cgd", "a"), "no_answer"].startswith("4.0 [2.3, 6.9")  # Wilson, 12 of 300
    assert shown.loc[("cgd", "b"), "no_answer"] == ""


def test_length_stands_beside_accuracy():
    words = RESULTS.assign(metric="words", value=50.0, ci_low=48.0, ci_high=52.0)
    shown = reporting.length_table(pd.concat([RESULTS, words])).set_index(["method", "benchmark"])
    assert shown.loc[("base", "a"), "words"] == "50.0 [48.0, 52.0]"
    assert shown.loc[("sft", "a"), "accuracy"].startswith("11.0 [8.5, 13.5")
    assert shown.loc[("sft", "a"), "seeds"] == 3


def test_the_difference_is_paired_by_seed():
    cell = row("sft", "a")  # differences 10, 11, 12: t interval 11 ± 4.303 * 1 / sqrt(3)
    assert cell["difference"] == pytest.approx(11.0)
    assert cell["difference_low"] == pytest.approx(11 - 4.302653 / 3**0.5, abs=1e-4)


def test_a_table_is_valid_latex_whatever_its_cells_hold(tmp_path):
    frame = pd.DataFrame({"method_name": ["a_b & 5%", "x ± 1.0"], "CGD − p": ["<0.001", "$x$"]})
    reporting.save_table(frame, tmp_path, "t")
    text = (tmp_path / "t.tex").read_text()
    assert r"method\_name" in text
    assert r"a\_b \& 5\%" in text
    assert r"x $\pm$ 1.0" in text
    assert "$<$0.001" in text
    assert r"\$x\$" in text
    assert pd.read_csv(tmp_path / "t.csv").equals(frame)


def test_every_labelled_method_has_a_colour_of_its_own():
    assert set(reporting.LABELS) == set(reporting.COLOURS)
    assert len(set(reporting.COLOURS.values())) == len(reporting.COLOURS)


def test_the_figures_draw_every_method():
    table = reporting.headline(RESULTS)
    axes = reporting.plot_by_steps(table, "f", ["a", "b"]).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["base", "SFT", "CGD"]
    assert [t.get_text() for t in reporting.plot_gain(table, "f").axes[0].get_yticklabels()] == ["CGD", "SFT"]


def test_a_run_of_instruction_benchmarks_only_has_a_table():
    only = RESULTS.assign(metric="instruction_following")
    table = reporting.headline(only)
    assert set(table["benchmark"]) == {"a", "b"}
    shown = reporting.printed(table, "f")
    assert list(shown["method"]) == ["base", "SFT", "CGD"]


def test_a_caption_says_seeds_and_n(tmp_path):
    plotted = pd.DataFrame({"n_seeds": [1, 5], "n": [200, 200], "value": [1.0, 2.0]})
    told = reporting.save_figure(
        reporting.plot_gain(reporting.headline(RESULTS), "f"), tmp_path, "gain_f", plotted, "f: gain"
    )
    assert told.startswith("f: gain. 1 to 5 seeds; n = 200 items a model")
    assert reporting.caption_of(tmp_path / "gain_f.png") == told
    assert {p.suffix for p in tmp_path.iterdir()} == {".png", ".pdf", ".csv", ".txt"}


def test_names_of_cells_begin_like_their_method():
    assert reporting.display_name("cgd [LoRA r=4]") == "CGD [LoRA r=4]"
    assert reporting.display_name("cgd_masked [every critique leaks]") == "CGD, masked [every critique leaks]"
    assert reporting.display_name("sft") == "SFT" and reporting.display_name("mine") == "mine"
