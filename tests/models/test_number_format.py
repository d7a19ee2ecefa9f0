"""In which number format a model is loaded."""

import pytest
import torch

from cgd_utils.models import loading, number_format

LLAMA = loading.resolve("lab:llama")


@pytest.fixture
def processor(monkeypatch):
    """Sets what the processor reports of itself."""

    def report(**capabilities):
        number_format.processor_has_bfloat16.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    yield report
    number_format.processor_has_bfloat16.cache_clear()


@pytest.mark.parametrize("name", ["amx_bf16", "avx512_bf16", "bf16", "sve_bf16"])
def test_large_models_take_bf16_where_the_processor_multiplies_in_it(processor, monkeypatch, name):
    processor(**{name: True, "avx2": True})
    assert number_format.resolve(LLAMA, "auto", device="cpu") == "float32", "a lab student keeps its format"
    monkeypatch.setattr(number_format, "LARGE", 10)
    assert number_format.resolve(LLAMA, "auto", device="cpu") == "bfloat16"


def test_without_bf16_everything_runs_in_fp32(processor, monkeypatch):
    processor(avx2=True, avx512_f=True)
    monkeypatch.setattr(number_format, "LARGE", 10)
    assert number_format.resolve(LLAMA, "auto", device="cpu") == "float32"


def test_what_the_profile_says_holds_and_cuda_takes_bf16(processor):
    processor()
    assert number_format.resolve(LLAMA, "float16", device="cpu") == "float16"
    assert number_format.resolve("owner/name", "auto", device="cuda") == "bfloat16"


def test_a_model_that_is_not_here_counts_as_large(processor):
    processor(amx_bf16=True)
    assert number_format.resolve("owner/name", "auto", device="cpu") == "bfloat16"


def test_a_run_for_a_gpu_can_be_looked_at_without_one(tmp_path, monkeypatch):
    """What only looks at keys does not ask for the GPU."""
    from cgd_utils.core import store
    from cgd_utils.models import named

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = store.open_run("smoke", tmp_path, {"models.device": "cuda", "models.dtype": "auto"})
    assert named.student_ref(run, "llama").dtype == "bfloat16"
