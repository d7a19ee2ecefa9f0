"""Memory that training and generation need, estimated from a model's config before any weight is loaded, and settings that fit a GPU.

All numbers are in GiB. The estimate counts what training keeps: weights, adapters, gradients, optimizer states, activations
kept for the backward pass, one tile of logits, and a margin for the allocator and the CUDA context. accelerate's
`estimate-memory` lets every weight train: it knows neither LoRA nor activations nor 4-bit weights beside 16-bit ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from ..core.records import Record
from ..core.settings import Training

GIB = 2**30
CONTEXT = 0.9  # CUDA context, kernels' workspaces
FRAGMENTATION = 0.05  # of what is allocated
TILE = (4096, 32768)  # tokens × vocabulary of the fused output head's tile (TRL), in 32 bits
PUBLISHED: dict[str, Record] = yaml.safe_load(
    Path(__file__).with_name("published_models.yaml").read_text(encoding="utf-8")
)


def published_config(model: str) -> Any:
    """The transformers config of a model in `PUBLISHED`, by its hub id."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**PUBLISHED[model])


@dataclass(frozen=True)
class Shape:
    """What of a model determines its memory.

    Attributes:
        linear: weights in linear layers inside the blocks (4-bit in mode qlora).
        experts: weights of a mixture's experts (4-bit in mode qlora).
        other: embeddings, output head, norms, router: never quantised.
        adapter_width: sum over linear layers of (in + out) features: a rank-1 adapter's weights.
        largest_expert_layer: weights of a block's experts, which are dequantised as a whole.
    """

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_width: int
    active_experts: int
    vocabulary: int
    linear: int
    experts: int
    other: int
    adapter_width: int
    largest_expert_layer: int

    @property
    def weights(self) -> int:
        """All weights of the model."""
        return self.linear + self.experts + self.other


def shape(config: Any) -> Shape:
    """The shape of a causal language model from its transformers config; built on the meta device, no weight is made."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    c = config.get_text_config()
    head = model.get_output_embeddings()
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    linear = sum(m.weight.numel() for m in linears)
    experts = [q.numel() for n, q in model.named_parameters() if q.dim() == 3 and ".experts." in n]
    head_size = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    return Shape(
        layers=c.num_hidden_layers,
        hidden=c.hidden_size,
        mlp=c.intermediate_size,
        heads=c.num_attention_heads,
        kv_width=head_size * (getattr(c, "num_key_value_heads", None) or c.num_attention_heads),
        active_experts=getattr(c, "num_experts_per_tok", None) or 1,
        vocabulary=c.vocab_size,
        linear=linear,
        experts=sum(experts),
        other=model.num_parameters() - linear - sum(experts),
        adapter_width=sum(m.in_features + m.out_features for m in linears),
        largest_expert_layer=max(experts, default=0) * 3 // 2,
    )


@dataclass(frozen=True)
class Estimate:
    """GiB by purpose; ``total`` includes context and fragmentation."""

    weights: float
    adapters: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return CONTEXT + (1 + FRAGMENTATION) * sum(asdict(self).values())


def estimate(s: Shape, t: Training, bits: int = 16, on_cpu: bool = False) -> Estimate:
    """Memory of training a model of shape ``s`` as ``t`` says, on one GPU with forward passes of full length.

    Args:
        s: the model's shape.
        t: mode, LoRA, micro-batch, length, packing, checkpointing, attention.
        bits: of the model's weights and activations.
        on_cpu: optimizer states are in 32 bits there; on CUDA QLoRA's are in 8 (paged).
    """
    size = bits / 8
    if t.mode == "full":
        # 32-bit master weights, gradients and two Adam moments; autocast keeps a 16-bit copy while a layer runs
        weights: float = 4 * s.weights
        trained, adapters = s.weights, 0
    else:
        # NF4 with double quantisation: 4.127 bits a weight (arXiv 2305.14314, section 3)
        packed = 4.127 / 8 if t.mode == "qlora" else size
        weights = packed * (s.linear + s.experts) + size * s.other
        trained = s.adapter_width * t.lora.r
        adapters = 4 * trained
    moments = 2 if t.mode == "qlora" and not on_cpu else 8
    tile = 4 * 4 * min(tokens(t), TILE[0]) * min(s.vocabulary, TILE[1])
    return Estimate(
        weights=weights / GIB,
        adapters=adapters / GIB,
        gradients=4 * trained / GIB,
        optimizer=moments * trained / GIB,
        activations=activations(s, t, size) / GIB,
        logits=(tile + 2 * size * tokens(t) * s.hidden) / GIB,
    )


def generation(s: Shape, new_tokens: int, bits: int = 16) -> float:
    """GiB that a model needs to write one text: weights, keys and values of the text, context, fragmentation.

    Args:
        s: the model's shape.
        new_tokens: length of the text.
        bits: of the weights; keys and values have 16 at least.
    """
    cache = 2 * s.layers * s.kv_width * new_tokens * max(bits, 16) / 8
    return CONTEXT + (1 + FRAGMENTATION) * (s.weights * bits / 8 + cache) / GIB


def tokens(t: Training) -> int:
    """Tokens of the longest forward pass."""
    return t.max_length if t.packing else t.micro_batch_size * t.max_length


def activations(s: Shape, t: Training, size: float) -> float:
    """Bytes of activations that the backward pass needs.

    Kept by a block for each token, in elements: 2 norms' inputs in 32 bits and their outputs, q, k, v, the attention's output, and
    for each active expert the MLP's gate, up, activation and product. Eager attention also keeps its probabilities. The adapters
    keep their rank's width a layer. With checkpointing only each block's input is kept, and one block at a time in full.
    """
    wide = 4 * s.hidden + 4 * 2 * s.hidden / size  # normed ×2, q, attention's output; norms in 32 bits
    narrow = 2 * s.kv_width
    mlp = 4 * s.mlp * s.active_experts + (2 * s.hidden * s.active_experts if s.experts else 0)
    ranks = 7 * t.lora.r * 4 / size if t.mode != "full" else 0
    block = size * (wide + narrow + mlp + ranks) * tokens(t)
    if t.attention == "eager":
        rows = 1 if t.packing else t.micro_batch_size
        block += 2 * size * s.heads * rows * t.max_length**2
    dequantised = size * s.largest_expert_layer if t.mode == "qlora" else 0.0
    if t.gradient_checkpointing:
        return size * s.hidden * tokens(t) * s.layers + block + dequantised
    return (block + dequantised) * s.layers


def proposal(s: Shape, t: Training, gpu_gib: float, bits: int = 16) -> Training | None:
    """The settings nearest to ``t`` that fit: no checkpointing before checkpointing, large micro-batches before small, and a
    shorter length last; None if not even 512 tokens fit.

    Args:
        s: the model's shape.
        t: what the profile asks for.
        gpu_gib: the GPU's memory, GiB; a tenth is left free.
        bits: see `estimate`.
    """
    sizes = [m for m in range(t.batch_size, 0, -1) if t.batch_size % m == 0]
    if t.packing:  # one packed row at a time, whatever the micro-batch is called
        sizes = [t.micro_batch_size]
    lengths = [t.max_length, *(n for n in (16384, 8192, 6144, 4096, 3072, 2048, 1024, 512) if n < t.max_length)]
    for length, checkpointing, micro in product(lengths, (False, True), sizes):
        changes = {"max_length": length, "gradient_checkpointing": checkpointing, "micro_batch_size": micro}
        candidate = t.model_copy(update=changes)
        if estimate(s, candidate, bits).total <= 0.9 * gpu_gib:
            return candidate
    return None


def table(s: Shape, t: Training, gpu_gib: float | None, bits: int = 16, on_cpu: bool = False) -> list[Record]:
    """Rows for people: the profile's settings and, where they do not fit or leave room, the proposal.

    Returns:
        ``{settings, weights, adapters, gradients, optimizer, activations, logits, total, fits}``; GiB, ``fits`` None without GPU.
    """
    settings_by_name = {"profile": t}
    better = None if gpu_gib is None else proposal(s, t, gpu_gib, bits)
    if better is not None and _in_words(better) != _in_words(t):
        settings_by_name["proposal"] = better
    rows = []
    for name, settings in settings_by_name.items():
        e = estimate(s, settings, bits, on_cpu)
        row = {"settings": f"{name}: {_in_words(settings)}", **{k: round(v, 2) for k, v in asdict(e).items()}}
        fits = None if gpu_gib is None else e.total <= 0.95 * gpu_gib
        rows.append({**row, "total": round(e.total, 1), "fits": fits})
    return rows


def _in_words(t: Training) -> str:
    micro_batches = f"micro_batch_size={t.micro_batch_size} max_length={t.max_length}"
    passes = f"packed to {t.max_length}" if t.packing else micro_batches
    return f"{t.mode} {passes} gradient_checkpointing={str(t.gradient_checkpointing).lower()}"
