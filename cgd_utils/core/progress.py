"""Progress: bars that a command line can follow from outside the kernel in which they run.

Quiet in logs: where standard error is no terminal there are no bars.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = "CGD_PROGRESS_FILE"  # where a kernel tells its bars to the command that started it
_live: dict[int, dict[str, Any]] = {}


def bar(iterable: Any = None, **settings: Any) -> Any:
    """A tqdm bar with the time left: a widget in a notebook, a line in a terminal, nothing in a log.

    Args:
        iterable: as tqdm's.
        settings: tqdm's ``total``, ``initial``, ``desc``, ``unit``, ``leave``, …
    """
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg, misc]
        def display(self, *args: Any, **kwargs: Any) -> Any:
            _tell(id(self), self)
            return super().display(*args, **kwargs)

        def close(self) -> None:
            _tell(id(self), None)
            super().close()

    if "ipykernel" not in sys.modules:
        settings.setdefault("disable", None)  # None: off where standard error is no terminal
    return Bar(iterable, **{"mininterval": 2, **settings})


def _tell(who: int, shown: Any) -> None:
    path = os.environ.get(FILE)
    if not path:
        return
    if shown is None:
        _live.pop(who, None)
    else:
        state = shown.format_dict
        _live[who] = {
            "what": (shown.desc or "").rstrip(": "),
            "n": state["n"],
            "total": state["total"],
            "done": state["n"] - (state["initial"] or 0),
            "seconds": state["elapsed"],
        }
    with contextlib.suppress(OSError):
        Path(f"{path}.part").write_text(json.dumps(list(_live.values())), encoding="utf-8")
        Path(f"{path}.part").replace(path)


def progress_line(name: str, seconds: float, bars: list[dict[str, Any]]) -> str:
    """One line: a stage, how long it has run, and its bars with the time left."""
    parts = [f"{name} {clock(seconds)}"]
    for b in bars:
        counted = f"{b['what']} {b['n']:.0f}" + (f" of {b['total']:.0f}" if b["total"] else "")
        left = b["seconds"] / b["done"] * (b["total"] - b["n"]) if b["total"] and b["done"] > 0 else None
        parts.append(counted + (f", {clock(left)} left" if left is not None else ""))
    return " · ".join(parts)


def clock(seconds: float) -> str:
    """1:05 for 65 seconds, 1:01:05 for an hour more."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def following(name: str) -> Iterator[None]:
    """Shows on a terminal what a kernel started inside the block is busy with; does nothing in a log."""
    if not sys.stderr.isatty():
        yield
        return
    import tempfile

    ended, started = threading.Event(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "progress.json"

        def show() -> None:
            while not ended.wait(1):
                try:
                    bars = json.loads(path.read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    bars = []
                line = progress_line(name, time.monotonic() - started, bars)
                width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
                print(f"\r\033[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)

        before = os.environ.get(FILE)
        os.environ[FILE] = str(path)
        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            os.environ.pop(FILE) if before is None else os.environ.update({FILE: before})
            print("\r\033[K", end="", file=sys.stderr, flush=True)
