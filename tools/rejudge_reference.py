"""Judges the kept reference runs anew after a rule of the claims table has changed; nothing is measured again.

python tools/rejudge_reference.py [PROFILE …]   # none named: all

The figures stay: ``results.csv`` and ``analyses.csv`` are read, ``claims.csv`` and the table ``verdicts`` are written, and the manifest's
hashes of them. Rules younger than the run's commit are marked as stated after the run.
"""

import json
import subprocess
import sys
from datetime import date

import pandas as pd
import refresh_reference
from refresh_reference import REFERENCE

from cgd_utils.core import files, profile_files, provenance, settings
from cgd_utils.paper import claims
from cgd_utils.reporting import result_rows, summaries, tables


def stored_profile(about):
    """The profile of a kept run; one of an earlier version lists the fields of every engine."""
    stored = dict(about["profile"])
    stored["generation"] = {"engine": stored["generation"]["engine"]}
    return settings.Profile.model_validate(stored)


def measured_on(about):
    """The day of the commit that the run was made with; None where this clone does not have it."""
    asked = ["git", "show", "-s", "--format=%cs", about["environment"]["git_commit"]]
    told = subprocess.run(asked, cwd=provenance.PROJECT, capture_output=True, text=True)
    return date.fromisoformat(told.stdout.strip()) if told.returncode == 0 else None


def rejudge(folder):
    """Writes the verdicts of one kept run; returns its claims table."""
    about = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    profile = stored_profile(about)
    results, analyses = (pd.read_csv(folder / f"{f}.csv", dtype={"seed": "Int64"}) for f in ("results", "analyses"))
    made = claims.claims(results, profile, analyses, claims.failed_gates(folder / "tables"), measured_on(about))
    # a kept run named the settings of its day, not those that profiles have had since
    made.loc[made["id"] == "Q3", ["estimate", "n"]] = profile_files.held(about["profile"])
    summaries.save_csv(made, folder / "claims.csv")
    tables.save_table(claims.summary(made), folder / "tables", "verdicts")
    about["outputs"] = {
        name: files.file_hash(folder / name) for name in sorted({*about["outputs"], "tables/verdicts.csv"})
    }
    files.write_json(folder / "manifest.json", about)
    return profile, results, made


def main(names):
    for name in names or sorted(p.parent.name for p in REFERENCE.glob("*/manifest.json")):
        profile, results, made = rejudge(REFERENCE / name)
        table = result_rows.headline(results, profile.evaluation.headline, profile.evaluation.level)
        found = refresh_reference.blocks(name, profile, table, made, results)
        refresh_reference.fill_pages(found)


if __name__ == "__main__":
    main(sys.argv[1:])
