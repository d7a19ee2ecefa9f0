"""Bad input ends before long work with exit code 2 and one clear message."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from conftest import parsed

from cgd_utils.__main__ import main
from cgd_utils.app import console
from cgd_utils.app.console import app
from cgd_utils.core import files, provenance, store
from cgd_utils.core.errors import BadInput

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
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 20})())
    assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path)]) == 2
    assert "GiB free" in capsys.readouterr().err


def test_folder_in_use(tmp_path, capsys):
    run = store.open_run("smoke", tmp_path)
    with store.exclusive(run.folder):
        assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path)]) == 2
    assert "in use by another run" in capsys.readouterr().err


def test_a_dry_run_asks_for_no_gpu(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ["run", "--profile", "smoke", "--outputs", str(tmp_path), "--set", "models.device=cuda"]
    assert main([*words, "--dry-run", "--json"]) == 0
    assert {r["action"] for r in json.loads(capsys.readouterr().out)} == {"would run"}
    assert main(words) == 2
    assert "models.device" in capsys.readouterr().err


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
    from cgd_utils.paper import audit

    def gone(folder):
        raise ModuleNotFoundError("No module named 'lm_eval'", name="lm_eval")

    monkeypatch.setattr(audit, "rows", gone)
    assert main(["audit"]) == 2
    assert "cgd-kit[eval]" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    command = [sys.executable, "-m", "cgd_utils", "audit", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert b"Traceback" not in error and b"Broken" not in error


COMMANDS = list(typer.main.get_command(app).commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_the_command_line_accepts(command, capsys):
    assert main([command, "--help"]) == 0
    plain = re.sub(r"\033\[[0-9;]*m", "", capsys.readouterr().out)
    example = shlex.split(" ".join(plain.split()).rpartition("example: cgd ")[2])
    assert example[0] == command
    parsed(example)


def test_help_is_light():
    """What takes a second to import is imported by the command that needs it."""
    heavy = ("torch", "transformers", "pandas", "scipy", "pydantic", "datasets")
    code = f"import sys; from cgd_utils.__main__ import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


SLIPS = {
    "run --training.epochs 3": "--set training.epochs=3",
    "run --training.epochs=3": "--set training.epochs=3",
    "run --epochs 3": "--set training.epochs=3",
    "run --training.epoch 3": "--set training.epochs=3",
    "run --learning-rate 1e-5": "--set training.learning_rate=1e-5",
    "status training.epochs=3": "--set training.epochs=3",
    "run --set training.epochs 3": "--set FIELD=VALUE",
    "statsu": "'status'",
    "chek --profile lab": "'check'",
    "run --profil lab": "--profile",
    "run smoke": "--profile smoke",
    "smoke": "cgd run --profile smoke",
    "--profile smoke run": "options follow the command",
    "export --format parquet --method cgd --out x": "'trl', 'llama-factory'",
    "compare a.jsonl": "run_b",
}


@pytest.mark.parametrize("typed", SLIPS)
def test_what_was_mistyped_is_told_how_to_type(typed, capsys):
    assert main(typed.split()) == 2
    error = capsys.readouterr().err
    assert SLIPS[typed] in error and "--help" in error and "Traceback" not in error


def test_an_option_that_is_near_no_setting_gets_no_guess(capsys):
    assert main(["run", "--zzzz", "3"]) == 2
    assert "--set" not in capsys.readouterr().err


@pytest.mark.parametrize("named", ["4", "04", "evaluate", "04_evaluate", "notebooks/04_evaluate.ipynb"])
def test_a_notebook_is_named_in_any_way(named, tmp_path, capsys):
    options = ["run", "--profile", "smoke", "--outputs", str(tmp_path), "--dry-run", "--json", "--only", named]
    assert main(options) == 0
    assert [r["stage"] for r in json.loads(capsys.readouterr().out)] == ["04_evaluate"]


def test_exit_codes(capsys, monkeypatch):
    from cgd_utils.app import chain
    from cgd_utils.paper import audit

    def raises(error):
        def fail(folder):
            raise error

        return fail

    for error, code in ((chain.StageFailed("x"), 1), (BadInput("x"), 2), (KeyboardInterrupt(), 130)):
        monkeypatch.setattr(audit, "rows", raises(error))
        assert main(["audit"]) == code
    assert main(["--version"]) == 0
    assert main([]) == 2
    monkeypatch.setattr(audit, "rows", raises(KeyError("a fault of the kit's")))
    with pytest.raises(KeyError):
        main(["audit"])


@pytest.mark.parametrize("words", [["training.epochs", "3"], ["--training.epochs", "3"], ["training.epochs=3"]])
def test_a_setting_without_set_is_hinted_at(words, capsys):
    assert main(["run", *words]) == 2
    assert "a setting is written as --set training.epochs=3" in capsys.readouterr().err


def test_a_number_of_one_digit_names_a_notebook():
    from cgd_utils.app import chain

    assert {chain.stage_named(w) for w in ("4", "04", "04_evaluate", "evaluate", "notebooks/04_evaluate.ipynb")} == {4}


def test_commands_that_only_look_leave_no_folder(tmp_path, monkeypatch, capsys):
    """From another folder, with a relative ``--outputs``: it is the caller's, and nothing is made in it."""
    monkeypatch.chdir(tmp_path)
    for command in (["status"], ["status", "--cells"], ["run", "--dry-run"], ["check", "--json"], ["report"]):
        assert main([*command, "--profile", "smoke", "--outputs", "mine/runs"]) == (2 if command == ["report"] else 0)
    assert f"cgd run --profile smoke --outputs {tmp_path / 'mine' / 'runs'}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_default_outputs_are_the_projects_and_named_ones_the_callers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert console.open_run("smoke", None, None, None)[0].folder == provenance.PROJECT / "outputs" / "smoke"
    assert console.open_run("smoke", None, Path("outputs"), None)[0].folder == tmp_path / "outputs" / "smoke"


def test_compare_says_which_command_makes_the_scores(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs" / "lab").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "runs/lab:cgd", "runs/lab:sft"]) == 2
    assert f"cgd run --profile lab --outputs {tmp_path / 'runs'} --to 04" in capsys.readouterr().err
    assert main(["compare", "run/lab:cgd", "runs/lab:sft"]) == 2
    assert f"no such file or folder in {tmp_path}" in capsys.readouterr().err


def test_a_user_error_in_a_notebook_is_one_line(tmp_path):
    import nbclient
    import nbformat

    cell = nbformat.v4.new_code_cell("from cgd_utils import open_run\nopen_run('labb')")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    (error,) = notebook.cells[0].outputs
    assert error["ename"] == "ProfileError" and error["traceback"] == [f"ProfileError: {error['evalue']}"]
