"""Colab and Kaggle: badges and install cell agree with the address, and the host's own torch stays."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import hosted_install
import hosted_notebooks
import pytest

from cgd_utils.core import source_code
from cgd_utils.core.provenance import PROJECT

HOST = {"torch": "2.12.1", "numpy": "2.2.0", "ipykernel": "6.17.1"}


@pytest.mark.parametrize("path", hosted_notebooks.NOTEBOOKS)
def test_badges_and_cell_hold_the_one_address(path):
    text = (PROJECT / path).read_text(encoding="utf-8")
    assert text == hosted_notebooks.written(path), "run: python tools/hosted_notebooks.py"
    address = hosted_notebooks.address()
    badges, code = ("".join(c["source"]) for c in json.loads(text)["cells"] if source_code.for_host(c))
    opened = f"{address.removeprefix('https://github.com/')}/blob/main/{hosted_notebooks.NOTEBOOKS[path]}"
    assert f"colab.research.google.com/github/{opened}" in badges and f"src=https://github.com/{opened}" in badges
    assert f'"{address}"' in code


def install_cell():
    return "".join(hosted_notebooks.cells("notebooks/00_setup.ipynb")[1]["source"])


@pytest.mark.parametrize(
    ("variable", "kit_is_there", "runs"),
    [("COLAB_RELEASE_TAG", False, 2), ("KAGGLE_KERNEL_RUN_TYPE", False, 2), ("COLAB_RELEASE_TAG", True, 0), ("HOME", False, 0)],
)  # fmt: skip
def test_the_cell_installs_only_on_a_host_that_lacks_the_kit(variable, kit_is_there, runs, monkeypatch, tmp_path):
    asked = []
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object() if kit_is_there else None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.append(command))
    exec(install_cell(), {})
    assert len(asked) == runs
    if runs:
        assert asked[0][:2] == ["git", "clone"] and asked[1][-1].endswith("hosted_install.py")
        assert sys.path[0] == str(tmp_path / "cgd-kit")


def test_the_host_keeps_its_torch(monkeypatch, capsys):
    asked, pinned = [], []

    def pip(command, check, **more):
        asked.append(command)
        if "--constraint" in command:
            pinned.extend(Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8").split())
        return subprocess.CompletedProcess(command, 0, "Tesla T4\n", "")

    monkeypatch.setattr(hosted_install, "version", HOST.get)
    monkeypatch.setattr(subprocess, "run", pip)
    hosted_install.main()
    kit, needs = asked[:2]
    assert "--no-deps" in kit, "the kit pins the torch of its tests"
    assert pinned == ["torch==2.12.1", "numpy==2.2.0", "ipykernel==6.17.1"]
    names = {hosted_install.name_of(r) for r in needs[needs.index("--constraint") + 2 :]}
    assert not names & set(HOST) and {"trl", "peft", "math-verify"} <= names
    assert "torch 2.12.1 stays" in capsys.readouterr().out


@pytest.mark.parametrize(("torch", "said"), [(None, "has no torch"), ("1.13.1+cu117", "newer runtime")])
def test_a_host_that_cannot_run_the_kit_says_so(torch, said):
    with pytest.raises(hosted_install.NotHere, match=said):
        hosted_install.check_torch(torch)


def test_a_failed_pip_is_told(monkeypatch):
    monkeypatch.setattr(hosted_install, "version", HOST.get)
    monkeypatch.setattr(subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 1))
    with pytest.raises(hosted_install.NotHere, match=r"beside torch 2\.12\.1"):
        hosted_install.main()


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CGD_HOST_INSTALL"), reason="downloads a gigabyte; CGD_HOST_INSTALL=1 runs it")
def test_a_clean_environment_with_another_torch(tmp_path):
    """For real, beside a torch that is only a name and a version: pip must not replace it."""
    venv.create(tmp_path / "host", with_pip=True)
    python = str(tmp_path / "host" / "bin" / "python")
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    found = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    about = tmp_path / found / "torch-2.12.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.12.1\n")
    (about / "RECORD").write_text("")
    (about / "INSTALLER").write_text("pip\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [python, str(PROJECT / "tools" / "hosted_install.py")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "torch 2.12.1 stays" in done.stdout


def test_binder_installs_the_locked_kit():
    lines = (PROJECT / "binder" / "requirements.txt").read_text(encoding="utf-8").split("\n")
    assert "--constraint ../requirements.lock" in lines and "--editable ." in lines
    assert (PROJECT / "binder" / "runtime.txt").read_text(encoding="utf-8").strip() == "python-3.11"
