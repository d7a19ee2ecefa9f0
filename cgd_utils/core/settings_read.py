"""Which profile fields a piece of work reads: found by watching, so that no list of them is kept by hand.

A notebook of the chain is watched in its kernel and in the processes that it starts (they add to the file that `FILE` names);
an ablation cell is watched where it runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

FILE = "CGD_SETTINGS_READ"  # environment variable: the file that takes the names of the fields read
# of the profile: what it is called, how fast it goes, when it stops
DECIDE_NOTHING = {"name", "description", "processes", "synthesis.useless"}
_watchers: list[set[str]] = []
_in_file: set[str] = set()
_paused = 0


def watched() -> bool:
    """Whether anyone wants to know what is read."""
    return not _paused and (bool(_watchers) or FILE in os.environ)


@contextlib.contextmanager
def watch() -> Iterator[set[str]]:
    """Gathers the dotted names of the fields that are read within the block."""
    seen: set[str] = set()
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """What is read within the block decides no result: a copy of the whole profile for a manifest, say."""
    global _paused
    _paused += 1
    try:
        yield
    finally:
        _paused -= 1


def note(section: str | None, field: str) -> None:
    """Notes that a field was read; a section without a place yet (None) is not noted."""
    if section is None or not watched():
        return
    name = f"{section}.{field}" if section else field
    if name in DECIDE_NOTHING:
        return
    for seen in _watchers:
        seen.add(name)
    if FILE in os.environ and name not in _in_file:
        _in_file.add(name)
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as f:
            f.write(f"{name}\n")


def values(profile: Any, names: Iterable[str]) -> dict[str, Any]:
    """The present values of dotted fields, JSON; a field that the profile does not hold (an optional section's) is None."""
    with unwatched():
        whole = profile.model_dump(mode="json")
    return {name: _at(whole, name) for name in sorted(names)}


def _at(value: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value
