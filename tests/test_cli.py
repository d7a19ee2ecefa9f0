"""Bad input ends before long work with exit code 2 and one clear message."""

import json
import shlex
import subprocess
import sys

import pytest

from cgd_utils import __main__ as cli
from cgd_utils import artifacts
from cgd_utils.__main__ import main

BAD = {
    "unknown profile": (["--profile", "labb"], "did you mean 'lab'"),
    "unknown field": (["--set", "training.epoch=2"], "did you mean 'training.epochs'"),
    "wrong type": (["--set", "training.epochs=many"], "training.epochs"),
    "out of range": (["--set", "training.learning_rate=0"], "training.learning_rate = 0"),
    "not an assignment": (["--set", "training.epochs"], "field=value"),
    "unknown method": (["--set", "training.methods=[cdg]"], "did you mean"),
    "missing file": (["--set", "data.source=nothing.jsonl", "--set", "synthesis.teacher={kind: model, model: 'lab:llama'}"],
                     "no such file"),
    "exact teacher, other data": (["--set", "data.source=gsm8k"], "knows only the lab's problems"),
    "not a model": (["--set", "models.students={x: ./tests}"], "config.json"),
    "no such student": (["--set", "models.students={x: 'lab:nobody'}"], "lab student 'nobody'"),
    "unknown benchmark": (["--set", "evaluation.benchmarks=[lab-k22]"], "unknown benchmark"),
    "unknown grid": (["--set", "ablations.grids=[contents]"], "unknown grid"),
    "more rows than problems": (["--set", "training.rows=5000"], "training.rows = 5000"),
    "greedy samples": (["--set", "evaluation.sampling.n=4"], "greedy samples are all the same"),
    "unknown notebook": (["--only", "09"], "unknown notebook"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_input(options, message, tmp_path, capsys):
    assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.ipynb")), "a kernel was started"


def _teach(tmp_path, content, suffix="jsonl"):
    path = tmp_path / f"mine.{suffix}"
    path.write_text(content)
    return ["--set", f"data.source={path}", "--set", "synthesis.teacher={kind: model, model: 'lab:llama'}"]


DATA = {
    "empty": ("", "no usable rows"),
    "missing column": ('{"text": "?", "answer": "1"}\n', "no column for question"),
    "duplicate ids": ('{"id": "a", "question": "p?", "answer": "1"}\n{"id": "a", "question": "q?", "answer": "2"}\n', "occurs twice"),
    "invalid JSON": ('{"question": "p?"\n', "line 1"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), DATA.values(), ids=DATA)
def test_bad_data(content, message, tmp_path, capsys):
    assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path), *_teach(tmp_path, content)]) == 2
    assert message in capsys.readouterr().err


def test_no_space(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(artifacts.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 20})())
    assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path)]) == 2
    assert "GiB free" in capsys.readouterr().err


def test_folder_in_use(tmp_path, capsys):
    run = artifacts.open_run("smoke", tmp_path)
    with artifacts.exclusive(run.folder):
        assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path)]) == 2
    assert "in use by another run" in capsys.readouterr().err


def test_dry_run_and_status_run_nothing(tmp_path, capsys):
    assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path), "--dry-run", "--json"]) == 0
    assert {r["action"] for r in json.loads(capsys.readouterr().out)} == {"would run"}
    assert main(["status", "--profile", "smoke", "--outputs", str(tmp_path), "--json"]) == 0
    assert {r["state"] for r in json.loads(capsys.readouterr().out)} == {"missing"}


def test_grade(tmp_path, capsys):
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"id": 1, "gold": "14", "text": "Answer: 14"}\n{"id": 2, "gold": "3", "text": "Answer: 4"}\n')
    assert main(["grade", str(answers), "--out", str(tmp_path / "scores.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 0.5
    assert main(["grade", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "s.jsonl")]) == 2


def test_files_that_cannot_be_used_are_named(tmp_path, capsys):
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"id": 1, "gold": "é", "text": "é"}\n'.encode("latin-1"))
    assert main(["compare", str(latin), str(latin)]) == 2
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "s.jsonl")]) == 2
    assert main(["export", "--profile", "smoke", "--outputs", str(tmp_path), "--method", "cgd", "--format", "trl",
                 "--out", str(latin)]) == 2  # fmt: skip
    errors = capsys.readouterr().err
    assert errors.count("latin.jsonl") >= 2 and "Traceback" not in errors and "not UTF-8" in errors


def test_a_missing_extra_is_named(capsys, monkeypatch):
    def gone(options):
        raise ModuleNotFoundError("No module named 'lm_eval'", name="lm_eval")

    monkeypatch.setitem(cli._COMMANDS, "audit", gone)
    assert main(["audit"]) == 2
    assert "cgd-kit[eval]" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    command = [sys.executable, "-m", "cgd_utils", "audit", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert b"Traceback" not in error and b"Broken" not in error


@pytest.mark.parametrize("command", sorted(cli._COMMANDS))
def test_help_has_an_example_that_the_command_line_accepts(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    example = " ".join(capsys.readouterr().out.split()).rpartition("example: cgd ")[2]
    assert cli._parser().parse_args(shlex.split(example)).command == command


def test_a_user_error_in_a_notebook_is_one_line(tmp_path):
    import nbclient
    import nbformat

    cell = nbformat.v4.new_code_cell("from cgd_utils import artifacts\nartifacts.open_run('labb')")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    (error,) = notebook.cells[0].outputs
    assert error["ename"] == "ProfileError" and error["traceback"] == [f"ProfileError: {error['evalue']}"]
