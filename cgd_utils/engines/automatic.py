"""Engine ``auto``: vLLM where it is installed and pays, else transformers.

It pays for large models, but not for adapters on a CPU: vLLM's CPU build computes them by a slow path.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..core.engine_settings import AutoEngine, TransformersEngine, VllmEngine
from ..models import number_format
from ..models.loading import ModelRef, pick_device

# of the checkout: what `make vllm` sets up
ENVIRONMENT = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"


def chosen(ref: ModelRef, engine: AutoEngine) -> VllmEngine | TransformersEngine:
    """The engine for a model; small ones, such as the lab's students, answer before vLLM has started."""
    slow_adapter = ref.adapter is not None and pick_device(ref.device) == "cpu"
    # the size first: looking for vLLM starts interpreters
    large = number_format.weights(ref.path) >= number_format.LARGE
    python = interpreter(engine.vllm_python) if large and not slow_adapter else None
    kind: type[VllmEngine] | type[TransformersEngine] = VllmEngine if python else TransformersEngine
    shared = {name: getattr(engine, name) for name in kind.model_fields if name != "engine"}
    return kind(**shared | ({"vllm_python": python} if kind is VllmEngine else {}))


def interpreter(named: str | None) -> str | None:
    """The interpreter that has vLLM: the named one, ``CGD_VLLM_PYTHON``, this one, or that of ``make vllm``; None without any."""
    candidates = [named] if named else [os.environ.get("CGD_VLLM_PYTHON"), sys.executable, str(ENVIRONMENT)]
    return next((python for python in candidates if python and has_vllm(str(Path(python).expanduser()))), None)


def has_vllm(python: str) -> bool:
    """Whether an interpreter finds vLLM; it is not loaded."""
    look = [python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"]
    try:
        return subprocess.run(look, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
