"""Checks before long work: settings against this machine, models, data and disk."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from . import artifacts, benchmarks, data, general_benchmarks, generation, memory, quantization, rehearsal
from .artifacts import BadInput, Run

Record = dict[str, Any]


def need_gib(run: Run) -> float:
    """Disk that a run needs, GiB, roughly: the models it saves and the text it keeps."""
    p = run.profile
    local = [Path(generation.resolve(m)) for m in p.models.students.values()]
    size = sum(f.stat().st_size for d in local if d.is_dir() for f in d.glob("*.safetensors"))
    share = 2.2 if p.training.mode == "full" else 0.5
    models = size * share * len(p.training.seeds) * (len(p.training.methods) + 6 * len(p.ablations.grids))
    return 0.1 + models / 2**30


def preflight(run: Run) -> None:
    """Everything that can be known to fail before a kernel starts.

    Raises:
        BadInput: the first thing that would.
    """
    p = run.profile
    generation.pick_device(p.models.device) if p.models.device == "cuda" else None
    for model in [
        *p.models.students.values(),
        *p.models.weaker.values(),
        *([p.synthesis.teacher.model] if p.synthesis.teacher.model else []),
        *(j.model for j in p.analyses.judges if j.model),
    ]:
        _check_model(model)
    for family, model in p.models.students.items():
        path = generation.resolve(model)
        if p.training.mode == "qlora" and Path(path).is_dir():
            quantization.check(generation.ModelRef(path, family))
    if data.is_file(p.data.source) or (
        not p.data.is_lab and p.data.source not in data.SOURCES and "/" not in p.data.source
    ):
        data.load_problems(p.data)
    t = p.training
    if p.data.is_lab and t.rows + t.validation_rows > p.data.rows:
        held = f" + training.validation_rows = {t.validation_rows}" if t.validation_rows else ""
        raise BadInput(
            f"training.rows = {t.rows}{held} but data.rows = {p.data.rows}: lower the one or raise the other"
        )
    asked = [b.name for b in benchmarks.benchmarks(run) if b.metric == "accuracy"]
    for name in p.analyses.benchmarks:
        if name not in asked:
            raise BadInput(
                f"analyses.benchmarks: {name!r} is no accuracy benchmark of evaluation.benchmarks; use {', '.join(asked)}"
            )
    for name in p.evaluation.benchmarks:
        if isinstance(name, str) and name in general_benchmarks.GENERAL:
            general_benchmarks.check(name, p.generation.engine)
    from .ablations import GRIDS

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
        generation.open_generator(generation.ModelRef("", engine.server_model or ""), engine).close()
    rehearsal.rehearse(run)
    artifacts.require_space(run.folder, need_gib(run))


def _check_model(model: str) -> None:
    path = Path(generation.resolve(model))
    if path.is_dir() and not any(path.glob("*.safetensors")):
        raise BadInput(f"model {model!r}: {path} holds no *.safetensors weights")
    about = path / "tokenizer_config.json"
    template = about.is_file() and "chat_template" in about.read_text(encoding="utf-8")
    if path.is_dir() and not template and not any(path.glob("chat_template*")):
        raise BadInput(f"model {model!r}: its tokenizer has no chat template; use an instruction-tuned model")


def memory_table(run: Run, gpu_gib: float | None = None) -> list[Record]:
    """Memory that training each family needs by purpose, from its config alone, see `memory.table`.

    Args:
        run: the run.
        gpu_gib: memory of the GPU in mind; None = this machine's.

    Returns:
        Rows ``{family, settings, …}``; a family whose config cannot be had (no network) says so in ``settings``.
    """
    import torch

    p, rows = run.profile, []
    cuda = torch.cuda.is_available() and p.models.device != "cpu"
    if gpu_gib is None and cuda:
        gpu_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    on_cpu = not cuda and gpu_gib is None and p.models.device != "cuda"
    bits = 32 if p.models.dtype == "float32" or (p.models.dtype == "auto" and on_cpu) else 16
    for family, model in p.models.students.items():
        try:
            config = _config(run, model)
        except (OSError, ValueError) as e:
            reason = str(e).splitlines()[0]
            rows.append(
                {"family": family, "settings": f"no estimate: the config of {model} could not be read ({reason})"}
            )
            continue
        rows += [{"family": family, **r} for r in memory.table(memory.shape(config), p.training, gpu_gib, bits, on_cpu)]
    return rows


def _config(run: Run, model: str) -> Any:
    from transformers import AutoConfig

    if model in memory.PUBLISHED:
        return memory.published_config(model)
    m = run.profile.models
    return AutoConfig.from_pretrained(
        generation.resolve(model), revision=m.revision, trust_remote_code=m.trust_remote_code
    )


def report(run: Run, gpu_gib: float | None = None) -> list[Record]:
    """Rows ``{what, found, ok, advice}`` about this machine and the profile; no weight is loaded, nothing is written.

    Args:
        run: the run.
        gpu_gib: memory of the GPU in mind, for `memory_table`; None = this machine's.
    """
    import psutil

    p = run.profile
    env = artifacts.environment()
    rows = [_row("python", env["python"], True)]
    rows += [
        _row(k, v, True)
        for k, v in env["versions"].items()
        if k in ("torch", "transformers", "trl", "peft", "bitsandbytes")
    ]
    import torch

    cuda = torch.cuda.is_available()
    gpu = torch.cuda.get_device_name(0) if cuda else "none"
    wants_gpu = p.models.device == "cuda"
    rows.append(_row("GPU", gpu, cuda or not wants_gpu, "the profile asks for CUDA; use --profile lab here"))
    rows.append(_row("CPU threads", str(os.cpu_count()), True))
    memory = psutil.virtual_memory().available / 2**30
    rows.append(_row("memory free", f"{memory:.1f} GiB", memory > 2, "the lab needs about 2 GiB"))
    free = shutil.disk_usage(run.folder).free / 2**30
    try:
        need = need_gib(run)
    except BadInput:
        need = 0.1
    rows.append(_row("disk free", f"{free:.1f} GiB of {need:.2f} needed", free > need, "free some or use --outputs"))
    rows.append(_row("vLLM", "installed" if importlib.util.find_spec("vllm") else "not installed", True))
    table = memory_table(run, gpu_gib)
    for r in table:
        if r["settings"].startswith("proposal"):
            continue
        better = next(
            (q["settings"] for q in table if q["family"] == r["family"] and q["settings"].startswith("proposal")), None
        )
        found = f"about {r['total']} GiB ({r['settings']})" if "total" in r else r["settings"]
        advice = better or "no length of 512 tokens or more fits; take a larger GPU, or mode qlora"
        rows.append(_row(f"memory to train {r['family']}", found, r.get("fits") is not False, advice))
    try:
        preflight(run)
        rows.append(_row("settings, models, data", "usable", True))
    except ValueError as e:
        rows.append(_row("settings, models, data", str(e), False, "see the message"))
    return rows


def _row(what: str, found: str, ok: bool, advice: str = "") -> Record:
    return {"what": what, "found": found, "ok": ok, "advice": "" if ok else advice}
