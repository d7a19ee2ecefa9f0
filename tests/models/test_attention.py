"""Attention in 16 bits on a CPU: the same result as transformers' own, for models that it serves, and no others."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, MistralConfig

from cgd_utils.models import attention

SIZES = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip


def model_of(config, dtype=torch.bfloat16):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def padded_batch():
    ids = torch.arange(1, 21).reshape(2, 10) % 40
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize(
    "config", [LlamaConfig(**SIZES), MistralConfig(**SIZES, sliding_window=4)], ids=["llama", "sliding"]
)
def test_it_attends_as_the_models_own_does(config):
    own = model_of(config, torch.float32)
    ours = copy.deepcopy(own)
    attention.use(ours)
    with torch.no_grad():
        a, b = (m(**padded_batch()).logits[padded_batch()["attention_mask"].bool()] for m in (own, ours))
    assert torch.allclose(a, b, atol=1e-5)


def test_its_gradients_are_those_of_the_models_own():
    own = model_of(LlamaConfig(**SIZES), torch.float32)
    ours = copy.deepcopy(own)
    attention.use(ours)
    batch = padded_batch()
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    labels[0, 4] = -100  # padding would predict it
    for m in (own, ours):
        m(**batch, labels=labels).loss.backward()
    pairs = zip(own.parameters(), ours.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-5) for a, b in pairs)


def test_generation_with_a_cache_gives_the_same_tokens():
    own = model_of(LlamaConfig(**SIZES), torch.float32).eval()
    ours = copy.deepcopy(own)
    attention.use(ours)
    a, b = (m.generate(**padded_batch(), max_new_tokens=12, do_sample=False) for m in (own, ours))
    assert torch.equal(a, b)


def test_it_serves_16_bits_of_plain_families_only():
    assert attention.serves(model_of(LlamaConfig(**SIZES)))
    assert not attention.serves(model_of(LlamaConfig(**SIZES), torch.float32)), "float32 keeps PyTorch's fused kernel"
    soft_cap = Gemma2Config(**SIZES, head_dim=8)
    assert not attention.serves(model_of(soft_cap)), "caps its scores, which this attention would leave out"
