"""Killable processes around math-verify.

Each worker is a plain child process (`worker`) that is handed one comparison at a time. One that overruns its wall
clock is killed, the comparison is recorded as ``timeout`` and a fresh worker takes its place. On a machine so busy that
the worker has not had its time in processor seconds yet, the clock is stretched up to `PATIENCE` times, so that a verdict
does not depend on what else runs. Children are started with `subprocess` and not with multiprocessing: nothing of the parent is inherited or imported again, be it CUDA, threads, a
notebook or a script without ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .rules import Verdict

START_S = 120.0  # to load sympy on a busy machine
PATIENCE = 6  # how far the wall clock is stretched for a worker that is kept from the processor
TIMED_OUT: Verdict = (None, "timeout")

Task = tuple[str, str, str]  # gold, answer, rule


class _Worker:
    """One child process; `ask` blocks, `overdue` and `kill` are for another thread."""

    def __init__(self, timeout_s: float):
        self.timeout_s = timeout_s
        self.process: subprocess.Popen | None = None
        self.deadline = float("inf")
        self.spent = 0.0  # processor seconds when the task was handed over

    def ask(self, task: Task) -> Verdict:
        for _ in range(2):
            self._start()
            self.spent = self._cpu_s()
            due = self.deadline = time.monotonic() + self.timeout_s
            reply = self._exchange(json.dumps(task))
            self.deadline = float("inf")
            if reply:
                correct, status = json.loads(reply)
                return correct, status
            self.close()
            if time.monotonic() >= due:
                break
            # it died early: of memory, or the clock struck just as the previous reply came. Once more, to be sure.
        return TIMED_OUT

    def overdue(self) -> bool:
        late = time.monotonic() - self.deadline
        if late < 0:
            return False
        return late >= (PATIENCE - 1) * self.timeout_s or self._cpu_s() - self.spent >= 0.9 * self.timeout_s

    def _cpu_s(self) -> float:
        """Processor seconds of the child so far; infinite if they are not to be had."""
        import psutil

        process = self.process
        try:
            return sum(psutil.Process(process.pid).cpu_times()[:2]) if process else float("inf")
        except psutil.Error:
            return float("inf")

    def kill(self, process: subprocess.Popen | None = None) -> None:
        """Kills that process, which may not be this worker's any more, or the present one."""
        process = process or self.process
        if process is not None and process.poll() is None:
            process.kill()

    def close(self) -> None:
        self.kill()
        process, self.process = self.process, None
        if process is not None:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # unwritten input of a dead process
                    pipe.close()

    def _start(self) -> None:
        if self.process is not None:
            return
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cgd_utils.grading.worker", str(self.timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            encoding="utf-8",
            errors="surrogatepass",
        )
        self.deadline = time.monotonic() + START_S
        greeting = self._exchange(None)
        self.deadline = float("inf")
        if greeting.strip() != '"ready"':
            self.close()
            why = greeting.strip() or "it ended without a word"
            raise RuntimeError(
                f"a grading worker did not start: {why} – try `{sys.executable} -m cgd_utils.grading.worker 5`"
            )

    def _exchange(self, line: str | None) -> str:
        """Writes a line, reads a line; '' if the process is gone."""
        try:
            if line is not None:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()
            return self.process.stdout.readline()
        except (OSError, ValueError):
            return ""


def judge_all(
    tasks: Sequence[Task], workers: int, timeout_s: float, done: Callable[[], object] = lambda: None
) -> list[Verdict]:
    """Verdicts of (gold, answer, rule) tasks, in their order.

    Args:
        tasks: what to compare. Neighbours with the same gold go to the same worker, which has parsed it already.
        workers: number of processes.
        timeout_s: wall clock in seconds for each task; one that overruns it is killed and is ``(None, "timeout")``.
        done: called after each task.

    Raises:
        RuntimeError: if a worker cannot be started at all.
    """
    verdicts: list[Verdict] = [TIMED_OUT] * len(tasks)
    batches = _batches(tasks, max(1, min(32, len(tasks) // (4 * workers))))
    crew = [_Worker(timeout_s) for _ in range(min(workers, len(batches)))]
    failures: list[BaseException] = []

    def serve(worker: _Worker) -> None:
        try:
            while not failures:
                try:
                    batch = batches.popleft()
                except IndexError:
                    return
                for i in batch:
                    verdicts[i] = worker.ask(tasks[i])
                    done()
                    if failures:
                        return
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=serve, args=(w,), daemon=True) for w in crew]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for worker in crew:
                process = worker.process
                if worker.overdue():
                    worker.kill(process)
            next((t for t in threads if t.is_alive()), threads[0]).join(0.02)
    except BaseException as error:  # Ctrl-C: let the threads end, then pass it on
        failures.append(error)
        raise
    finally:
        for worker in crew:
            worker.kill()
        for thread in threads:
            thread.join(5)
        for worker in crew:
            worker.close()
    if failures:
        raise failures[0]
    return verdicts


def _batches(tasks: Sequence[Task], size: int) -> deque[list[int]]:
    order = sorted(range(len(tasks)), key=lambda i: tasks[i][0])
    return deque(order[i : i + size] for i in range(0, len(order), size))
