"""Runs code that a model wrote, in a locked-in process, and says whether it passed its tests.

The sandbox (`sandbox`) protects the machine: no network, no other process, no file outside Python's standard library, nothing
written, limits on memory, CPU and wall clock. It does not stop a program that sets out to fake its own verdict.
"""

from __future__ import annotations

import ast
import codeop
import csv
import json
import os
import platform
import re
import secrets
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ..core.errors import BadInput
from ..core.records import Record
from . import thoughts

_WORKER = Path(__file__).with_name("sandbox.py")
_SYSCALLS = Path(__file__).with_name("syscalls.csv")
STATUS = {"passed": "ok", "failed": "ok"}  # the tests said right or wrong; any other status is a limit's
_FENCE = re.compile(r"`{3,}(?:py\w*)?|^[ \t]*~{3,}.*$", re.IGNORECASE | re.MULTILINE)
# a fence that opens after words or closes after code; `>` before it is a quotation's
_SHARED_LINE = re.compile(r"(?<=[^\s`>])[ \t]*(`{3,}[\w+.-]*)[ \t]*$", re.MULTILINE)
_UNREADABLE = (ValueError, OverflowError, RecursionError, MemoryError)  # of Python's parser, beside SyntaxError
_CUTS = 5  # tries to read a text; prose after code takes one or two


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
    task = {"program": program, "readable": _readable(), "denied": _denied(), "token": token, **asdict(limits)}
    ours, theirs = os.pipe()
    with tempfile.TemporaryDirectory() as folder, os.fdopen(ours, "rb") as answer:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WORKER), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={},
                pass_fds=(theirs,),
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        try:
            process.communicate(json.dumps(task).encode() + b"\n", timeout=limits.wall_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Outcome("timeout", f"{limits.wall_s:g} s")
        reply = answer.read(600).decode(errors="replace")
    if reply.startswith("isolation: ") and process.returncode == 97:
        raise BadInput(
            f"evaluation.execute_code: this machine cannot isolate the code ({reply[11:]}); a Linux kernel of 5.13 or "
            "newer can"
        )
    if process.returncode == 0 and reply == token:
        return Outcome("passed")
    if process.returncode < 0:
        return Outcome("killed", f"signal {-process.returncode}")
    return Outcome("failed", reply.replace(token, "") or "it ended before its tests did")


def _readable() -> list[str]:
    """What a program may read: the standard library, the shared libraries it loads, and harmless devices."""
    paths = sysconfig.get_paths()
    libraries = [paths["stdlib"], paths["platstdlib"], str(Path(sys.base_prefix) / "lib")]
    libraries += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"]
    return [*libraries, "/usr/share/zoneinfo", "/dev/null", "/dev/urandom"]


@cache
def _denied() -> list[int]:
    """Numbers of the system calls that a program may not make on this machine; none where it is not known."""
    with _SYSCALLS.open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    return [int(row[platform.machine()]) for row in rows if row.get(platform.machine())]


def program_of(problem: Record, text: str) -> str:
    """The program that tests an answer to a HumanEval problem: prompt, answer, tests and the call of ``check``.

    The asked function is the last definition of its name at the top level of the answer's code: of its code blocks,
    else of the whole answer, in which prose is passed over. The prompt stands before it, with its imports, constants
    and helpers, and so do definitions from other blocks that it needs. An answer that does not define the function is taken
    for its body. A thought (`thoughts`) is no part of the answer.
    """
    name, prompt, test = (problem["meta"][f] for f in ("entry_point", "prompt", "test"))
    answer = re.sub(r"\r\n?", "\n", thoughts.split(text).answer).translate({0: " ", 0xFEFF: None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a model's strings, such as "\d"
        code = _code_of(name, prompt, answer)
    return f"{code}\n\n{test}\n\ncheck({name})\n"


def _code_of(name: str, prompt: str, answer: str) -> str:
    """The answer's code, after the prompt's; the bare answer, which cannot pass, where it holds no code."""
    given = _statements(prompt)
    blocks = _code_blocks(answer)
    parsed = [_statements(b) for b in blocks]
    for i in reversed(range(len(blocks))):
        last = next((s for s in reversed(parsed[i]) if name in s.names), None)
        if last is not None and last.tree is None:
            return blocks[i]  # the answer's last word on the function is no Python: the error is the answer's own
        if last is not None:
            elsewhere = [s for other in (*parsed[:i], *parsed[i + 1 :]) for s in other]
            return _joined([*given, *_needed(parsed[i], elsewhere, given), *parsed[i]])
    spread = _statements(textwrap.dedent(_FENCE.sub("\n", answer)))
    if any(name in s.names for s in spread if s.tree):
        return _joined([*given, *(s for s in spread if s.names)])
    body = blocks[-1] if blocks else answer
    for indented in (body, textwrap.indent(textwrap.dedent(body), "    "), f"    {body.lstrip()}"):
        whole = _statements(f"{prompt}\n{indented}")
        longer = [s.source.rstrip() for s in whole if s.tree and name in s.names]
        if longer and longer != [s.source.rstrip() for s in given if name in s.names]:
            return _joined(whole)
    return answer


def _code_blocks(text: str) -> list[str]:
    """The code blocks of a Markdown text, in its order; a fence that shares its line with words or code counts too."""

    def found(tokens: Sequence[Record]) -> Iterator[str]:
        for token in tokens:
            if token["type"] == "block_code":
                code = textwrap.dedent(token["raw"])
                fenced = _code_blocks(code) if token["style"] == "indent" else []
                yield from fenced or [code]
            yield from found(token.get("children", ()))

    return list(found(_markdown()(_SHARED_LINE.sub(r"\n\1", text))))


@cache
def _markdown() -> Any:
    import mistune

    rules = ["fenced_code", "indent_code", "block_quote", "list", "blank_line"]  # HTML would swallow a fence
    block = mistune.BlockParser(block_quote_rules=rules, list_rules=rules)
    block.rules = rules
    return mistune.Markdown(block=block)


@dataclass(frozen=True)
class _Statement:
    """A top-level statement as it is written; ``tree`` is None for what Python cannot read."""

    source: str
    tree: ast.stmt | None

    @cached_property
    def names(self) -> set[str]:
        """What it gives a value to at the top level; of what Python cannot read, the function that it begins."""
        if self.tree is None:
            return set(re.findall(r"\A(?:async\s+)?def\s+(\w+)", self.source))
        found: set[str] = set()
        todo: list[ast.AST] = [self.tree]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
                continue
            if isinstance(node, ast.alias):
                found.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            todo += ast.iter_child_nodes(node)
        return found

    @property
    def used(self) -> set[str]:
        return {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name)} if self.tree else set()

    @property
    def idle(self) -> bool:
        """Whether it does nothing, as prose that Python can read: ``Done``, ``Note: recursion``."""
        if isinstance(self.tree, ast.AnnAssign):
            return self.tree.value is None
        return isinstance(self.tree, ast.Expr) and not any(isinstance(n, ast.Call) for n in ast.walk(self.tree))


def _statements(code: str) -> list[_Statement]:
    """The top-level statements of a text that Python can read, and what stands between them; idle ones are left out."""
    lines = code.split("\n")
    tops = [i for i, line in enumerate(lines) if line[:1].strip()]
    found: list[_Statement] = []
    at = 0
    while at < len(lines):
        following = (*tops, len(lines))[bisect_right(tops, at)]
        part = "\n".join(lines[at:following])
        end, tree = _longest(lines, at, tops) if _may_begin(part) else (at, None)
        if tree is None:
            found.append(_Statement(part, None))
            at = following
            continue
        source = "\n".join(lines[at:end])
        for statement in tree.body:
            first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
            decorators = "".join(f"{line}\n" for line in lines[at + first - 1 : at + statement.lineno - 1])
            found.append(_Statement(decorators + (ast.get_source_segment(source, statement) or ""), statement))
        at = end
    return [s for s in found if not s.idle]


def _longest(lines: Sequence[str], at: int, tops: Sequence[int]) -> tuple[int, ast.Module | None]:
    """How far Python can read from line ``at`` on: the line after it, and the tree; None where it cannot begin."""
    end = len(lines)
    for _ in range(_CUTS):
        try:
            return end, ast.parse("\n".join(lines[at:end]))
        except SyntaxError as e:
            # the statement that holds the error, and what follows it, is cut off
            wrong = min(at + (e.lineno or 1) - 1, end - 1)
            end = tops[bisect_right(tops, wrong) - 1] if tops and tops[0] <= wrong else at
        except _UNREADABLE:
            break
        if end <= at:
            break
    return at, None


def _may_begin(part: str) -> bool:
    """Whether code can begin so: much faster than to read everything that follows each line of prose."""
    try:
        codeop.compile_command(part, symbol="exec")
    except (SyntaxError, *_UNREADABLE):
        return False
    return True


def _needed(
    code: Sequence[_Statement], elsewhere: Sequence[_Statement], given: Sequence[_Statement]
) -> list[_Statement]:
    """The statements of other blocks that bind what the code uses and neither it nor the prompt binds."""
    there = set().union(*(s.names for s in (*code, *given)))
    wanted = set().union(*(s.used for s in code)) - there
    needed: list[_Statement] = []
    for statement in reversed(elsewhere):
        if statement.tree and statement.names & wanted:
            needed.insert(0, statement)
            wanted |= statement.used - there
    return needed


def _joined(statements: Sequence[_Statement]) -> str:
    """The statements as one program; imports from the future come first, as they must."""
    read = [s for s in statements if s.tree]
    read.sort(key=lambda s: not (isinstance(s.tree, ast.ImportFrom) and s.tree.module == "__future__"))
    return "\n".join(s.source for s in read)


def grade(pairs: Sequence[tuple[Record, str]], limits: Limits = Limits(), workers: int | None = None) -> list[Record]:
    """Runs every answer; rows ``{correct, status, detail}`` in the order given.

    ``status`` is ``ok`` where the tests said right or wrong, ``timeout`` or ``killed`` where a limit ended the program.
    """
    programs = [program_of(problem, text) for problem, text in pairs]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        outcomes = pool.map(lambda program: run(program, limits), programs)
        return [
            {"correct": o.status == "passed", "status": STATUS.get(o.status, o.status), "detail": o.detail}
            for o in outcomes
        ]
