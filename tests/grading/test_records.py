from __future__ import annotations

import json
import multiprocessing.spawn
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cgd_utils.grading import pool
from cgd_utils.grading.pool import judge_all
from cgd_utils.grading.records import disagreements, grade, grade_file


def row(gold, answer, **more):
    return {"id": more.pop("id", 0), "gold": gold, "text": rf"So it is \boxed{{{answer}}}.", **more}


def test_example_row():
    scores = grade([{"id": 7, "gold": "14", "text": "12+5=17\n17-3=14\nAnswer: 14"}])
    assert scores == [{"id": 7, "sample": 0, "extracted": "14", "gold": "14", "correct": True, "status": "ok"}]


def test_benchmark_and_sample_are_kept_and_order_is_the_input_s():
    rows = [row(r"\frac{x}{2}", rf"\frac{{{x}}}{{2}}", id=x, sample=3, benchmark="b") for x in "yxzxab"[:4]][:3]
    scores = grade(rows, workers=2)
    assert [(s["benchmark"], s["id"], s["sample"], s["correct"]) for s in scores] == [
        ("b", "y", 3, False),
        ("b", "x", 3, True),
        ("b", "z", 3, False),
    ]


def test_statuses():
    rows = [
        {"id": "none", "gold": "1", "text": "Nothing to see here"},
        row(r"\frac{1}{x}", r"\frac{1}{", id="open box"),
        row(r"\frac{1}{x}", r"\frac{)}{x}", id="answer"),
        row(r"t(0,4]", "7", id="gold"),
    ]
    assert [(s["id"], s["correct"], s["status"]) for s in grade(rows)] == [
        ("none", False, "no_answer"),
        ("open box", False, "no_answer"),
        ("answer", False, "unparsable"),
        ("gold", None, "unparsable"),
    ]


def test_numeric_golds_are_read_as_text():
    scores = grade([row(27.0, "27", id=1), row(27, "27.0", id=2), row(True, "Yes", id=3), row([1, 2], "[1, 2]", id=4)])
    assert [s["correct"] for s in scores] == [True] * 4
    assert scores[0]["gold"] == "27.0"


def test_an_empty_set_of_rows():
    assert grade([]) == []


HOSTILE = [
    "9^{9^{9^9}}",
    "10^{10^{10^{10}}} + x",
    "(99999999!)!",
    "1000000000!",
    r"\sum_{k=1}^{10^{12}} \frac{1}{k^k}",
    r"\binom{10^9}{5 \cdot 10^8}",
    r"2^{2^{2^{2^{2^{2}}}}} \bmod 7",
    "{" * 50_000 + "x" + "}" * 50_000,
    "(" * 900 + "x" + ")" * 900,
    r"\sqrt{" * 300 + "2" + "}" * 300,
    r"\frac{1}{1+" * 150 + "x" + "}" * 150,
    "x^" * 900 + "x",
    "\0\0x\0",
    "(x+1)^{100000}",
    "(x+y+z+w)^{300} - 1",
    r"\int_0^1 \int_0^x \sin(\cos(\tan(x y))) e^{x^y} dy dx",
    "1e999999999",
    "10^{999999999}",
    "7" * 10_000,
    "0." + "1" * 1_900,
    "\ud800 x",
    "\\" * 500 + "x",
    "$" * 500,
    "-" * 1_900 + "x",
    "1," * 900 + "x",
]


@pytest.mark.timeout(240)
def test_hostile_answers_lose_no_row():
    rows = []
    for i in range(100):
        gold = [r"\frac{x}{7}", "3x+1", "17", "(1, x)"][i % 4]
        rows.append(row(gold, HOSTILE[i % len(HOSTILE)] + (f" + {i}" if i >= 50 else ""), id=i))
        rows.append(row(r"\frac{x}{7}", r"x / 7" if i % 2 else r"\frac{x}{8}", id=f"good {i}"))
    scores = grade(rows, workers=2, timeout_s=0.5)
    assert [s["id"] for s in scores] == [r["id"] for r in rows]
    assert [s["correct"] for s in scores[1::2]] == [False, True] * 50
    assert {s["status"] for s in scores[1::2]} == {"ok"}
    assert all(s["correct"] is not True for s in scores[::2])
    assert "timeout" in {s["status"] for s in scores}


def _wait_idly(*_):
    time.sleep(1.5)
    return True, "ok"


def test_a_worker_that_is_kept_from_the_processor_is_given_time(monkeypatch):
    """Its clock counts processor seconds; the wall clock shows at most `PATIENCE` times as many."""
    monkeypatch.setattr(pool, "_judge", _wait_idly)
    task = ("x+1", "1+x", "math")
    assert judge_all([task], 1, timeout_s=0.5) == [(True, "ok")]
    assert judge_all([task], 1, timeout_s=0.1) == [(None, "timeout")]


def test_a_hostile_gold_too():
    (score,) = grade([row("9^{9^{9^9}}", "9^{9^{9^8}} + x")], timeout_s=0.5)
    assert score["correct"] is not True


def test_a_hung_answer_is_killed_at_its_wall_clock_and_the_pool_lives_on():
    tasks = [("x+1", "1+x", "math"), ("x+1", "(99999999!)! + x", "math"), ("x+1", "x+2", "math")]
    start = time.perf_counter()
    verdicts = judge_all(tasks, workers=1, timeout_s=1)
    assert verdicts == [(True, "ok"), (None, "timeout"), (False, "ok")]
    assert time.perf_counter() - start < 60


def test_works_in_a_thread_and_leaves_no_process_behind():
    found = []
    thread = threading.Thread(target=lambda: found.extend(grade([row("x+1", "1+x")])))
    thread.start()
    thread.join(60)
    assert found[0]["correct"] is True
    assert not [command for command in _children() if "spawn_main" in command]


def _children() -> list[str]:
    """Command lines of this process's children; none where there is no /proc."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"PPid:\t{os.getpid()}\n" in (process / "status").read_text():
                commands.append((process / "cmdline").read_text())
    return commands


def test_works_from_a_script_without_a_main_guard_and_from_standard_input(tmp_path):
    code = (
        "from cgd_utils.grading import grade\n"
        "print(grade([dict(id=1, gold='x+1', text='Answer: $1+x$')])[0]['correct'])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    for command, given in (([sys.executable, str(script)], None), ([sys.executable, "-"], code)):
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=env, timeout=120, cwd=tmp_path)
        assert done.stdout.strip() == "True", done.stderr


def test_a_worker_that_cannot_start_is_an_error_and_no_timeout(monkeypatch):
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/bin/false")
    with pytest.raises(RuntimeError, match="a grading worker did not start"):
        grade([row("x+1", "1+x")])


BAD_ROWS = [
    ([{"id": 1, "text": "x"}], "row 1: column 'gold' is missing"),
    ([row("1", "1"), {"gold": "1", "text": "x"}], "row 2: column 'id' is missing"),
    ([{"id": 1, "gold": "1", "answer": "x"}], r"column 'text' is missing \(it has: id, gold, answer\)"),
    ([row(" ", "1")], "row 1: gold of id 0 is empty"),
    ([row(None, "1")], "row 1: gold of id 0 is empty"),
    ([row("$$", "1")], "row 1: gold of id 0 is empty"),
    ([row([], "1")], "row 1: gold of id 0 is empty"),
    ([row(float("nan"), "1")], "row 1: gold of id 0 is nan"),
    ([row({"a": 1}, "1")], "row 1: gold of id 0 is {'a': 1}"),
    ([row("1", "1", sample=None), row("1", "1", sample=0)], "was given before"),
    ([{"id": 1, "gold": "1", "text": None}], "text of id 1 is None – must be a string"),
    ([row("1", "1"), row("1", "2")], r"row 2: \(benchmark, id, sample\) = \(null, 0, 0\) was given before, in row 1"),
    (["text"], "row 1: 'text' is no record"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_bad_rows(rows, message):
    with pytest.raises(ValueError, match=message):
        grade(rows)


@pytest.mark.parametrize("settings", [{"rule": "fuzzy"}, {"workers": 0}, {"timeout_s": 0}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match="–"):
        grade([row("1", "1")], **settings)


def test_grade_file(tmp_path):
    path, out = tmp_path / "records.jsonl", tmp_path / "scores.jsonl"
    rows = [
        row("14", "14", id=1),
        row("14", "15", id=2),
        row("½", "0.5", id=3),
        {"id": 4, "gold": "1", "text": "Hm, well"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    summary = grade_file(path, out)
    assert summary == {"n": 4, "correct": 2, "accuracy": 0.5, "status": {"ok": 3, "no_answer": 1}}
    scores = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [s["id"] for s in scores] == [1, 2, 3, 4]
    assert list(scores[0]) == ["id", "sample", "extracted", "gold", "correct", "status"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["records.jsonl", "scores.jsonl"]


def test_grade_file_takes_any_text_and_writes_one_line_a_row(tmp_path):
    path, out = tmp_path / "records.jsonl", tmp_path / "scores.jsonl"
    rows = [
        {"id": 1, "gold": 14, "text": "Answer: 14"},
        {"id": "1", "gold": 14, "text": "Answer: 14"},
        {"id": "é\u2028\x85x", "gold": "½", "text": "\\boxed{0.5}\u2028 more"},
        {"id": "null", "gold": "1", "text": "a\0b Answer: 1\0"},
        {"id": "long", "gold": "1", "text": "x" * 500_000 + " Answer: 1"},
        {"id": "half a pair", "gold": "1", "text": "\\boxed{\ud800}"},
        {"id": "none", "gold": "1", "text": "", "sample": None},
    ]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(r).encode() for r in rows) + b"\r\n\r\n  \r\n")
    summary = grade_file(path, out)
    scores = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [s["id"] for s in scores] == [r["id"] for r in rows]
    assert [s["correct"] for s in scores] == [True] * 5 + [False] * 2
    assert (summary["n"], scores[-1]["sample"]) == (7, 0)


def test_grade_file_never_writes_over_its_input(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"id": 1, "gold": "1", "text": "1"}\n')
    for out, message in ((path, "is the input too"), (tmp_path, "is a folder")):
        with pytest.raises(ValueError, match=message):
            grade_file(path, out)
    assert "text" in path.read_text()


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"id": 1, "gold": "1", "text": "é"}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.jsonl: not UTF-8"):
        grade_file(path, tmp_path / "out.jsonl")


BAD_FILES = [
    ('{"id": 1, "gold": "1", "text": "1"}\n{"id": 2,', r"records.jsonl line 2: no valid JSON"),
    ('{"id": 1, "gold": "1", "text": "1"}\n\n{"id": 2, "text": "1"}', r"line 3: column 'gold' is missing"),
    ('{"id": 1, "gold": "", "text": "1"}', r"line 1: gold of id 1 is empty"),
    ('{"id": 1, "gold": "1", "text": "1"}\n' * 2, r"line 2: .* was given before, in .*line 1"),
    ("[1]", r"line 1: '\[1\]' is no record"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_bad_file_leaves_the_old_scores_alone(tmp_path, text, message):
    path, out = tmp_path / "records.jsonl", tmp_path / "scores.jsonl"
    path.write_text(text)
    out.write_text("old")
    with pytest.raises(ValueError, match=message):
        grade_file(path, out)
    assert out.read_text() == "old"


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.jsonl: no such file"):
        grade_file(tmp_path / "nowhere.jsonl", tmp_path / "out.jsonl")
    (tmp_path / "in.jsonl").write_text("")
    with pytest.raises(FileNotFoundError, match="does not exist – make it first"):
        grade_file(tmp_path / "in.jsonl", tmp_path / "no" / "out.jsonl")
    with pytest.raises(ValueError, match="rule 'fuzzy' is unknown"):
        grade_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", rule="fuzzy")


def test_disagreements():
    rows = [row("0.5", "0.50001", id=1), row("0.5", "0.5", id=2), row("0.5", "50", id=3)]
    found = disagreements(rows)
    assert [d["id"] for d in found] == [1, 3]
    assert found[0]["correct"] == {"math": False, "relative": True}
    assert found[0]["extracted"] == {"math": "0.50001", "relative": "0.50001"}
    assert disagreements(rows, ("math", "exact")) == []


def test_repeated_answers_cost_once(monkeypatch):
    asked = []

    def judge_all(tasks, *_):
        asked.extend(tasks)
        return [(True, "ok")] * len(tasks)

    monkeypatch.setattr("cgd_utils.grading.pool.judge_all", judge_all)
    grade([row("x+1", random.choice(["1+x", "x + 1 + 0"]), id=i) for i in range(200)])
    assert len(asked) == len(set(asked)) <= 2
