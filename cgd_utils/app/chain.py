"""The chain of notebooks through papermill: what each needs, what is done, what is stale."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from .. import prompts
from ..core import files, progress, provenance, settings, settings_read, source_code, store, variants
from ..core.errors import BadInput
from ..core.provenance import PROJECT
from ..core.records import Record
from ..core.store import Run

NOTEBOOKS = PROJECT / "notebooks"
KERNEL = "python3"
NAMES = (
    "00_setup",
    "01_problems_and_drafts",
    "02_critiques_and_refinements",
    "03_train",
    "04_evaluate",
    "05_ablations",
    "06_analyses",
    "07_tables_and_figures",
)
AFTER = dict(zip(NAMES[2:], NAMES[1:], strict=False))  # notebook -> the one that it builds on
# files in fixed places that a notebook leaves, as patterns in the run's folder
OUTPUTS = {
    "04_evaluate": ["results.csv"],
    "05_ablations": ["results.csv", "tables/ablation_*", "figures/ablation_*"],
    "06_analyses": ["analyses.csv", "tables/analysis_*", "figures/analysis_*"],
    "07_tables_and_figures": ["results.csv", "claims.csv", "tables/*", "figures/*"],
}


class StageFailed(RuntimeError):
    """A cell of a notebook failed; the message holds its error and the path of the executed copy."""


def stage_named(word: str) -> int:
    """Index of a notebook by its name, its number (``04`` or ``4``), its name without the number, or its file.

    Raises:
        BadInput: no such notebook.
    """
    asked = Path(word).name.removesuffix(".ipynb")
    for i, name in enumerate(NAMES):
        if asked in (name, name[:2], str(i), name[3:]):
            return i
    raise BadInput(f"unknown notebook {word!r}{settings.nearest(word, NAMES)}; known: {', '.join(NAMES)}")


def source(name: str) -> Path:
    """Where a notebook lies."""
    return NOTEBOOKS / f"{name}.ipynb"


def executed_copy(run: Run, name: str) -> Path:
    """Where the executed copy of a notebook lies."""
    return run.folder / "notebooks" / f"{name}.ipynb"


def _manifest_path(run: Run, name: str) -> Path:
    return run.folder / "notebooks" / f"{name}.manifest.json"


def manifest(run: Run, name: str) -> Record | None:
    """The manifest of a notebook that was executed to its end; None if there is none that can be read."""
    try:
        found: Record = json.loads(_manifest_path(run, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found.get("code"), dict) else None  # an earlier version of the kit kept other things


# ---------------------------------------------------------------- what determines a notebook
def determined_by(run: Run, name: str, fields: Iterable[str], before: str | None) -> Record:
    """What determines a notebook's results, with the key made of it.

    Args:
        run: the run.
        name: the notebook.
        fields: the profile fields that it read when it was executed.
        before: key of the notebook that it builds on.
    """
    notebook = json.loads(source(name).read_text(encoding="utf-8"))
    cells = [
        "".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code" and not source_code.for_host(c)
    ]
    about: Record = {
        "fields": settings_read.values(run.profile, fields),
        "inputs": {AFTER[name]: before} if name in AFTER else {},
        "code": source_code.of_notebook(cells).modules,
        "notebook": store.content_key(cells),
        "files": _input_files(run) if name.startswith(("01", "04")) else {},
    }
    return {**about, "key": store.content_key(name, {**about, "code": sorted(about["code"].values())})}


def _input_files(run: Run) -> dict[str, str]:
    """Path → hash of the files of problems and benchmarks that a run reads, and of its prompts."""
    from ..data.benchmarks import NAMED, local_file
    from ..data.problem_sources import is_file

    paths = [run.profile.data.source] if is_file(run.profile.data.source) else []
    for b in run.profile.evaluation.benchmarks:
        if not isinstance(b, str):
            paths += [b.path] if b.path else []
        elif b in NAMED and (named := local_file(b, run.profile.evaluation)):
            paths.append(str(named))
    hashes = {p: files.file_hash(Path(p).expanduser()) for p in paths if Path(p).expanduser().is_file()}
    return {**hashes, "models.layout": store.content_key(prompts.layout(run.profile.models.layout).key)}


def wanted(run: Run) -> dict[str, Record]:
    """What determines each notebook that was executed, as things are now; the others are left out."""
    out: dict[str, Record] = {}
    for name in NAMES:
        have = manifest(run, name)
        if have is not None:
            out[name] = determined_by(run, name, have["fields"], _key_before(out, name))
    return out


def _key_before(known: Mapping[str, Record], name: str) -> str | None:
    """The key of the notebook that one builds on."""
    before = known.get(AFTER.get(name, ""))
    return before["key"] if before else None


# ---------------------------------------------------------------- what is done
def status(run: Run) -> list[Record]:
    """Every notebook: ``{stage, state, why, wall_seconds}``; state is done, stale, partial or missing."""
    unfinished = _unfinished(run)
    now = wanted(run)
    out = []
    for name in NAMES:
        have = manifest(run, name)
        row: Record = {"stage": name, "state": "missing", "why": "", "wall_seconds": None}
        if have is not None:
            gone = [f"{f} is gone" for f in have["outputs"] if not (run.folder / f).exists()]
            why = gone[:1] if have["key"] == now[name]["key"] else [_difference(have, now[name])]
            row |= {"state": "stale" if why else "done", "why": "".join(why), "wall_seconds": have["wall_seconds"]}
        elif unfinished and executed_copy(run, name).exists():
            row |= {"state": "partial", "why": "; ".join(unfinished)}
        if name == "05_ablations" and row["state"] != "done" and (counted := _cells(run)):
            row["why"] = f"{row['why']}; {counted}".removeprefix("; ")
        out.append(row)
    return out


def _cells(run: Run) -> str:
    """How many cells of the ablation grids are done, in words; nothing where the profile has none."""
    from ..ablations import cell_runs

    try:
        states = [r["state"] for r in cell_runs.states(run)]
    except BadInput:  # a student that is not there: `cgd check` says so
        return ""
    told = f"cells: {states.count('done')} of {len(states)} done" if states else ""
    return told + (f", {states.count('stale')} stale" if "stale" in states else "")


def _difference(have: Record, want: Record) -> str:
    why = []
    for f, value in want["fields"].items():
        why += [c for c in _changed(f, have["fields"].get(f), value) if c not in why]
    why += [f"{a} changed" for a, k in want["inputs"].items() if have["inputs"].get(a) != k]
    why += [f"file {f} changed" for f, h in want["files"].items() if have.get("files", {}).get(f) != h]
    modules = source_code.changed_modules(have["code"], want["code"])
    more = f" and {len(modules) - 3} more" if len(modules) > 3 else ""
    why += [f"code of {', '.join(modules[:3])}{more} changed"] if modules else []
    if have["notebook"] != want["notebook"]:
        why.append("notebook changed")
    return ", ".join(why)


def _changed(name: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [x for k in sorted({*old, *new}) for x in _changed(f"{name}.{k}", old.get(k), new.get(k))]
    return [] if old == new else [f"{name}: {old} → {new}"]


def _unfinished(run: Run) -> list[str]:
    """The artifacts that were begun and not finished, each with its rows so far."""
    out = []
    for path in sorted((run.folder / "artifacts").glob("*/*/building.json")):
        folder = path.parent
        if (folder / store.MANIFEST).exists():
            continue
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        done = sum(sum(1 for _ in log.open("rb")) for log in folder.glob("*log.jsonl"))
        out.append(f"{folder.parent.name}/{folder.name}: {done}" + (f" of {rows} rows" if rows else " rows"))
    return out


# ---------------------------------------------------------------- running
def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuses a parameter that the notebook's ``parameters`` cell does not have (papermill only warns).

    Raises:
        BadInput: unknown parameter; the nearest known one is named.
    """
    import papermill

    known = papermill.inspect_notebook(str(notebook))
    for name in parameters:
        if name not in known:
            raise BadInput(
                f"{notebook.name}: unknown parameter {name!r}{settings.nearest(name, known)}; known: {', '.join(known)}"
            )


def run_chain(
    run: Run,
    overrides: Mapping[str, Any],
    profile: str,
    *,
    first: int = 0,
    last: int = len(NAMES) - 1,
    force: Sequence[int] = (),
    dry_run: bool = False,
    tell: Callable[[str], None] = print,
) -> list[Record]:
    """Executes the notebooks that are not done, in order; each executed copy is kept in ``<run>/notebooks``.

    Returns:
        One row a notebook: ``{stage, action (skipped / ran / would run), wall_seconds}``.

    Raises:
        BadInput: before any kernel starts. StageFailed: a cell failed.
    """
    from .preflight import preflight

    preflight(run, here=not dry_run)
    parameters = {"profile": profile, "outputs": str(run.folder.parent), "overrides": dict(overrides)}
    chosen = NAMES[first : last + 1]
    forced = [NAMES[i] for i in force]
    for name in chosen:
        check_parameters(source(name), parameters)
    if dry_run:
        done = [r["stage"] for r in status(run) if r["state"] == "done" and r["stage"] not in forced]
        return [
            {"stage": name, "wall_seconds": None, "action": "skipped" if name in done else "would run"}
            for name in chosen
        ]
    out = []
    with store.exclusive(run.folder):
        variants.note(run, profile, overrides)
        for name in chosen:
            state = {r["stage"]: r for r in status(run)}[name]
            if state["state"] == "done" and name not in forced:
                tell(f"{name}: skipped (done, {state['wall_seconds']:.0f} s)")
                out.append({"stage": name, "action": "skipped", "wall_seconds": state["wall_seconds"]})
                continue
            tell(f"{name}: running" + (f" ({state['why']})" if state["why"] else ""))
            try:
                with progress.following(name):
                    seconds = _execute(run, name, parameters)
            finally:
                for line in _told(executed_copy(run, name)):
                    tell(f"  {line}")
            tell(f"{name}: done in {seconds:.0f} s")
            out.append({"stage": name, "action": "ran", "wall_seconds": seconds})
    return out


def _told(executed: Path) -> list[str]:
    """What the cells tagged ``told`` of an executed notebook printed: the command line says it too."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # ended before a cell was saved
        return []
    outputs = [o for c in cells if "told" in c["metadata"].get("tags", []) for o in c["outputs"]]
    printed = ["".join(o["text"]) for o in outputs if o.get("name") == "stdout"]
    return [line for text in printed for line in text.splitlines()]


def _execute(run: Run, name: str, parameters: Record) -> float:
    """Executes a notebook and writes its manifest; returns the seconds it took."""
    executed = executed_copy(run, name)
    executed.parent.mkdir(parents=True, exist_ok=True)
    longest = _longest(run, name)
    _manifest_path(run, name).unlink(missing_ok=True)
    fields = executed.with_suffix(".fields")
    fields.unlink(missing_ok=True)
    started = time.monotonic()
    # papermill passes no environment to its kernel: it takes this process's
    with mock.patch.dict(os.environ, {"CGD_IN_CHAIN": "1", settings_read.FILE: str(fields)}):
        _papermill(name, executed, parameters)
    seconds = round(time.monotonic() - started, 1)
    fields_read = fields.read_text(encoding="utf-8").split() if fields.exists() else []
    fields.unlink(missing_ok=True)
    outputs = {
        p.relative_to(run.folder).as_posix() for pattern in OUTPUTS.get(name, []) for p in run.folder.glob(pattern)
    }
    files.write_json(
        _manifest_path(run, name),
        {
            "stage": name,
            **determined_by(run, name, fields_read, _key_before(wanted(run), name)),
            "profile": run.profile.model_dump(mode="json"),
            "environment": provenance.environment(),
            "wall_seconds": seconds,
            "longest_wall_seconds": max(longest, seconds),
            "outputs": {path: files.file_hash(run.folder / path) for path in sorted(outputs)},
        },
    )
    return seconds


def _papermill(name: str, executed: Path, parameters: Record) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            str(source(name)),
            str(executed),
            parameters=parameters,
            kernel_name=KERNEL,
            progress_bar=False,
            cwd=str(NOTEBOOKS),
            request_save_on_cell_execute=True,
            extra_arguments=["--log-level=50"],
        )
    except PapermillExecutionError as e:
        error = "\n".join(line for line in e.traceback if line)
        raise StageFailed(f"{name} failed in cell {e.exec_count}:\n{error}\nexecuted copy: {executed}") from None
    except DeadKernelError:
        raise StageFailed(
            f"{name}: the kernel died, most often for lack of memory; lower generation.batch_size or "
            f"training.micro_batch_size and run again (finished work is kept)\nexecuted copy: {executed}"
        ) from None


def _longest(run: Run, name: str) -> float:
    """Seconds of the longest earlier run with the same settings: a later one may only have loaded its artifacts."""
    have = manifest(run, name)
    if have is None or have["fields"] != settings_read.values(run.profile, have["fields"]):
        return 0.0
    return float(have.get("longest_wall_seconds") or have["wall_seconds"])
