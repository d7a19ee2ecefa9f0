"""Shared fixtures: one smoke run of the whole chain, made once a session."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
settings.register_profile("kit", deadline=None)  # no timed assertions: a busy machine is no failure
settings.load_profile("kit")
# pages of docs/ that are linked and not written yet
DOC_PAGES = ()
CANARY = "hf_canaryCanaryCanary0123456789"


def parsed(words):
    """The values that the command line reads from a command's words; raises what it would refuse them with."""
    import typer

    from cgd_utils.app.console import app

    command = typer.main.get_command(app).commands[words[0]]
    return command.make_context(words[0], list(words[1:])).params


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: of two processes none is left alone with one at the end."""
    slow = {i.path for i in items if i.get_closest_marker("slow")}
    items.sort(key=lambda i: i.path not in slow)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """The whole chain on the smoke profile, through the command line, with a token in the environment."""
    from cgd_utils.__main__ import main
    from cgd_utils.core import store

    outputs = tmp_path_factory.mktemp("outputs with späces")
    before = {p: p.stat().st_mtime_ns for p in _project_files()}
    os.environ["HF_TOKEN"] = os.environ["OPENAI_API_KEY"] = CANARY
    try:
        assert main(["run", "--profile", "smoke", "--outputs", str(outputs)]) == 0
    finally:
        del os.environ["HF_TOKEN"], os.environ["OPENAI_API_KEY"]
    assert {p: p.stat().st_mtime_ns for p in _project_files()} == before, "a stage wrote outside its output folder"
    return store.open_run("smoke", outputs)


def _project_files():
    from cgd_utils.core.provenance import PROJECT

    return [p for d in ("cgd_utils", "notebooks") for p in Path(PROJECT / d).rglob("*") if "__pycache__" not in p.parts]


@pytest.fixture(scope="session")
def ifeval_library():
    """lm-eval's checks with the sentence splitter's data, without which lm-eval would try to fetch it."""
    from cgd_utils.core.errors import BadInput
    from cgd_utils.grading import ifeval

    try:
        ifeval.require_library()
    except BadInput as e:
        pytest.skip(str(e))


@pytest.fixture(scope="session")
def benchmark_dir():
    folder = os.environ.get("CGD_BENCHMARK_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CGD_BENCHMARK_DIR names no folder with the real benchmark files")
    return Path(folder)
