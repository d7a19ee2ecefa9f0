"""The resume log at 25, 50 and 100 thousand prompts of 1 kB: python tests/benchmarks/bench_resume_log.py

A fake engine answers at once; each size is run in a process of its own, killed at half, and run again. Printed: seconds to the first
new request after the kill (start-up), seconds of the whole second run, and the peak memory of its process.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cgd_utils.core import provenance
from cgd_utils.core.settings import Sampling
from cgd_utils.engines.request_log import Request, generate


class Fake:
    identity = "fake"

    def __init__(self, stop):
        self.stop, self.first, self.cpu = stop, None, None

    def stream(self, missing, sampling):
        self.first, self.cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(missing), 256):
            if self.stop is not None and start >= self.stop:
                raise KeyboardInterrupt
            yield [{"id": r.id, "sample": s, "prompt": r.messages[-1]["content"], "text": "an answer " * 100, "finish_reason": "stop",
                    "n_tokens": 200, "model": "fake"} for r, s in missing[start : start + 256]]  # fmt: skip


def once(n, log, stop):
    requests = [Request(str(i), [{"role": "user", "content": f"{i} " + "a question " * 100}]) for i in range(n)]
    engine = Fake(stop)
    start, before = time.perf_counter(), time.process_time()
    try:
        generate(engine, requests, Sampling(), log)
    except KeyboardInterrupt:
        return
    print(f"{n:>8} prompts: start-up after a kill {engine.first - start:.2f} s (CPU {engine.cpu - before:.2f} s), second half {time.perf_counter() - engine.first:.2f} s, "
          f"peak memory {provenance.peak_memory_gib():.2f} GiB, CPU {time.process_time():.1f} s", flush=True)  # fmt: skip


if len(sys.argv) > 1:
    n, log, stop = sys.argv[1:]
    once(int(n), Path(log), int(stop) or None)
else:
    for n in (25_000, 50_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            for stop in (n // 2, 0):
                subprocess.run([sys.executable, __file__, str(n), f"{folder}/log.jsonl", str(stop)], check=True)
