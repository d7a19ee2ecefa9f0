"""Independent models side by side on a CPU: joblib processes of one thread each.

A small model leaves a second thread half idle; two processes do not. One thread also makes sums round alike whatever the
number of cores. Processes share nothing but the artifacts on disk, whose locks keep two from building the same one.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..core.progress import FILE, bar
from ..core.records import Record
from ..core.store import Run
from ..methods import METHODS
from ..models import loading

MEMORY_GIB = 2.0  # of one process, with room: PyTorch, TRL and a lab model take about 1.1


class WorkerDied(RuntimeError):
    """A process was killed from outside, most often for lack of memory; what was finished is kept (exit code 1)."""


def processes(run: Run, jobs: int) -> int:
    """How many processes work at ``jobs`` independent models: ``processes`` of the profile; auto = a core and 2 GiB of free
    memory each. Always 1 on CUDA, under torchrun and with vLLM, where one model has the whole device."""
    if jobs < 2 or "WORLD_SIZE" in os.environ or loading.pick_device(run.profile.models.device) == "cuda":
        return 1
    if run.profile.generation.engine in ("vllm", "auto"):
        return 1  # vLLM works with all cores
    if run.profile.processes != "auto":
        return min(run.profile.processes, jobs)
    import psutil
    from joblib import cpu_count

    return max(1, min(jobs, cpu_count(), int(psutil.virtual_memory().available / 2**30 / MEMORY_GIB)))


def each(
    run: Run,
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    desc: str,
    watch: Callable[[tuple[Any, ...]], Callable[[Record], None]] | None = None,
) -> list[Any]:
    """``function(run, *job)`` of every job, in the order of ``jobs``, with a bar; in several processes where `processes` says so.

    Args:
        run: the run.
        function: one of this package's that keeps what it makes as artifacts: a kill loses the jobs under way only.
        jobs: its further arguments.
        desc: of the bar.
        watch: for `training.fine_tune.fine_tune`: job → what is called with its training steps: while it trains, or, side by side,
            when it is done.

    Raises:
        WorkerDied: a process was killed. Else what the function raised.
    """
    n = processes(run, len(jobs))
    out: list[Any] = [None] * len(jobs)
    with bar(total=len(jobs), desc=desc, unit="model") as shown:
        if n == 1:
            for i, job in enumerate(jobs):
                out[i] = function(run, *job, **({"watch": watch(job)} if watch else {}))
                shown.update()
            return out
        for i, made in _side_by_side(run, function, jobs, n):
            out[i] = made
            shown.update()
            if watch is not None:
                watcher = watch(jobs[i])
                for row in made.rows("history.jsonl"):
                    watcher(row)
    return out


def _side_by_side(
    run: Run, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], n: int
) -> Iterator[tuple[int, Any]]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with parallel_config(backend="loky", n_jobs=n, inner_max_num_threads=1):
        parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        tasks = (delayed(_job)(os.getpid(), dict(METHODS), i, function, run, job) for i, job in enumerate(jobs))
        try:
            yield from parallel(tasks)
        except TerminatedWorkerError:
            raise WorkerDied(
                f"a process was killed, most often for lack of memory; set processes to less than {n} and run again "
                "(finished models are kept)"
            ) from None


def _job(
    parent: int, known: dict[str, Any], number: int, function: Callable[..., Any], run: Run, job: tuple[Any, ...]
) -> tuple[int, Any]:
    METHODS.update(known)  # a notebook may have added some
    _prepare(parent)
    return number, function(run, *job)


_prepared: list[int] = []


def _prepare(parent: int) -> None:
    """Once a process: no bars of its own, and an end as soon as the process that it works for is gone."""
    if _prepared:
        return
    _prepared.append(parent)
    os.environ.pop(FILE, None)
    os.environ["TQDM_DISABLE"] = "1"
    # a process that this one starts, such as a grader, knows nothing of the way in which joblib started this one
    multiprocessing.set_start_method("spawn", force=True)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
