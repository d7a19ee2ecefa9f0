"""Benchmarks by name, from files."""

import json

import pytest

from cgd_utils.core.errors import BadInput
from cgd_utils.core.settings import Benchmark, Evaluation
from cgd_utils.data import benchmarks


@pytest.mark.parametrize("name", [n for n in benchmarks.NAMED if n != "humaneval"])
def test_a_real_file_loads_with_its_number_of_questions(name, benchmark_dir, recwarn):
    loaded = benchmarks.load(name, Evaluation(benchmark_dir=str(benchmark_dir)))
    assert len(loaded.problems) == benchmarks.NAMED[name].rows
    assert all(p["question"] and p["answer"] for p in loaded.problems)
    assert len({p["id"] for p in loaded.problems}) == len(loaded.problems)
    assert not [w for w in recwarn if "expected" in str(w.message)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("CGD_BENCHMARK_DIR", raising=False)
    rows = [{"id": i, "problem": f"What is {i} + 1?", "answer": float(i + 1)} for i in range(3)]
    (tmp_path / "amc23.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


def test_another_number_of_questions_is_reported(folder):
    with pytest.warns(UserWarning, match="3 questions, expected 40"):
        loaded = benchmarks.load("amc23", Evaluation(benchmark_dir=str(folder)))
    assert "expected 40" in loaded.note
    assert [p["answer"] for p in loaded.problems] == ["1", "2", "3"]


def test_the_profiles_folder_comes_before_the_environments(folder, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    (other / "amc23.jsonl").write_text((folder / "amc23.jsonl").read_text())
    monkeypatch.setenv("CGD_BENCHMARK_DIR", str(other))
    assert benchmarks.local_file("amc23", Evaluation(benchmark_dir=str(folder))).parent == folder
    assert benchmarks.local_file("amc23", Evaluation()).parent == other


def test_another_version_of_the_questions_has_another_key(folder):
    with pytest.warns(UserWarning):
        before = benchmarks.load("amc23", Evaluation(benchmark_dir=str(folder))).key
        path = folder / "amc23.jsonl"
        path.write_text(path.read_text().replace("What is 2", "What was 2"))
        assert benchmarks.load("amc23", Evaluation(benchmark_dir=str(folder))).key != before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no usable rows"),
        ([{"problem": "a", "answer": ""}, {"problem": "b", "answer": "1"}], "1 of 2 rows have no question or no gold"),
        ([{"problem": "a", "text": "1"}], "no column for question or answer"),
        ([{"id": 1, "problem": "a", "answer": "1"}, {"id": 1, "problem": "b", "answer": "1"}], "occurs twice"),
    ],
)
def test_a_bad_file_is_named(tmp_path, rows, message):
    path = tmp_path / "b.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(BadInput, match=message):
        benchmarks.load(Benchmark(name="b", path=str(path)), Evaluation())


def test_a_missing_folder_is_named():
    with pytest.raises(BadInput, match="no such folder"):
        benchmarks.load("amc23", Evaluation(benchmark_dir="/no/such/folder"))


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(BadInput, match="aime24"):
        benchmarks.load("aime-24", Evaluation())
