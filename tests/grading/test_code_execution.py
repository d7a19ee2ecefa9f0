"""The sandbox for model-written code: right code passes, escapes fail and are recorded."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgd_utils.core.errors import BadInput
from cgd_utils.grading import code_execution

if sys.platform != "linux":
    pytest.skip("the sandbox needs Linux", allow_module_level=True)
try:
    code_execution.run("")
except BadInput as e:
    pytest.skip(str(e), allow_module_level=True)

SHORT = code_execution.Limits(wall_s=3, cpu_s=2, memory_mib=256)
PROBLEM = {"meta": {"entry_point": "add", "prompt": "from typing import List\n\ndef add(a, b):\n    \"\"\"Adds.\"\"\"\n",
                    "test": "def check(candidate):\n    assert candidate(2, 3) == 5"}}  # fmt: skip


def run(program):
    return code_execution.run(program, SHORT)


def test_right_code_passes_and_wrong_code_fails():
    assert run("assert 1 + 1 == 2").status == "passed"
    assert run("assert 1 + 1 == 3").status == "failed"
    assert "SyntaxError" in run("def f(:").detail


def test_the_standard_library_can_be_used():
    program = "import math, itertools, collections, re, json, hashlib, random, decimal, heapq, string, datetime\nassert math.gcd(6, 4) == 2"
    assert run(program).status == "passed"


@pytest.mark.parametrize("program", ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise KeyboardInterrupt"])
def test_leaving_early_is_no_pass(program):
    assert run(program).status == "failed"


def test_a_file_outside_cannot_be_read(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden")
    secret.chmod(0o644)
    for path in (secret, "/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", Path(__file__).resolve()):
        assert "PermissionError" in run(f"open({str(path)!r}).read()").detail


def test_nothing_can_be_written(tmp_path):
    tmp_path.chmod(0o777)
    for path in (tmp_path / "x", "/tmp/cgd-escape", Path("~/cgd-escape").expanduser(), "/dev/shm/cgd-escape"):
        assert run(f"open({str(path)!r}, 'w').write('x')").status == "failed"
        assert not Path(path).exists()
    kept = tmp_path / "kept"
    kept.write_text("kept")
    for act in ("os.remove({p})", "os.truncate({p}, 0)", "os.rename({p}, {p} + '2')", "os.chmod({p}, 0)"):
        assert run("import os\n" + act.format(p=repr(str(kept)))).status == "failed"
    assert kept.read_text() == "kept"
    assert kept.stat().st_mode & 0o400


def test_the_disk_cannot_be_filled():
    assert run("i = 0\nwhile True:\n    open(f'f{i}', 'wb').write(b'x' * 2**20)\n    i += 1").status == "failed"


def test_no_socket_can_be_opened():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        assert "PermissionError" in run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)").detail
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true') and exit(1)",
        "import os\nos.execv('/bin/true', ['true'])",
        "import threading\nt = threading.Thread(target=print)\nt.start()",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
    ],
)
def test_no_process_or_thread_can_be_started(program):
    before = len(list(Path("/proc").iterdir()))
    assert run(program).status == "failed"
    assert len(list(Path("/proc").iterdir())) < before + 50


def test_the_parent_cannot_be_killed():
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        assert "PermissionError" in run(f"import os\nos.kill({victim.pid}, 9)").detail
        assert run("import os\nos.kill(os.getppid(), 9)").status == "failed"
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert (
        run(
            "import os\nassert 'HF_TOKEN' not in os.environ and not [v for v in os.environ.values() if 'hf_' in v]"
        ).status
        == "passed"
    )


def test_a_hang_ends_at_the_wall_clock():
    start = time.monotonic()
    assert run("import time\nwhile True: time.sleep(1)").status == "timeout"
    assert run("while True: pass").status in ("timeout", "killed")
    assert time.monotonic() - start < 20


def test_memory_is_limited():
    assert "MemoryError" in run("x = bytearray(2**32)").detail
    assert run("x = []\nwhile True: x.append(bytearray(2**20))").status == "failed"


def test_limits_cannot_be_raised():
    program = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))"
    assert run(program).status == "failed"


def test_much_output_goes_nowhere():
    assert run("for _ in range(10_000): print('x' * 1000)").status == "passed"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("    return a + b\n", True),
        ("Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.", True),
        ("```python\nprint(1)\n```\n```\ndef add(a, b):\n    return a - b\n```", False),
        ("```python\n    return a + b\n```", True),
        ("I cannot.", False),
        ("", False),
        ("\x00", False),
    ],
)
def test_an_answer_is_tested(text, right):
    (row,) = code_execution.grade([(PROBLEM, text)], SHORT)
    assert row["correct"] is right
    assert row["status"] == "ok"


ROUND = {
    "meta": {
        "entry_point": "whole",
        "prompt": "import math\nSTEP = 4\n\n\ndef up(x):\n    return math.ceil(x)\n\n\n"
        'def whole(x: float) -> int:\n    """The next multiple of STEP."""\n',
        "test": "def check(candidate):\n    assert candidate(4.5) == 8\n    assert candidate(up(0.5)) == 4",
    }
}
RIGHT = "def whole(x):\n    return STEP * up(x / STEP)"
WRONG = "def whole(x):\n    return STEP * x"


def answered(text):
    (row,) = code_execution.grade([(ROUND, text)], SHORT)
    assert row["status"] == "ok"
    return row["correct"]


# CODE stands for the code; what precedes it on its line precedes every line of it
FENCES = {
    "plain": "```\nCODE\n```",
    "py3": "```py3\nCODE\n```\nDone.",
    "version": "```Python3.11 -i\nCODE\n```",
    "carriage returns": "```python\r\nCODE\r\n```\r\n",
    "attributes": '``` python title="a.py" {linenos=true}\nCODE\n```',
    "braces": "~~~ {.python .numberLines}\nCODE\n~~~",
    "tildes": "~~~~python\nCODE\n~~~~",
    "long": "`````python\nCODE\n`````",
    "not closed": "```python\nCODE",
    "not closed, words after": "```python\nCODE\n\nThis is right, since it rounds up.",
    "closed on the code's line": "```python\nCODE```\nThis rounds up.",
    "opened after words": "Here you are: ```python\nCODE\n```",
    "in a list": "1. The code:\n\n   ```python\n   CODE\n   ```\n2. The end.",
    "in a list, at the margin": "1. The code:\n```python\nCODE\n```\n2. The end.",
    "at a list's mark": "- ```python\n  CODE\n  ```",
    "in a quotation": "> ```python\n> CODE\n> ```",
    "four spaces": "Code:\n\n    ```python\n    CODE\n    ```\n",
    "a tab": "- The code:\n\n\t```python\n\tCODE\n\t```\n",
    "indented without a fence": "Code:\n\n    CODE\n\nThat is it.",
    "in a tag": "<answer>\n```python\nCODE\n```\n</answer>",
    "words in it": "```\nSolution\nCODE\nNote: it rounds up.\n```",
    "no fence": "CODE",
    "no fence, words": "Sure, here's the (short) function:\n\nCODE\n\nIt's done. Explanation (short)\nComplexity: O(1)",
    "a thought": "<think>\n```python\ndef whole(x):\n    return 0\n```\n</think>\nCODE",
    "a thought in another model's marks": "[THINK]def whole(x): return 0[/THINK]```python\nCODE\n```",
}


def laid_out(fence, code):
    line = next(line for line in fence.split("\n") if "CODE" in line)
    start, _, end = line.partition("CODE")
    return fence.replace(line, "\n".join(start + c for c in code.split("\n")) + end)


@pytest.mark.parametrize("fence", FENCES.values(), ids=FENCES)
def test_code_is_found_however_it_is_fenced(fence):
    assert answered(laid_out(fence, RIGHT))
    assert not answered(laid_out(fence, WRONG))


ANSWERS = {
    "the last definition counts": (f"```\n{WRONG}\n```\nBetter:\n```\n{RIGHT}\n```", True),
    "the last definition counts, wrong": (f"```\n{RIGHT}\n```\nOr:\n```\n{WRONG}\n```", False),
    "an example after it": (f"```\n{RIGHT}\n```\nTry:\n```\nassert whole(1) == 9\n```", True),
    "a longer name after it": (f"```\n{RIGHT}\n```\n```\ndef wholesale(x):\n    return 1\n```", True),
    "a longer name alone": ("```\ndef wholesale(x):\n    return 8\n```", False),
    "the last one is no Python": (f"```\n{RIGHT}\n```\n```\ndef whole(x)\n    return 8\n```", False),
    "an open bracket": ("```\ndef whole(x):\n    return STEP * up(x / STEP\n```", False),
    "cut off": ("```\ndef whole(x):\n    y = STEP * up(x / STEP)\n    return", False),
    "a method": ("```\nclass A:\n    def whole(self, x):\n        return 8\n```", False),
    "inside a function": ("```\ndef outer():\n    def whole(x):\n        return 8\n```", False),
    "a lambda": ("whole = lambda x: STEP * up(x / STEP)", True),
    "words about it": ("The function `def whole(x)` is easy.", False),
    "its own constant counts": (f"```\nSTEP = 5\n{RIGHT}\n```", False),
    "from the future": (f"```\nfrom __future__ import annotations\n{RIGHT}\n```", True),
    "a main guard": (f'{RIGHT}\n\nif __name__ == "__main__":\n    print(whole(input()))', True),
    "a helper in another block": (
        "```\ndef four():\n    return 4\n```\n```\ndef whole(x):\n    return four() * up(x / 4)\n```",
        True,
    ),
    "a wrong helper in another block": (
        "```\ndef four():\n    return 5\n```\n```\ndef whole(x):\n    return four() * up(x / 4)\n```",
        False,
    ),
    "another block is not run": (f"```\nimport numpy as np\nraise SystemExit\n```\n```\n{RIGHT}\n```", True),
    "a fence in the docstring": (
        '```\ndef whole(x):\n    """\n    ```\n    whole(1) == 4\n    ```\n    """\n    return STEP * up(x / STEP)\n```',
        True,
    ),
    "the body alone": ("    y = x / STEP\n    return STEP * up(y)\n", True),
    "the body, its first indentation lost": ("y = x / STEP\n    return STEP * up(y)\n", True),
    "the body at the margin of a block": ("```\ny = x / STEP\nreturn STEP * up(y)\n```", True),
    "the body, then something cut off": ("    return STEP * up(x / STEP)\n\n\ndef other(", True),
    "a body that is no Python": ("    return STEP * up(x / STEP\n", False),
    "an unfinished thought": (f"<think>\n```\n{RIGHT}\n```\nBut", False),
    "only a thought": (f"```\n{RIGHT}\n```</think>", False),
    "a null before the fence": (f"\0\n```\n{RIGHT}\n```", True),
    "a line too deep for Python's parser": (f"```\nX = {'-' * 100_000}1\n{RIGHT}\n```", True),
    "two statements on a line": ("```\nT = 4; F = T\n@staticmethod\ndef whole(x): return F * up(x / T)\n```", True),
    "as deep as Python reads": (f"```\nX = {'1+' * 900}1\n{RIGHT}\n```", True),
}


@pytest.mark.parametrize(("text", "right"), ANSWERS.values(), ids=ANSWERS)
def test_the_asked_function_is_found_by_its_name(text, right):
    assert answered(text) is right


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "line",
    [
        "It (then\n",
        "Done\n",
        "Here's why:\n",
        "    x = (\n",
        "```\n",
        "> - 1. x\n",
        "def f(x):\n",
        "'''\n",
        "Done\nNo!\n",
    ],
)
def test_long_prose_is_read_in_reasonable_time(line):
    code_execution.program_of(ROUND, line * 400)


def test_a_program_that_hangs_loses_no_other_row():
    rows = code_execution.grade([(PROBLEM, "    return a + b\n"), (PROBLEM, "    while True: pass\n")] * 2, SHORT)
    assert [r["correct"] for r in rows] == [True, False] * 2
    assert {r["status"] for r in rows[1::2]} <= {"timeout", "killed"}


def test_humaneval_asks_for_the_switch(tmp_path):
    from cgd_utils.core.settings import Evaluation
    from cgd_utils.data import benchmarks

    with pytest.raises(BadInput, match="execute_code: true"):
        benchmarks.load("humaneval", Evaluation(benchmark_dir=str(tmp_path)))


def test_humaneval_rows_are_asked_run_and_scored(tmp_path):
    import json

    from cgd_utils.core.settings import Evaluation
    from cgd_utils.data import benchmarks
    from cgd_utils.evaluation.scores import score

    row = {"task_id": "HumanEval/0", "canonical_solution": "    return a + b\n", **PROBLEM["meta"]}
    (tmp_path / "humaneval.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.warns(UserWarning, match="1 questions, expected 164"):
        loaded = benchmarks.load("humaneval", Evaluation(benchmark_dir=str(tmp_path), execute_code=True))
    texts = ["    return a + b", "    return a", "    while True: pass"]
    made = [{"benchmark": "humaneval", "id": "HumanEval/0", "sample": i, "text": t} for i, t in enumerate(texts)]
    scores = score(made, {"humaneval": loaded})
    assert [s["correct"] for s in scores] == [True, False, False]
    assert scores[2]["status"] in ("timeout", "killed")
