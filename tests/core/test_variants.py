"""Variants: a folder of their own, settings that are remembered, artifacts in common with the runs beside them."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from cgd_utils.__main__ import main
from cgd_utils.core import store, variants
from cgd_utils.core.errors import BadInput


def made(run, text="hello", settings=None):
    """An artifact with a text and a log, and whether it was built here."""
    built = []

    def build(folder):
        built.append(folder)
        (folder / "rows.jsonl").write_text(f'{{"text": "{text}"}}\n')
        (folder / "build.log.jsonl").write_text("{}\n")

    return run.make("texts", "all", build, settings=settings), bool(built)


@pytest.fixture
def runs(tmp_path):
    return [store.open_run("smoke", tmp_path, {"name": name}) for name in ("first", "second")]


def test_an_equal_artifact_is_linked_and_an_unequal_one_is_not(runs):
    first, _ = made(runs[0])
    second, built = made(runs[1])
    assert not built and second.key == first.key and second.folder.is_relative_to(runs[1].folder)
    assert (second.folder / "rows.jsonl").samefile(first.folder / "rows.jsonl")
    assert not (second.folder / "build.log.jsonl").samefile(first.folder / "build.log.jsonl")
    assert made(runs[1], settings={"epochs": 2})[1]


def test_either_folder_can_be_removed(runs):
    made(runs[0])
    made(runs[1])
    shutil.rmtree(runs[0].folder)
    assert made(runs[1])[0].rows() == [{"text": "hello"}]


def test_without_hard_links_files_are_copied(runs, monkeypatch):
    def refuse(*_):
        raise OSError("no links on this file system")

    monkeypatch.setattr(os, "link", refuse)
    made(runs[0])
    second, built = made(runs[1])
    assert not built and second.rows() == [{"text": "hello"}]


@pytest.mark.parametrize("fault", ["cut file", "file gone", "other key", "no manifest"])
def test_a_damaged_artifact_is_made_again(fault, runs):
    first, _ = made(runs[0])
    path = first.folder / ("manifest.json" if fault in ("other key", "no manifest") else "rows.jsonl")
    if fault in ("file gone", "no manifest"):
        path.unlink()
    else:
        path.write_text("" if fault == "cut file" else path.read_text().replace(first.key, "0" * 16))
    second, built = made(runs[1])
    assert built and second.rows() == [{"text": "hello"}]


def test_what_an_interrupted_build_left_is_replaced(runs):
    first, _ = made(runs[0])
    left = runs[1].folder / first.folder.relative_to(runs[0].folder)
    left.mkdir(parents=True)
    (left / "building.json").write_text("{}")
    (left / "rows.jsonl").write_text('{"te')
    second, built = made(runs[1])
    assert not built and second.rows() == [{"text": "hello"}]
    assert sorted(p.name for p in left.iterdir() if p.name != ".lock") == [
        "build.log.jsonl",
        "manifest.json",
        "rows.jsonl",
    ]


def test_runs_at_once_get_the_same_artifact(tmp_path):
    many = [store.open_run("smoke", tmp_path, {"name": f"run{i}"}) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda run: made(run)[0], many))
    assert {a.key for a in found} == {found[0].key}
    assert all(a.rows() == [{"text": "hello"}] for a in found)
    assert all(store.load(a.folder) for a in found)


def test_the_settings_of_a_variant_are_remembered(tmp_path):
    run = store.open_run("smoke", tmp_path, {"name": "long", "training.epochs": 3})
    variants.note(run, "smoke", {"name": "long", "training.epochs": 3})
    assert variants.settings(tmp_path, "long", None, {}) == ("smoke", {"name": "long", "training.epochs": 3})
    assert variants.settings(tmp_path, "long", "smoke", {"data.seed": 1})[1]["training.epochs"] == 3
    assert variants.settings(tmp_path, "new", None, {"data.seed": 1}) == (None, {"name": "new", "data.seed": 1})
    assert variants.option(run) == "--name long"
    assert variants.option(store.open_run("smoke", tmp_path)) == "--profile smoke"
    with pytest.raises(BadInput, match="made from profile 'smoke', not 'lab'"):
        variants.settings(tmp_path, "long", "lab", {})


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(BadInput, match="profile of that name"):
        variants.settings(tmp_path, "lab", "smoke", {})
    made(store.open_run("smoke", tmp_path, {"name": "mine"}))
    with pytest.raises(BadInput, match="profile of that name"):
        variants.settings(tmp_path, "mine", "smoke", {})
    assert variants.settings(tmp_path, "smoke", "smoke", {})[0] == "smoke"


@pytest.mark.parametrize("name", ["../other", "a/b", ".hidden", ""])
def test_a_name_is_the_name_of_a_folder(name, tmp_path, capsys):
    assert main(["status", "--profile", "smoke", "--outputs", str(tmp_path / "out"), "--set", f"name='{name}'"]) == 2
    assert "name" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_variant_trains_on_the_texts_of_the_profiles_run_and_leaves_its_results_alone(smoke_run, capsys, tmp_path):
    outputs = smoke_run.folder.parent
    before = {p: p.read_bytes() for p in smoke_run.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert main(["train", "--profile", "smoke", "--name", "twice", "--outputs", str(outputs), "--set", "training.epochs=2",
                 "--method", "cgd", "--seed", "0", "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)[0]["steps"] == 4
    variant = outputs / "twice"
    shared = list(variant.glob("artifacts/records/*/rows.jsonl"))
    assert shared and all(p.samefile(smoke_run.folder / p.relative_to(variant)) for p in shared)
    assert len(list(variant.glob("artifacts/models/*/manifest.json"))) == 1
    assert {p: p.read_bytes() for p in before} == before

    assert main(["export", "--name", "twice", "--outputs", str(outputs), "--method", "cgd", "--format", "trl",
                 "--out", str(tmp_path / "rows")]) == 0  # fmt: skip
    assert "cgd export --name twice" in (tmp_path / "rows" / "README.md").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["status", "--name", "twice", "--outputs", str(outputs), "--json"]) == 0
    assert {r["state"] for r in json.loads(capsys.readouterr().out)} == {"missing"}
    assert main(["report", "--name", "twice", "--outputs", str(outputs)]) == 2
    assert "twice" in capsys.readouterr().err
    assert main(["compare", "cgd", "distilled_sft", "--name", "twice", "--outputs", str(outputs)]) == 2
    assert "04_evaluate" in capsys.readouterr().err
    assert main(["compare", "cgd", "distilled_sft", "--name", "smoke", "--outputs", str(outputs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
