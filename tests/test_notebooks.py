"""Cells of a notebook may be run again, in any order: the files of the run stay the same."""

import hashlib
import json
import shutil

import pandas as pd
import pytest

from cgd_utils.app.chain import NAMES, NOTEBOOKS
from cgd_utils.core import store

LEFT = ("results.csv", "analyses.csv", "claims.csv", "tables", "figures")


@pytest.fixture(scope="module")
def finished(smoke_run, tmp_path_factory):
    """A copy of the smoke run, to be run again in."""
    outputs = tmp_path_factory.mktemp("again")
    shutil.copytree(smoke_run.folder, outputs / "smoke")
    return store.open_run("smoke", outputs)


def files(run):
    """Name → hash of what a run leaves to be read."""
    found = [p for name in LEFT for p in [run.folder / name, *(run.folder / name).glob("*")] if p.is_file()]
    return {p.relative_to(run.folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def notebook(run, name):
    """The code cells of a notebook, as functions that run them in one namespace, its parameters set for the run."""
    import IPython.display

    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    parameters = {"profile": "smoke", "outputs": str(run.folder.parent), "overrides": {}}
    space = {"__name__": "__main__", "display": IPython.display.display}
    out = []
    for i, c in enumerate(cells):
        if c["cell_type"] == "code":
            code = compile("".join(c["source"]), f"{name}, cell {i}", "exec")
            more = parameters if "parameters" in c["metadata"].get("tags", ()) else {}
            out.append(lambda code=code, more=more: (exec(code, space), space.update(more), _close()))
    return out


def _close():
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.parametrize("name", NAMES)
def test_cells_run_twice_and_backwards_leave_the_same_files(finished, name, monkeypatch, capsys):
    monkeypatch.setenv("CGD_IN_CHAIN", "1")  # no live pictures
    chain = files(finished)
    cells = notebook(finished, name)
    for run in (c for cell in cells for c in (cell, cell)):
        run()
    twice = files(finished)
    tables = [
        n for n in chain if n.endswith((".csv", ".md", ".tex", ".txt"))
    ]  # pictures differ with the notebook's backend
    assert {n: twice.get(n) for n in tables} == {n: chain[n] for n in tables}
    for run in reversed(cells):
        run()
    assert files(finished) == twice


def test_a_seed_is_counted_once(smoke_run):
    kept = pd.read_csv(smoke_run.folder / "analyses.csv")
    assert not kept.duplicated(["analysis", "family", "method", "seed", "condition", "metric"]).any()
