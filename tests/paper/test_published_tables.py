"""The published tables rebuilt: which cells the kit may fill, and with what."""

import pandas as pd
import pytest

from cgd_utils.ablations import grids
from cgd_utils.core import profile_files
from cgd_utils.paper import audit, comparable, published_tables
from cgd_utils.paper.comparable import MISSING, Printed, is_missing
from cgd_utils.reporting import result_rows, summaries

LLAMA, QWEN = "LLaMA3.1-8B-Instruct", "Qwen2.5-Math-7B"


def rows(benchmark, method="cgd", seeds=(0, 1, 2), value=50.0, metric="accuracy", family="llama", n=500):
    made = [
        (family, method, s, benchmark, metric, value + (s or 0), n, value + (s or 0) - 4, value + (s or 0) + 4)
        for s in seeds
    ]
    return pd.DataFrame(made, columns=result_rows.COLUMNS).astype({"seed": "Int64"})


def kit(results, profile="paper-llama", analyses=None, **changes):
    return comparable.kit(
        profile_files.load(profile, {k.replace("__", "."): v for k, v in changes.items()}), results, analyses
    )


def cells(table, student, teacher, method, column):
    mine = table[(table["student"] == student) & (table["teacher"] == teacher) & (table["method"] == method)]
    assert len(mine) == 1
    return mine.iloc[0][column]


def test_a_cell_says_its_interval_its_questions_its_seeds_and_what_the_interval_is_over():
    made = published_tables.webinstruct(kit(rows("math-500")))
    ours = cells(made, LLAMA, "LLaMA3.3-70B-Instruct", "cgd", "math500 (kit)")
    half = ((4.302653**2 / 3) + 4**2) ** 0.5
    assert ours == f"51.0 [{51 - half:.1f}, {51 + half:.1f}] (n=500, seeds=3, over seeds and questions)"
    assert cells(made, LLAMA, "LLaMA3.3-70B-Instruct", "cgd", "math500 (printed)") == "54.2"


def test_one_run_has_the_interval_over_its_questions():
    made = published_tables.webinstruct(kit(rows("math-500", "sft", seeds=(0,))))
    told = cells(made, LLAMA, "LLaMA3.3-70B-Instruct", "sft", "math500 (kit)")
    assert told == "50.0 [46.0, 54.0] (n=500, seeds=1, over questions)"


def test_a_cell_is_filled_by_the_same_student_and_benchmark_only():
    made = published_tables.webinstruct(kit(rows("math-500")))
    assert all(map(is_missing, made.loc[made["student"] == "S1.1-3B", "math500 (kit)"]))
    assert all(map(is_missing, [*made["amc23 (kit)"], *made["avg_g1 (kit)"]]))
    told = cells(made, LLAMA, "LLaMA3.3-70B-Instruct", "cgd", "amc23 (kit)")
    assert told == f"{MISSING}: amc23"


def test_another_teachers_row_stays_empty_and_says_whose_it_is():
    results = pd.concat([rows("math-500", m) for m in ("base", "sft", "cft", "cgd")])
    made = published_tables.webinstruct(kit(results))
    assert not is_missing(cells(made, LLAMA, "LLaMA3.3-70B-Instruct", "cft", "math500 (kit)"))
    told = cells(made, LLAMA, "GPT-4o", "cft", "math500 (kit)")
    assert is_missing(told)
    assert "teacher GPT-4o, here LLaMA3.3-70B-Instruct" in told and "WebInstruct-CFT" in told


def test_one_result_fills_one_teachers_row():
    results = pd.concat([rows("math-500", m, family="qwen") for m in ("base", "cft", "cgd")])
    made = published_tables.cross_family(kit(results, "paper-qwen-math"))
    filled = made[~made["math500 (kit)"].map(is_missing)]
    assert list(zip(filled["teacher"], filled["method"], strict=True)) == [
        ("", "base"),
        ("S1.1-32B", "cft"),
        ("S1.1-32B", "cgd"),
    ]
    claude = kit(results, "paper-qwen-math", synthesis__teacher__model="claude-3-7-sonnet")
    made = published_tables.cross_family(claude)
    filled = made[~made["math500 (kit)"].map(is_missing)]
    assert list(zip(filled["teacher"], filled["method"], strict=True)) == [("", "base"), ("Claude Sonnet 3.7", "cgd")]


@pytest.mark.parametrize(
    ("changes", "filled"),
    [
        ({}, {"base", "sft", "distilled_sft", "cgd"}),
        ({"data__source": "gsm8k"}, {"base"}),
        ({"data__rows": 5000}, {"base"}),
        ({"training__rows": 5000}, {"base"}),
        ({"synthesis__teacher__model": "Qwen/Qwen2.5-72B-Instruct"}, {"base", "sft"}),
        ({"synthesis__teacher__critic": "student"}, {"base", "sft"}),
        ({"models__students": {"llama": "meta-llama/Llama-3.2-3B-Instruct"}}, set()),
    ],
)
def test_a_cell_is_filled_where_student_teacher_method_and_data_agree(changes, filled):
    have = kit(pd.concat([rows("math-500", m) for m in ("base", "sft", "distilled_sft", "cgd")]), **changes)
    made = published_tables.webinstruct(have)
    mine = made[(made["student"] == LLAMA) & (made["teacher"] == "LLaMA3.3-70B-Instruct")]
    assert {m for m, cell in zip(mine["method"], mine["math500 (kit)"], strict=True) if not is_missing(cell)} == filled


def test_a_server_is_known_by_the_name_of_what_it_serves():
    engine = {"engine": "openai", "base_url": "http://x", "server_model": "meta-llama/Llama-3.3-70B-Instruct"}
    served = {"kind": "model", "generation": engine}
    have = kit(rows("math-500"), synthesis__teacher=served)
    assert have.lacks(Printed(LLAMA, "LLaMA3.3-70B-Instruct", "cgd")) is None


def test_an_average_of_the_kit_needs_all_its_parts():
    parts = [rows(comparable.BENCHMARKS.get(b, b), value=10.0 * i) for i, b in enumerate(audit.MATH)]
    made = published_tables.webinstruct(kit(pd.concat(parts)))
    told = cells(made, LLAMA, "LLaMA3.3-70B-Instruct", "cgd", "avg_g1 (kit)")
    assert told.startswith("21.0 [") and "n=2500" in told
    made = published_tables.webinstruct(kit(pd.concat(parts[1:])))
    assert cells(made, LLAMA, "LLaMA3.3-70B-Instruct", "cgd", "avg_g1 (kit)") == f"{MISSING}: math-500"


# ---------------------------------------------------------------- AIME
def sampled(**values):
    return summaries.frame([
        {"analysis": "pass@k", "family": "llama", "method": "cgd", "seed": None, "condition": "aime24", "metric": metric, "value": v,
         "n": 30, "ci_low": v - 5, "ci_high": v + 5} for metric, v in values.items()
    ])  # fmt: skip


def test_every_metric_of_aime_is_asked_by_its_exact_name():
    """Greedy accuracy is Pass@1: it must not stand at Pass@16, which begins alike."""
    analyses = sampled(**{"pass@8": 20.0, "pass@16": 30.0})
    words = rows("aime24", metric="words", value=900.0, seeds=(0,))
    have = kit(pd.concat([rows("aime24", value=11.0, seeds=(0,), n=30), words]), analyses=analyses)
    told = published_tables.aime(have).set_index("metric")["cgd (kit, AIME24)"]
    assert {m: float(t.split()[0]) for m, t in told.items() if not is_missing(t)} == {
        "pass@1 greedy (%)": 11, "pass@8 (%)": 20, "pass@16 (%)": 30, "reasoning length (words)": 900,
    }  # fmt: skip
    assert set(published_tables.AIME) == {r["metric"] for r in audit.read_table(audit.PUBLISHED, "table_aime24")}


def test_what_was_not_sampled_is_missing():
    told = published_tables.aime(kit(rows("aime24", n=30), analyses=sampled(**{"pass@8": 20.0}))).set_index("metric")
    assert is_missing(told.loc["pass@16 (%)", "cgd (kit, AIME24)"])
    assert not is_missing(told.loc["pass@8 (%)", "cgd (kit, AIME24)"])


def test_sampled_answers_are_not_greedy_ones():
    have = kit(pd.concat([rows("aime24", n=30), rows("aime24", metric="pass@8", value=70.0, n=30)]),
               evaluation__sampling__temperature=0.7, evaluation__sampling__n=8)  # fmt: skip
    told = published_tables.aime(have).set_index("metric")["cgd (kit, AIME24)"]
    assert "not greedy" in told["pass@1 greedy (%)"]
    assert told["pass@8 (%)"].startswith("71.0 [")


# ---------------------------------------------------------------- learning rates
def test_the_two_learning_rates_are_those_that_the_grid_trains():
    profile = kit(rows("math-500")).profile
    assert profile.training.learning_rate == 1e-5  # ten times the authors' 1e-6, for adapters
    cell = grids.GRIDS["learning_rate"].cell
    parts = [
        rows("math-500", cell(m, x).name, value=v) for m, x, v in (("cgd", 1, 60.0), ("cgd", 5, 55.0), ("cft", 1, 40.0))
    ]
    made = published_tables.stability(kit(pd.concat(parts))).set_index("method")
    assert made.loc["cgd", "llama, mean at 1e-05 (kit)"].startswith("61.0 [")
    assert made.loc["cgd", "llama, mean at 5e-05 (kit)"].startswith("56.0 [")
    assert made.loc["cgd", "llama, change (kit)"].startswith("-5.0 [")
    assert made.loc["cft", "llama, mean at 5e-05 (kit)"] == f"{MISSING}: no cft [learning rate ×5] in this run"
    assert is_missing(made.loc["cft", "llama, change (kit)"])


# ---------------------------------------------------------------- the lab
def test_the_lab_has_rows_of_its_own(smoke_run):
    made = published_tables.rebuilt(smoke_run, result_rows.read_results(smoke_run), summaries.read(smoke_run))
    assert set(made) == set(published_tables.TABLES)
    for name in ("webinstruct", "ood", "critique_content", "aime24"):
        table, printed = made[name], audit.read_table(audit.PUBLISHED, f"table_{name}")
        theirs, ours = table.iloc[: len(printed)], table.iloc[len(printed) :]
        kits = [c for c in table if c.endswith("(kit)") or c == "cgd (kit, AIME24)"]
        assert all(is_missing(x) for c in kits for x in theirs[c])
        # the smoke run asks no step count beyond the trained ones, which is what stands for AIME
        assert set(ours["student"]) == (set() if name == "aime24" else {f"lab:llama, for {LLAMA}"})
        assert all(is_missing(x) for c in table if "(lab" in c for x in theirs[c])
    web = made["webinstruct"]
    mine = web[(web["student"] == f"lab:llama, for {LLAMA}") & (web["method"] == "cgd")]
    assert len(mine) == 1 and "(n=24, seeds=2" in mine.iloc[0]["mean (lab)"]
    assert set(web.loc[web["student"] == f"lab:llama, for {LLAMA}", "teacher"]) == {"the lab's exact teacher"}


def test_a_lab_student_stands_for_the_one_it_names_only():
    have = comparable.kit(profile_files.load("lab"), rows("lab-k2", family="s1"))
    assert have.stand_ins([LLAMA, QWEN]) == {}  # S1.1 is neither
    assert comparable.kit(profile_files.load("lab-full"), rows("lab-k2")).stand_ins([LLAMA, QWEN]) == {
        "llama": LLAMA,
        "qwen": QWEN,
    }


def test_a_judges_ratings_stand_beside_the_printed_ones():
    have = kit(rows("math-500"))
    have.rated["llama"] = [{"metric": "informativeness (1-5)", "wrong_answer_mean": 4.0, "wrong_answer_sd": 0.5, "right_answer_mean": 3.0,
                            "right_answer_sd": None, "effect": 1.5, "low": None, "high": None, "n_wrong": 7, "n_right": 5}]  # fmt: skip
    first = published_tables.critique_quality(have).iloc[0]
    assert first["wrong answer (printed)"] == "4.36 ± 0.62"
    assert first["llama, wrong answer (kit)"] == "4.00 ± 0.50 (n=7)"
    assert first["llama, effect (kit)"] == "1.50"


def test_the_report_leaves_out_columns_without_a_number_of_the_kit():
    from cgd_utils.paper import summary

    made = summary.measured_columns(published_tables.webinstruct(kit(rows("math-500"))))
    assert "math500 (kit)" in made and "amc23 (kit)" not in made
