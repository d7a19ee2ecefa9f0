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
    assert number_format.resolve(LLAMA, "auto", on_cuda=False) == "float32", "a lab student keeps its format"
    monkeypatch.setattr(number_format, "LARGE", 10)
    assert number_format.resolve(LLAMA, "auto", on_cuda=False) == "bfloat16"


def test_without_bf16_everything_runs_in_fp32(processor, monkeypatch):
    processor(avx2=True, avx512_f=True)
    monkeypatch.setattr(number_format, "LARGE", 10)
    assert number_format.resolve(LLAMA, "auto", on_cuda=False) == "float32"


def test_what_the_profile_says_holds_and_cuda_takes_bf16(processor):
    processor()
    assert number_format.resolve(LLAMA, "float16", on_cuda=False) == "float16"
    assert number_format.resolve("owner/name", "auto", on_cuda=True) == "bfloat16"


def test_a_model_that_is_not_here_counts_as_large(processor):
    processor(amx_bf16=True)
    assert number_format.resolve("owner/name", "auto", on_cuda=False) == "bfloat16"
