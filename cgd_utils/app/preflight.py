"""Checks before long work: settings against this machine, models, data, disk, servers and the hub."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from ..ablations.grids import GRIDS
from ..core import files, provenance
from ..core.errors import BadInput
from ..core.records import Record
from ..core.store import Run
from ..data import benchmarks, general_benchmarks, problem_sources
from ..engines import generation
from ..grading import ifeval
from ..models import chat_templates, loading, memory, quantization
from ..training import rehearsal
from . import hours, probes, room
from .room import row

MEASURE_S = 10.0  # to measure the speed of a student that lies on this disk


def preflight(run: Run, here: bool = True) -> None:
    """Everything that can be known to fail before a kernel starts.

    Args:
        run: what is to run.
        here: on this machine; else its GPU is not asked for, since a plan may be read where it does not run.

    Raises:
        BadInput: the first thing that would.
    """
    p = run.profile
    if here and p.models.device == "cuda":
        loading.pick_device(p.models.device)
    writers = [p.synthesis.teacher.model, *(judge.model for judge in p.analyses.judges)]
    for model in [*p.models.students.values(), *p.models.weaker.values(), *filter(None, writers)]:
        _check_model(model, p.models.without_template)
    for family, model in p.models.students.items():
        path = loading.resolve(model)
        if p.training.mode == "qlora" and Path(path).is_dir():
            quantization.check(loading.ModelRef(path, family))
    if problem_sources.is_file(p.data.source) or (
        not p.data.is_drawn and p.data.source not in problem_sources.SOURCES and "/" not in p.data.source
    ):
        problem_sources.load_problems(p.data)
    if p.data.from_templates:  # the package index is reached before long work, or not at all
        problem_sources.load_problems(p.data.model_copy(update={"rows": 1}))
    t = p.training
    if p.data.is_drawn and t.rows + t.validation_rows > p.data.rows:
        held = f" + training.validation_rows = {t.validation_rows}" if t.validation_rows else ""
        raise BadInput(
            f"training.rows = {t.rows}{held} but data.rows = {p.data.rows}: lower the one or raise the other"
        )
    loaded = benchmarks.benchmarks(run)
    if any(b.rule == "ifeval" for b in loaded):
        ifeval.require_library()
    asked = [b.name for b in loaded if b.metric == "accuracy"]
    for name in p.analyses.benchmarks:
        if name not in asked:
            raise BadInput(
                f"analyses.benchmarks: {name!r} is no accuracy benchmark of evaluation.benchmarks; use {', '.join(asked)}"
            )
    for b in p.evaluation.benchmarks:
        if isinstance(b, str) and b in general_benchmarks.GENERAL:
            general_benchmarks.check(b, p.generation.engine)
    for g in (*p.ablations.grids, *p.ablations.everywhere):
        if g not in GRIDS:
            raise BadInput(f"ablations.grids: unknown grid {g!r}; known: {', '.join(GRIDS)}")
    if p.generation.engine == "openai":
        raise BadInput(
            "generation.engine = 'openai': a server answers as one model, but a run asks every trained student; use transformers here "
            "and give the server to the teacher: synthesis.teacher.generation"
        )
    engines = [p.synthesis.teacher.generation] if p.synthesis.teacher.kind == "model" else []
    engines += [j.generation for j in p.analyses.judges]
    for engine in [e for e in engines if e is not None and e.engine == "openai"]:
        generation.open_generator(loading.ModelRef("", engine.served_as), engine).close()
    rehearsal.rehearse(run)
    files.require_space(run.folder, room.need_gib(run))


def _check_model(model: str, without_template: str) -> None:
    path = Path(loading.resolve(model))
    if path.is_dir() and not any(path.glob("*.safetensors")):
        raise BadInput(f"model {model!r}: {path} holds no *.safetensors weights")
    about = path / "tokenizer_config.json"
    template = about.is_file() and "chat_template" in about.read_text(encoding="utf-8")
    found = template or without_template != "refuse" or any(path.glob("chat_template*"))
    if path.is_dir() and not found:
        raise BadInput(f"model {model!r}: {chat_templates.NO_TEMPLATE}")


def report(run: Run, gpu_gib: float | None = None) -> list[Record]:
    """Rows ``{what, found, ok, advice}`` about this machine and the profile, in seconds; nothing is written.

    Servers are asked for one token, the hub for its lists of files; no weight is loaded, but for a small student's on
    this disk to measure its speed.

    Args:
        run: the run.
        gpu_gib: memory of the GPU in mind; None = this machine's.
    """
    found = probes.look_up(run)
    away = any(not f.usable for f in found.values())
    known = room.shapes(run, [r.name for r, f in found.items() if f.usable])
    rows = [*_machine(run), *_servers(run), *_hub(found), *room.disk(run, found, known)]
    rows += [*room.training_memory(run, gpu_gib, known), *room.generation_memory(run, gpu_gib, known)]
    try:
        with probes.without_hub() if away else contextlib.nullcontext():
            preflight(run)
        rows.append(row("settings, models, data", "usable", True))
    except ValueError as e:
        rows.append(row("settings, models, data", str(e), False, "see the message"))
    here = {r.name for r, f in found.items() if f.download_gib == 0}
    shapes = {m: s for m, s in known.items() if not isinstance(s, str)}
    here |= {m for m in shapes if Path(loading.resolve(m)).is_dir()}
    try:
        # a run that is under way comes too late for an estimate
        rows.append(_hours(run, shapes, here, 0 if os.environ.get("CGD_IN_CHAIN") else MEASURE_S))
    except (ValueError, OSError, RuntimeError) as e:  # no such file, no GPU to measure on, or too little memory
        rows.append(row("time", f"no estimate: {e}", True))
    return rows


def _machine(run: Run) -> list[Record]:
    import torch

    env, device = provenance.environment(), run.profile.models.device
    cuda = torch.cuda.is_available()
    shown = ("torch", "transformers", "trl", "peft", "bitsandbytes")
    free = room.free_memory_gib()
    return [
        row("python", env["python"], True),
        *(row(k, v, True) for k, v in env["versions"].items() if k in shown),
        row(
            "GPU",
            torch.cuda.get_device_name(0) if cuda else "none",
            cuda or device != "cuda",
            "the profile asks for CUDA; use --profile lab here",
        ),
        row("CPU threads", str(os.cpu_count()), True),
        row("memory free", f"{free:.1f} GiB", free > 2, "the lab needs about 2 GiB"),
        row("vLLM", "installed" if importlib.util.find_spec("vllm") else "not installed", True),
    ]


def _servers(run: Run) -> list[Record]:
    rows = []
    for server, answer in probes.ask_servers(run):
        what = f"{server.of}'s server"
        if isinstance(answer, str):
            rows.append(row(what, f"{server.engine.base_url} answers as {server.engine.server_model}", True))
        else:
            rows.append(row(what, str(answer), False, "start it, or mend base_url, server_model or the key"))
    return rows


def _hub(found: Mapping[probes.Repository, probes.Found]) -> list[Record]:
    """A row for each answer: the hub being away is one fact, however many repositories are wanted from it."""
    answers: dict[probes.Found, list[str]] = {}
    for r, f in found.items():
        answers.setdefault(f, []).append(r.name)
    advice = "mend the name, log in, or copy it into a folder or the cache while there is network"
    return [row("on the hub", f"{', '.join(names)}: {f.told}", f.usable, advice) for f, names in answers.items()]


def _hours(run: Run, known: Mapping[str, memory.Shape], on_disk: Collection[str], seconds: float) -> Record:
    """One line: the hours of each stage and what they rest on."""
    stages: dict[str, float] = {}
    unknown: dict[str, int] = {}
    speeds = []
    for r in hours.estimate(run, known, on_disk, seconds):
        if r["hours"] is None:
            why = f"of {r['model']} ({r['speed']})"
            unknown[why] = unknown.get(why, 0) + r["generated"] + r["trained"]
            continue
        stages[r["stage"]] = stages.get(r["stage"], 0) + r["hours"]
        speeds.append(f"{'learns' if r['trained'] else 'writes'} {r['speed']}")
    parts = []
    if stages:
        parts.append(f"about {_told(sum(stages.values()))}: " + ", ".join(f"{s} {_told(h)}" for s, h in stages.items()))
    parts += [f"without {n:,} tokens {why}" for why, n in unknown.items()]
    return row("time", "; ".join([*parts, *dict.fromkeys(speeds)]), True)


def _told(hours_: float) -> str:
    return f"{60 * hours_:.0f} min" if hours_ < 2 else f"{hours_:,.0f} h"
