"""A run in sentences and tables to be read, for notebook 07 and the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ..core import statistics
from ..core.settings import Profile
from ..core.store import Run
from ..methods import display_name
from ..reporting import tables
from . import claims, comparable, verdicts

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

STYLES = {verdicts.SUPPORTED: "color:#117733;font-weight:600", verdicts.CONTRADICTED: "color:#882255;font-weight:600"}


def sentences(run: Run, results: pd.DataFrame, table: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """The run in sentences, all made from its frames: what was asked, each family's headline, the count of verdicts.

    Args:
        run: the run.
        results: the rows of ``results.csv``.
        table: `reporting.result_rows.headline` of them.
        measured: the claims table, see `claims.claims`.
    """
    about = claims.audience(run.profile)
    graded = results[results["metric"] == "accuracy"].groupby("benchmark")["n"].max()
    asked = f"{int(graded.sum())} questions of {len(graded)} accuracy benchmarks a model"
    out = [f"Asked: {asked}; every figure below is about {about}."]
    for family in dict.fromkeys(table["family"]):
        out += _headline(table[table["family"] == family], family, run.profile)
    asked_by = {"claims of the paper": claims.OF_THE_PAPER, "questions of its reviewers": claims.OF_REVIEWERS}
    for what, ids in asked_by.items():
        verdict = measured[measured["id"].isin(ids)].groupby("id", sort=False)["verdict"].agg(_joint)
        counts = [
            f"{len(same)} {v} ({', '.join(same)})" for v, same in verdict.groupby(verdict, sort=False).groups.items()
        ]
        out.append(f"Of the {len(verdict)} {what}: {'; '.join(counts)}. They are about {about}.")
    return out


def _joint(each: pd.Series[str]) -> str:
    """The verdict of a claim over its families."""
    distinct = dict.fromkeys(each)
    return verdicts.NOT_MEASURED if verdicts.NOT_MEASURED in distinct else verdicts.joint(distinct)


def _headline(table: pd.DataFrame, family: str, profile: Profile) -> list[str]:
    shown = table["method"].isin(["base", *profile.training.methods])
    means = table[(table["benchmark"] == "mean") & shown].set_index("method")
    if "cgd" not in means.index:
        return []
    cgd = means.loc["cgd"]
    reached, seeds = statistics.told(cgd["mean"], cgd["ci_low"], cgd["ci_high"]), int(cgd["n_seeds"])
    plural = "s" if seeds != 1 else ""
    sentence = f"{family}: CGD reaches {reached}% on the mean of the accuracy benchmarks ({seeds} seed{plural})"
    compared = means.dropna(subset=["difference"])
    parts = [f"{tables.difference_told(row)} against {display_name(method)}" for method, row in compared.iterrows()]
    return [sentence + (": " + ", ".join(parts) + " points." if parts else ".")]


def coloured(frame: pd.DataFrame) -> Styler:
    """A table whose verdicts are coloured; the word says the same."""
    return frame.style.hide(axis="index").map(lambda cell: STYLES.get(cell, ""))


def measured_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A published table without the kit's columns in which nothing was measured."""
    empty = [c for c in table if c.endswith("(kit)") and all(map(comparable.is_missing, table[c]))]
    return table.drop(columns=empty)
