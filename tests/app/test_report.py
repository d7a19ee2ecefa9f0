"""The HTML report: what notebook 07 shows, without its code, as one file."""

import html
import json
import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from cgd_utils.__main__ import main
from cgd_utils.app import chain, report
from cgd_utils.core import errors, store
from cgd_utils.paper import claims, summary
from cgd_utils.reporting import result_rows, summaries

SECTIONS = (
    "Summary",
    "Headline",
    "Claims",
    "The published tables, with this run beside them",
    "Do the published tables add up?",
    "Figures of the ablations and analyses",
    "Tables of the run",
    "Examples",
    "Departures from the paper",
    "Settings and provenance",
)


@pytest.fixture(scope="module")
def page(smoke_run):
    return report.write(smoke_run).read_text(encoding="utf-8")


def test_the_command_makes_the_page_and_says_where(smoke_run, capsys):
    assert main(["report", "--profile", "smoke", "--outputs", str(smoke_run.folder.parent), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"report": str(smoke_run.folder / "report.html"), "claims": str(smoke_run.folder / "claims.csv")}
    assert set(pd.read_csv(told["claims"])["id"]) >= {"C1", "C13", "Q11"}


def test_the_page_holds_everything_and_needs_no_network(smoke_run, page):
    for name in SECTIONS:
        assert f'id="{name.replace(" ", "-")}"' in page
    for part in ("What each verdict rests on", 'class="cgd-example"', "wall_seconds", "training:", "torch"):
        assert part in page
    pictures = len(list(smoke_run.figures.glob("*.png")))
    assert page.count("data:image/png;base64,") == pictures > 0
    assert not re.search(r'(?:src|href)="https?://|<script|<link|@import|url\(', page)


def test_what_is_read_in_the_notebook_is_what_is_reported(smoke_run, page):
    cells = json.loads(chain.executed_copy(smoke_run, chain.NAMES[-1]).read_text(encoding="utf-8"))["cells"]
    shown = [o["data"] for c in cells if c["cell_type"] == "code" for o in c["outputs"] if "data" in o]
    tables = ["".join(data["text/html"]) for data in shown if "text/html" in data]
    text = BeautifulSoup(page, "html.parser").get_text(" ", strip=True)
    assert tables and all(BeautifulSoup(t, "html.parser").get_text(" ", strip=True) in text for t in tables)
    assert 'class="input"' not in page and "open_run(" not in page


def test_every_picture_has_its_caption(smoke_run, page):
    alts = [html.unescape(a) for a in re.findall(r'<img [^>]*alt="([^"]*)"', page)]
    told = [p.with_suffix(".txt").read_text(encoding="utf-8").strip() for p in smoke_run.figures.glob("*.png")]
    assert sorted(alts) == sorted(told)
    assert all("seed" in t for t in told)


def test_the_summary_says_what_the_frames_say(smoke_run, page):
    results = result_rows.read_results(smoke_run)
    table = result_rows.headline(results)
    made = claims.claims(results, smoke_run.profile, summaries.read(smoke_run))
    asked, family, *counts = summary.sentences(smoke_run, results, table, made)
    assert all(html.escape(s, quote=False) in page for s in (asked, family, *counts))
    cgd = table[(table["method"] == "cgd") & (table["benchmark"] == "mean")].iloc[0]
    assert f"CGD reaches {cgd['mean']:.1f} [{cgd['ci_low']:.1f}, {cgd['ci_high']:.1f}]% on the mean" in family
    assert "about the lab" in asked
    judged = made.drop_duplicates(["id", "family"])
    for words, letter in (("Claims of the paper", "C"), ("Questions of its reviewers", "Q")):
        told = {
            i: s.split(", ")[1].split(" (")[0]
            for s in counts
            if s.startswith(words)
            for i in re.findall(r"\b[CQ]\d+(?=:)", s)
        }
        assert told == judged[judged["id"].str.startswith(letter)].set_index("id")["verdict"].to_dict()
    assert all(statement in " ".join(counts) for statement in judged["statement"])


def test_the_page_is_well_formed_and_fits_a_phone(page):
    assert 'name="viewport"' in page
    assert "@media print" in page
    for tag in ("table", "div", "details", "pre", "ul"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
    anchors = re.findall(r'href="#([^"]+)"', page)
    assert all(f'id="{a}"' in page for a in anchors)
    assert "Settings the paper does not give" in page


def test_a_run_without_an_executed_notebook_is_told_the_way_out(tmp_path, smoke_run):
    with pytest.raises(errors.BadInput, match=r"07_tables_and_figures.*not executed.*cgd run --profile smoke"):
        report.write(store.open_run("smoke", tmp_path))
    torn = store.open_run("smoke", tmp_path)
    copy = chain.executed_copy(torn, chain.NAMES[-1])
    copy.parent.mkdir(parents=True)
    copy.write_bytes(chain.executed_copy(smoke_run, chain.NAMES[-1]).read_bytes())  # no manifest: a cell failed
    with pytest.raises(errors.BadInput, match="not executed"):
        report.write(torn)


def test_a_report_of_an_older_notebook_says_so(smoke_run, capsys):
    folder = ["--outputs", str(smoke_run.folder.parent), "--set", "evaluation.level=0.9"]
    assert main(["report", "--profile", "smoke", *folder]) == 0
    assert "made of an older 07_tables_and_figures" in capsys.readouterr().out.replace("\n", " ")
