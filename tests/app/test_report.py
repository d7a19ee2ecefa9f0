"""The HTML report."""

import html
import re

import pandas as pd
import pytest

from cgd_utils.__main__ import main
from cgd_utils.app import report
from cgd_utils.core import errors, store
from cgd_utils.paper import claims
from cgd_utils.reporting import result_rows, summaries


def test_the_page_holds_everything_and_needs_no_network(smoke_run):
    assert main(["report", "--profile", "smoke", "--outputs", str(smoke_run.folder.parent)]) == 0
    page = (smoke_run.folder / "report.html").read_text()
    for part in (
        "summary",
        "headline",
        "claims",
        "published",
        "figures",
        "tables",
        "examples",
        "audit",
        "departures",
        "settings",
    ):
        assert f'id="{part}"' in page
    assert page.count("data:image/png;base64,") == len(list(smoke_run.figures.glob("*.png"))) > 0
    assert not re.search(r'(?:src|href)="https?://', page)
    assert set(pd.read_csv(smoke_run.folder / "claims.csv")["id"]) >= {"C1", "C13", "Q11"}


def test_every_picture_has_its_caption(smoke_run):
    report.write(smoke_run)
    page = (smoke_run.folder / "report.html").read_text()
    alts = [html.unescape(a) for a in re.findall(r'<img alt="([^"]*)"', page)]
    told = [p.with_suffix(".txt").read_text().strip() for p in sorted(smoke_run.figures.glob("*.png"))]
    assert alts == told
    assert all("seed" in t for t in told)


def test_the_summary_says_what_the_frames_say(smoke_run):
    results = result_rows.read_results(smoke_run)
    table = result_rows.headline(results)
    made = claims.claims(results, smoke_run.profile, summaries.read(smoke_run))
    asked, family, *counts = report.summary(smoke_run, results, table, made)
    cgd = table[(table["method"] == "cgd") & (table["benchmark"] == "mean")].iloc[0]
    assert f"CGD reaches {cgd['mean']:.1f} [{cgd['ci_low']:.1f}, {cgd['ci_high']:.1f}]% on the mean" in family
    assert "about the lab" in asked
    for sentence, letter, n in zip(counts, "CQ", (13, 11), strict=True):
        assert sum(map(int, re.findall(r"[:;] (\d+) ", sentence))) == n
        named = {i: v for v, ids in re.findall(r"\d+ ([a-z ]+) \(([^)]*)\)", sentence) for i in ids.split(", ")}
        assert named == made[made["id"].str.startswith(letter)].groupby("id")["verdict"].first().to_dict()


def test_the_page_is_well_formed_and_fits_a_phone(smoke_run):
    report.write(smoke_run)
    page = (smoke_run.folder / "report.html").read_text()
    assert 'name="viewport"' in page
    assert "@media print" in page
    for tag in ("table", "div", "details", "figure", "section", "pre", "ul"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
    anchors = re.findall(r'href="#(\w+)"', page)
    assert all(f'id="{a}"' in page for a in anchors)
    assert "Settings the paper does not give" in page


def test_a_run_without_results_is_told(tmp_path):
    with pytest.raises(errors.BadInput, match="run 04_evaluate first"):
        report.write(store.open_run("smoke", tmp_path))
