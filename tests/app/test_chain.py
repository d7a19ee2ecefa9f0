"""The whole chain on the smoke profile: every notebook executed, skipping, staleness, provenance, secrets."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import refresh_reference
from conftest import CANARY

from cgd_utils.__main__ import main
from cgd_utils.app import chain
from cgd_utils.core import errors, files, provenance, store
from cgd_utils.core.profile_files import changed
from cgd_utils.methods import UNTRAINED


def test_every_notebook_was_executed_without_error(smoke_run):
    for name in chain.NAMES:
        cells = json.loads((smoke_run.folder / "notebooks" / f"{name}.ipynb").read_text())["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        assert all(c["execution_count"] for c in code)
        assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]


def test_results_hold_every_method_seed_and_benchmark(smoke_run):
    results = pd.read_csv(smoke_run.results_csv)
    p = smoke_run.profile
    trained = results[(results["metric"] == "accuracy") & results["seed"].notna()]
    assert set(p.training.methods) <= set(trained["method"])
    assert set(trained["seed"]) == set(p.training.seeds)
    assert not results.duplicated(["family", "method", "seed", "benchmark", "metric"]).any()
    assert results["value"].notna().all()


def test_tables_and_figures_are_there_in_every_format(smoke_run):
    for kind in ("csv", "md", "tex"):
        assert (smoke_run.tables / f"headline.{kind}").stat().st_size > 0
    for name in ("accuracy_llama", "gain_llama"):
        for kind in ("png", "pdf", "csv"):
            assert (smoke_run.figures / f"{name}.{kind}").stat().st_size > 0


def test_a_second_run_skips_everything(smoke_run, capsys):
    assert main(["run", "--profile", "smoke", "--outputs", str(smoke_run.folder.parent), "--json"]) == 0
    assert {r["action"] for r in json.loads(capsys.readouterr().out)} == {"skipped"}


def test_an_evaluation_field_makes_only_evaluation_stale(smoke_run):
    changed = store.open_run("smoke", smoke_run.folder.parent, {"evaluation.lab_rows": 13})
    states = {r["stage"]: r for r in chain.status(changed)}
    assert [s for s, r in states.items() if r["state"] == "done"] == list(chain.NAMES[1:4])  # 00 prints all fields
    assert states["04_evaluate"]["why"] == "evaluation.lab_rows: 12 → 13"


def test_manifests_hold_provenance_and_no_secret(smoke_run):
    manifests = list(smoke_run.folder.rglob("manifest.json"))
    assert manifests
    for path in manifests:
        manifest = json.loads(path.read_text())
        assert {"profile", "environment", "inputs", "outputs", "wall_seconds", "peak_memory_gib"} <= set(manifest)
    for path in smoke_run.folder.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_a_killed_run_goes_on_to_the_same_results(smoke_run, tmp_path):
    command = [sys.executable, "-m", "cgd_utils", "run", "--profile", "smoke", "--outputs", str(tmp_path), "--to", "04"]
    for wait in (9, 14):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    mine = pd.read_csv(tmp_path / "smoke" / "results.csv").to_csv(index=False)
    whole = pd.read_csv(smoke_run.results_csv)
    methods = [*UNTRAINED, *smoke_run.profile.training.methods]
    assert mine == whole[whole["method"].isin(methods)].to_csv(index=False)


@pytest.mark.slow
def test_real_rows_go_through_the_same_notebooks(benchmark_dir, tmp_path, capsys):
    """GSM8K as training problems, MATH-500 as benchmark, a lab student as student and teacher: badly, but nothing breaks."""
    profile = tmp_path / "real.yaml"
    profile.write_text(f"""
base: smoke
data: {{source: "{benchmark_dir}/gsm8k.jsonl", rows: 24}}
synthesis:
  draft: {{temperature: 1.0, max_new_tokens: 32}}
  useless: tell  # nor can they do these problems
  teacher: {{kind: model, model: "lab:llama", sampling: {{max_new_tokens: 32}}}}
training: {{rows: 0, seeds: [0], methods: [sft, cft, cgd]}}
evaluation:
  benchmarks: [{{name: math-500, path: "{benchmark_dir}/math-500.jsonl", rows: 24}}]
  sampling: {{max_new_tokens: 32}}
ablations: {{grids: []}}
""")
    assert main(["run", "--profile", str(profile), "--outputs", str(tmp_path)]) == 0, capsys.readouterr().err
    results = pd.read_csv(tmp_path / "real" / "results.csv")
    assert set(results["benchmark"]) == {"math-500"}
    assert set(results["method"]) == {*UNTRAINED, "sft", "cft", "cgd"}


def test_a_notebook_runs_by_papermill_alone_from_any_folder(smoke_run, tmp_path):
    notebook = provenance.PROJECT / "notebooks" / "07_tables_and_figures.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), "out.ipynb", "-p", "profile", "smoke",
               "-p", "outputs", str(smoke_run.folder.parent)]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out.ipynb").exists()


def test_a_dead_kernel_is_told_in_words(smoke_run, tmp_path, monkeypatch):
    import nbformat

    code = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    cells = [nbformat.v4.new_code_cell(c) for c in ("profile: str = ''\noutputs: str = ''\noverrides: dict = {}", code)]
    cells[0]["metadata"]["tags"] = ["parameters"]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), tmp_path / "00_setup.ipynb")
    monkeypatch.setattr(chain, "NOTEBOOKS", tmp_path)
    run = store.open_run("smoke", tmp_path)
    with pytest.raises(chain.StageFailed, match="kernel died"):
        chain._execute(run, chain.NAMES[0], {"profile": "smoke", "outputs": str(tmp_path), "overrides": {}})


def test_a_reference_copy_holds_what_the_readme_shows(smoke_run, tmp_path):
    refresh_reference.keep_reference(smoke_run, tmp_path / "reference", "make reproduce PROFILE=smoke")
    manifest = json.loads((tmp_path / "reference" / "manifest.json").read_text())
    assert set(manifest["wall_seconds"]) == set(chain.NAMES)
    for name, digest in manifest["outputs"].items():
        assert files.file_hash(tmp_path / "reference" / name) == digest
    for name in chain.NAMES:
        page = (tmp_path / "reference" / "notebooks" / f"{name}.html").read_text()
        assert 'class="input"' in page and len(page.encode()) < refresh_reference.LARGEST
        assert not re.search(r'<script|(?:src|href)="https?://', page)
    text = refresh_reference.fill_readme("a\n<!-- t -->\nold\n<!-- end t -->\nb", "t", "new\n")
    assert text == "a\n<!-- t -->\nnew\n<!-- end t -->\nb"


def test_an_unfinished_run_is_no_reference(tmp_path):
    with pytest.raises(errors.BadInput, match="not finished"):
        refresh_reference.keep_reference(store.open_run("smoke", tmp_path), tmp_path / "reference", "")


def test_the_time_of_the_run_that_computed_is_kept(smoke_run):
    told = json.loads((smoke_run.folder / "notebooks" / "03_train.manifest.json").read_text())
    assert chain._longest(smoke_run, "03_train") == told["longest_wall_seconds"] >= told["wall_seconds"] > 0
    other = replace(smoke_run, profile=changed(smoke_run.profile, {"training.epochs": 2}))
    assert chain._longest(other, "03_train") == 0
    assert chain._longest(store.Run(smoke_run.profile, smoke_run.folder / "nowhere"), "03_train") == 0
