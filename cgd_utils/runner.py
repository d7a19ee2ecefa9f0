"""The chain of notebooks through papermill: what each needs, what is done, what is stale."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import artifacts, profiles, progress
from .artifacts import PROJECT, BadInput, Run

Record = dict[str, Any]
NOTEBOOKS = PROJECT / "notebooks"
KERNEL = "python3"


@dataclass(frozen=True)
class Stage:
    """A notebook of the chain: the profile fields it reads, the stages it builds on, the modules it runs."""

    name: str
    fields: tuple[str, ...]
    after: tuple[str, ...]
    code: tuple[str, ...]

    @property
    def path(self) -> Path:
        return NOTEBOOKS / f"{self.name}.ipynb"


_GENERATE = ("generation", "decoding", "quantization", "prompts")
_TRAIN = ("training", "trainer", "tokenization", "adapters", "methods")
_RUN = ("profiles",)
STAGES = (
    Stage("00_setup", ("models", "training.mode", "training.lora", "training.max_length", "training.micro_batch_size", "training.gradient_checkpointing"), (), ("checks", "hours", "memory", "probes", "room")),
    Stage("01_problems_and_drafts", ("data", "models", "generation", "synthesis.draft", "synthesis.draft_source",
                                     "synthesis.seed"), (), ("data", "decontamination", "benchmarks", "synthesis", "lab", *_GENERATE)),
    Stage("02_critiques_and_refinements", ("synthesis",), ("01_problems_and_drafts",), ("synthesis", "grading", "lab", *_GENERATE)),
    Stage("03_train", ("training",), ("02_critiques_and_refinements",), (*_TRAIN, *_GENERATE)),
    Stage("04_evaluate", ("evaluation", "analyses.samples", "analyses.sample_rows"), ("03_train",), ("evaluation", "inference", "figures", "measurements", "subjects", "benchmarks", "general_benchmarks", "code_execution", "decontamination", "compare", "grading", "reporting", "statistics", *_GENERATE)),
    Stage("05_ablations", ("ablations",), ("04_evaluate",), ("ablations", "ablation_grids", "ablation_tables", "drift", *_TRAIN, "evaluation", "reporting", "statistics")),
    Stage("06_analyses", ("analyses",), ("05_ablations",), ("analysis", "subjects", "failures", "critiques", "inference", "measurements", "figures", "explorer", "synthesis", "reporting", "statistics", *_GENERATE)),
    Stage("07_tables_and_figures", (), ("06_analyses",), ("reporting", "figures", "measurements", "paper_tables", "statistics", "verdicts", "claim_measures", "claims", "audit")),
)  # fmt: skip
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
    raise BadInput(f"unknown notebook {word!r}{profiles._nearest(word, NAMES)}; known: {', '.join(NAMES)}")


def _source(stage: Stage) -> str:
    cells = json.loads(stage.path.read_text(encoding="utf-8"))["cells"]
    return hashlib.sha256(json.dumps([c["source"] for c in cells]).encode()).hexdigest()[:16]


def wanted(run: Run) -> dict[str, Record]:
    """What determines each stage: fields, inputs, code, notebook, and the key made of them."""
    out: dict[str, Record] = {}
    for s in STAGES:
        about: Record = {
            "fields": {f: run.profile.get(f) for f in _fields(run, s)},
            "inputs": {a: out[a]["key"] for a in s.after},
            "code": artifacts.code_version(*_RUN, *s.code),
            "notebook": _source(s),
        }
        files = _input_files(run) if s.name.startswith(("01", "04")) else {}
        out[s.name] = {**about, "files": files, "key": artifacts.content_key(s.name, about, files)}
    return out


def _fields(run: Run, stage: Stage) -> tuple[str, ...]:
    removes = stage.name.startswith("01") and run.profile.data.decontaminate == "remove"
    return (*stage.fields, "evaluation.benchmarks", "evaluation.lab_rows") if removes else stage.fields


def _input_files(run: Run) -> dict[str, str]:
    from .benchmarks import NAMED, local_file
    from .data import is_file

    paths = [run.profile.data.source] if is_file(run.profile.data.source) else []
    for b in run.profile.evaluation.benchmarks:
        named = local_file(b, run.profile.evaluation) if isinstance(b, str) and b in NAMED else None
        paths += [b.path] if not isinstance(b, str) else [str(named)] if named else []
    return {p: artifacts.file_hash(Path(p).expanduser()) for p in paths if Path(p).expanduser().is_file()}


def _manifest_path(run: Run, name: str) -> Path:
    return run.folder / "notebooks" / f"{name}.manifest.json"


def _manifest(run: Run, name: str) -> Record | None:
    """The manifest of a notebook that was executed; None if there is none that can be read."""
    try:
        return json.loads(_manifest_path(run, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def status(run: Run) -> list[Record]:
    """Every stage: ``{stage, state, why, wall_seconds, partial}``; state is done, stale, partial or missing."""
    out = []
    for name, want in wanted(run).items():
        have = _manifest(run, name)
        row: Record = {"stage": name, "state": "missing", "why": "", "wall_seconds": None}
        if have is not None:
            row["wall_seconds"] = have["wall_seconds"]
            gone = [f for f in have["outputs"] if not (run.folder / f).exists()]
            if have["key"] != want["key"]:
                row |= {"state": "stale", "why": _difference(have, want)}
            elif gone:
                row |= {"state": "stale", "why": f"{gone[0]} is gone"}
            else:
                row["state"] = "done"
        out.append(row)
    row = next(r for r in out if r["stage"] == "05_ablations")
    if row["state"] != "done" and (counted := _cells(run)):
        row["why"] = f"{row['why']}; {counted}".removeprefix("; ")
    unfinished = _unfinished(run)
    for row in out:
        if row["state"] == "missing" and unfinished and (run.folder / "notebooks" / f"{row['stage']}.ipynb").exists():
            row |= {"state": "partial", "why": "; ".join(unfinished)}
    return out


def _cells(run: Run) -> str:
    """How many cells of the ablation grids are done, in words; nothing where the profile has none."""
    from . import ablations

    try:
        states = [r["state"] for r in ablations.states(run)]
    except BadInput:  # a student that is not there: `cgd check` says so
        return ""
    told = f"cells: {states.count('done')} of {len(states)} done" if states else ""
    return told + (f", {states.count('stale')} stale" if "stale" in states else "")


def _difference(have: Record, want: Record) -> str:
    why = []
    for f, value in want["fields"].items():
        why += _changed(f, have["fields"].get(f), value)
    why += [f"{a} changed" for a, k in want["inputs"].items() if have["inputs"].get(a) != k]
    why += [f"file {f} changed" for f, h in want["files"].items() if have.get("files", {}).get(f) != h]
    if have["code"] != want["code"]:
        why.append("code changed")
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
        if (b.parent / artifacts.MANIFEST).exists():
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
                f"{notebook.name}: unknown parameter {name!r}{profiles._nearest(name, known)}; known: {', '.join(known)}"
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
    from .checks import preflight

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
    with artifacts.exclusive(run.folder):
        for i, s in enumerate(STAGES):
            if not first <= i <= last:
                continue
            state = {r["stage"]: r for r in status(run)}[s.name]
            if state["state"] == "done" and i not in force:
                tell(f"{s.name}: skipped (done, {state['wall_seconds']:.0f} s)")
                out.append({"stage": s.name, "action": "skipped", "wall_seconds": state["wall_seconds"]})
                continue
            tell(f"{s.name}: running" + (f" ({state['why']})" if state["why"] else ""))
            with progress.following(s.name):
                seconds = _execute(run, s, parameters)
            tell(f"{s.name}: done in {seconds:.0f} s")
            out.append({"stage": s.name, "action": "ran", "wall_seconds": seconds})
    return out


def _execute(run: Run, stage: Stage, parameters: Record) -> float:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    executed = run.folder / "notebooks" / f"{stage.name}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    manifest = _manifest_path(run, stage.name)
    longest = _longest(run, stage.name)
    manifest.unlink(missing_ok=True)
    started = time.monotonic()
    before = os.environ.get("CGD_IN_CHAIN")
    os.environ["CGD_IN_CHAIN"] = "1"
    try:
        papermill.execute_notebook(
            str(stage.path), str(executed), parameters=parameters, kernel_name=KERNEL, progress_bar=False,
            cwd=str(NOTEBOOKS), request_save_on_cell_execute=True, extra_arguments=["--log-level=50"],
        )  # fmt: skip
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
    finally:
        os.environ.pop("CGD_IN_CHAIN") if before is None else os.environ.update(CGD_IN_CHAIN=before)
    seconds = round(time.monotonic() - started, 1)
    outputs = _outputs(run, stage)
    artifacts.write_json(manifest, {
        "stage": stage.name, **wanted(run)[stage.name], "profile": run.profile.model_dump(mode="json"),
        "environment": artifacts.environment(), "wall_seconds": seconds,
        "longest_wall_seconds": max(longest, seconds),
        "outputs": {o: artifacts.file_hash(run.folder / o) for o in outputs},
    })  # fmt: skip
    return seconds


def _longest(run: Run, name: str) -> float:
    """Seconds of the longest earlier run of a notebook with the same settings: a later one may only have loaded its artifacts."""
    have = _manifest(run, name)
    if have is None or have["fields"] != wanted(run)[name]["fields"]:
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
    artifacts.write_json(folder / "manifest.json", {
        "command": command, "profile": run.profile.model_dump(mode="json"), "environment": artifacts.environment(),
        "wall_seconds": {m["stage"]: m.get("longest_wall_seconds", m["wall_seconds"]) for m in manifests},
        "work_seconds": _work(run),
        "keys": {m["stage"]: m["key"] for m in manifests},
        "outputs": {p.relative_to(folder).as_posix(): artifacts.file_hash(p) for p in sorted(folder.rglob("*.*"))},
    })  # fmt: skip


def _work(run: Run) -> Record:
    """Seconds that artifacts took to make, by kind, whenever they were made: a notebook that runs again loads them."""
    out: Record = {}
    for path in sorted((run.folder / "artifacts").glob(f"*/*/{artifacts.MANIFEST}")):
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
