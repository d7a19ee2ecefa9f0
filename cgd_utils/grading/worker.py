"""One grading process: reads ``[gold, answer, rule]`` a line, writes ``[correct, status]`` a line. See `pool`.

It imports no more than math-verify, so it starts in about half a second whatever the parent has loaded.
"""

from __future__ import annotations

import json
import os
import signal
import sys

MEMORY_BYTES = 2 * 1024**3


def main() -> None:
    """Serves until its input ends. First line out: ``"ready"``, or the error that kept math-verify from loading."""
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogatepass")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not be taken for a reply
    timeout_s = float(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it kills the workers
    _limit_memory()
    try:
        from . import rules

        rules.judge(r"\sin x", r"\cos x", "math")  # loads sympy and the parser's tables outside the clock
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), file=replies, flush=True)
        return
    print(json.dumps("ready"), file=replies, flush=True)
    for line in sys.stdin:
        _alarm(8 * timeout_s + 5)  # should the parent die, a worker that hangs in C code ends too
        try:
            verdict = rules.judge(*json.loads(line))
        except MemoryError:  # what is left of the address space may not do for the next one: a fresh worker will
            os._exit(1)
        except Exception:  # sympy raises anything on malformed input
            verdict = (False, "unparsable")
        _alarm(0)
        print(json.dumps(verdict), file=replies, flush=True)


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: the wall clock alone must do
        return
    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(limit, (ceiling, hard))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS
            continue


if __name__ == "__main__":
    main()
