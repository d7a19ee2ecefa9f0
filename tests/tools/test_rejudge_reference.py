"""The verdicts, tables and sentences that are kept are those of the rules as they stand."""

import shutil

import pandas as pd
import pytest
import refresh_reference
import rejudge_reference

from cgd_utils.reporting import result_rows

KEPT = sorted(p.parent for p in refresh_reference.REFERENCE.glob("*/manifest.json"))


@pytest.fixture(scope="module", params=KEPT, ids=[p.name for p in KEPT])
def judged(request, tmp_path_factory):
    copy = tmp_path_factory.mktemp("kept") / request.param.name
    shutil.copytree(request.param, copy, ignore=shutil.ignore_patterns("figures", "notebooks"))
    about = (copy / "manifest.json").read_text(encoding="utf-8")
    # hashes are of files that are not copied here
    (copy / "manifest.json").write_text(about.replace('"outputs": {', '"outputs": {}, "all": {'), encoding="utf-8")
    return request.param, copy, *rejudge_reference.rejudge(copy)


def stable(path):
    """A claims table without what a clone that lacks the run's commit cannot tell."""
    return pd.read_csv(path, keep_default_na=False).drop(columns="rule_stated")


def test_the_kept_verdicts_are_those_of_the_rules(judged):
    kept, copy, *_ = judged
    pd.testing.assert_frame_equal(stable(copy / "claims.csv"), stable(kept / "claims.csv"))


def test_every_kept_verdict_has_its_reason_and_its_figures(judged):
    kept, *_ = judged
    table = pd.read_csv(kept / "claims.csv")
    assert table["reason"].notna().all() and table["rule_fixed"].notna().all()
    alone = table[table["alone"].isin(["supported", "contradicted"])]
    assert alone[["n", "seeds", "ci_low", "ci_high", "p", "why"]].notna().all().all()
    assert (alone["ci_low"] < alone["ci_high"]).all()


def test_the_pages_show_the_kept_tables(judged):
    kept, _, profile, results, made = judged
    table = result_rows.headline(results, profile.evaluation.headline, profile.evaluation.level)
    block = refresh_reference.blocks(kept.name, profile, table, made, results)[kept.name]
    pages = "\n".join(p.read_text(encoding="utf-8") for p in refresh_reference.PAGES)
    assert f"<!-- {kept.name} -->\n{block}\n<!-- end" in pages
