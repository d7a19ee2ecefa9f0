"""Copies a finished run to outputs/reference/<profile> and its main table into the README: ``make reference PROFILE=…``."""

import base64
import io
import json
import shutil
import sys

import nbformat
import pandas as pd
from PIL import Image

from cgd_utils.app import chain, report
from cgd_utils.core import errors, files, profile_files, provenance, statistics, store
from cgd_utils.methods import UNTRAINED, display_name
from cgd_utils.paper import claims, habit, summary
from cgd_utils.reporting import result_rows, tables

REFERENCE = provenance.PROJECT / "outputs" / "reference"
README = provenance.PROJECT / "README.md"
PAGES = (README, provenance.PROJECT / "docs" / "results.md")  # have places for the tables of the runs
LARGEST = 2**20  # bytes of a rendered notebook
WIDTHS = (900, 600, 400, 250)  # pixels of its pictures, tried until it is small enough


def keep_reference(run, folder, command):
    """Copies tables, figures, results and notebooks of a finished run to ``folder``, with a manifest that says how they were made.

    Raises:
        BadInput: a stage of the run is not done.
    """
    open_stages = [r["stage"] for r in chain.status(run) if r["state"] != "done"]
    if open_stages:
        raise errors.BadInput(f"run {run.profile.name!r} is not finished ({', '.join(open_stages)}): run it first")
    shutil.rmtree(folder, ignore_errors=True)
    for place in (run.tables, run.figures):
        shutil.copytree(place, folder / place.name)
    for name in ("results.csv", "analyses.csv", "claims.csv"):
        shutil.copy(run.folder / name, folder)
    render_notebooks(run, folder / "notebooks")
    manifests = [chain.manifest(run, name) for name in chain.NAMES]
    about = {
        "command": command,
        "profile": run.profile.model_dump(mode="json"),
        "environment": provenance.environment(),
        "wall_seconds": {m["stage"]: m.get("longest_wall_seconds", m["wall_seconds"]) for m in manifests},
        "work_seconds": work_seconds(run),
        "keys": {m["stage"]: m["key"] for m in manifests},
        "outputs": {p.relative_to(folder).as_posix(): files.file_hash(p) for p in sorted(folder.rglob("*.*"))},
    }
    files.write_json(folder / "manifest.json", about)


def work_seconds(run):
    """Seconds that artifacts took to make, by kind, whenever they were made: a notebook that runs again loads them."""
    seconds = {}
    for path in sorted((run.folder / "artifacts").glob(f"*/*/{store.MANIFEST}")):
        kind = path.parents[1].name
        seconds[kind] = round(seconds.get(kind, 0) + json.loads(path.read_text("utf-8")).get("wall_seconds", 0), 1)
    return seconds


def render_notebooks(run, folder):
    """Writes each executed notebook to ``folder`` as an HTML page with its code, smaller than `LARGEST`.

    Raises:
        BadInput: a page is larger even with the smallest pictures.
    """
    for name in chain.NAMES:
        for width in WIDTHS:
            notebook = nbformat.read(chain.executed_copy(run, name), as_version=4)
            shrink_pictures(notebook, width)
            # the run's own machine is nobody's business: paths are seen from the project
            page = report.page(notebook, name, with_code=True).replace(f"{provenance.PROJECT}/", "")
            if len(page.encode()) < LARGEST:
                files.write_text(folder / f"{name}.html", page)
                break
        else:
            raise errors.BadInput(f"{name}: {len(page.encode()):,} bytes as a page, more than {LARGEST:,}")


def shrink_pictures(notebook, width):
    """Takes the pictures of a notebook down to 64 colours and ``width`` pixels at most."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    for data in [o.data for o in outputs if "image/png" in o.get("data", {})]:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        picture.thumbnail((width, 4 * width))
        small = io.BytesIO()
        picture.quantize(64).save(small, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(small.getvalue()).decode()


def fill_readme(text, name, block):
    """``text`` with the lines between ``<!-- name -->`` and ``<!-- end name -->`` replaced by ``block``."""
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"no place {start} … {end}")
    return f"{before}{start}\n{block.strip()}\n{end}{after}"


def value(row):
    """Mean with its interval."""
    return statistics.told(row["mean"], row["ci_low"], row["ci_high"])


def family_table(table, profile):
    """The mean of the accuracy benchmarks of every family and method, and CGD − distilled SFT, as the README shows it.

    ``table``: of `reporting.result_rows.headline`.
    """
    present = set(table["method"])
    methods = [m for m in (*UNTRAINED, *profile.training.methods) if m in present]
    means = table[(table["benchmark"] == "mean") & table["method"].isin(methods)]
    table = means.assign(cell=means.apply(value, axis=1)).pivot(index="family", columns="method", values="cell")
    table = table.loc[list(profile.models.students), methods].rename(columns=display_name)
    against = means[means["method"] == "distilled_sft"].set_index("family")
    return (
        table.assign(**{"CGD − distilled SFT": against.apply(tables.difference_told, axis=1)})
        .reset_index()
        .to_markdown(index=False)
    )


def narrow_table(table, family, profile):
    """The mean of the accuracy benchmarks of each method and CGD − method, and instructions where they were asked: fits 900 pixels.

    A mean of two benchmarks is shown with its parts: it may hide that they differ.
    """
    shown = table[(table["family"] == family) & table["method"].isin([*UNTRAINED, *profile.training.methods])]
    means = shown[shown["benchmark"] == "mean"].set_index("method")
    out = pd.DataFrame({"method": [display_name(m) for m in means.index], "models": means["n_seeds"].to_numpy()})
    out[f"right, % (n={means['n_questions'].max()})"] = means.apply(value, axis=1).to_numpy()
    parts = [b for b in dict.fromkeys(shown["benchmark"]) if b != "mean" and "instructions" not in b]
    for name in parts if len(parts) == 2 else ():
        told = shown[shown["benchmark"] == name].set_index("method").apply(value, axis=1)
        out[name] = told.reindex(means.index).to_numpy()
    for name in [b for b in dict.fromkeys(shown["benchmark"]) if "instructions" in b]:
        told = shown[shown["benchmark"] == name].set_index("method").apply(value, axis=1)
        out["instructions followed, %"] = told.reindex(means.index).fillna("").to_numpy()
    out["CGD − method, points"] = means.apply(tables.difference_told, axis=1).to_numpy()
    return out.to_markdown(index=False)


def blocks(name, profile, table, made, results):
    """Place → what stands there of a run: its table under its name, how the claims came out under ``name claims``."""
    families = list(profile.models.students)
    told = [f"- {s}" for s in summary.judged(made, claims.audience(profile))]
    later = set(made.loc[made["rule_stated"] == "after the run", "rule_fixed"])
    if later:
        told.append(f"- The rules of these verdicts were fixed on {max(later)}, after the run.")
    if len(families) > 1:
        parts = [family_table(table, profile)]
    else:
        parts = [narrow_table(table, families[0], profile), *summary.headline(table, families[0], profile)]
    main_table = "\n\n".join([*parts, *filter(None, (habit.note(results, f, profile) for f in families))])
    return {name: main_table, f"{name} claims": "\n".join(told)}


def fill_pages(found):
    """Writes the blocks into the pages that have a place for them."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, block in found.items():
            if f"<!-- {name} -->" in text:
                text = fill_readme(text, name, block)
        files.write_text(page, text)


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
    keep_reference(run, REFERENCE / name, command)
    files.write_text(REFERENCE / "README.md", overview())
    level = run.profile.evaluation.level
    results = result_rows.read_results(run)
    table = result_rows.headline(results, run.profile.evaluation.headline, level)
    found = blocks(name, run.profile, table, pd.read_csv(run.folder / "claims.csv", keep_default_na=False), results)
    fill_pages(found)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "lab"
    profile_files.find(chosen)
    main(chosen)
