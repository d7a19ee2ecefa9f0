"""Runs code that a model wrote, in a locked-in process, and says whether it passed its tests.

The sandbox (`sandbox`) protects the machine: no network, no other process, no file outside Python's standard library, nothing
written, limits on memory, CPU and wall clock. It does not stop a program that sets out to fake its own verdict.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifacts import BadInput

Record = dict[str, Any]
_WORKER = Path(__file__).with_name("sandbox.py")
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Limits of one program: wall clock and CPU in seconds, memory in MiB (of address space)."""

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_mib: int = 512


@dataclass(frozen=True)
class Outcome:
    """``status``: passed, failed (an exception or an early exit), timeout, or killed (by a limit); ``detail`` says more."""

    status: str
    detail: str = ""


def run(program: str, limits: Limits = Limits()) -> Outcome:
    """Runs a program to its end in the sandbox.

    Raises:
        BadInput: the isolation cannot be had on this machine; nothing was run.
    """
    if sys.platform != "linux":
        raise BadInput(
            "evaluation.execute_code: the sandbox needs Linux (Landlock, seccomp); run this benchmark in a Linux container"
        )
    token = secrets.token_hex(16)
    task = {
        "program": program,
        "memory_mib": limits.memory_mib,
        "cpu_s": limits.cpu_s,
        "readable": _readable(),
        "token": token,
    }
    ours, theirs = os.pipe()
    with tempfile.TemporaryDirectory() as folder, os.fdopen(ours, "rb") as answer:
        # the worker finds its result pipe as descriptor 3
        command = [sys.executable, "-I", "-S", "-c", f"import os;os.dup2({theirs}, 3, inheritable=True) if {theirs} != 3 else 0;"
                   f"os.close({theirs}) if {theirs} != 3 else 0;import runpy;runpy.run_path({str(_WORKER)!r}, run_name='__main__')"]  # fmt: skip
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env={},
                pass_fds=(theirs,), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(theirs)
        try:
            process.communicate(json.dumps(task).encode() + b"\n", timeout=limits.wall_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Outcome("timeout", f"{limits.wall_s:g} s")
        told = answer.read(600).decode(errors="replace")
    if told.startswith("isolation: ") and process.returncode == 97:
        raise BadInput(
            f"evaluation.execute_code: this machine cannot isolate the code ({told[11:]}); a Linux kernel of 5.13 or newer can"
        )
    if process.returncode == 0 and told == token:
        return Outcome("passed")
    if process.returncode < 0:
        return Outcome("killed", f"signal {-process.returncode}")
    return Outcome("failed", told.replace(token, "") or "it ended before its tests did")


def _readable() -> list[str]:
    """What a program may read: the standard library, the shared libraries it loads, and harmless devices."""
    paths = sysconfig.get_paths()
    return [paths["stdlib"], paths["platstdlib"], str(Path(sys.base_prefix) / "lib"), "/lib", "/lib64", "/usr/lib", "/usr/lib64",
            "/usr/share/zoneinfo", "/dev/null", "/dev/urandom", "/etc/ld.so.cache"]  # fmt: skip


def program_of(problem: Record, text: str) -> str:
    """The program that tests an answer to a HumanEval problem: code, tests, and the call of ``check``.

    The last code block that defines the asked function counts, else the last block, else the whole text; what does not
    define the function is taken as its body, after the problem's prompt.
    """
    meta, blocks = problem["meta"], _BLOCK.findall(text)
    defines = f"def {meta['entry_point']}"
    code = next((b for b in reversed(blocks) if defines in b), blocks[-1] if blocks else text)
    head = _imports(meta["prompt"]) if defines in code else meta["prompt"]
    return f"{head}\n{code}\n\n{meta['test']}\n\ncheck({meta['entry_point']})\n" if defines in code else (
        f"{head}{code}\n\n{meta['test']}\n\ncheck({meta['entry_point']})\n")  # fmt: skip


def _imports(prompt: str) -> str:
    return "\n".join(line for line in prompt.splitlines() if line.startswith(("import ", "from ")))


def grade(pairs: Sequence[tuple[Record, str]], limits: Limits = Limits(), workers: int | None = None) -> list[Record]:
    """Runs every answer; rows ``{correct, status, detail}`` in the order given.

    ``status`` is ``ok`` where the tests said right or wrong, ``timeout`` or ``killed`` where a limit ended the program.
    """
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        outcomes = pool.map(lambda pair: run(program_of(*pair), limits), pairs)
        return [{"correct": o.status == "passed", "status": "ok" if o.status in ("passed", "failed") else o.status,
                 "detail": o.detail} for o in outcomes]  # fmt: skip
