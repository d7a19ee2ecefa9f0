"""Whether models and files fit this machine: memory to train and to generate, and disk for results and downloads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import files
from ..core.engine_settings import Engine, VllmEngine
from ..core.errors import BadInput
from ..core.records import Record
from ..core.store import Run
from ..models import loading, memory
from . import probes

Shapes = Mapping[str, memory.Shape | str]  # of models; text says why one is not known


def row(what: str, found: str, ok: bool, advice: str = "") -> Record:
    """A line of ``cgd check``; the advice is for what is not ok."""
    return {"what": what, "found": found, "ok": ok, "advice": "" if ok else advice}


def need_gib(run: Run) -> float:
    """Disk that a run needs, GiB, roughly: the models it saves and the text it keeps; downloads are apart."""
    p = run.profile
    size = sum(_saved_bytes(run, m) for m in p.models.students.values())
    return 0.1 + size * len(p.training.seeds) * (len(p.training.methods) + 6 * len(p.ablations.grids)) / 2**30


def _saved_bytes(run: Run, model: str) -> float:
    """What one trained model of a student takes: its weights twice (a checkpoint's, with moments), or an adapter's."""
    t, folder = run.profile.training, Path(loading.resolve(model))
    if folder.is_dir():
        size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
        return size * (2.2 if t.mode == "full" else 0.5)
    if model not in memory.PUBLISHED:
        return 0.0
    s = memory.shape(memory.published_config(model))
    return 2.2 * 2 * s.weights if t.mode == "full" else 3 * 4 * s.adapter_width * t.lora.r


def shapes(run: Run, online: Collection[str] = ()) -> dict[str, memory.Shape | str]:
    """The shapes of the models that a run loads on this machine, or why one is not known.

    Args:
        run: the run.
        online: models whose config may be read from the hub; the others' is looked for on this disk.
    """
    out: dict[str, memory.Shape | str] = {}
    for role in _roles(run):
        try:
            out[role.model] = memory.shape(_config(run, role.model, role.revision, role.model in online))
        except (OSError, ValueError) as e:
            out[role.model] = f"the config of {role.model} could not be read ({str(e).splitlines()[0][:160]})"
    return out


@dataclass(frozen=True)
class _Role:
    """A model that this machine generates with: what for, how, and its longest text in tokens."""

    what: str
    model: str
    revision: str | None
    engine: Engine
    new_tokens: int


def _roles(run: Run) -> list[_Role]:
    p, teacher = run.profile, run.profile.synthesis.teacher
    asked = [p.synthesis.draft.max_new_tokens, p.evaluation.sampling.max_new_tokens]
    out = [_Role(f"student {f}", m, None, p.generation, max(asked)) for f, m in p.models.students.items()]
    engine = teacher.generation or p.generation
    if teacher.kind == "model" and engine.engine != "openai":
        out.append(_Role("teacher", teacher.model or "", teacher.revision, engine, teacher.sampling.max_new_tokens))
    for j in p.analyses.judges:
        engine = j.generation or p.generation
        if engine.engine != "openai":
            out.append(_Role("judge", j.model or "", j.revision, engine, j.sampling.max_new_tokens))
    return out


def _config(run: Run, model: str, revision: str | None, online: bool) -> Any:
    from transformers import AutoConfig

    if model in memory.PUBLISHED:
        return memory.published_config(model)
    m = run.profile.models
    return AutoConfig.from_pretrained(
        loading.resolve(model),
        revision=revision or m.revision,
        trust_remote_code=m.trust_remote_code,
        local_files_only=not online,
    )


@dataclass(frozen=True)
class _Device:
    """Where models run: one GPU's memory in GiB (None = not known), bits of the weights, whether it is a CPU."""

    gpu_gib: float | None
    bits: int
    on_cpu: bool


def _device(run: Run, gpu_gib: float | None) -> _Device:
    import torch

    m = run.profile.models
    cuda = torch.cuda.is_available() and m.device != "cpu"
    if gpu_gib is None and cuda:
        gpu_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    on_cpu = not cuda and gpu_gib is None and m.device != "cuda"
    return _Device(gpu_gib, 32 if m.dtype == "float32" or (m.dtype == "auto" and on_cpu) else 16, on_cpu)


def memory_table(run: Run, gpu_gib: float | None = None, known: Shapes | None = None) -> list[Record]:
    """Memory that training each family needs by purpose, from its config alone, see `models.memory.table`.

    Args:
        run: the run.
        gpu_gib: memory of the GPU in mind; None = this machine's.
        known: what `shapes` gave; None = look now.

    Returns:
        Rows ``{family, settings, …}``; a family whose config cannot be had (no network) says so in ``settings``.
    """
    p, rows, device = run.profile, [], _device(run, gpu_gib)
    known = shapes(run) if known is None else known
    for family, model in p.models.students.items():
        s = known[model]
        if isinstance(s, str):
            rows.append({"family": family, "settings": f"no estimate: {s}", "fits": False})
            continue
        table = memory.table(s, p.training, device.gpu_gib, device.bits, device.on_cpu)
        if device.on_cpu:
            table = [{**r, "fits": r["total"] <= free_memory_gib()} for r in table]
        rows += [{"family": family, **r} for r in table]
    return rows


def free_memory_gib() -> float:
    import psutil

    return psutil.virtual_memory().available / 2**30


def disk(run: Run, found: Mapping[probes.Repository, probes.Found], known: Shapes) -> list[Record]:
    """Free disk for the run's own files and for what it downloads, which may be one disk or two."""
    try:
        need = need_gib(run)
    except BadInput:
        need = 0.1
    load, unknown = 0.0, []
    for r, f in found.items():
        s = known.get(r.name)
        # a model that the hub was not asked about: 16 bits a weight
        size = 2 * s.weights / 2**30 if f.download_gib is None and isinstance(s, memory.Shape) else f.download_gib
        load += size or 0.0
        unknown += [r.name] if size is None else []
    rows, advice = [], "free some, or use --outputs, or HF_HOME for downloads"
    if found:
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE)
        free = files.free_gib(cache)
        one = files.existing(cache).stat().st_dev == files.existing(run.folder).stat().st_dev
        need, wanted = (need + load, need + load) if one else (need, load)
        told = f"{free:.1f} GiB free at {cache}, about {load:.1f} to download"
        told += f" and {wanted - load:.1f} for the run on the same disk" if one else ""
        told += f"; size not known: {', '.join(unknown)}" if unknown else ""
        rows.append(row("disk for downloads", told, free > wanted, advice))
    free = files.free_gib(run.folder)
    return [row("disk free", f"{free:.1f} GiB of {need:.2f} needed", free > need, advice), *rows]


def training_memory(run: Run, gpu_gib: float | None, known: Shapes) -> list[Record]:
    rows, table = [], memory_table(run, gpu_gib, known)
    better = {r["family"]: r["settings"] for r in table if r["settings"].startswith("proposal")}
    for r in table:
        if r["settings"].startswith("proposal"):
            continue
        found = f"about {r['total']} GiB ({r['settings']})" if "total" in r else r["settings"]
        none = "no length of 512 tokens or more fits; take a larger GPU, or mode qlora"
        advice = better.get(r["family"], none) if "total" in r else "see the rows of the hub"
        rows.append(row(f"memory to train {r['family']}", found, r.get("fits") is not False, advice))
    return rows


def generation_memory(run: Run, gpu_gib: float | None, known: Shapes) -> list[Record]:
    """Whether each model that writes here fits: in the GPUs that its engine takes, else in main memory."""
    import torch

    rows, device = [], _device(run, gpu_gib)
    for role in _roles(run):
        s, engine = known[role.model], role.engine
        if isinstance(s, str):
            rows.append(row(f"memory of the {role.what}", f"no estimate: {s}", False, "see the rows of the hub"))
            continue
        vllm = engine.inner()
        fp8 = isinstance(vllm, VllmEngine) and vllm.quantization == "fp8"
        need = memory.generation(s, role.new_tokens, 8 if fp8 else device.bits)
        gpus = vllm.tensor_parallel_size if isinstance(vllm, VllmEngine) else 1
        found = f"about {need:.1f} GiB for {role.model} by {engine.engine}"
        here = gpus if device.on_cpu or gpu_gib is not None else torch.cuda.device_count()
        if device.on_cpu:
            free, place = free_memory_gib(), "main memory"
        else:
            free, place = engine.gpu_share * (device.gpu_gib or 0) * gpus, f"{gpus} GPU(s)"
        told = f"{found}; {free:.1f} GiB in {place}" if here >= gpus else f"{found}; wants {gpus} GPU(s), {here} here"
        advice = (
            "a smaller model, quantization fp8, more GPUs (vllm: tensor_parallel_size), or a server (engine openai)"
        )
        rows.append(row(f"memory of the {role.what}", told, need <= free and here >= gpus, advice))
    return rows
