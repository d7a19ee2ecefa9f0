"""Claims and their verdicts."""

from datetime import date

import pandas as pd
import pytest

from cgd_utils.ablations import grids
from cgd_utils.analysis import inference_time
from cgd_utils.core import profile_files, statistics
from cgd_utils.paper import audit, claims, verdicts
from cgd_utils.reporting import result_rows, summaries


def ends(percent, n=100):
    i = statistics.wilson(percent * n / 100, n)
    return i.low, i.high


def frame(means, benchmark="a", metric="accuracy", family="f", seeds=5):
    rows = []
    for method, mean in means.items():
        for seed in [None] if method == "base" else range(seeds):
            value = mean + (0 if seed is None else [-0.4, 0.1, 0.3, -0.1, 0.1][seed] * (1 + (method == "cgd")))
            low, high = (100 * x for x in ends(value))
            rows.append((family, method, seed, benchmark, metric, value, 100, low, high))
    out = pd.DataFrame(rows, columns=result_rows.COLUMNS)
    out["seed"] = out["seed"].astype("Int64")
    return out


def verdict(table, claim):
    return set(table.loc[table["id"] == claim, "verdict"])


@pytest.mark.parametrize(
    ("cgd", "cft", "distilled", "expected"),
    [
        (60, 50, 52, "supported"),
        (60, 50, 70, "contradicted"),
        (60, 50, 60, "inconclusive"),
        (40, 50, 60, "contradicted"),
    ],
)
def test_a_gain_is_judged_by_its_interval(cgd, cft, distilled, expected):
    made = claims.claims(frame({"base": 30, "cft": cft, "distilled_sft": distilled, "cgd": cgd}))
    assert verdict(made, "C1") == {expected}


@pytest.mark.parametrize(
    ("cgd", "cft", "expected"),
    [
        (81, 56, "supported"),
        (60, 56, "contradicted"),
        (81, 81, "inconclusive"),
        (81, 77, "inconclusive"),
        (76, 56, "inconclusive"),
    ],
)
def test_instruction_following_is_kept_or_lost(cgd, cft, expected):
    made = claims.claims(frame({"base": 77, "cft": cft, "cgd": cgd}, "ifeval", "instruction_following"))
    assert verdict(made, "C5") == {expected}


def test_what_has_no_rows_is_not_measured():
    made = claims.claims(frame({"base": 30, "cgd": 60}))
    for claim in ("C2", "C8", "C12", "Q10"):
        assert verdict(made, claim) == {verdicts.NOT_MEASURED}


def test_every_claim_and_family_has_its_rows():
    both = pd.concat([frame({"base": 30, "cft": 40, "distilled_sft": 41, "cgd": 60}, family=f) for f in "fg"])
    made = claims.claims(both)
    assert list(dict.fromkeys(made["id"])) == list(claims.CLAIMS)
    assert set(made.loc[made["id"] == "C9", "family"]) == {"f", "g"}
    assert list(made.columns) == claims.COLUMNS
    assert made["rule"].str.len().min() > 0


def test_each_family_is_judged_for_itself_and_counted():
    parts = [
        frame({"base": 30, "cft": 40, "distilled_sft": 41, "cgd": 30 if f == "g" else 60}, family=f) for f in "fghij"
    ]
    made = claims.claims(pd.concat(parts))
    mine = made[made["id"] == "C9"].drop_duplicates("family").set_index("family")["verdict"]
    assert dict(mine) == {f: "contradicted" if f == "g" else "supported" for f in "fghij"}
    counted = claims.summary(made).set_index("id").loc["C9", "families"]
    assert counted == "supported in 4 of 5; contradicted in 1 of 5"


def test_one_family_says_nothing_of_families():
    made = claims.claims(frame({"base": 30, "cft": 40, "distilled_sft": 41, "cgd": 60}))
    assert verdict(made, "C9") == {verdicts.NOT_MEASURED}


def test_one_seed_supports_nothing():
    made = claims.claims(frame({"base": 30, "cft": 40, "distilled_sft": 41, "cgd": 60}, seeds=1))
    assert verdict(made, "C1") == {"inconclusive"}


def test_a_lab_counterpart_is_named_as_such():
    lab = profile_files.load("lab")
    both = pd.concat([frame({"base": 3, "cft": 4, "distilled_sft": 4, "cgd": 60}, b) for b in ("lab-k4", "lab-k6")])
    made = claims.claims(both, lab).set_index("id")
    assert made.loc["C2", "measured"].startswith(
        "lab counterpart of amc23 (lab-k6, the longest step count never trained on)"
    )
    assert made.loc["C3", "measured"].startswith(
        "lab counterpart of math-500 (lab-k4, the longest step count trained on)"
    )
    assert made.loc["C2", "scope"] == "the lab"
    assert made.loc["C11", "verdict"] == verdicts.NOT_MEASURED
    assert made.loc["C2", "statement"].startswith("CGD beats CFT on AMC23 (here: lab counterpart of amc23")
    real = claims.claims(frame({"base": 3, "cft": 4, "cgd": 60}, "amc23")).set_index("id")
    assert real.loc["C2", "measured"] == "CGD − CFT, amc23"
    assert real.loc["C2", "scope"] == "this run's models"


def analysed(*rows, spread=0.01):
    """Measurement rows of five seeds around a value: (analysis, method, condition, metric, value)."""
    return summaries.frame([
        {"analysis": a, "family": "f", "method": m, "seed": s, "condition": c, "metric": k, "value": v + d, "n": 50, "ci_low": v - 0.1, "ci_high": v + 0.1}
        for a, m, c, k, v in rows for s, d in (enumerate(spread * k for k in (-2, -1, 0, 1, 2)) if m != "base" else [(None, 0)])
    ])  # fmt: skip


RESULTS = {"base": 30, "cft": 40, "distilled_sft": 41, "cgd": 60}


@pytest.mark.parametrize(
    ("first", "last", "expected"), [(0.3, -0.5, "supported"), (0.3, 0.5, "contradicted"), (0.0, -0.5, "inconclusive")]
)
def test_attention_is_judged_in_the_first_and_the_last_layer(first, last, expected):
    rows = [("attention", "cgd", "first layer", "c − x", first), ("attention", "cgd", "last layer", "c − x", last)]
    rows += [("attention", "cgd", "layer 0", p, 0.2) for p in ("c", "y'", "x")]
    made = claims.claims(frame(RESULTS), analyses=analysed(*rows))
    assert verdict(made, "C13") == {expected}
    mine = made[made["id"] == "C13"]
    assert mine["estimate"].tolist() == pytest.approx([100 * first, 100 * last, 20, 20, 20])
    assert mine["alone"].tolist()[2:] == ["", "", ""]


@pytest.mark.parametrize(("value", "expected"), [(-0.5, "supported"), (0.5, "contradicted")])
def test_uncertainty_must_fall(value, expected):
    conditions = ["(x, y', c) − (x)", "(x, y', c) − (x, y')", "(x, y', c) − (x, y', another c)"]
    rows = [
        ("uncertainty", m, c, k, value * 4) for m in ("base", "cgd") for c in conditions for k in ("nll", "entropy")
    ]
    assert verdict(claims.claims(frame(RESULTS), analyses=analysed(*rows)), "C12") == {expected}


@pytest.mark.parametrize(("passes", "expected"), [(1, "by design"), (3, "contradicted")])
def test_more_passes_are_more_computation(passes, expected):
    rows = [
        ("cost", m, "b", k, v)
        for m, p in (("base", 1), ("cgd", passes))
        for k, v in (("passes", p), ("tokens", 10 * p))
    ]
    assert verdict(claims.claims(frame(RESULTS), analyses=analysed(*rows, spread=0)), "C7") == {expected}


def test_the_published_figures_come_from_the_printed_tables():
    told = claims.claims(frame(RESULTS)).set_index("id")["published"]
    for claim, figures in {
        "C2": "+15.0",
        "C3": "+12.2",
        "C5": "76.9",
        "C8": "-9.2",
        "C10": "4.4×",
        "C11": "64.6",
    }.items():
        assert figures in told.loc[[claim]].iloc[0]


def test_claims_that_rest_on_flawed_averages_say_so():
    made = claims.claims(frame(RESULTS))
    flagged = set(made.loc[made["audit"] != "", "id"])
    assert flagged == {c for cell in audit.averages() for c in cell.claims.split(", ")}
    assert "printed 35.4" in made.loc[made["id"] == "C1", "audit"].iloc[0]


def test_every_grid_that_a_claim_reads_exists():
    for name in ("draft_source", "critique_error_rate", "biased_critiques", "answer_leakage", "teacher", "epochs"):
        assert name in grids.GRIDS


def test_the_summary_has_a_row_a_claim():
    made = claims.claims(frame(RESULTS), profile_files.load("lab"))
    shown = claims.summary(made)
    assert list(shown["id"]) == list(claims.CLAIMS)
    assert set(inference_time.hardest(profile_files.load("lab"))) == {"in range", "beyond"}


def test_a_loss_of_few_questions_is_told_and_not_judged():
    few, many = (
        summaries.frame([{"analysis": "losses", "family": "f", "method": "cgd", "seed": s, "condition": "lost to cft", "metric": "all",
                             "value": 60.0 + s, "n": n, "ci_low": 40.0, "ci_high": 70.0} for s in range(3)]) for n in (5, 50)
    )  # fmt: skip
    assert verdict(claims.claims(frame(RESULTS), analyses=few), "Q9") == {verdicts.NOT_MEASURED}
    assert verdict(claims.claims(frame(RESULTS), analyses=many), "Q9") == {"supported"}


# ---------------------------------------------------------------- Pass@k at low k
def curve(method, seed, value, metric="pass@4", condition="aime24", n=30):
    low, high = (100 * x for x in ends(value, n))
    return {"analysis": "pass@k", "family": "f", "method": method, "seed": seed, "condition": condition, "metric": metric,
            "value": value, "n": n, "ci_low": low, "ci_high": high}  # fmt: skip


@pytest.mark.parametrize(("cgd", "expected"), [((3.4, 3.3, 3.4), "not testable here"), ((60.0, 61.0, 62.0), "supported"),
                                               ((0.0, 0.0, 0.0), "not testable here")])  # fmt: skip
def test_low_k_does_not_rest_on_one_question(cgd, expected):
    """The base's 30 questions are a sample too: one question more of them shows nothing."""
    rows = [curve("base", None, 0.0), *(curve("cgd", s, v) for s, v in enumerate(cgd))]
    made = claims.claims(frame(RESULTS), analyses=summaries.frame(rows))
    assert verdict(made, "C4") == {expected}
    (mine,) = made[made["id"] == "C4"].itertuples()
    assert mine.ci_low < mine.estimate < mine.ci_high


def test_low_k_is_asked_of_exactly_the_ks_up_to_eight():
    rows = [curve(m, s, 20.0, f"pass@{k}") for m, s in (("base", None), ("cgd", 0)) for k in (1, 2, 4, 8, 16)]
    told = claims.claims(frame(RESULTS), analyses=summaries.frame(rows))
    told = told.loc[told["id"] == "C4", "measured"]
    assert [t.split(", ")[1] for t in told] == ["pass@1", "pass@2", "pass@4", "pass@8"]


def test_greedy_accuracy_is_pass_at_1_where_nothing_was_sampled():
    told = claims.claims(frame({"base": 3, "cgd": 60}, "aime24")).set_index("id").loc["C4"]
    assert told["measured"] == "CGD − base, pass@1, aime24" and told["verdict"] == "supported"


def test_one_question_more_is_no_gain_however_often_it_is_seen():
    """Five seeds that each answer one question more of 100 agree on it; the questions do not."""
    values = {"cft": [10.0] * 5, "cgd": [11.0, 11.0, 11.0, 11.0, 12.0]}
    rows = [
        ("f", m, s, "amc23", "accuracy", v, 100, *(100 * x for x in ends(v)))
        for m, vs in values.items()
        for s, v in enumerate(vs)
    ]
    results = pd.DataFrame(rows, columns=result_rows.COLUMNS).astype({"seed": "Int64"})
    assert verdict(claims.claims(results), "C2") == {"inconclusive"}


@pytest.mark.parametrize(("rate", "low", "high"), [(1e-4, 1, 5), (5e-6, 0.2, 1), (1e-6, 1, 5)])
def test_the_learning_rates_are_cells_of_the_grid_in_the_papers_ratio(rate, low, high):
    profile = profile_files.load("lab", {"training.learning_rate": rate})
    change = {"cgd": 1, "cft": 10}
    values = {c.name: 50 - change[c.method] * (c.x == high) for c in grids.GRIDS["learning_rate"].cells
              if c.method in change and c.x in (low, high)}  # fmt: skip
    made = claims.claims(frame({"base": 30, **values}), profile)
    (mine,) = made[made["id"] == "C8"].itertuples()
    assert mine.estimate == pytest.approx(9, abs=0.3)
    printed = audit.read_table(audit.PUBLISHED, "table_lr_stability")[0]
    assert [float(c.removeprefix("avg_lr_")) for c in printed if c.startswith("avg_lr_")] == list(grids.PAPER_RATES)
    if rate == 5e-6:
        assert [grids.scaled_rate(profile, x) for x in (low, high)] == list(grids.PAPER_RATES)


def test_seeds_without_spread_keep_their_interval_over_items():
    about = {"analysis": "a", "family": "f", "method": "m", "condition": "c", "metric": "k", "value": 0.0, "n": 2,
             "ci_low": -5.0, "ci_high": 5.0}  # fmt: skip
    row = summaries.over_seeds(summaries.frame([{**about, "seed": s} for s in range(3)])).iloc[0]
    assert (row["ci_low"], row["ci_high"], row["over"], row["seeds"]) == (-5.0, 5.0, "questions", 3)


def printed():
    """The published figures, read from the printed tables where these hold them."""
    web, ood, aime, rate = (
        audit.read_table(audit.PUBLISHED, f"table_{t}") for t in ("webinstruct", "ood", "aime24", "lr_stability")
    )
    content = audit.read_table(audit.PUBLISHED, "table_critique_content")

    def cell(rows, column, **where):
        return float(next(r[column] for r in rows if all(r[k] == x for k, x in where.items())))

    llama, s1 = {"student": "LLaMA3.1-8B-Instruct", "teacher": "LLaMA3.3-70B-Instruct"}, {"student": "S1.1-3B"}
    c2 = cell(web, "amc23", method="cgd", **llama) - cell(web, "amc23", method="cft", **llama)
    c3 = cell(web, "math500", method="cgd", **s1) - cell(web, "math500", method="cft", **s1)
    ifeval = [cell(ood, "ifeval", method=m) for m in ("base", "cgd", "cft_gpt4o")]
    pass1, words, steps = ([cell(aime, s, metric=m) for s in ("base", "cgd")]
                           for m in ("pass@1 greedy (%)", "reasoning length (words)", "reasoning steps"))  # fmt: skip
    code = [cell(ood, "humaneval", method=m) for m in ("base", "cgd")]
    order = " > ".join(r["condition"] for r in sorted(content, key=lambda r: -float(r["math500"])))
    changes = [cell(rate, "change", method=m) for m in ("cgd", "cft")]
    return {
        "C2": f"{c2:+.1f} (LLaMA3.1-8B)", "C3": f"{c3:+.1f} (S1.1-3B)",
        "C4": f"AIME24 Pass@1 {pass1[0]:g} → {pass1[1]:g}", "C5": f"IFEval {ifeval[0]:g} → {ifeval[1]:g} (CGD), {ifeval[2]:g} (CFT)",
        "C6": f"MATH-500: {order}", "C8": f"{changes[0]:g} (CGD) against {changes[1]:g} (CFT)",
        "C10": f"{words[1] / words[0]:.1f}× words, {steps[1] / steps[0]:.1f}× steps (AIME24)",
        "C11": f"HumanEval {code[0]:g} → {code[1]:g}",
    }  # fmt: skip


def test_the_published_figures_of_the_claims_are_those_of_the_printed_tables():
    told = {claim: words.get("published") for claim, words in claims.CLAIMS.items()}
    assert {claim: told[claim] for claim in printed()} == printed()


def test_a_failed_gate_leaves_comparisons_of_methods_untested(tmp_path):
    assert claims.failed_gates(tmp_path) == {}
    gates = [
        {"family": "f", "gate": "g1", "passed": False},
        {"family": "f", "gate": "g2", "passed": True},
        {"family": "f", "gate": "g3", "passed": None},
    ]
    pd.DataFrame(gates).to_csv(tmp_path / "gates.csv", index=False)
    failed = claims.failed_gates(tmp_path)
    assert failed == {"f": ["g1"]}
    made = claims.claims(frame(RESULTS), failed=failed)
    assert verdict(made, "C1") == {"not testable here"}
    assert set(made.loc[made["id"] == "C1", "reason"]) == {"gate failed: g1"}


@pytest.mark.parametrize(("day", "stated"), [(1, "after the run"), (28, "before the run"), (30, "before the run")])
def test_a_rule_that_was_fixed_after_the_run_says_so(day, stated):
    made = claims.claims(frame(RESULTS), measured_on=date(2026, 11, day))
    assert set(made["rule_stated"]) == {stated}
    assert set(claims.claims(frame(RESULTS))["rule_stated"]) == {""}


def test_every_verdict_has_its_reason():
    made = claims.claims(frame(RESULTS), profile_files.load("lab"))
    assert (made["reason"] != "").all()
    judged = made[made["alone"] != ""]
    assert (judged["why"] != "").all() and judged["n"].notna().all() and judged["seeds"].notna().all()


def test_a_change_is_compared_by_its_size():
    """CGD gains 40 points at the higher rate, CFT loses 1: CGD moves more."""
    cells = {("cgd", 1): 20, ("cgd", 5): 60, ("cft", 1): 50, ("cft", 5): 49}
    values = {c.name: cells[c.method, c.x] for c in grids.GRIDS["learning_rate"].cells if (c.method, c.x) in cells}
    made = claims.claims(frame({"base": 30, **values}), profile_files.load("lab"))
    (mine,) = made[made["id"] == "C8"].itertuples()
    assert mine.estimate == pytest.approx(-39, abs=0.3) and mine.verdict == "contradicted"


def test_what_lies_at_the_floor_does_not_move():
    cells = {("cgd", 1): 50, ("cgd", 5): 54, ("cft", 1): 1, ("cft", 5): 1}
    values = {c.name: cells[c.method, c.x] for c in grids.GRIDS["learning_rate"].cells if (c.method, c.x) in cells}
    made = claims.claims(frame({"base": 1, **values}), profile_files.load("lab"))
    assert verdict(made, "C8") == {"not testable here"}
