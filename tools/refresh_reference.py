"""Copies a finished run to outputs/reference/<profile> and its main table into the README: ``make reference PROFILE=…``."""

import json
import sys

import pandas as pd

from cgd_utils.app import chain, report
from cgd_utils.core import files, profile_files, provenance, statistics, store
from cgd_utils.data import benchmarks
from cgd_utils.methods import display_name
from cgd_utils.paper import claims
from cgd_utils.reporting import result_rows, summaries, tables

REFERENCE = provenance.PROJECT / "outputs" / "reference"
README = provenance.PROJECT / "README.md"


def value(row):
    """Mean with its interval."""
    return statistics.told(row["mean"], row["ci_low"], row["ci_high"])


def family_table(run):
    """The mean of the accuracy benchmarks of every family and method, and CGD − distilled SFT, as the README shows it."""
    everything = pd.read_csv(run.tables / "all_methods.csv")
    methods = ["base", *run.profile.training.methods]
    means = everything[(everything["benchmark"] == "mean") & everything["method"].isin(methods)]
    table = means.assign(cell=means.apply(value, axis=1)).pivot(index="family", columns="method", values="cell")
    table = table.loc[list(run.profile.models.students), methods].rename(columns=display_name)
    against = means[means["method"] == "distilled_sft"].set_index("family")
    return (
        table.assign(**{"CGD − distilled SFT": against.apply(tables.difference_told, axis=1)})
        .reset_index()
        .to_markdown(index=False)
    )


def phrase_table(run):
    """The second world: the mean with and without the misread phrase, and CGD − method with it."""
    results, level = result_rows.read_results(run), run.profile.evaluation.level
    main = results[results["method"].isin(["base", *run.profile.training.methods])]
    graded = list(dict.fromkeys(main.loc[main["metric"] == "accuracy", "benchmark"]))
    phrase = {b: benchmarks.LAB[b][2] for b in graded}
    kinds = {
        "with the phrase": [b for b in graded if phrase[b]],
        "without it": [b for b in graded if phrase[b] is False],
    }
    out = {}
    for kind, names in kinds.items():
        table = result_rows.headline(main[main["benchmark"].isin(names)], names, level)
        for r in table[table["benchmark"] == "mean"].to_dict("records"):
            row = out.setdefault(r["method"], {"method": display_name(r["method"]), "seeds": r["n_seeds"]})
            row[f"{kind} (n={r['n_questions']})"] = value(r)
            row[f"CGD − method, {kind}"] = tables.difference_told(r)
    return pd.DataFrame(out.values()).to_markdown(index=False)


def verdict_sentences(run):
    """How many claims came out how, in the report's words."""
    results = result_rows.read_results(run)
    made = claims.claims(results, run.profile, summaries.read(run))
    table = result_rows.headline(results, run.profile.evaluation.headline, run.profile.evaluation.level)
    return "\n".join(f"- {s}" for s in report.summary(run, results, table, made) if s.startswith("Of the"))


def overview():
    """A table of the runs that are kept: command, machine, wall time."""
    lines = [
        "# Reference runs",
        "",
        "<!-- made by tools/refresh_reference.py -->",
        "",
        "Tables, figures and measurements of whole runs, a folder a profile; `manifest.json` holds settings, versions, the commit and hashes of the files.",
        "",
        "| profile | is | command | wall time | machine |",
        "| --- | --- | --- | --- | --- |",
    ]
    for path in sorted(REFERENCE.glob("*/manifest.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        minutes, env = sum(about["wall_seconds"].values()) / 60, about["environment"]
        told = f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
        machine = (
            f"{env['cpu_threads']} CPU threads ({env['machine']}), {env['memory_gib']:.0f} GiB, "
            f"{', '.join(env['gpus']) or 'no GPU'}, torch {env['versions']['torch']}"
        )
        name = path.parent.name
        lines.append(
            f"| [{name}]({name}) | {about['profile']['description']} | `{about['command']}` | {told} | {machine} |"
        )
    return "\n".join(lines) + "\n"


def main(name):
    run = store.open_run(name)
    command = "make reproduce" if name == "lab" else f"make reproduce PROFILE={name}"
    chain.keep_reference(run, REFERENCE / name, command)
    files.write_text(REFERENCE / "README.md", overview())
    if run.profile.data.source == "lab-misconception":
        block = phrase_table(run)
    elif len(run.profile.models.students) > 1:
        block = f"{family_table(run)}\n\n{verdict_sentences(run)}"
    else:
        block = (run.tables / "headline.md").read_text(encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    if f"<!-- {name} -->" in readme:
        files.write_text(README, chain.fill_readme(readme, name, block))


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "lab"
    profile_files.find(chosen)
    main(chosen)
