"""Memory that training and generation need, estimated from a model's config before any weight is loaded, and settings that fit a GPU.

All numbers are in GiB. The estimate counts what training keeps: weights, adapters, gradients, optimizer states, activations
kept for the backward pass, one tile of logits, and a margin for the allocator and the CUDA context.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..core.records import Record
from ..core.settings import Training

GIB = 2**30
CONTEXT = 0.9  # CUDA context, kernels' workspaces
FRAGMENTATION = 0.05  # of what is allocated
TILE = (4096, 32768)  # tokens × vocabulary of the fused output head's tile (TRL), in 32 bits


def _sized(kind: str, hidden: int, mlp: int, layers: int, heads: int, kv: int, vocabulary: int, **more: Any) -> Record:
    return {"model_type": kind, "hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": vocabulary, **more}  # fmt: skip


# students and teachers of the shipped profiles, as their model cards give them: an estimate of these needs no network
PUBLISHED = {
    "meta-llama/Llama-3.1-8B-Instruct": _sized("llama", 4096, 14336, 32, 32, 8, 128256),
    "Qwen/Qwen2.5-Math-7B": _sized("qwen2", 3584, 18944, 28, 28, 4, 152064),
    "Qwen/Qwen2.5-1.5B-Instruct": _sized("qwen2", 1536, 8960, 28, 12, 2, 151936, tie_word_embeddings=True),
    "simplescaling/s1.1-3B": _sized("qwen2", 2048, 11008, 36, 16, 2, 151936, tie_word_embeddings=True),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": _sized("mixtral", 4096, 14336, 32, 32, 8, 32000),
    "allenai/OLMo-2-1124-7B-Instruct": _sized("olmo2", 4096, 11008, 32, 32, 32, 100352),
    "meta-llama/Llama-3.3-70B-Instruct": _sized("llama", 8192, 28672, 80, 64, 8, 128256),
    "simplescaling/s1.1-32B": _sized("qwen2", 5120, 27648, 64, 40, 8, 152064),
    "Qwen/Qwen2.5-7B-Instruct": _sized("qwen2", 3584, 18944, 28, 28, 4, 152064),
}


def published_config(model: str) -> Any:
    """The transformers config of a model in `PUBLISHED`, by its hub id."""
    from transformers import AutoConfig

    about = dict(PUBLISHED[model])
    return AutoConfig.for_model(about.pop("model_type"), **about)


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
    experts = [q.numel() for n, q in model.named_parameters() if q.dim() == 3 and ".experts." in n]
    linear = sum(m.weight.numel() for m in linears)
    head_size = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    return Shape(
        layers=c.num_hidden_layers, hidden=c.hidden_size, mlp=c.intermediate_size, heads=c.num_attention_heads,
        kv_width=head_size * (getattr(c, "num_key_value_heads", None) or c.num_attention_heads),
        active_experts=getattr(c, "num_experts_per_tok", None) or 1, vocabulary=c.vocab_size, linear=linear, experts=sum(experts),
        other=sum(q.numel() for q in model.parameters()) - linear - sum(experts),
        adapter_width=sum(m.in_features + m.out_features for m in linears),
        largest_expert_layer=max(experts, default=0) * 3 // 2,
    )  # fmt: skip


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
    adapter = s.adapter_width * t.lora.r
    if t.mode == "full":
        # 32-bit master weights, gradients and two Adam moments; autocast keeps a 16-bit copy while a layer runs
        weights, trained = 4 * s.weights, s.weights
        adapters, moments = 0.0, 8 * trained
    else:
        # NF4 with double quantisation: 4.127 bits a weight (arXiv 2305.14314, section 3)
        packed = 4.127 / 8 if t.mode == "qlora" else size
        weights, trained = packed * (s.linear + s.experts) + size * s.other, adapter
        adapters, moments = 4 * adapter, (2 if t.mode == "qlora" and not on_cpu else 8) * trained
    return Estimate(
        weights=weights / GIB, adapters=adapters / GIB, gradients=4 * trained / GIB, optimizer=moments / GIB,
        activations=activations(s, t, size) / GIB,
        logits=(4 * 4 * min(tokens(t), TILE[0]) * min(s.vocabulary, TILE[1]) + 2 * size * tokens(t) * s.hidden) / GIB,
    )  # fmt: skip


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
    if t.mode == "qlora":
        dequantised = size * s.largest_expert_layer
    else:
        dequantised = 0.0
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
    lengths = [t.max_length, *(n for n in (16384, 8192, 6144, 4096, 3072, 2048, 1024, 512) if n < t.max_length)]
    for length in lengths:
        for checkpointing in (False, True):
            for micro in [1] if t.packing else sizes:
                tried = t.model_copy(update={
                    "max_length": length, "gradient_checkpointing": checkpointing,
                    "micro_batch_size": t.micro_batch_size if t.packing else micro,
                })  # fmt: skip
                if estimate(s, tried, bits).total <= 0.9 * gpu_gib:
                    return tried
    return None


def table(s: Shape, t: Training, gpu_gib: float | None, bits: int = 16, on_cpu: bool = False) -> list[Record]:
    """Rows for people: the profile's settings and, where they do not fit or leave room, the proposal.

    Returns:
        ``{settings, weights, adapters, gradients, optimizer, activations, logits, total, fits}``; GiB, ``fits`` None without GPU.
    """
    shown = [("profile", t)]
    if gpu_gib is not None and (better := proposal(s, t, gpu_gib, bits)) is not None and _said(better) != _said(t):
        shown.append(("proposal", better))
    rows = []
    for name, settings in shown:
        e = estimate(s, settings, bits, on_cpu)
        rows.append({
            "settings": f"{name}: {_said(settings)}", **{k: round(v, 2) for k, v in asdict(e).items()}, "total": round(e.total, 1),
            "fits": None if gpu_gib is None else e.total <= 0.95 * gpu_gib,
        })  # fmt: skip
    return rows


def _said(t: Training) -> str:
    passes = (
        f"packed to {t.max_length}" if t.packing else f"micro_batch_size={t.micro_batch_size} max_length={t.max_length}"
    )
    return f"{t.mode} {passes} gradient_checkpointing={str(t.gradient_checkpointing).lower()}"
