"""Memory and disk of ``cgd check``, against machines that are only told of."""

from pathlib import Path

import pytest

from cgd_utils.app import probes, room
from cgd_utils.core import files, store

STUDENT, TEACHER = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"


def opened(tmp_path, **fields):
    return store.open_run("paper-llama", tmp_path, fields)


def rows(run, gpu_gib=None):
    known = room.shapes(run)
    return {r["what"]: r for r in room.generation_memory(run, gpu_gib, known)}


@pytest.mark.parametrize(
    ("fields", "gpu_gib", "fits"),
    [
        ({}, 80, False),  # 132 GiB of bfloat16 on one GPU
        ({"generation.engine": "vllm"}, 80, False),
        ({"generation.engine": "vllm", "generation.tensor_parallel_size": 4}, 80, True),
        ({"generation.engine": "transformers"}, 80, False),  # it takes one GPU
        ({"generation.engine": "ray", "generation.tensor_parallel_size": 4}, 80, True),
        ({"generation.engine": "vllm", "generation.quantization": "fp8"}, 141, True),
        ({"generation.engine": "vllm", "generation.quantization": "fp8"}, 48, False),
        ({"models.dtype": "float32", "generation.engine": "vllm", "generation.tensor_parallel_size": 2}, 141, False),
        ({"models.device": "cpu"}, None, False),
    ],
)
def test_a_70b_teacher_is_counted(tmp_path, monkeypatch, fields, gpu_gib, fits):
    monkeypatch.setattr(room, "free_memory_gib", lambda: 64.0)
    row = rows(opened(tmp_path, **fields), gpu_gib)["memory of the teacher"]
    assert row["ok"] is fits, row["found"]
    assert TEACHER in row["found"] and bool(row["advice"]) is not fits


def test_more_gpus_than_there_are_is_red(tmp_path):
    fields = {"generation.engine": "vllm", "generation.tensor_parallel_size": 4}
    row = rows(opened(tmp_path, **fields))["memory of the teacher"]
    assert not row["ok"] and "wants 4 GPU(s), 0 here" in row["found"]


def test_a_teacher_behind_a_server_takes_no_memory_here(tmp_path):
    served = {"engine": "openai", "base_url": "http://localhost:8000/v1", "server_model": "big"}
    run = opened(tmp_path, **{"synthesis.teacher": {"kind": "model", "generation": served}})
    assert set(rows(run, 24)) == {"memory of the student llama"}


def test_training_on_a_cpu_is_held_against_the_main_memory(tmp_path, monkeypatch):
    run = opened(tmp_path, **{"models.device": "cpu", "training.mode": "lora"})
    for free, fits in ((16.0, False), (512.0, True)):
        monkeypatch.setattr(room, "free_memory_gib", lambda free=free: free)
        (row,) = room.training_memory(run, None, room.shapes(run))
        assert row["ok"] is fits


def test_a_model_without_a_config_is_red(tmp_path):
    run = opened(tmp_path, **{"models.students": {"mine": "me/unknown"}})
    known = room.shapes(run)
    (row,) = room.training_memory(run, 80, known)
    assert not row["ok"] and "me/unknown" in row["found"]


@pytest.mark.parametrize(("free", "one_disk", "enough"), [(200, True, True), (20, True, False), (148, False, True)])
def test_downloads_count_as_disk(tmp_path, monkeypatch, free, one_disk, enough):
    """15 GiB of student and 131 of teacher, from their published shapes where the hub does not tell sizes."""
    run = opened(tmp_path / "runs")
    monkeypatch.setattr(files, "free_gib", lambda folder: float(free))
    if not one_disk:
        places = {False: tmp_path / "runs", True: Path("/proc")}
        monkeypatch.setattr(files, "existing", lambda folder: places["hub" in str(folder)])
        (tmp_path / "runs").mkdir()
    away = probes.Found("away", False, None)
    found = {probes.Repository("model", m): away for m in (STUDENT, TEACHER)}
    found[probes.Repository("dataset", "me/rows")] = probes.Found("away", False, None)
    mine, downloads = room.disk(run, found, room.shapes(run))
    assert "about 146.4 to download" in downloads["found"] and "size not known: me/rows" in downloads["found"]
    assert downloads["ok"] is enough
    assert mine["ok"] is (enough if one_disk else True)


def test_a_size_that_the_hub_tells_is_taken(tmp_path, monkeypatch):
    found = {probes.Repository("model", STUDENT): probes.Found("there", True, 4.0)}
    run = opened(tmp_path)
    assert "about 4.0 to download" in room.disk(run, found, room.shapes(run))[1]["found"]
    assert len(room.disk(store.open_run("lab", tmp_path), {}, {})) == 1, "no downloads, no row"


@pytest.mark.parametrize(("mode", "gib"), [("full", 5 * 2.2 * 15), ("qlora", 5 * 3 * 4 * 16 * 2.6e6 / 2**30)])
def test_models_of_a_hub_student_count_as_disk(tmp_path, mode, gib):
    assert room.need_gib(opened(tmp_path, **{"training.mode": mode})) == pytest.approx(gib, rel=0.1)
