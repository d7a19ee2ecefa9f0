"""Progress and colour: shown on a terminal, silent in logs."""

import json
import os
import subprocess
import sys

import pytest

from cgd_utils.core import progress

pty = pytest.importorskip("pty", reason="pseudo-terminals are there on Linux and macOS")


def on_a_terminal(code, **environment):
    """What a program prints to a terminal of 80 columns (standard output and error)."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", progress.FILE)} | {
        "TERM": "xterm",
        "COLUMNS": "80",
        **environment,
    }
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    out = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        out += part
    process.wait()
    os.close(ours)
    return out.decode()


def in_a_log(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


BAR = "from cgd_utils.core import progress\nfor _ in progress.bar(range(3), desc='drafts', mininterval=0): pass"


def test_bars_are_for_terminals():
    shown = on_a_terminal(BAR)
    assert "drafts" in shown and "3/3" in shown
    assert in_a_log(BAR) == ""


def test_a_kernels_bars_are_followed_from_outside():
    """A second process writes its bars; the terminal shows them with the time left, and clears the line at the end."""
    inner = "import time\\nfrom cgd_utils.core import progress\\nfor _ in progress.bar(range(4), desc='drafts', mininterval=0, disable=False): time.sleep(0.7)"
    code = f"""
import subprocess, sys
from cgd_utils.core import progress
with progress.following("01_problems"):
    subprocess.run([sys.executable, "-c", "{inner}"], stderr=subprocess.DEVNULL, check=True)
"""
    shown = on_a_terminal(code)
    assert "01_problems 0:0" in shown and "drafts " in shown and " of 4" in shown and "left" in shown
    assert shown.endswith("\r\033[K")
    assert in_a_log(code) == ""


def test_the_line_names_what_is_left():
    bars = [
        {"what": "models", "n": 5, "total": 15, "done": 5, "seconds": 100},
        {"what": "texts", "n": 3, "total": None, "done": 3, "seconds": 1},
    ]
    assert progress.progress_line("03_train", 61, bars) == "03_train 1:01 · models 5 of 15, 3:20 left · texts 3"
    assert progress.clock(3661) == "1:01:01"
    # work that an interrupted run had done already says nothing about the speed
    resumed = [{"what": "texts", "n": 90, "total": 100, "done": 0, "seconds": 1}]
    assert progress.progress_line("01", 1, resumed) == "01 0:01 · texts 90 of 100"


def test_bars_are_told_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.FILE, str(tmp_path / "p.json"))
    seen = []
    for _ in progress.bar(range(3), desc="drafts", mininterval=0, disable=False, file=(tmp_path / "bar").open("w")):
        seen.append(json.loads((tmp_path / "p.json").read_text())[0]["n"])
    assert seen == sorted(seen) and seen[-1] >= 1
    assert json.loads((tmp_path / "p.json").read_text()) == []
