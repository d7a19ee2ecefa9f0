"""Killable processes around math-verify: pebble's pool, in which a task that overruns its time ends with its process.

Processes are spawned: nothing of the parent is inherited, be it CUDA, threads or a notebook.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from . import rules
from .rules import Verdict

START_S = 120  # to load sympy on a busy machine
PATIENCE = 6  # how far the wall clock is stretched for a worker that is kept from the processor
WAITING_PER_WORKER = 50  # tasks handed out ahead; pebble looks through all of them ten times a second
MEMORY_BYTES = 2 * 1024**3
TIMED_OUT: Verdict = (None, "timeout")

Task = tuple[str, str, str]  # gold, answer, rule


class _Process(SpawnProcess):
    """A process that does not import the parent's main module: pebble and multiprocessing do, and a script without
    ``if __name__ == "__main__"`` would start over in it."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process


def judge_all(
    tasks: Sequence[Task], workers: int, timeout_s: float, done: Callable[[], object] = lambda: None
) -> list[Verdict]:
    """Verdicts of (gold, answer, rule) tasks, in their order.

    Args:
        tasks: what to compare. They are handed out by gold: a worker keeps what it has parsed.
        workers: number of processes.
        timeout_s: seconds for each task. They are counted on the processor, so that a verdict does not depend on what
            else runs; the wall clock may show `PATIENCE` times as many. A task that overruns is ``(None, "timeout")``.
        done: called after each task.

    Raises:
        RuntimeError: if a worker cannot be started at all.
    """
    order = sorted(range(len(tasks)), key=lambda i: tasks[i][0])
    verdicts: list[Verdict] = [TIMED_OUT] * len(tasks)
    pool = ProcessPool(min(workers, len(tasks)), initializer=_begin, context=_Context())
    # only POSIX counts processor seconds
    wall_s = timeout_s * PATIENCE if hasattr(signal, "setitimer") else timeout_s

    def ask(i: int) -> ProcessFuture[Verdict]:
        return pool.schedule(_judge, (*tasks[i], timeout_s), timeout=wall_s)

    def settle(i: int, asked: ProcessFuture[Verdict]) -> None:
        try:
            verdicts[i] = _result(pool, asked)
        except TimeoutError:
            pass
        except ProcessExpired as death:
            if death.exitcode != -getattr(signal, "SIGPROF", 0):  # of memory: once more in a fresh process
                with suppress(TimeoutError, ProcessExpired):
                    verdicts[i] = _result(pool, ask(i))
        done()

    waiting: deque[tuple[int, ProcessFuture[Verdict]]] = deque()
    try:
        for i in order:
            waiting.append((i, ask(i)))
            if len(waiting) > WAITING_PER_WORKER * workers:
                settle(*waiting.popleft())
        while waiting:
            settle(*waiting.popleft())
    except BrokenProcessPool:
        raise RuntimeError(f"a grading worker did not start – try `{sys.executable} -c 'import math_verify'`") from None
    finally:  # also at Ctrl-C
        pool.stop()
        pool.join()
    return verdicts


def _result(pool: ProcessPool, asked: ProcessFuture[Verdict]) -> Verdict:
    """What was asked for; pebble never answers a task that it had not handed out when the pool broke."""
    while not wait([asked], timeout=1).done:
        if not pool.active:
            raise BrokenProcessPool("the pool broke before the task was handed out")
    return asked.result()


def _begin() -> None:
    """Makes a new worker ready, outside of the tasks' time."""
    with suppress(AttributeError):  # Windows has no alarm
        signal.alarm(START_S)
    _limit_memory()
    rules.judge(r"\sin x", r"\cos x", "math")  # loads sympy and the parser's tables
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libraries print what they do not understand
        os.dup2(nowhere, stream)
    with suppress(AttributeError):
        signal.alarm(0)


def _judge(gold: str, answer: str, rule: str, timeout_s: float) -> Verdict:
    """`rules.judge` in a worker, which the system ends after so many processor seconds, whatever C code it is in."""
    _limit_processor(timeout_s)
    try:
        return rules.judge(gold, answer, rule)
    except MemoryError:  # what is left of the address space may not do for the next task
        os._exit(1)
    except Exception:  # sympy raises anything on malformed input
        return False, "unparsable"
    finally:
        _limit_processor(0)


def _limit_processor(seconds: float) -> None:
    with suppress(AttributeError):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: the wall clock alone must do
        return
    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(limit, (ceiling, hard))
