"""docs/extending.md: each example is executed where the page says it belongs, and does what the page says."""

import importlib
import re

import pytest

from cgd_utils import methods, prompts
from cgd_utils.ablations import cell_runs, grids
from cgd_utils.core import errors, files, profile_files, settings, store, training_settings
from cgd_utils.core.provenance import PROJECT
from cgd_utils.data import benchmarks, problem_sources
from cgd_utils.engines import generation, request_log

PAGE = (PROJECT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(# cgd_utils/([\w/]+)\.py\n.*?)```", PAGE, re.DOTALL)
TABLES = {
    "methods": methods.METHODS,
    "grids": grids.GRIDS,
    "benchmarks": benchmarks.NAMED,
    "sources": problem_sources.SOURCES,
}


def test_examples_are_short():
    assert len(BLOCKS) == 6
    assert all(len(code.splitlines()) <= 21 for code, _ in BLOCKS)  # the first line names the file


@pytest.fixture
def extended(monkeypatch):
    """The package with every example of the page in it."""
    kept = {name: dict(table) for name, table in TABLES.items()}
    monkeypatch.setattr(training_settings, "METHODS", training_settings.METHODS)
    for code, name in BLOCKS:
        module = importlib.import_module(f"cgd_utils.{name.replace('/', '.')}")
        before = set(vars(module))
        exec(compile(code, f"docs/extending.md ({name})", "exec"), vars(module))
        for new in set(vars(module)) - before:
            value = vars(module).pop(new)
            monkeypatch.setattr(module, new, value, raising=False)
    yield
    for name, table in TABLES.items():  # the same objects: other modules hold them too
        table.clear()
        table.update(kept[name])


RECORD = {
    "id": "a",
    "question": "1+1?",
    "answer": "2",
    "solution": "2",
    "draft": "3",
    "critique": "one two three four",
    "refined": "2",
    "direct": "2",
}


def test_a_method(extended):
    profile = profile_files.load("lab", {"training.methods": ["cgd", "cgd_short(0.02)"]})
    (row,) = methods.rows(profile.training.methods[1], [RECORD], prompts.layout("lab"))
    assert "Critique: one two\n" in row["prompt"][0]["content"]
    with pytest.raises(errors.BadInput):
        methods.parse("cgd_short(7)")


def test_an_ablation(extended, tmp_path):
    run = store.open_run("lab", tmp_path)
    cells = cell_runs.cells(run, "warmup", "llama")
    changed = [profile_files.changed(run.profile, c.changes(run.profile)).training.warmup for c in cells]
    assert changed == [0.0, 0.05, 0.2]


def test_a_benchmark(extended, tmp_path, monkeypatch):
    files.write_jsonl(tmp_path / "svamp.jsonl", [{"question_concat": "2+3?", "Answer": "5.0"}])
    monkeypatch.setenv("CGD_BENCHMARK_DIR", str(tmp_path))
    with pytest.warns(UserWarning, match="1 questions, expected 300"):
        loaded = benchmarks.load("svamp", profile_files.load("lab").evaluation)
    assert (loaded.problems[0]["question"], loaded.rule) == ("2+3?", "math")


def test_a_source(extended, monkeypatch):
    import datasets

    asked = []
    rows = [{"problem": "6·7?", "solution": "It is $\\boxed{42}$."}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: asked.append(args) or rows)
    problems, _ = problem_sources.load_problems(profile_files.load("lab", {"data.source": "numina", "synthesis.teacher.kind": "model",
                                                           "synthesis.teacher.model": "lab:llama"}).data)  # fmt: skip
    assert problems[0]["answer"] == "42"
    assert asked[0][0] == "AI-MO/NuminaMath-CoT"


def test_an_engine(extended, tmp_path):
    asked = [request_log.Request(str(i), [{"role": "user", "content": f"say {i}"}]) for i in range(3)]
    rows = request_log.generate(generation.EchoGenerator(), asked, settings.Sampling(), tmp_path / "log.jsonl")
    assert [r["text"] for r in rows] == ["say 0", "say 1", "say 2"]
    assert len(files.read_jsonl(tmp_path / "log.jsonl")) == 3
