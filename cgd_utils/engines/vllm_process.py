"""vLLM's process: started once for a base model, asked many times.

Loading takes a minute on a CPU, where main memory is plenty: there one engine stays, and a comparison of many adapters over one
base loads it once. On a GPU it ends with its generator, so that its memory is free for training.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.records import Record

WORKER = Path(__file__).with_name("vllm_worker.py")
PAUSE = 0.2  # seconds between two looks for new rows
PATIENCE = 15  # seconds that an idle process gets to end by itself


class Process:
    """A running worker, see `vllm_worker`.

    Attributes:
        settings: what it was started with: ``{engine, on_cpu, lora_rank}``.
    """

    def __init__(self, python: str, settings: Record) -> None:
        self.python, self.settings = python, settings
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log.txt"
        self._asked = 0
        self._adapters: dict[str, int] = {}
        told = Path(self._folder.name) / "engine.json"
        told.write_text(json.dumps(settings), encoding="utf-8")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-P", str(WORKER), str(told)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def serves(self, python: str, settings: Record) -> bool:
        """Whether it can answer what a process with these settings would: the same model, room for prompts and adapter."""
        if self._process.poll() is not None or self.python != python or self.settings["engine"] != settings["engine"]:
            return False
        have, need = self.settings["on_cpu"], settings["on_cpu"]
        room = (have.get("max_model_len") or 0) >= (need.get("max_model_len") or 0)
        return room and (self.settings["lora_rank"] or 0) >= (settings["lora_rank"] or 0)

    def texts(self, prompts: Sequence[Record], sampling: Record, adapter: Record | None, chunk: int) -> Iterator[Any]:
        """Lists of rows ``{at, text, finish_reason, n_tokens}`` as they are finished; at last a record of the seconds.

        Raises:
            ChildProcessError: the process ended early; its argument is the log.
        """
        self._asked += 1
        out, took, task = (Path(self._folder.name) / f"{self._asked}.{name}" for name in ("rows", "seconds", "task"))
        out.touch()
        if adapter:
            number = self._adapters.setdefault(adapter["path"], len(self._adapters) + 1)
            adapter = {**adapter, "number": number}
        about = {"prompts": list(prompts), "sampling": sampling, "adapter": adapter, "chunk": chunk}
        task.write_text(json.dumps({**about, "out": str(out), "seconds": str(took)}), encoding="utf-8")
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(f"{task}\n")
            self._process.stdin.flush()
        with out.open(encoding="utf-8") as f:
            rest = ""
            while True:
                done, ended = took.exists(), self._process.poll() is not None
                rest += f.read()
                *lines, rest = rest.split("\n")
                if lines:
                    yield [json.loads(line) for line in lines]
                if done:
                    yield json.loads(took.read_text(encoding="utf-8"))
                    return
                if ended:
                    log = self._log.read_text(encoding="utf-8", errors="replace")
                    raise ChildProcessError(self._process.returncode, log)
                time.sleep(PAUSE)

    def end(self) -> None:
        """Ends the process and those that vLLM started from it, and waits until their memory is free.

        An idle one ends with its input, and its children with it. One at work is killed with its whole group: terminated alone
        it would leave them behind, with gigabytes each.
        """
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()


_running: list[Process] = []


def process(python: str, settings: Record) -> Process:
    """A process with these settings: the kept one where it serves, else a new one."""
    if _running and not _running[0].serves(python, settings):
        end()
    if not _running:
        _running.append(Process(python, settings))
    return _running[0]


def release() -> None:
    """Ends the process where it holds a GPU, whose memory training needs."""
    import torch

    if torch.cuda.is_available():
        end()


def end() -> None:
    """Ends the running process, if there is one."""
    while _running:
        _running.pop().end()


atexit.register(end)
