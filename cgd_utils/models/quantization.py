"""4-bit weights (NF4, QLoRA, arXiv 2305.14314) through bitsandbytes: settings, traps, and experts of mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.errors import BadInput

if TYPE_CHECKING:
    from .loading import ModelRef


def config(dtype: str) -> Any:
    """NF4 with double quantisation, computing in ``dtype``."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def keep_4bit_weights_plain(model: Any) -> None:
    """Stops bitsandbytes from repacking 4-bit weights on AVX512-BF16 processors.

    A no-grad forward would repack them for good, and gradients after it would be wrong with a right-looking loss
    (measured: 69% off).
    """
    import bitsandbytes as bnb

    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def expert_weights(model: Any) -> list[tuple[Any, str]]:
    """The (module, parameter name) of expert weights kept as one tensor of shape (experts, out, in); often none."""
    return [
        (m, n)
        for m in model.modules()
        for n, q in m.named_parameters(recurse=False)
        if q.dim() == 3 and type(m).__name__.endswith("Experts")
    ]


def quantize_experts(model: Any, device: str) -> int:
    """Brings experts' weights to ``device`` in 4 bits, one at a time; how many tensors.

    bitsandbytes' loader replaces linear layers only, and transformers 5 keeps a mixture's experts as plain tensors: without
    this, 45 of Mixtral-8x7B's 47 billion weights would stay in 16 bits (87 GiB).
    """
    from bitsandbytes.nn.parametrize import replace_parameter_4bit

    found = expert_weights(model)
    for module, name in found:
        weight = getattr(module, name)
        weight.data = weight.data.to(device)
        replace_parameter_4bit(module, name, compress_statistics=True, quant_type="nf4")
    return len(found)


def base_config(ref: ModelRef) -> Any:
    """The transformers config of a model, its weights left where they are."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code)


def has_experts(ref: ModelRef) -> bool:
    """Whether a model is a mixture of experts."""
    config = base_config(ref)
    return any(getattr(config, n, None) for n in ("num_local_experts", "num_experts"))


def check(ref: ModelRef) -> None:
    """Refuses to quantise a model that is quantised already.

    Raises:
        BadInput: its config names a quantisation.
    """
    found = getattr(base_config(ref), "quantization_config", None)
    if found:
        method = found.get("quant_method", "some way") if isinstance(found, dict) else type(found).__name__
        raise BadInput(
            f"model {ref.name!r} is quantised already ({method}), and training.mode = 'qlora' quantises it itself: "
            "name the 16-bit model"
        )
