"""vLLM for real, on the CPU build: run by ``make test-vllm``, which names the environment that holds vLLM.

``CGD_VLLM_PYTHON`` is that environment's interpreter; without it everything here is skipped.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from cgd_utils.__main__ import main
from cgd_utils.core import errors, store
from cgd_utils.core.errors import BadInput
from cgd_utils.core.settings import Engine, Sampling
from cgd_utils.engines import generation, request_log
from cgd_utils.engines.request_log import Request
from cgd_utils.lab import world
from cgd_utils.methods import UNTRAINED
from cgd_utils.models import loading
from cgd_utils.models.loading import ModelRef
from cgd_utils.training import fine_tune

PYTHON = os.environ.get("CGD_VLLM_PYTHON")
if not PYTHON:
    pytest.skip("CGD_VLLM_PYTHON names no interpreter with vLLM; use make test-vllm", allow_module_level=True)

GREEDY = Sampling(temperature=0, max_new_tokens=100)
MODEL = loading.resolve("lab:llama")
VLLM = {"engine": "vllm", "vllm_python": PYTHON, "max_model_len": 512}
REQUESTS = [Request(p["id"], [{"role": "user", "content": world.instruct(p, "steps")["question"]}])
            for p in world.make_problems(200, [1, 2, 3], 3, "vllm")]  # fmt: skip


def ask(engine, log, requests=REQUESTS, adapter=None, sampling=GREEDY):
    ref = ModelRef(MODEL, "llama", adapter, dtype="float32", device="cpu")
    generator = generation.open_generator(ref, engine)
    try:
        return {r["id"]: r for r in request_log.generate(generator, requests, sampling, log)}
    finally:
        generator.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return ask(Engine(), tmp_path_factory.mktemp("own") / "log")


@pytest.fixture(scope="module")
def served():
    """``vllm serve`` on a loopback port: its address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", MODEL, "--served-model-name", "llama", "--dtype", "float32",
               "--port", str(port), "--host", "127.0.0.1", "--max-model-len", "512", "--generation-config", "vllm",
               "--gpu-memory-utilization", "0.15"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def agreement(a, b):
    differ = [i for i in a if a[i]["text"] != b[i]["text"]]
    for i in differ:
        print(f"{i}\n  {a[i]['text']!r}\n  {b[i]['text']!r}")
    return 1 - len(differ) / len(a)


def test_greedy_texts_agree_with_the_transformers_engine(own, tmp_path):
    long = Request("long", [{"role": "user", "content": "Mia has 3 cups. " * 200}])
    made = ask(Engine(**VLLM), tmp_path / "log", [long, *REQUESTS])
    assert made.pop("long")["finish_reason"] == "too_long", "a prompt that does not fit is told, not cut"
    assert agreement(own, made) >= 0.95
    assert {r["finish_reason"] for r in made.values()} == {"stop"}
    assert ask(Engine(**VLLM), tmp_path / "log") == made, "a second run costs nothing and changes nothing"


def test_the_server_agrees_too(own, served, tmp_path):
    engine = Engine(engine="openai", base_url=served, server_model="llama", concurrency=16)
    assert agreement(own, ask(engine, tmp_path / "log")) >= 0.95


def test_a_lora_adapter_is_served_by_name(tmp_path):
    chosen = {"training.mode": "lora", "training.learning_rate": 1e-3, "models.students": {"llama": MODEL}}
    run = store.open_run("smoke", tmp_path, chosen)
    adapter = str(fine_tune.fine_tune(run, "llama", "distilled_sft", 0).folder / "model")
    plain = [
        Request(r.id, [{"role": "user", "content": r.messages[0]["content"].removesuffix(" Answer in steps.")}])
        for r in REQUESTS[:60]
    ]
    here, there = (ask(e, tmp_path / f"log-{i}", plain, adapter) for i, e in enumerate((Engine(), Engine(**VLLM))))
    base = ask(Engine(), tmp_path / "base", plain)
    assert agreement(here, there) >= 0.95
    assert agreement(base, here) < 1, "the adapter changes nothing, so this test shows nothing"


def test_the_workers_death_is_told_with_the_setting_to_change(tmp_path):
    with pytest.raises(errors.GenerationFailed, match="max_model_len"):
        ask(Engine(**{**VLLM, "max_model_len": 10**7}), tmp_path / "log", REQUESTS[:2])


def test_more_memory_than_is_free_is_the_first_line(tmp_path):
    with pytest.raises(errors.GenerationFailed) as told:
        ask(Engine(**VLLM, gpu_memory_utilization=1.0), tmp_path / "log", REQUESTS[:2])
    first = str(told.value).splitlines()[0]
    assert "less than desired CPU memory utilization" in first
    assert "lower generation.gpu_memory_utilization" in first


def test_no_vllm_is_told():
    with pytest.raises(BadInput, match="has no vllm"):
        generation.open_generator(ModelRef(MODEL, "llama"), Engine(engine="vllm", vllm_python=sys.executable))


def test_a_whole_chain_with_the_teacher_behind_the_server(served, tmp_path):
    profile = tmp_path / "served.yaml"
    teacher = {
        "kind": "model",
        "sampling": {"max_new_tokens": 64},
        "generation": {"engine": "openai", "base_url": served, "server_model": "llama"},
    }
    # a student as its own teacher refines nothing: the chain goes on all the same
    told = {"base": "smoke", "synthesis": {"useless": "tell", "draft": {"temperature": 1.0, "max_new_tokens": 64}, "teacher": teacher},
            "training": {"rows": 0, "seeds": [0], "methods": ["cft", "cgd"]}, "ablations": {"grids": []}}  # fmt: skip
    profile.write_text(json.dumps(told))
    assert main(["run", "--profile", str(profile), "--outputs", str(tmp_path)]) == 0
    results = pd.read_csv(Path(tmp_path) / "served" / "results.csv")
    assert {*UNTRAINED, "cft", "cgd"} == set(results["method"])
