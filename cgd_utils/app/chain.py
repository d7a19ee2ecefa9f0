"""The chain of notebooks through papermill: what each needs, what is done, what is stale."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import files, progress, provenance, settings, settings_read, source_code, store, variants
from ..core.errors import BadInput
from ..core.provenance import PROJECT
from ..core.records import Record
from ..core.store import Run

NOTEBOOKS = PROJECT / "notebooks"
KERNEL = "python3"


@dataclass(frozen=True)
class Stage:
    """A notebook of the chain and the one that it builds on."""

    name: str
    after: str | None

    @property
    def path(self) -> Path:
        return NOTEBOOKS / f"{self.name}.ipynb"


STAGES = (
    Stage("00_setup", None),
    Stage("01_problems_and_drafts", None),
    Stage("02_critiques_and_refinements", "01_problems_and_drafts"),
    Stage("03_train", "02_critiques_and_refinements"),
    Stage("04_evaluate", "03_train"),
    Stage("05_ablations", "04_evaluate"),
    Stage("06_analyses", "05_ablations"),
    Stage("07_tables_and_figures", "06_analyses"),
)
NAMES = tuple(s.name for s in STAGES)


def stage_named(word: str) -> int:
    """Index of a stage by its name, its number (``04`` or ``4``), its name without the number, or its file.

    Raises:
        BadInput: no such notebook.
    """
    asked = Path(word).name.removesuffix(".ipynb")
    for i, s in enumerate(STAGES):
        if asked in (s.name, s.name[:2], str(int(s.name[:2])), s.name[3:]):
            return i
    raise BadInput(f"unknown notebook {word!r}{settings.nearest(word, NAMES)}; known: {', '.join(NAMES)}")


def _code_cells(stage: Stage) -> list[str]:
    cells = json.loads(stage.path.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def determined_by(run: Run, stage: Stage, fields: Iterable[str], before: str | None) -> Record:
    """What determines a notebook's results, with the key made of it.

    Args:
        run: the run.
        stage: the notebook.
        fields: the profile fields that it read when it was executed.
        before: key of the notebook that it builds on.
    """
    cells = _code_cells(stage)
    about: Record = {
        "fields": settings_read.values(run.profile, fields),
        "inputs": {stage.after: before} if stage.after else {},
        "code": source_code.of_notebook(cells).modules,
        "notebook": store.content_key(cells),
        "files": _input_files(run) if stage.name.startswith(("01", "04")) else {},
    }
    return {**about, "key": store.content_key(stage.name, {**about, "code": sorted(about["code"].values())})}


def wanted(run: Run) -> dict[str, Record]:
    """What determines each notebook that was executed, as things are now; the others are left out."""
    out: dict[str, Record] = {}
    for stage in STAGES:
        have = _manifest(run, stage.name)
        if have is not None:
            before = out[stage.after]["key"] if stage.after in out else None
            out[stage.name] = determined_by(run, stage, have["fields"], before)
    return out


def _input_files(run: Run) -> dict[str, str]:
    from ..data.benchmarks import NAMED, local_file
    from ..data.problem_sources import is_file

    paths = [run.profile.data.source] if is_file(run.profile.data.source) else []
    for b in run.profile.evaluation.benchmarks:
        named = local_file(b, run.profile.evaluation) if isinstance(b, str) and b in NAMED else None
        paths += [b.path or ""] if not isinstance(b, str) else [str(named)] if named else []
    return {p: files.file_hash(Path(p).expanduser()) for p in paths if p and Path(p).expanduser().is_file()}


def _manifest_path(run: Run, name: str) -> Path:
    return run.folder / "notebooks" / f"{name}.manifest.json"


def _manifest(run: Run, name: str) -> Record | None:
    """The manifest of a notebook that was executed; None if there is none that can be read."""
    try:
        found = json.loads(_manifest_path(run, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found.get("code"), dict) else None  # an earlier version of the kit kept other things


def status(run: Run) -> list[Record]:
    """Every stage: ``{stage, state, why, wall_seconds}``; state is done, stale, partial or missing."""
    unfinished = _unfinished(run)
    now = wanted(run)
    out = []
    for name in NAMES:
        have = _manifest(run, name)
        row: Record = {"stage": name, "state": "missing", "why": "", "wall_seconds": None}
        if have is not None:
            gone = [f"{f} is gone" for f in have["outputs"] if not (run.folder / f).exists()]
            why = gone[:1] if have["key"] == now[name]["key"] else [_difference(have, now[name])]
            row |= {"state": "stale" if why else "done", "why": "".join(why), "wall_seconds": have["wall_seconds"]}
        elif unfinished and (run.folder / "notebooks" / f"{name}.ipynb").exists():
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
    out = []
    for b in sorted((run.folder / "artifacts").glob("*/*/building.json")):
        if (b.parent / store.MANIFEST).exists():
            continue
        rows = json.loads(b.read_text(encoding="utf-8"))["rows"]
        done = sum(sum(1 for _ in p.open("rb")) for p in b.parent.glob("*log.jsonl"))
        out.append(f"{b.parent.parent.name}/{b.parent.name}: {done}" + (f" of {rows} rows" if rows else " rows"))
    return out


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


class StageFailed(RuntimeError):
    """A cell of a notebook failed; the message holds its error and the path of the executed copy."""


def run_chain(
    run: Run,
    overrides: Mapping[str, Any],
    profile: str,
    *,
    first: int = 0,
    last: int = len(STAGES) - 1,
    force: Sequence[int] = (),
    dry_run: bool = False,
    tell: Callable[[str], None] = print,
) -> list[Record]:
    """Executes the notebooks that are not done, in order; each executed copy is kept in ``<run>/notebooks``.

    Returns:
        One row a stage: ``{stage, action (skipped / ran / would run), wall_seconds}``.

    Raises:
        BadInput: before any kernel starts. StageFailed: a cell failed.
    """
    from .preflight import preflight

    preflight(run)
    parameters = {"profile": profile, "outputs": str(run.folder.parent), "overrides": dict(overrides)}
    for s in STAGES[first : last + 1]:
        check_parameters(s.path, parameters)
    if dry_run:
        states = {r["stage"]: r["state"] for r in status(run)}
        return [{"stage": s.name, "wall_seconds": None,
                 "action": "skipped" if states[s.name] == "done" and i not in force else "would run"}
                for i, s in enumerate(STAGES) if first <= i <= last]  # fmt: skip
    out = []
    with store.exclusive(run.folder):
        variants.note(run, profile, overrides)
        for i, s in enumerate(STAGES):
            if not first <= i <= last:
                continue
            state = {r["stage"]: r for r in status(run)}[s.name]
            if state["state"] == "done" and i not in force:
                tell(f"{s.name}: skipped (done, {state['wall_seconds']:.0f} s)")
                out.append({"stage": s.name, "action": "skipped", "wall_seconds": state["wall_seconds"]})
                continue
            tell(f"{s.name}: running" + (f" ({state['why']})" if state["why"] else ""))
            try:
                with progress.following(s.name):
                    seconds = _execute(run, s, parameters)
            finally:
                for line in _told(_executed(run, s)):
                    tell(f"  {line}")
            tell(f"{s.name}: done in {seconds:.0f} s")
            out.append({"stage": s.name, "action": "ran", "wall_seconds": seconds})
    return out


def _executed(run: Run, stage: Stage) -> Path:
    return run.folder / "notebooks" / f"{stage.name}.ipynb"


def _told(executed: Path) -> list[str]:
    """What the cells tagged ``told`` of an executed notebook printed: the command line says it too."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # ended before a cell was saved
        return []
    printed = [
        o for c in cells if "told" in c["metadata"].get("tags", []) for o in c["outputs"] if o.get("name") == "stdout"
    ]
    return [line for o in printed for line in "".join(o["text"]).splitlines()]


def _execute(run: Run, stage: Stage, parameters: Record) -> float:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    executed = _executed(run, stage)
    executed.parent.mkdir(parents=True, exist_ok=True)
    manifest = _manifest_path(run, stage.name)
    longest = _longest(run, stage.name)
    manifest.unlink(missing_ok=True)
    started = time.monotonic()
    fields = executed.with_suffix(".fields")
    fields.unlink(missing_ok=True)
    try:
        with _environment({"CGD_IN_CHAIN": "1", settings_read.FILE: str(fields)}):
            papermill.execute_notebook(
                str(stage.path),
                str(executed),
                parameters=parameters,
                kernel_name=KERNEL,
                progress_bar=False,
                cwd=str(NOTEBOOKS),
                request_save_on_cell_execute=True,
                extra_arguments=["--log-level=50"],
            )
    except PapermillExecutionError as e:
        lines = [line for line in e.traceback if line]
        raise StageFailed(
            f"{stage.name} failed in cell {e.exec_count}:\n" + "\n".join(lines) + f"\nexecuted copy: {executed}"
        ) from None
    except Exception as e:
        if "kernel died" in str(e).lower() or type(e).__name__ == "DeadKernelError":
            raise StageFailed(
                f"{stage.name}: the kernel died, most often for lack of memory; lower generation.batch_size or "
                f"training.micro_batch_size and run again (finished work is kept)\nexecuted copy: {executed}"
            ) from None
        raise
    seconds = round(time.monotonic() - started, 1)
    read = fields.read_text(encoding="utf-8").split() if fields.exists() else []
    fields.unlink(missing_ok=True)
    before = wanted(run)[stage.after]["key"] if _manifest(run, stage.after or "") else None
    about = determined_by(run, stage, read, before)
    files.write_json(
        manifest,
        {
            "stage": stage.name,
            **about,
            "profile": run.profile.model_dump(mode="json"),
            "environment": provenance.environment(),
            "wall_seconds": seconds,
            "longest_wall_seconds": max(longest, seconds),
            "outputs": {o: files.file_hash(run.folder / o) for o in _outputs(run, stage)},
        },
    )
    return seconds


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that a kernel started within the block sees."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _longest(run: Run, name: str) -> float:
    """Seconds of the longest earlier run of a notebook with the same settings.

    A later one may only have loaded its artifacts.
    """
    have = _manifest(run, name)
    if have is None or have["fields"] != settings_read.values(run.profile, have["fields"]):
        return 0.0
    return float(have.get("longest_wall_seconds", have["wall_seconds"]))


def _outputs(run: Run, stage: Stage) -> list[str]:
    """Files in fixed places that a stage leaves, relative to the run's folder."""
    places = {
        "04_evaluate": ["results.csv"],
        "05_ablations": ["results.csv"],
        "06_analyses": ["analyses.csv"],
        "07_tables_and_figures": ["results.csv", "claims.csv"],
    }
    found = [run.folder / p for p in places.get(stage.name, [])]
    if stage.name.startswith(("05", "06", "07")):
        own = {"05": "ablation_", "06": "analysis_"}.get(stage.name[:2], "")
        found += [p for d in (run.tables, run.figures) for p in sorted(d.glob(f"{own}*"))]
    return [p.relative_to(run.folder).as_posix() for p in found if p.is_file()]


def keep_reference(run: Run, folder: Path, command: str) -> None:
    """Copies tables, figures and results of a finished run to ``folder``, with a manifest that says how they were made.

    Raises:
        BadInput: a stage of the run is not done.
    """
    import shutil

    open_stages = [r["stage"] for r in status(run) if r["state"] != "done"]
    if open_stages:
        raise BadInput(f"run {run.profile.name!r} is not finished ({', '.join(open_stages)}): run it first")
    shutil.rmtree(folder, ignore_errors=True)
    for place in (run.tables, run.figures):
        shutil.copytree(place, folder / place.name)
    for name in ("results.csv", "analyses.csv", "claims.csv"):
        shutil.copy(run.folder / name, folder)
    manifests = [json.loads(_manifest_path(run, name).read_text(encoding="utf-8")) for name in NAMES]
    files.write_json(folder / "manifest.json", {
        "command": command, "profile": run.profile.model_dump(mode="json"), "environment": provenance.environment(),
        "wall_seconds": {m["stage"]: m.get("longest_wall_seconds", m["wall_seconds"]) for m in manifests},
        "work_seconds": _work(run),
        "keys": {m["stage"]: m["key"] for m in manifests},
        "outputs": {p.relative_to(folder).as_posix(): files.file_hash(p) for p in sorted(folder.rglob("*.*"))},
    })  # fmt: skip


def _work(run: Run) -> Record:
    """Seconds that artifacts took to make, by kind, whenever they were made: a notebook that runs again loads them."""
    out: Record = {}
    for path in sorted((run.folder / "artifacts").glob(f"*/*/{store.MANIFEST}")):
        kind = path.parents[1].name
        out[kind] = round(out.get(kind, 0) + json.loads(path.read_text(encoding="utf-8")).get("wall_seconds", 0), 1)
    return out


def fill_readme(text: str, name: str, block: str) -> str:
    """``text`` with the lines between ``<!-- name -->`` and ``<!-- end name -->`` replaced by ``block``."""
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"README: no place {start} … {end}")
    return f"{before}{start}\n{block.strip()}\n{end}{after}"
