"""A run in sentences and tables to be read, for notebook 07 and the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ..core import statistics
from ..core.settings import Profile
from ..core.store import Run
from ..methods import UNTRAINED, display_name
from ..reporting import tables
from . import claims, comparable, habit, verdicts

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

STYLES = {verdicts.SUPPORTED: "color:#117733;font-weight:600", verdicts.CONTRADICTED: "color:#882255;font-weight:600"}


def sentences(run: Run, results: pd.DataFrame, table: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """The run in sentences, all made from its frames: what was asked, each family's headline, what came out how.

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
        out += [*headline(table, family, run.profile), *filter(None, [habit.note(results, family, run.profile)])]
    return out + judged(measured, about)


def judged(measured: pd.DataFrame, about: str) -> list[str]:
    """A sentence a verdict, with the claims that came out so, in words; of several families, in how many each did.

    Args:
        measured: the claims table, see `claims.claims`.
        about: what its verdicts are about, see `claims.audience`.
    """
    rows = measured.drop_duplicates(["id", "family"])
    several = len({f for f in rows["family"] if f}) > 1
    asked = rows.groupby("id")["family"].size()
    out = []
    for what, ids in (
        ("Claims of the paper", claims.OF_THE_PAPER),
        ("Questions of its reviewers", claims.OF_REVIEWERS),
    ):
        for verdict in verdicts.VERDICTS:
            mine = rows[rows["id"].isin(ids) & (rows["verdict"] == verdict)]
            counted = several and verdict != verdicts.NOT_MEASURED
            told = [
                f"{claim}: {same['statement'].iloc[0]}" + (f" ({len(same)} of {asked[claim]})" if counted else "")
                for claim, same in mine.groupby("id", sort=False)
            ]
            if told:
                where = f"{about}; in how many of the families asked" if counted else about
                out.append(f"{what}, {verdict} ({where}): {'; '.join(told)}.")
    return out


def headline(table: pd.DataFrame, family: str, profile: Profile) -> list[str]:
    """What CGD reaches in a family and how far it lies from each other method, in one sentence; none without CGD.

    ``table``: of `reporting.result_rows.headline`.
    """
    table = table[table["family"] == family]
    shown = table["method"].isin([*UNTRAINED, *profile.training.methods])
    means = table[(table["benchmark"] == "mean") & shown].set_index("method")
    if "cgd" not in means.index:
        return []
    cgd = means.loc["cgd"]
    reached, seeds = statistics.told(cgd["mean"], cgd["ci_low"], cgd["ci_high"]), int(cgd["n_seeds"])
    plural = "s" if seeds != 1 else ""
    sentence = f"{family}: CGD reaches {reached}% on the mean of the accuracy benchmarks ({seeds} seed{plural})"
    compared = means.dropna(subset=["difference"])
    parts = [f"{tables.difference_told(row)} against {display_name(method)}" for method, row in compared.iterrows()]
    told = [sentence + (": " + ", ".join(parts) + " points." if parts else ".")]
    told += [reading(compared, profile.evaluation.level)] if parts else []
    return told


def reading(compared: pd.DataFrame, level: float) -> str:
    """Which of CGD's differences to other methods are shown, in one sentence.

    ``compared``: rows by method, with ``difference`` and ``p``; a difference is shown where p, Holm-corrected over them, is below
    1 − level.
    """
    corrected = statistics.holm(compared["p"].to_numpy(float))
    found: dict[str, list[str]] = {}
    for (method, row), p in zip(compared.iterrows(), corrected, strict=True):
        kind = "not tested" if p != p else "open" if p >= 1 - level else "above" if row["difference"] > 0 else "below"
        found.setdefault(kind, []).append(display_name(str(method)))
    words = {
        "above": "CGD is shown to lie above {}",
        "below": "CGD is shown to lie below {}",
        "open": "no difference is shown to {}",
        "not tested": "nothing was tested against {}",
    }
    told = "; ".join(words[kind].format(", ".join(found[kind])) for kind in words if kind in found)
    return f"{told[0].upper()}{told[1:]} ({100 * level:g}%, corrected for {len(compared)} comparisons)."


def coloured(frame: pd.DataFrame) -> Styler:
    """A table whose verdicts are coloured; the word says the same."""
    return frame.style.hide(axis="index").map(lambda cell: STYLES.get(cell, ""))


def measured_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A published table without the kit's columns in which nothing was measured."""
    empty = [c for c in table if c.endswith("(kit)") and all(map(comparable.is_missing, table[c]))]
    return table.drop(columns=empty)
