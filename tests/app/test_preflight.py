"""cgd check: red where a run would fail, told in words and by the exit code; green where it would not."""

import json

import pytest

from cgd_utils.__main__ import main
from cgd_utils.app import hours, preflight, probes, room
from cgd_utils.core import errors, files, store

SERVED = "{kind: model, generation: {engine: openai, base_url: 'http://127.0.0.1:9/v1', server_model: big}}"


def checked(capsys, tmp_path, *options):
    """Exit code, and the rows by what they are about."""
    code = main(["check", "--outputs", str(tmp_path / "runs"), "--json", *options])
    return code, {r["what"]: r for r in json.loads(capsys.readouterr().out)}


@pytest.fixture
def quick(monkeypatch):
    """Published speeds instead of ten seconds of measuring."""
    monkeypatch.setattr(preflight, "MEASURE_S", 0)


def test_a_run_that_would_do_well_is_green(capsys, tmp_path):
    code, rows = checked(capsys, tmp_path, "--profile", "smoke")
    assert code == 0 and all(r["ok"] for r in rows.values())
    assert rows["time"]["found"].startswith("about ") and "measured on this machine" in rows["time"]["found"]
    assert "on the hub" not in rows and "disk for downloads" not in rows
    assert not list(tmp_path.iterdir())


def test_a_dead_server_is_red_and_its_address_is_named(capsys, tmp_path, quick):
    code, rows = checked(capsys, tmp_path, "--profile", "smoke", "--set", f"synthesis.teacher={SERVED}")
    assert code == 2
    assert (
        not rows["teacher's server"]["ok"]
        and "http://127.0.0.1:9/v1: no connection" in rows["teacher's server"]["found"]
    )
    assert "without" in rows["time"]["found"] and "a server is its own" in rows["time"]["found"]


def test_a_server_that_answers_is_green(capsys, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(probes, "ask_servers", lambda run: [(s, "yes") for s in probes.servers(run)])
    code, rows = checked(capsys, tmp_path, "--profile", "smoke", "--set", f"synthesis.teacher={SERVED}")
    assert code == 0 and rows["teacher's server"]["found"] == "http://127.0.0.1:9/v1 answers as big"


def test_a_student_that_cannot_be_read_is_red(capsys, tmp_path, quick):
    """The suite is offline: nothing is asked, and nothing is tried again."""
    student = ["--set", "models.students={mine: me/nowhere}", "--set", "models.weaker={}"]
    code, rows = checked(capsys, tmp_path, "--profile", "smoke", *student)
    assert code == 2
    assert "me/nowhere" in rows["on the hub"]["found"] and not rows["on the hub"]["ok"]
    assert not rows["memory to train mine"]["ok"]
    assert "size not known: me/nowhere" in rows["disk for downloads"]["found"]


def test_a_profile_without_its_gpu_its_hub_and_its_disk_is_red_throughout(capsys, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(files, "free_gib", lambda folder: 50.0)
    code, rows = checked(capsys, tmp_path, "--profile", "paper-llama", "--gpu-gib", "80")
    assert code == 2
    red = {what for what, r in rows.items() if not r["ok"]}
    assert {"GPU", "on the hub", "disk for downloads", "memory of the teacher"} <= red
    assert rows["memory to train llama"]["ok"] and "torchtune" in rows["time"]["found"]


def test_a_wrong_name_is_told_and_does_not_end_the_report(capsys, tmp_path, quick):
    code, rows = checked(capsys, tmp_path, "--profile", "smoke", "--set", "models.students={x: 'lab:nobody'}")
    assert code == 2
    assert "lab student 'nobody'" in rows["settings, models, data"]["found"]


def test_a_missing_file_of_problems_is_told(capsys, tmp_path, quick):
    teach = ["--set", "data.source=nothing.jsonl", "--set", "synthesis.teacher={kind: model, model: 'lab:llama'}"]
    code, rows = checked(capsys, tmp_path, "--profile", "smoke", *teach)
    assert code == 2
    assert "no such file" in rows["settings, models, data"]["found"] and "no estimate" in rows["time"]["found"]


def test_a_run_under_way_measures_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CGD_IN_CHAIN", "1")
    monkeypatch.setattr(hours, "measure", lambda *_: pytest.fail("measured inside a run"))
    rows = preflight.report(store.open_run("smoke", tmp_path))
    assert all(r["ok"] for r in rows)


def test_the_disk_that_a_run_needs_counts_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_gib", lambda folder: 0.01)
    run = store.open_run("smoke", tmp_path)
    with pytest.raises(errors.BadInput, match="GiB free"):
        preflight.preflight(run)
    assert room.need_gib(run) > 0.1
