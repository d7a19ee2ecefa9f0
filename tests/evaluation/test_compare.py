"""Paired comparison of two methods."""

import json
from pathlib import Path

import pytest

from cgd_utils.__main__ import main
from cgd_utils.core import statistics
from cgd_utils.core.errors import BadInput
from cgd_utils.core.files import write_jsonl
from cgd_utils.evaluation import compare


def scores(path, right, benchmark="b", gold="1"):
    write_jsonl(path, [{"benchmark": benchmark, "id": str(i), "sample": 0, "gold": gold, "correct": bool(c), "status": "ok"}
                       for i, c in enumerate(right)])  # fmt: skip
    return str(path)


def test_two_score_files_are_paired_by_id(tmp_path):
    a = scores(tmp_path / "a.jsonl", [1] * 30 + [0] * 10)
    b = scores(tmp_path / "b.jsonl", [1] * 20 + [0] * 20)
    (row,) = compare.compare(compare.read_side(a), compare.read_side(b))
    assert (row["a"], row["b"], row["difference"], row["n"]) == (75, 50, pytest.approx(25), 40)
    assert row["p_mcnemar"] == pytest.approx(statistics.mcnemar([1] * 30 + [0] * 10, [1] * 20 + [0] * 20).p)
    assert 0 < row["low"] < 25 < row["high"]


def test_what_only_one_side_has_is_told(tmp_path, capsys):
    a, b = scores(tmp_path / "a.jsonl", [1, 0, 1]), scores(tmp_path / "b.jsonl", [1, 1, 1])
    with Path(a).open("a", encoding="utf-8") as file:
        file.write('{"benchmark": "other", "id": "1", "correct": true}\n')
    assert main(["compare", a, b, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [r["benchmark"] for r in json.loads(out)] == ["b"]
    assert "on one side only: other" in err


def test_a_seed_without_the_benchmark_is_named():
    one, two = {"b": {"1": (1.0, "")}}, {"c": {"1": (1.0, "")}}
    side = compare.Side("x", {0: one, 1: two}, {})
    with pytest.raises(BadInput, match="not every seed has benchmark 'b'"):
        compare.compare(side, compare.Side("y", {0: one, 1: one}, {}))


def test_a_method_against_itself_does_not_differ(tmp_path):
    side = compare.read_side(scores(tmp_path / "a.jsonl", [1, 0, 1]))
    (row,) = compare.compare(side, side)
    assert row["difference"] == 0
    assert row["p"] == row["p_mcnemar"] == 1


def test_two_methods_of_a_run_are_compared_over_seeds(smoke_run, capsys):
    run = str(smoke_run.folder)
    assert main(["compare", f"{run}:cgd", f"{run}:llama/sft", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["benchmark"] for r in rows] == [*smoke_run.profile.evaluation.benchmarks, compare.ALL]
    assert rows[-1]["n"] == sum(r["n"] for r in rows[:-1]) and rows[-1]["p_holm"] is None
    assert all(r["boot_low"] <= r["difference"] <= r["boot_high"] for r in rows)
    assert {r["seeds"] for r in rows} == {2}


def test_the_base_is_compared_with_every_seed(smoke_run):
    run = str(smoke_run.folder)
    rows = compare.compare(compare.read_side(f"{run}:cgd"), compare.read_side(f"{run}:base"))
    assert {r["seeds"] for r in rows} == {2}


def test_many_benchmarks_are_corrected(tmp_path):
    sides = []
    for name, right in (("a", [1] * 12 + [0] * 8), ("b", [1] * 5 + [0] * 15)):
        rows = [{"benchmark": b, "id": str(i), "correct": bool(c)} for b in "xyz" for i, c in enumerate(right)]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
        sides.append(compare.read_side(str(tmp_path / f"{name}.jsonl")))
    *rows, every = compare.compare(*sides)
    assert every["benchmark"] == compare.ALL and every["difference"] == pytest.approx(35) and every["n"] == 60
    assert all(r["p_holm"] >= r["p"] for r in rows)
    assert rows[0]["p_holm"] == pytest.approx(min(1, 3 * rows[0]["p"]))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([{"id": "1", "correct": True}], [{"id": "2", "correct": True}], "other items"),
        ([{"id": "1", "correct": True, "gold": "4"}], [{"id": "1", "correct": True, "gold": "5"}], "has gold '4'"),
        ([{"id": "1", "correct": True}] * 2, [{"id": "1", "correct": True}], "occurs twice"),
        ([{"id": "1"}], [{"id": "1", "correct": True}], "no field 'correct'"),
        ([{"id": "1", "correct": "yes"}], [{"id": "1", "correct": True}], "correct is 'yes'"),
        ([], [{"id": "1", "correct": True}], "no rows"),
        (
            [{"id": "1", "correct": True, "benchmark": "x"}],
            [{"id": "1", "correct": True, "benchmark": "y"}],
            "none in common",
        ),
    ],
)
def test_bad_input_ends_with_exit_code_2(tmp_path, capsys, a, b, message):
    write_jsonl(tmp_path / "a.jsonl", a)
    write_jsonl(tmp_path / "b.jsonl", b)
    assert main(["compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_method_is_told_the_known_ones(smoke_run):
    with pytest.raises(BadInput, match="llama/cgd"):
        compare.read_side(f"{smoke_run.folder}:ppo")


def test_other_questions_are_refused():
    sides = [compare.Side(n, {None: {"b": {"1": (1.0, "")}}}, {"b": n}) for n in ("one", "two")]
    with pytest.raises(BadInput, match="answered other questions"):
        compare.compare(*sides)
