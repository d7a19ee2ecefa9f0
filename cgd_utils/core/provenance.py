"""What a result was made with: versions, hardware, commit, memory."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

from .records import Record

PACKAGE = Path(__file__).parents[1]

PROJECT = PACKAGE.parent

VERSIONS_OF = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "math-verify",
    "papermill",
    "numpy",
    "pandas",
    "scipy",
    "statsmodels",
    "vllm",
)


# ---------------------------------------------------------------- provenance
@cache
def environment() -> Record:
    """Versions, hardware and commit of this process; never a path, a user name or an environment variable."""
    from importlib import metadata

    import psutil

    versions = {}
    for name in VERSIONS_OF:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpu_threads": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
        "versions": versions,
        **_commit(),
    }


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _commit() -> Record:
    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(PROJECT), *args], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    dirty = git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {"git_commit": commit, "git_dirty": bool(dirty) if dirty is not None else None}


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far, GiB."""
    import psutil

    try:
        import resource
    except ImportError:  # Windows
        return round(psutil.Process().memory_info().peak_wset / 2**30, 3)
    scale = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30, 3)
