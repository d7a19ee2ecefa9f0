"""CGD kit: Critique-Guided Distillation (arXiv 2505.11628), from problems to the paper's tables.

The front door is `open_run`; the rooms stand in the order of the data, see `README.md` beside this file.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "open_run"]


def __getattr__(name: str) -> Any:
    """`open_run` and `Run`, imported when they are asked for: `cgd --help` needs neither."""
    if name in ("Run", "open_run"):
        from .core import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
