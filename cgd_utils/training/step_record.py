"""The record of a training run: a row a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.files import JsonlLog, dumps, write_jsonl
from ..core.records import Record
from .checkpoints import TrainingFailed, kept


def recorder(folder: Path, sizes: Sequence[tuple[int, int]], watch: Callable[[Record], None] | None) -> Any:
    """Callback: a JSONL row a step, on disk as soon as the step is done; steps after the resumed checkpoint are dropped."""
    import torch
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def __init__(self) -> None:
            self.started = 0.0
            self.log = {n: folder / f"{n}.jsonl" for n in ("history", "validation")}

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                for path in self.log.values():
                    kept = [r for r in JsonlLog(path).rows() if r["step"] <= state.global_step]
                    write_jsonl(path, kept) if path.exists() else None
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            self.started = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: Record | None = None, **_: Any) -> None:
            logs = logs or {}
            if "loss" in logs:
                self._check(args, state, logs)
                now = time.perf_counter()
                seconds, self.started = now - self.started, now
                read, learnt = sizes[(state.global_step - 1) % len(sizes)]
                self._write(
                    state,
                    "history",
                    {
                        "step": state.global_step,
                        "loss": logs["loss"],
                        "token_accuracy": logs.get("mean_token_accuracy"),
                        "learning_rate": logs.get("learning_rate"),
                        "grad_norm": logs.get("grad_norm"),
                        "trained_tokens": learnt,
                        "processed_tokens": read,
                        "seconds": round(seconds, 4),
                        "tokens_per_second": round(read / max(seconds, 1e-9), 1),
                        "memory_gib": _memory_gib(),
                    },
                )
            elif "eval_loss" in logs:
                self._write(
                    state,
                    "validation",
                    {
                        "step": state.global_step,
                        "loss": logs["eval_loss"],
                        "token_accuracy": logs.get("eval_mean_token_accuracy"),
                    },
                )
                self.started = time.perf_counter()  # validation is not part of a step's time

        def _check(self, args: Any, state: Any, logs: Record) -> None:
            for what, name in (("loss", "the loss"), ("grad_norm", "the gradient")):
                value = logs.get(what)
                if value is not None and not value - value == 0:  # nan and inf alike
                    raise TrainingFailed(
                        f"training: {name} is not a number at step {state.global_step}; lower training.learning_rate "
                        f"(now {args.learning_rate:g}); {kept(Path(args.output_dir))}"
                    )

        def _write(self, state: Any, name: str, row: Record) -> None:
            if not state.is_world_process_zero:
                return
            with self.log[name].open("a", encoding="utf-8") as f:
                f.write(dumps(row) + "\n")
            if watch is not None and name == "history":
                watch(row)

    return Recorder()


def _memory_gib() -> float:
    """Peak of the GPU's memory since training began, or this process's resident memory."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    import psutil

    return round(psutil.Process().memory_info().rss / 2**30, 3)
