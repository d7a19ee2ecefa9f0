"""Tables and figures from result rows."""

import json

import pandas as pd
import pytest
from scipy import stats

from cgd_utils import methods
from cgd_utils.core import errors, provenance, settings, statistics, store, training_settings
from cgd_utils.core.profile_files import changed
from cgd_utils.reporting import plots, result_rows, summaries
from cgd_utils.reporting.tables import answers_table, length_table, printed, save_table

RESULTS = pd.DataFrame(
    [("f", m, s, b, "accuracy", v, 100, max(0.0, v - 9), v + 9.0)
     for m, seeds in {"base": [None], "sft": [0, 1, 2], "cgd": [0, 1, 2]}.items()
     for s in seeds for b, v in (("a", 10 + 10 * (m == "cgd") + (s or 0) * (1 + (m == "cgd"))), ("b", 30))],
    columns=result_rows.COLUMNS,
)  # fmt: skip


def row(method, benchmark="mean"):
    table = result_rows.headline(RESULTS)
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
    cells = result_rows.headline(one).set_index(["method", "benchmark"])
    cell = cells.loc["sft", "a"]  # 20 − 10, each ± 9
    assert (cell["difference"], cell["difference_low"]) == (10, pytest.approx(10 - (2 * 9**2) ** 0.5))
    assert pd.isna(cell["p"])


def test_seeds_that_agree_to_the_last_digit_are_no_certainty():
    assert row("cgd", "b")["interval_over"] == "questions"
    assert row("cgd", "b")["ci_low"] < 30 < row("cgd", "b")["ci_high"]


def test_seeds_and_questions_add_in_quadrature():
    cell = row("sft", "a")
    half = stats.t.ppf(0.975, 2) * 1 / 3**0.5  # seeds 10, 11, 12
    assert cell["interval_over"] == "seeds and questions"
    assert cell["ci_high"] == pytest.approx(11 + (half**2 + 9**2) ** 0.5)
    assert cell["ci_low"] == pytest.approx(11 - (half**2 + 9**2) ** 0.5)


def test_every_number_of_the_printed_table_has_n_an_interval_and_what_it_is_over():
    shown = printed(result_rows.headline(RESULTS), "f")
    columns = [c for c in shown if "(n=" in c]
    assert columns == ["mean (n=200)", "a (n=100)", "b (n=100)"]
    assert shown[columns].map(lambda cell: "[" in cell and "±" not in cell).all().all()
    assert list(shown["intervals over"]) == [
        "questions; difference: seeds and questions",
        *["seeds and questions; questions"] * 2,
    ]


def test_no_percentage_has_an_interval_beyond_0_or_100():
    edge = RESULTS.assign(value=RESULTS["value"].where(RESULTS["benchmark"] == "b", 0).astype(float))
    edge.loc[edge["seed"] == 2, "value"] = 99.9
    edge = edge.assign(ci_low=(edge["value"] - 3).clip(lower=0), ci_high=(edge["value"] + 3).clip(upper=100))
    table = result_rows.headline(edge)
    assert (table["ci_low"] >= 0).all() and (table["ci_high"] <= 100).all()


def test_statuses_stand_beside_the_accuracy_with_all_seeds_answers():
    shares = RESULTS[RESULTS["benchmark"] == "a"].assign(metric="no_answer", value=4.0)
    shown = answers_table(pd.concat([RESULTS, shares]), ["no_answer"]).set_index(["method", "benchmark"])
    assert shown.loc[("cgd", "a"), "answers"] == 300
    assert shown.loc[("cgd", "a"), "no_answer"].startswith("4.0 [2.3, 6.9")  # Wilson, 12 of 300
    assert shown.loc[("cgd", "b"), "no_answer"] == ""


def test_length_stands_beside_accuracy():
    words = RESULTS.assign(metric="words", value=50.0, ci_low=48.0, ci_high=52.0)
    shown = length_table(pd.concat([RESULTS, words])).set_index(["method", "benchmark"])
    assert shown.loc[("base", "a"), "words"] == "50.0 [48.0, 52.0]"
    assert shown.loc[("sft", "a"), "accuracy"].startswith("11.0 [")
    assert shown.loc[("sft", "a"), "seeds"] == 3
    assert shown.loc[("sft", "a"), "intervals over"] == "seeds and questions; questions"


def test_pass_at_k_stands_in_the_order_of_k():
    curves = [RESULTS.assign(metric=f"pass@{k}") for k in (16, 2, 8)]
    shown = length_table(pd.concat([RESULTS, *curves]))
    assert [c for c in shown if summaries.samples_of(c)] == ["pass@2", "pass@8", "pass@16"]


def test_the_difference_is_paired_by_seed():
    cell = row(
        "sft", "a"
    )  # differences 10, 11, 12: t interval 11 ± 4.303 * 1 / sqrt(3), and the least noise of 100 questions
    noise = sum(100 * statistics.least_noise(d / 100, 100) for d in (10, 11, 12)) / 3
    assert cell["difference"] == pytest.approx(11.0)
    assert cell["difference_low"] == pytest.approx(11 - ((4.302653 / 3**0.5) ** 2 + noise**2) ** 0.5, abs=1e-4)
    assert cell["p"] == pytest.approx(stats.ttest_1samp([10, 11, 12], 0).pvalue)


def test_another_reference_turns_the_difference():
    turned = result_rows.headline(RESULTS, reference="sft").set_index(["method", "benchmark"]).loc[("cgd", "a")]
    assert turned["difference"] == -row("sft", "a")["difference"]
    assert turned["difference_high"] == pytest.approx(-row("sft", "a")["difference_low"])


def test_a_table_is_valid_latex_whatever_its_cells_hold(tmp_path):
    frame = pd.DataFrame({"method_name": ["a_b & 5%", "x ± 1.0"], "CGD − p": ["<0.001", "$x$"]})
    save_table(frame, tmp_path, "t")
    text = (tmp_path / "t.tex").read_text()
    assert r"method\_name" in text
    assert r"a\_b \& 5\%" in text
    assert r"x $\pm$ 1.0" in text
    assert "$<$0.001" in text
    assert r"\$x\$" in text
    assert pd.read_csv(tmp_path / "t.csv").equals(frame)


def test_every_method_has_a_label_and_a_colour_of_its_own():
    for field in ("label", "colour"):
        told = [getattr(m, field) for m in methods.METHODS.values()]
        assert all(told) and len(set(told)) == len(told)
    assert methods.BASE_COLOUR not in {m.colour for m in methods.METHODS.values()}
    assert set(methods.METHODS) == set(training_settings.METHODS)


def test_the_figures_draw_every_method():
    table = result_rows.headline(RESULTS)
    axes = plots.plot_by_steps(table, "f", ["a", "b"]).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["base", "SFT", "CGD"]
    gained = plots.gains(RESULTS)
    assert [t.get_text() for t in plots.plot_gain(gained, "f").axes[0].get_yticklabels()] == ["CGD", "SFT"]


def test_a_gain_is_the_paired_difference_to_the_base():
    gained = plots.gains(RESULTS).set_index("method")
    assert gained.loc["cgd", "gain"] == pytest.approx(row("base")["difference"])
    assert gained.loc["cgd", "gain_low"] == pytest.approx(row("base")["difference_low"])
    assert set(gained["base"]) == {20.0}


def test_a_run_of_instruction_benchmarks_only_has_a_table():
    only = RESULTS.assign(metric="instruction_following")
    table = result_rows.headline(only)
    assert set(table["benchmark"]) == {"a", "b"}
    shown = printed(table, "f")
    assert list(shown["method"]) == ["base", "SFT", "CGD"]


def test_a_caption_says_seeds_and_n(tmp_path):
    plotted = pd.DataFrame({"n_seeds": [1, 5], "n": [200, 200], "value": [1.0, 2.0]})
    told = plots.save_figure(plots.plot_gain(plots.gains(RESULTS), "f"), tmp_path, "gain_f", plotted, "f: gain")
    assert told.startswith("f: gain. 1 to 5 seeds; n = 200 items a model")
    assert plots.caption_of(tmp_path / "gain_f.png") == told
    assert {p.suffix for p in tmp_path.iterdir()} == {".png", ".pdf", ".csv", ".txt"}


def test_names_of_cells_begin_like_their_method():
    assert methods.display_name("cgd [LoRA r=4]") == "CGD [LoRA r=4]"
    assert methods.display_name("cgd_masked [every critique leaks]") == "CGD, masked [every critique leaks]"
    assert methods.display_name("cgd_noisy(0.5)") == "CGD, noisy (0.5)"
    assert methods.colour("cgd [LoRA r=4]") == methods.colour("cgd") != methods.colour("cgd_masked")
    assert methods.display_name("sft") == "SFT" and methods.display_name("mine") == "mine"


# ---------------------------------------------------------------- results.csv
def made(method, value, benchmark="a"):
    about = {"family": "f", "method": method, "seed": 0, "benchmark": benchmark, "metric": "accuracy"}
    return {**about, "value": value, "n": 10, "ci_low": 0.0, "ci_high": 50.0}


def test_each_part_of_the_results_replaces_its_own_rows_only(tmp_path):
    run = store.open_run("smoke", tmp_path)
    result_rows.write_results(run, [made("sft", 1.0), made("cgd", 2.0)])
    result_rows.write_results(run, [made("cgd", 2.0), made("cgd_masked", 3.0)], part="ablations")
    first = run.results_csv.read_bytes()
    frame = result_rows.write_results(run, [made("sft", 1.0), made("cgd", 2.0)])  # 04 once more
    assert list(frame["method"]) == ["sft", "cgd", "cgd_masked"]
    assert run.results_csv.read_bytes() == first
    frame = result_rows.write_results(run, [made("cgd", 5.0)], part="ablations")  # the last value, at the first place
    assert list(zip(frame["method"], frame["value"], strict=True)) == [("sft", 1.0), ("cgd", 5.0)]


def test_cells_measured_under_another_profile_are_left_out(tmp_path):
    run = store.open_run("smoke", tmp_path)
    result_rows.write_results(run, [made("cgd", 2.0)])
    result_rows.write_results(run, [made("cgd_masked", 3.0)], part="ablations")
    other = store.Run(changed(run.profile, {"training.epochs": 2}), run.folder)
    assert list(result_rows.write_results(other, [made("cgd", 4.0)])["method"]) == ["cgd"]
    grids = store.Run(changed(run.profile, {"ablations.grids": []}), run.folder)
    assert list(result_rows.write_results(grids, [made("cgd", 4.0)])["method"]) == ["cgd", "cgd_masked"]


def test_the_points_of_a_rate_search_stand_between_models_and_cells_and_enter_no_mean(tmp_path):
    run = store.open_run("smoke", tmp_path)
    result_rows.write_results(run, [made("cgd", 2.0)])
    result_rows.write_results(run, [made("cgd_masked", 3.0)], part="ablations")
    point = {**made("cgd [rate 0.001]", 90.0, "validation"), "metric": "validation_accuracy"}
    frame = result_rows.write_results(run, [point], part="rates")
    assert list(frame["method"]) == ["cgd", "cgd [rate 0.001]", "cgd_masked"]
    assert "validation_accuracy" not in result_rows.QUALITY


@pytest.mark.parametrize("part", ["rates", "ablations"])
def test_later_parts_need_the_main_comparison_only(tmp_path, part):
    with pytest.raises(errors.BadInput, match="run 04_evaluate first"):
        result_rows.write_results(store.open_run("smoke", tmp_path), [made("cgd", 1.0)], part=part)


# ---------------------------------------------------------------- the reference runs, computed anew
REFERENCE = provenance.PROJECT / "outputs" / "reference"


@pytest.mark.parametrize("name", sorted(p.parent.name for p in REFERENCE.glob("*/manifest.json")))
def test_no_interval_of_a_reference_run_has_zero_width(name):
    """Of the stored figures, as the package sums them up now: tables, analyses and claims."""
    from cgd_utils.ablations.grids import GRIDS
    from cgd_utils.ablations.tables import grid_table
    from cgd_utils.paper import claims

    stored = json.loads((REFERENCE / name / "manifest.json").read_text())["profile"]
    # a run of an earlier version lists the fields of every engine
    stored["generation"] = {"engine": stored["generation"]["engine"]}
    profile = settings.Profile.model_validate(stored)
    results, analyses = (
        pd.read_csv(REFERENCE / name / f"{f}.csv", dtype={"seed": "Int64"}) for f in ("results", "analyses")
    )
    headline, level = profile.evaluation.headline, profile.evaluation.level
    told = claims.claims(results, profile, analyses)
    tables = {
        "headline": (result_rows.headline(results, headline, level), "mean"),
        "gains": (
            plots.gains(results, headline, level).rename(columns=lambda c: c.replace("gain_", "ci_")),
            "gain",
        ),
        "lengths": (summaries.over_seeds(results, level, ["family", "method", "benchmark", "metric"]), "value"),
        "analyses": (summaries.over_seeds(analyses, level), "value"),
        "claims": (
            told[told["measured"] != ""].astype({"estimate": float, "ci_low": float, "ci_high": float}),
            "estimate",
        ),
    }
    for family in profile.models.students if profile.ablations.grids else ():
        grid = GRIDS["critique_content"]
        tables[f"grid, {family}"] = (
            grid_table(results, family, grid, grid.cells, (), headline, level),
            "mean",
        )
    for what, (table, value) in tables.items():
        ends = [(value, "ci_low", "ci_high")]
        ends += [("difference", "difference_low", "difference_high")] if "difference" in table else []
        for estimate, low, high in ends:
            known = table.dropna(subset=[low])
            assert len(known) or (estimate == "difference" and len(profile.training.seeds) == 1), what
            assert (known[high] > known[low]).all(), f"{what}: {known[known[high] <= known[low]]}"
            assert (known[low] - 1e-9 <= known[estimate]).all() and (known[estimate] <= known[high] + 1e-9).all(), what
    judged = told[(told["alone"] != "") & told["unit"].isin(["points"])]
    assert judged["ci_low"].notna().all()
