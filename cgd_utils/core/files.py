"""Files that are written at once or not at all, and logs that survive a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from .errors import BadInput
from .records import Record


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


# ---------------------------------------------------------------- files
@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` and moves it there when the block ends well; else removes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file at once or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def dumps(row: Mapping[str, Any]) -> str:
    """One JSONL line, without its end."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _open_jsonl(path: Path, mode: str) -> IO[str]:
    # half of a surrogate pair, which UTF-8 cannot hold, is written as JSON's own escape
    return path.open(mode, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as JSONL at once or not at all."""
    with atomic(path) as temporary, _open_jsonl(temporary, "w") as f:
        f.writelines(dumps(r) + "\n" for r in rows)


def read_jsonl(path: Path) -> list[Record]:
    """Rows of a JSONL file.

    Raises:
        BadInput: no such file, not UTF-8, or a line that is not a JSON object (named by its number).
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    out = []
    # split on \n alone: text may hold other line separators
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as e:
        raise BadInput(f"{path}: not UTF-8 text (byte {e.start}); save it as UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as e:
                raise BadInput(f"{path}, line {number}: not valid JSON ({e})") from None
            if not isinstance(row, dict):
                raise BadInput(f"{path}, line {number}: expected an object, found {type(row).__name__}")
            out.append(row)
    return out


class JsonlLog:
    """An append-only JSONL file that survives a kill: a torn last line is cut off when it is opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        with self.path.open("rb+") as f:
            size = f.seek(0, os.SEEK_END)
            end = size
            while end > 0:
                start = max(0, end - 65536)
                f.seek(start)
                block = f.read(end - start)
                if (at := block.rfind(b"\n")) >= 0:
                    end = start + at + 1
                    break
                end = start
            if end < size:
                f.truncate(end)

    def rows(self) -> list[Record]:
        return read_jsonl(self.path) if self.path.exists() else []

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows and forces them to disk."""
        with _open_jsonl(self.path, "a") as f:
            f.write("".join(dumps(r) + "\n" for r in rows))
            f.flush()
            os.fsync(f.fileno())


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())


def free_gib(folder: Path) -> float:
    """GiB free on the disk where ``folder`` lies or would lie."""
    return shutil.disk_usage(existing(folder)).free / 2**30


def require_writable(folder: Path) -> None:
    """Refuses a folder that could not be made or written; makes nothing.

    Raises:
        BadInput: a file is in its way, or its rights forbid it.
    """
    there = existing(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "may not be written" if there.is_dir() else "is a file"
        raise BadInput(f"outputs folder {folder}: cannot be written ({there} {why}); name another with --outputs")


def require_space(folder: Path, need_gib: float) -> None:
    """Refuses work that the disk cannot hold.

    Raises:
        BadInput: ``folder`` cannot be written, or less than ``need_gib`` GiB are free where it lies.
    """
    require_writable(folder)
    free = free_gib(folder)
    if free < need_gib:
        raise BadInput(
            f"outputs folder {folder}: {free:.2f} GiB free, about {need_gib:.2f} GiB needed; "
            f"free some space or name another folder with --outputs"
        )
