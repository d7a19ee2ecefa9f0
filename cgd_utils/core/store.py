"""Where things lie and how they are kept: content keys, manifests, atomic writes, append-only logs, locks.

An artifact is a folder ``outputs/<profile>/artifacts/<kind>/<label>-<key>/``. Its key is a hash of what determines it:
the settings it uses, the keys of its inputs, the code of its stage. ``manifest.json`` is written last, so a folder
without one is unfinished work and is gone on with. What a run beside it has finished under the same key is linked, not made
again: each run's folder is whole, and can be removed without harm to another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import errors, profile_files, settings_read, source_code
from .errors import BadInput, GenerationFailed
from .files import atomic, file_hash, read_jsonl, require_writable, write_json
from .provenance import PROJECT, environment, peak_memory_gib
from .records import Record
from .settings import Profile

MANIFEST = "manifest.json"


# ---------------------------------------------------------------- keys
def content_key(*parts: Any) -> str:
    """16 hex digits of the SHA-256 of the parts as canonical JSON."""
    text = json.dumps(_canonical(parts), sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    """The value with whole floats as integers: a field's default 600 and a validated 600.0 are the same setting."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {k: _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    return value


# ---------------------------------------------------------------- artifacts
@dataclass(frozen=True)
class Artifact:
    """A finished artifact: its folder, its key, and its manifest."""

    folder: Path
    key: str
    manifest: Record = field(repr=False, hash=False, compare=False)

    def rows(self, name: str = "rows.jsonl") -> list[Record]:
        return read_jsonl(self.folder / name)


@dataclass(frozen=True)
class Run:
    """One profile and the folder its outputs go to; what notebooks open first.

    Attributes:
        opened: how it was named, as words of a command: ``("--profile", "lab", "--set", "training.epochs=2")``.
        only_reads: what is missing is not made but told, see `make`; for commands that must not cost an hour or money.
    """

    profile: Profile
    folder: Path
    opened: tuple[str, ...] = field(default=(), repr=False, compare=False)
    only_reads: bool = field(default=False, compare=False)

    def command(self, *more: str) -> str:
        """The command that makes this run's artifacts, with further words such as ``"--to", "02"``."""
        return shlex.join(["cgd", "run", *(self.opened or ("--profile", self.profile.name)), *more])

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def results_csv(self) -> Path:
        return self.folder / "results.csv"

    def place(
        self, kind: str, label: str, build: Callable[..., Any], *, settings: Any = None, inputs: Sequence[str] = ()
    ) -> tuple[str, Path]:
        """Key and folder of an artifact, whether it is there or not; arguments as in `make`."""
        key = content_key(kind, label, settings, list(inputs), source_code.of(build).version)
        return key, self.folder / "artifacts" / kind / f"{label}-{key[:10]}"

    def make(
        self,
        kind: str,
        label: str,
        build: Callable[[Path], Record | None],
        *,
        settings: Any = None,
        inputs: Sequence[str] = (),
        rows: int | None = None,
    ) -> Artifact:
        """Loads an artifact; links it from a run beside this one if that has it; else builds it, or goes on building.

        Two runs that need the same artifact at the same time may both build it, each in its own folder.

        Args:
            kind: folder under ``artifacts/``, for example ``drafts``.
            label: readable part of the folder's name.
            build: called with the artifact's folder; finds there what an interrupted build left, writes its files, and
                may return facts for the manifest (tokens, counts). The code that it reaches is part of the key, see
                `source_code`.
            settings: the settings that determine the artifact (JSON).
            inputs: keys of the artifacts it is made from.
            rows: how many rows it will have, for ``status``.

        Raises:
            BadInput: it is missing and the run only reads (the message holds the command that makes it), or the run's
                folder cannot be written.
        """
        from filelock import FileLock

        key, folder = self.place(kind, label, build, settings=settings, inputs=inputs)
        if (done := load(folder)) is not None:
            return done
        if self.only_reads:
            raise BadInput(
                f"{self.folder}: no {kind} ({label}) of these settings yet, and this command makes none; "
                f"make them with: {self.command()}"
            )
        require_writable(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if (done := load(folder) or self._shared(folder, key)) is not None:
                return done
            write_json(folder / "building.json", {"key": key, "rows": rows})
            started = time.monotonic()
            facts = build(folder) or {}
            with settings_read.unwatched():
                profile = self.profile.model_dump(mode="json")
            files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in (".lock", "building.json")]
            manifest = {
                "kind": kind,
                "label": label,
                "key": key,
                "settings": settings,
                "inputs": list(inputs),
                "code": asdict(source_code.of(build)),
                "profile": profile,
                "environment": environment(),
                "wall_seconds": round(time.monotonic() - started, 2),
                "peak_memory_gib": peak_memory_gib(),
                "facts": facts,
                "outputs": {
                    p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": file_hash(p)} for p in files
                },
            }
            write_json(folder / MANIFEST, manifest)
            (folder / "building.json").unlink(missing_ok=True)
        return Artifact(folder, key, manifest)

    def _shared(self, folder: Path, key: str) -> Artifact | None:
        """The artifact, linked from a run beside this one that has finished it; None if there is none."""
        for other in sorted(self.folder.parent.iterdir()):
            source = other / folder.relative_to(self.folder)
            if other == self.folder or not (source / MANIFEST).is_file():
                continue
            try:
                _link(source, folder, key)
            except (OSError, ValueError):  # damaged, or removed meanwhile
                continue
            return load(folder)
        return None


def _link(source: Path, folder: Path, key: str) -> None:
    """Hard-links a finished artifact's files, its manifest last; copies them where the file system cannot link.

    Raises:
        OSError: a file is gone. ValueError: another key, or a file that is not as the manifest says.
    """
    manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    if manifest["key"] != key:
        raise ValueError(f"{source}: key {manifest['key']}, not {key}")
    for name, about in [*manifest["outputs"].items(), (MANIFEST, None)]:
        path = source / name
        if about and path.stat().st_size != about["bytes"]:
            raise ValueError(f"{path}: {path.stat().st_size} bytes, not {about['bytes']}")
        with atomic(folder / name) as temporary:
            # a log is appended to where it lies, if its artifact must be built again: never two runs' at once
            if path.suffix == ".jsonl" and path.name != "rows.jsonl":
                shutil.copy2(path, temporary)
                continue
            try:
                os.link(path, temporary)
            except OSError:
                shutil.copy2(path, temporary)
    (folder / "building.json").unlink(missing_ok=True)


def load(folder: Path) -> Artifact | None:
    """The artifact in a folder; None if it is missing, unfinished, or lacks a file that its manifest lists."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for name, about in manifest["outputs"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != about["bytes"]:
            (folder / MANIFEST).unlink()
            return None
    return Artifact(folder, manifest["key"], manifest)


def outputs_folder(outputs: str | os.PathLike[str] | None = None) -> Path:
    """The outputs folder: None and the notebooks' own ``"outputs"`` are the project's, any other is the caller's.

    A relative path is taken from the current folder. In a notebook that was opened in the kit, where Jupyter stands in
    ``notebooks/`` or a folder below, it is taken from the project's root: runs do not belong among the notebooks.
    """
    if outputs in (None, "outputs"):
        return PROJECT / "outputs"
    here = Path.cwd()
    base = PROJECT if here.is_relative_to(PROJECT / "notebooks") else here
    return (base / Path(outputs).expanduser()).resolve()


def open_run(
    profile: str | Profile = "lab",
    outputs: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Run:
    """Loads a profile and names its folder ``<outputs>/<profile name>``; nothing is written, no folder is made.

    Args:
        profile: a shipped profile's name, a YAML file, or a profile.
        outputs: see `outputs_folder`.
        overrides: dotted field → value.

    Raises:
        profiles.ProfileError: see `core.profile_files.load`.
    """
    _tell_user_errors_in_one_line()
    loaded = profile if isinstance(profile, Profile) else profile_files.load(profile, overrides)
    root = outputs_folder(outputs)
    words = ["--profile", loaded.name if isinstance(profile, Profile) else str(profile)]
    if root != PROJECT / "outputs":
        words += ["--outputs", str(root)]
    for name, value in (overrides or {}).items():
        words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return Run(loaded, root / loaded.name, tuple(words))


def _tell_user_errors_in_one_line() -> None:
    """In a notebook, what a user can mend is shown as its message, without a traceback; the cell fails all the same."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "_showtraceback"):
        return

    def show(shell: Any, kind: type, error: Exception, trace: Any, tb_offset: Any = None) -> None:
        shell._showtraceback(kind, error, [f"{kind.__name__}: {error}"])

    shell.set_custom_exc((BadInput, errors.ProfileError, GenerationFailed), show)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds a run's folder; the operating system lets go of it when the process dies.

    Raises:
        BadInput: another process holds it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BadInput(
            f"outputs folder {folder} is in use by another run; wait for it or name another with --outputs"
        ) from None
    try:
        yield
    finally:
        lock.release()
