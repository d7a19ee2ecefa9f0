import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from cgd_utils import methods
from cgd_utils.ablations import cell_runs
from cgd_utils.core import files, store
from cgd_utils.core.errors import BadInput
from cgd_utils.training import side_by_side


@pytest.fixture
def run(tmp_path):
    return store.open_run("smoke", tmp_path, {"processes": 2})


def test_processes(run, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [side_by_side.processes(run, n) for n in (0, 1, 2, 9)] == [1, 1, 2, 2]
    auto = store.open_run("smoke", tmp_path, {"processes": "auto"})
    import joblib
    import psutil

    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    free = type("Memory", (), {"available": 100 * 2**30})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert [side_by_side.processes(auto, n) for n in (1, 3, 100)] == [1, 3, 8]
    free.available = 5 * 2**30
    assert side_by_side.processes(auto, 100) == 2
    free.available = 2**29
    assert side_by_side.processes(auto, 100) == 1


def test_a_model_that_has_the_whole_device_trains_alone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert side_by_side.processes(run, 9) == 1
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert side_by_side.processes(store.open_run("smoke", tmp_path, {"processes": 2, "models.device": "auto"}), 9) == 1
    assert side_by_side.processes(run, 9) == 2  # models.device: cpu


def test_results_come_in_order_from_processes_of_one_thread(run):
    def job(run, seconds, name):
        import os
        import time

        import torch

        time.sleep(seconds)
        return name, os.getpid(), torch.get_num_threads(), run.profile.name

    made = side_by_side.each(run, job, [(0.3, "slow"), (0, "a"), (0, "b")], "jobs")
    assert [m[0] for m in made] == ["slow", "a", "b"]
    assert os.getpid() not in {m[1] for m in made} and {m[2] for m in made} == {1} and made[0][3] == "smoke"


def test_one_process_works_here(tmp_path):
    alone = store.open_run("smoke", tmp_path, {"processes": 1})
    seen = []

    def job(run, name, watch):
        watch({"step": name})
        return os.getpid()

    made = side_by_side.each(alone, job, [("a",), ("b",)], "jobs", lambda j: lambda row: seen.append((j, row)))
    assert made == [os.getpid()] * 2 and seen == [(("a",), {"step": "a"}), (("b",), {"step": "b"})]


def test_errors_keep_their_type(run):
    def job(run, name):
        from cgd_utils.core.errors import BadInput

        raise BadInput(f"{name} is wrong")

    with pytest.raises(BadInput, match=r"[ab] is wrong"):
        side_by_side.each(run, job, [("a",), ("b",)], "jobs")


def test_a_killed_process_is_told(run):
    def job(run, name):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(side_by_side.WorkerDied, match="processes to less than 2"):
        side_by_side.each(run, job, [("a",), ("b",)], "jobs")


def test_methods_of_the_notebook_are_known(run, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "mine", methods.METHODS["cgd"])

    def job(run, name):
        from cgd_utils import methods

        return name in methods.METHODS

    assert side_by_side.each(run, job, [("mine",), ("nobody's",)], "jobs") == [True, False]


def test_side_by_side_gives_what_one_after_the_other_gives(run, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = store.open_run("smoke", tmp_path / "alone", {"processes": 1})
        expected = cell_runs.main_comparison(alone, "llama", ["sft", "cgd"], [0])
    finally:
        torch.set_num_threads(threads)
    found = cell_runs.main_comparison(run, "llama", ["sft", "cgd"], [0])
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected))
    losses = lambda r: {  # noqa: E731
        p.parent.name: [h["loss"] for h in files.read_jsonl(p)]
        for p in Path(r.folder).glob("artifacts/models/*/history.jsonl")
    }
    assert losses(run) == losses(alone) and len(losses(run)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_processes_end_with_the_one_that_they_work_for(tmp_path):
    program = textwrap.dedent(f"""
        from cgd_utils.core import store
        from cgd_utils.training import side_by_side

        def job(run, folder, name):
            import os, pathlib, time
            pathlib.Path(folder, name).write_text(str(os.getpid()))
            time.sleep(300)

        run = store.open_run("smoke", {str(tmp_path)!r}, {{"processes": 2}})
        side_by_side.each(run, job, [({str(tmp_path)!r}, "a"), ({str(tmp_path)!r}, "b")], "jobs")
    """)
    parent = subprocess.Popen([sys.executable, "-c", program])

    def until(true, seconds=60):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            time.sleep(0.1)

    def alive(pid):
        import psutil

        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE

    try:
        until(lambda: all((tmp_path / n).exists() and (tmp_path / n).read_text() for n in "ab"))
        pids = [int((tmp_path / n).read_text()) for n in "ab"]
        assert all(map(alive, pids))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        until(lambda: not any(map(alive, pids)), 20)
    finally:
        parent.kill()


def _graded(run, answer):
    from cgd_utils.grading.records import grade

    rows = [{"id": i, "gold": r"\frac{1}{2} + x", "text": rf"\boxed{{x + {answer} + {i} - {i}}}"} for i in range(3)]
    return [row["correct"] for row in grade(rows, "math")]


def test_answers_can_be_graded_by_math_verify_in_each_process(run):
    made = side_by_side.each(run, _graded, [("0.5",), ("0.25",)], "graded")
    assert made == [[True] * 3, [False] * 3]
