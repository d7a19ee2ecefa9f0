"""The HTML report."""

import re

import pandas as pd
import pytest

from cgd_utils import artifacts, report
from cgd_utils.__main__ import main


def test_the_page_holds_everything_and_needs_no_network(smoke_run):
    assert main(["report", "--profile", "smoke", "--outputs", str(smoke_run.folder.parent)]) == 0
    page = (smoke_run.folder / "report.html").read_text()
    for part in ("headline", "claims", "figures", "tables", "examples", "audit", "settings"):
        assert f'id="{part}"' in page
    assert page.count("data:image/png;base64,") == len(list(smoke_run.figures.glob("*.png"))) > 0
    assert not re.search(r'(?:src|href)="https?://', page)
    assert set(pd.read_csv(smoke_run.folder / "claims.csv")["id"]) >= {"C1", "C13", "Q11"}


def test_a_run_without_results_is_told(tmp_path):
    with pytest.raises(artifacts.BadInput, match="run 04_evaluate first"):
        report.write(artifacts.open_run("smoke", tmp_path))
