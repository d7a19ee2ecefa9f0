"""In which number format a model is loaded: 16 bits where the device computes in them, 32 bits where they would cost time."""

from __future__ import annotations

import functools
from pathlib import Path

# weights from which 16 bits pay on a CPU: smaller models live in the processor's cache, where casting costs more than it
# saves, and the lab's students (about a million weights) keep the format that their reference results were made in
LARGE = 20_000_000


def resolve(path: str, dtype: str, device: str) -> str:
    """The number format of a model's weights, as torch calls it.

    Args:
        path: folder or hub id, as `models.loading.resolve` gives it.
        dtype: the profile's ``models.dtype``; auto = bfloat16 on CUDA, and on a CPU that multiplies in bfloat16 for models of at
            least `LARGE` weights; float32 elsewhere.
        device: where the model runs: cuda, cpu, or auto for CUDA if there is one.
    """
    if dtype != "auto":
        return dtype
    if device == "cuda" or (device == "auto" and _cuda_is_here()):
        return "bfloat16"
    return "bfloat16" if processor_has_bfloat16() and weights(path) >= LARGE else "float32"


def _cuda_is_here() -> bool:
    import torch

    return torch.cuda.is_available()


@functools.cache
def processor_has_bfloat16() -> bool:
    """Whether this processor multiplies matrices of bfloat16: AMX, AVX512-BF16 or Arm's BF16, as it reports itself.

    oneDNN also emulates bfloat16 on processors that have none of these; that is slower than float32.
    """
    import torch

    reported = torch.cpu.get_capabilities()
    return any(reported.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))


@functools.cache
def weights(path: str) -> int:
    """Weights of a model; of one that is not on this machine: as many as can be, since models on hubs are large."""
    from transformers import AutoConfig

    from . import memory

    if not Path(path).is_dir():
        return 1 << 62
    return memory.shape(AutoConfig.from_pretrained(path)).weights
