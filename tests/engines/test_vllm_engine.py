"""Engine vllm without vLLM: what the outer side checks, tells and keeps, with a stand-in for the package behind the real worker.

The real package is asked by tests/vllm (``make test-vllm``).
"""

import json
import sys
from pathlib import Path

import pytest

from cgd_utils.core.errors import BadInput, GenerationFailed
from cgd_utils.core.files import read_jsonl
from cgd_utils.core.settings import Engine, Sampling
from cgd_utils.engines import generation, request_log, vllm_engine, vllm_process
from cgd_utils.engines.request_log import Request
from cgd_utils.models import loading
from cgd_utils.models.loading import ModelRef

MODEL = loading.resolve("lab:llama")
GREEDY = Sampling(max_new_tokens=8)
REQUESTS = [Request(str(i), [{"role": "user", "content": f"Mia has {i} cups."}]) for i in range(20)]
STAND_IN = """
import json, os, sys
from types import SimpleNamespace as NS
class SamplingParams:
    def __init__(self, **told): self.told = told
class LLM:
    def __init__(self, **told):
        json.dump(told, open(os.environ["STAND_IN_TOLD"], "w"))
        self.llm_engine, self.calls = NS(model_config=NS(max_model_len=told["max_model_len"] or 128)), 0
    def generate(self, prompts, sampling, use_tqdm, lora_request):
        self.calls += 1
        if self.calls == int(os.environ.get("STAND_IN_DIES", 0)):
            sys.exit(os.environ.get("STAND_IN_WORDS", "killed"))
        said = lambda p, s: f"{len(p['prompt_token_ids'])} {s.told['temperature']} {getattr(lora_request, 'name', None)}"
        return [NS(outputs=[NS(text=said(p, s), finish_reason="stop", token_ids=[1, 2])]) for p, s in zip(prompts, sampling)]
"""
PLATFORMS = """
import os
from types import SimpleNamespace
ram = int(os.environ.get("STAND_IN_RAM", 0))
current_platform = SimpleNamespace(is_cpu=lambda: bool(ram), get_device_total_memory=lambda: ram)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """An interpreter that finds a package called vllm; where it writes the engine's settings."""
    package = tmp_path / "site" / "vllm"
    (package / "lora").mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    (package / "lora" / "__init__.py").touch()
    (package / "platforms.py").write_text(PLATFORMS)
    (package / "lora" / "request.py").write_text(
        "from types import SimpleNamespace\ndef LoRARequest(name, at, path): return SimpleNamespace(name=name)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("STAND_IN_TOLD", str(tmp_path / "told.json"))
    return tmp_path / "told.json"


def ask(tmp_path, requests=REQUESTS, sampling=GREEDY, adapter=None, **settings):
    engine = Engine(**{"engine": "vllm", "vllm_python": sys.executable, "batch_size": 1, **settings})
    generator = generation.open_generator(ModelRef(MODEL, "llama", adapter, dtype="float32", device="cpu"), engine)
    try:
        return request_log.generate(generator, requests, sampling, tmp_path / "log.jsonl"), generator
    finally:
        vllm_process.end()


def test_rows_come_back_and_every_engine_field_is_passed(stand_in, tmp_path):
    rows, generator = ask(tmp_path, quantization="fp8", max_model_len=100, gpu_memory_utilization=0.5)
    assert [r["id"] for r in rows] == [r.id for r in REQUESTS]
    assert {(r["finish_reason"], r["n_tokens"], r["model"]) for r in rows} == {("stop", 2, "llama")}
    told = json.loads(stand_in.read_text())
    assert {k: told[k] for k in ("quantization", "max_model_len", "gpu_memory_utilization", "tensor_parallel_size", "dtype")} == {
        "quantization": "fp8", "max_model_len": 100, "gpu_memory_utilization": 0.5, "tensor_parallel_size": 1, "dtype": "float32"}  # fmt: skip
    assert told["generation_config"] == "vllm", "a model's own settings must not count"
    assert set(generator.seconds) == {"load", "generate"}


def test_the_template_is_applied_once(stand_in, tmp_path):
    (row,), _ = ask(tmp_path, REQUESTS[:1])
    tok = loading.load_tokenizer(ModelRef(MODEL, "llama"))
    assert row["text"].split()[0] == str(len(generation.prompt_ids(tok, REQUESTS[:1])[0]))


def test_a_prompt_that_does_not_fit_is_told_not_cut(stand_in, tmp_path):
    long = Request("long", [{"role": "user", "content": "Mia has 3 cups. " * 60}])
    with pytest.warns(UserWarning, match="1 of 2 prompts do not fit"):
        rows, _ = ask(tmp_path, [long, REQUESTS[0]], max_model_len=64)
    assert [r["finish_reason"] for r in rows] == ["too_long", "stop"]


@pytest.mark.parametrize(
    ("words", "advice"),
    [("torch.OutOfMemoryError: CUDA out of memory", "lower generation.gpu_memory_utilization or generation.max_model_len"),
     ("ValueError: max seq len (4096) is larger than the KV cache", "lower generation.max_model_len"),
     ("RuntimeError: something else", "run again to go on")],
)  # fmt: skip
def test_a_death_in_the_middle_keeps_what_was_finished_and_names_the_setting(
    stand_in, tmp_path, monkeypatch, words, advice
):
    monkeypatch.setenv("STAND_IN_DIES", "2")
    monkeypatch.setenv("STAND_IN_WORDS", words)
    with pytest.raises(GenerationFailed, match=advice):
        ask(tmp_path)
    assert len(read_jsonl(tmp_path / "log.jsonl")) == 8, "the first chunk"
    monkeypatch.delenv("STAND_IN_DIES")
    rows, _ = ask(tmp_path, gpu_memory_utilization=0.5)  # as the message says; nothing is asked twice
    assert len(rows) == len(read_jsonl(tmp_path / "log.jsonl")) == 20


@pytest.mark.parametrize("ram", [2**40, 2**20])
def test_on_a_cpu_context_and_cache_are_what_the_prompts_need_and_half_of_the_memory_at_most(
    stand_in, tmp_path, monkeypatch, ram
):
    monkeypatch.setenv("STAND_IN_RAM", str(ram))
    ask(tmp_path)
    told = json.loads(stand_in.read_text())
    tok = loading.load_tokenizer(ModelRef(MODEL, "llama"))
    lengths = [len(ids) + GREEDY.max_new_tokens for ids in generation.prompt_ids(tok, REQUESTS)]
    assert max(lengths) < told["max_model_len"] == vllm_engine.ROOM, "rounded up, so that later prompts fit too"
    config = json.loads((Path(MODEL) / "config.json").read_text())
    a_token = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"] * 4
    if ram == 2**20:
        assert told["kv_cache_memory_bytes"] == ram // 2
    else:
        assert sum(lengths) * a_token <= told["kv_cache_memory_bytes"] <= (sum(lengths) + 128 * len(lengths)) * a_token


@pytest.mark.parametrize(("ram", "share"), [(0, None), (0, 0.5), (2**40, 0.5)])
def test_a_gpu_and_a_share_that_is_given_are_left_alone(stand_in, tmp_path, monkeypatch, ram, share):
    monkeypatch.setenv("STAND_IN_RAM", str(ram))
    ask(tmp_path, gpu_memory_utilization=share)
    told = json.loads(stand_in.read_text())
    assert told["gpu_memory_utilization"] == (share or 0.9)
    assert told["max_model_len"] is None
    assert "kv_cache_memory_bytes" not in told


MEMORY = "ValueError: Available memory on node 0 (3.0/9.0 GiB) on startup is less than desired CPU memory utilization (0.9, 8.1 GiB)."
LATER = "\n".join(
    ["(EngineCore pid=2) Exception: WorkerProc initialization failed. See stack trace for root cause.",
     "BrokenPipeError: [Errno 32] Broken pipe", "RuntimeError: Engine core initialization failed. See root cause above."]
)  # fmt: skip


@pytest.mark.parametrize(
    ("log", "cause", "advice"),
    [
        (f"INFO starting\n(Worker-0 pid=1) ERROR 01-02 03:04:05 [executor.py:9] {MEMORY}\n{LATER}", MEMORY, "gpu_memory_utilization or leave it out"),
        ("pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, User-specified max_model_len (99) is greater "
         "than the derived max_model_len (9)\n", "max_model_len (99)", "lower generation.max_model_len"),
        (f"(EngineCore pid=1) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried\n{LATER}", "CUDA out of memory", "ran out of memory"),
        ("Segmentation fault", "Segmentation fault", "code 1"), ("", "nothing was told", "code 1"),
    ],
)  # fmt: skip
def test_the_first_line_of_an_error_holds_the_cause_and_the_way_out(log, cause, advice):
    first = vllm_engine._why(log, 1).splitlines()[0]
    assert cause in first
    assert advice in first


def test_on_a_cpu_a_context_that_is_given_holds_and_has_room(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_RAM", str(2**40))
    ask(tmp_path, REQUESTS[:1])
    short = json.loads(stand_in.read_text())
    ask(tmp_path, REQUESTS[1:2], max_model_len=9000)
    told = json.loads(stand_in.read_text())
    assert told["max_model_len"] == 9000
    assert told["kv_cache_memory_bytes"] > 9000 / (128 + short["max_model_len"]) * short["kv_cache_memory_bytes"] * 0.99


def test_a_prompt_that_was_too_long_is_asked_again_with_more_context(stand_in, tmp_path):
    long = Request("long", [{"role": "user", "content": "Mia has 3 cups. " * 60}])
    with pytest.warns(UserWarning, match="do not fit"):
        ask(tmp_path, [long], max_model_len=64)
    ((row,), _) = ask(tmp_path, [long], max_model_len=2048)
    assert row["finish_reason"] == "stop"


def adapter_of(folder, **config):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "base_model_name_or_path": MODEL, **config}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return str(folder)


def test_an_adapter_is_served_by_name_with_room_for_its_rank(stand_in, tmp_path):
    rows, _ = ask(tmp_path, adapter=adapter_of(tmp_path / "a", r=20))
    assert rows[0]["text"].endswith("llama")
    told = json.loads(stand_in.read_text())
    assert (told["enable_lora"], told["max_lora_rank"]) == (True, 32)


@pytest.mark.parametrize(
    ("config", "message"),
    [({"r": 1024}, "rank 1024 is above vLLM's limit of 512"), ({"use_dora": True}, "serves neither DoRA"),
     ({"modules_to_save": ["lm_head"]}, "nor modules_to_save")],
)  # fmt: skip
def test_adapters_that_vllm_cannot_serve_are_refused_before_it_starts(tmp_path, config, message):
    with pytest.raises(BadInput, match=message):
        ask(tmp_path, adapter=adapter_of(tmp_path / "a", **config))


def test_another_adapter_under_the_same_name_is_other_work(stand_in, tmp_path):
    folder = adapter_of(tmp_path / "a")
    ask(tmp_path, REQUESTS[:3], adapter=folder)
    (tmp_path / "a" / "adapter_model.safetensors").write_bytes(b"trained further")
    ask(tmp_path, REQUESTS[:3], adapter=folder)
    assert len(read_jsonl(tmp_path / "log.jsonl")) == 6


def test_no_vllm_no_interpreter_and_too_few_gpus_are_told(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="has no vllm"):
        ask(tmp_path)
    with pytest.raises(BadInput, match="/no/python has no vllm"):
        ask(tmp_path, vllm_python="/no/python")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(BadInput, match="tensor_parallel_size = 4 but this machine has 2 GPUs"):
        ask(tmp_path, tensor_parallel_size=4)


def test_more_new_tokens_than_the_context_are_refused(stand_in, tmp_path):
    with pytest.raises(BadInput, match="max_model_len = 8"):
        ask(tmp_path, max_model_len=8)


def test_on_a_cpu_one_engine_serves_a_base_and_its_adapters(stand_in, tmp_path, monkeypatch):
    """Loading counts once: the adapters of a comparison come one after the other, the base between them."""
    started = []
    whole = vllm_process.Process
    monkeypatch.setattr(vllm_process, "Process", lambda *a: started.append(1) or whole(*a))
    names = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"r": 16}))
    engine = Engine(engine="vllm", vllm_python=sys.executable)
    try:
        for adapter in ("a", None, "b"):
            ref = ModelRef(MODEL, adapter or "base", adapter and str(tmp_path / adapter), dtype="float32", device="cpu")
            generator = generation.open_generator(ref, engine)
            rows = request_log.generate(generator, REQUESTS[:3], GREEDY, tmp_path / f"{adapter}.jsonl")
            generator.close()
            names.append({r["text"].split()[-1] for r in rows})
    finally:
        vllm_process.end()
    assert names == [{"a"}, {"None"}, {"b"}]
    assert len(started) == 1


def test_auto_takes_vllm_for_large_models_where_it_is_installed(stand_in, monkeypatch):
    from cgd_utils.engines import automatic
    from cgd_utils.models import number_format

    engine = Engine(engine="auto", vllm_python=sys.executable, batch_size=7)
    small = automatic.chosen(ModelRef(MODEL, "llama"), engine)
    assert (small.engine, small.batch_size) == ("transformers", 7)
    monkeypatch.setattr(number_format, "LARGE", 10)
    large = automatic.chosen(ModelRef(MODEL, "llama"), engine)
    assert (large.engine, large.vllm_python, large.batch_size) == ("vllm", sys.executable, 7)
    missing = automatic.chosen(ModelRef(MODEL, "llama"), Engine(engine="auto", vllm_python="/no/python"))
    assert missing.engine == "transformers"
    adapted = automatic.chosen(ModelRef(MODEL, "llama", adapter="a"), engine)
    assert adapted.engine == "transformers", "vLLM's CPU build is slow with adapters"
    monkeypatch.setattr(automatic, "pick_device", lambda device: "cuda")
    assert automatic.chosen(ModelRef(MODEL, "llama", adapter="a"), engine).engine == "vllm"


def test_a_process_with_room_to_spare_answers_longer_prompts(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_RAM", str(2**40))
    started = []
    whole = vllm_process.Process
    monkeypatch.setattr(vllm_process, "Process", lambda *a: started.append(1) or whole(*a))
    engine = Engine(engine="vllm", vllm_python=sys.executable)
    longer = [Request("long", [{"role": "user", "content": "word " * 40}])]
    try:
        for i, requests in enumerate((REQUESTS[:1], longer)):
            generator = generation.open_generator(ModelRef(MODEL, "llama"), engine)
            list(request_log.generate(generator, requests, GREEDY, tmp_path / f"{i}.jsonl"))
            generator.close()
    finally:
        vllm_process.end()
    assert len(started) == 1
