"""Runs one untrusted program: started by `code_execution` as ``python -I -S sandbox.py PIPE``, it locks itself in.

Reads one JSON line ``{program, memory_mib, cpu_s, readable, denied, token}`` from stdin; writes the token to its result
pipe, a descriptor, only after the whole program ran. Linux only: resource limits, Landlock (no file but the standard
library can be opened, none written) and a seccomp filter (no process, thread, socket, signal or exec: `syscalls.csv`).
Nothing here is imported by the package.
"""

import ctypes
import json
import os
import platform
import resource
import sys
import types
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_READ = (1 << 2) | (1 << 3)  # read files, list folders
ISOLATION_FAILED = 97


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class Filter(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]


def deny_syscalls(numbers):
    """Classic BPF: another architecture is killed, a denied syscall answers EPERM, the rest is allowed."""
    audit = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[platform.machine()]
    load, equal, at_least, leave = 0x20, 0x15, 0x35, 0x06
    allow, eperm, kill = 0x7FFF0000, 0x00050001, 0x80000000
    program = [(load, 0, 0, 4), (equal, 1, 0, audit), (leave, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, 0x40000000), (leave, 0, 0, eperm)]  # the x32 numbers of x86-64
    for n in numbers:
        program += [(equal, 0, 1, n), (leave, 0, 0, eperm)]
    program.append((leave, 0, 0, allow))
    code = (Instruction * len(program))(*program)
    checked(LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Filter(len(program), code)), 0, 0), "seccomp")


def deny_files(readable):
    """Landlock: only the folders of ``readable`` can be read, nothing can be written or run."""
    version = LIBC.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    checked(version, "Landlock")
    handled = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    rules = LIBC.syscall(LANDLOCK_CREATE, ctypes.byref(ctypes.c_uint64(handled)), ctypes.c_size_t(8), 0)
    checked(rules, "Landlock")
    for path in readable:
        if not Path(path).exists():
            continue
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        access = LANDLOCK_READ if Path(path).is_dir() else 1 << 2
        rule = access.to_bytes(8, "little") + opened.to_bytes(4, "little", signed=True)
        checked(LIBC.syscall(LANDLOCK_ADD, rules, 1, ctypes.c_char_p(rule), 0), "Landlock")
        os.close(opened)
    checked(LIBC.syscall(LANDLOCK_RESTRICT, rules, 0), "Landlock")
    os.close(rules)


def checked(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what} is not to be had: {os.strerror(ctypes.get_errno())}")


def main():
    task = json.loads(sys.stdin.readline())
    result = int(sys.argv.pop())
    try:
        size = task["memory_mib"] << 20
        limits = [(resource.RLIMIT_AS, size), (resource.RLIMIT_CPU, task["cpu_s"]), (resource.RLIMIT_FSIZE, 0)]
        for limit, value in (*limits, (resource.RLIMIT_NOFILE, 32), (resource.RLIMIT_CORE, 0)):
            resource.setrlimit(limit, (value, value))
        checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        deny_files(task["readable"])
        deny_syscalls(task["denied"])
    except (OSError, KeyError, ValueError) as e:
        os.write(result, f"isolation: {e}"[:500].encode())
        os._exit(ISOLATION_FAILED)
    token = task.pop("token")
    # a module of its own: what stands under `if __name__ == "__main__"` is not run, as in HumanEval's own harness
    module = sys.modules["program"] = types.ModuleType("program")
    try:
        exec(compile(task["program"], "<program>", "exec"), module.__dict__)
    except BaseException as e:
        os.write(result, f"{type(e).__name__}: {e}"[:500].encode(errors="replace"))
        os._exit(1)
    os.write(result, token.encode())
    os._exit(0)


if __name__ == "__main__":
    main()
