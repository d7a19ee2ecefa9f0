"""Attention for models in 16 bits on a CPU, where PyTorch's fused kernel and transformers' plain one both lose time.

The fused kernel is made for float32 there, and the plain one copies keys and values once for every head that shares them.
What it brings shows in the speeds of ``tests/benchmarks/bench_real_model.py``.
"""

from __future__ import annotations

from typing import Any

NAME = "grouped"
# families whose attention is softmax(q kᵀ · scaling + mask) v and nothing else: no soft cap, no sinks
PLAIN = {"llama", "mistral", "olmo2", "qwen2", "qwen3", "smollm3"}


def serves(model: Any) -> bool:
    """Whether a loaded model is attended faster, and to the same result, by `grouped`: 16 bits, on a CPU, of a plain family."""
    import torch

    text = model.config.get_text_config()
    return model.device.type == "cpu" and model.dtype == torch.bfloat16 and text.model_type in PLAIN


def use(model: Any) -> None:
    """Lets a model attend by `grouped`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, grouped)
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)


def grouped(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Any, None]:
    """softmax(q kᵀ · scaling + mask) v with the queries of all heads that share a key in one product.

    Args:
        module: the attention layer; its mode decides about dropout.
        query: (batch, heads, new, width).
        key: (batch, shared heads, all, width).
        value: like the key.
        attention_mask: (batch, 1, new, at least all), added to the scores; None for none.
        scaling: None = 1 / √width.
        dropout: share of the weights that are dropped in training.

    Returns:
        (batch, new, heads, width), and None for the weights, as transformers wants it.
    """
    import torch

    batch, heads, new, width = query.shape
    shared, length = key.shape[1:3]
    query = query * (width**-0.5 if scaling is None else scaling)
    scores = query.reshape(batch, shared, -1, width) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.view(batch, shared, -1, new, length) + attention_mask[:, :, None, :, :length]
        scores = scores.view(batch, shared, -1, length)
    weights = torch.softmax(scores, -1)
    if dropout:
        weights = torch.nn.functional.dropout(weights, dropout, module.training)
    out = (weights @ value).view(batch, heads, new, width)
    return out.transpose(1, 2).contiguous(), None
