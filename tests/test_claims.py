"""Claims and their verdicts."""

import pandas as pd
import pytest

from cgd_utils import claims, reporting


def frame(means, benchmark="a", metric="accuracy", family="f", seeds=5):
    rows = []
    for method, mean in means.items():
        for seed in [None] if method == "base" else range(seeds):
            value = mean + (0 if seed is None else [-0.4, 0.1, 0.3, -0.1, 0.1][seed] * (1 + (method == "cgd")))
            rows.append((family, method, seed, benchmark, metric, value, 100, 0.0, 1.0))
    out = pd.DataFrame(rows, columns=reporting.COLUMNS)
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
    ("cgd", "cft", "expected"), [(76, 56, "supported"), (60, 56, "contradicted"), (76, 76, "contradicted")]
)
def test_instruction_following_is_kept_or_lost(cgd, cft, expected):
    made = claims.claims(frame({"base": 77, "cft": cft, "cgd": cgd}, "ifeval", "instruction_following"))
    assert verdict(made, "C5") == {expected}


def test_what_has_no_rows_is_not_measured():
    made = claims.claims(frame({"base": 30, "cgd": 60}))
    for claim in ("C2", "C8", "C12", "Q10"):
        assert verdict(made, claim) == {claims.NOT_MEASURED}


def test_every_claim_and_family_has_its_rows():
    both = pd.concat([frame({"base": 30, "cft": 40, "distilled_sft": 41, "cgd": 60}, family=f) for f in "fg"])
    made = claims.claims(both)
    assert list(dict.fromkeys(made["id"])) == list(claims.CLAIMS)
    assert set(made.loc[made["id"] == "C9", "family"]) == {"f", "g"}
    assert list(made.columns) == claims.COLUMNS


def test_one_seed_supports_nothing():
    made = claims.claims(frame({"base": 30, "cft": 40, "distilled_sft": 41, "cgd": 60}, seeds=1))
    assert verdict(made, "C1") == {"inconclusive"}
