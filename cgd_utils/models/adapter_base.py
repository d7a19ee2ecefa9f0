"""Adapters and their bases: which base an adapter was trained on, by content, and loading it over no other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import BadInput
from ..core.files import write_json
from ..core.records import Record
from ..core.store import content_key

if TYPE_CHECKING:
    from .loading import ModelRef

_RECORD = "base.json"


def config(adapter: Path) -> Record:
    """PEFT's ``adapter_config.json`` of an adapter's folder.

    Raises:
        BadInput: there is none, it is not PEFT's, or no weights lie beside it.
    """
    path = adapter / "adapter_config.json"
    if not path.exists():
        raise BadInput(f"adapter {adapter}: the folder holds no adapter_config.json")
    about = json.loads(path.read_text(encoding="utf-8"))
    if "peft_type" not in about:
        raise BadInput(f"adapter {adapter}: its adapter_config.json names no peft_type, so PEFT did not save it")
    if not any(adapter.glob("adapter_model.*")):
        raise BadInput(f"adapter {adapter}: the folder holds no adapter_model weights; copy it whole")
    return about


def fingerprint(model: str, revision: str | None = None) -> str | None:
    """What tells a model's weights from others', whatever its folder is called and however its files are cut.

    Args:
        model: a folder or hub id; nothing is fetched.
        revision: of a hub model.

    Returns:
        16 hex digits over every tensor's shape and some of its rows, rounded to bfloat16 (a copy saved in it is the
        same model, and so is one that writes a tied output head twice); None where no ``*.safetensors`` of it lies
        here.
    """
    import torch
    from safetensors import safe_open

    tensors = set()
    for path in _weight_files(model, revision):
        with safe_open(path, "pt") as f:
            for name in f.keys():
                tensor = f.get_slice(name)
                shape = tensor.get_shape()
                # a few rows of each: reading all of a large model would take minutes
                rows = [tensor[i] for i in sorted({0, shape[0] // 2, shape[0] - 1})] if shape and shape[0] else []
                sample = [r.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes() for r in rows]
                tensors.add(hashlib.sha256(str(shape).encode() + b"".join(sample)).hexdigest())
    return content_key(sorted(tensors)) if tensors else None


def _weight_files(model: str, revision: str | None = None) -> list[Path]:
    from huggingface_hub import snapshot_download

    folder = Path(model).expanduser()
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(model, revision=revision, local_files_only=True))
        except (OSError, ValueError):  # not a hub id, or not in the cache
            return []
    return sorted(folder.glob("model*.safetensors"))


def record(folder: Path, base: ModelRef) -> None:
    """Records in an adapter's folder which base it was trained on: ``base.json``, ``{base, fingerprint}``."""
    write_json(folder / _RECORD, {"base": base.name, "fingerprint": fingerprint(base.path, base.revision)})


def check(ref: ModelRef) -> None:
    """Refuses an adapter over a base that is not its own: by the base's content, never by its name.

    The content is compared with what the adapter's folder records; an adapter from elsewhere records nothing, and then
    with the base that it names, if that lies on this machine. Where neither is known, the shapes of the weights decide.

    Raises:
        BadInput: no adapter in the folder, another base, or weights that do not fit the base's.
    """
    adapter = Path(ref.adapter or "")
    named = config(adapter).get("base_model_name_or_path") or ""
    path = adapter / _RECORD
    recorded = json.loads(path.read_text(encoding="utf-8"))["fingerprint"] if path.exists() else fingerprint(named)
    found = fingerprint(ref.path, ref.revision)
    if recorded and found and recorded != found:
        raise BadInput(
            f"adapter {adapter} was trained on {named!r}, and the weights of {ref.name!r} ({ref.path}) are others "
            f"(fingerprint {found}, not {recorded}); name its own base, whatever its folder is called"
        )
    _check_shapes(adapter, ref)


def _check_shapes(adapter: Path, ref: ModelRef) -> None:
    """Compares an adapter's weights with those of its base on this machine; what is not there is not compared."""
    base = {name: shape for path in _weight_files(ref.path, ref.revision) for name, shape in _shapes(path).items()}
    weights = [s for p in sorted(adapter.glob("adapter_model*.safetensors")) for s in _shapes(p).items()]
    for name, shape in weights:
        layer, _, part = name.removeprefix("base_model.model.").replace(".base_layer", "").partition(".lora_")
        whole = base.get(f"{layer}.weight" if part else layer)
        if whole is None or len(whole) != 2 or len(shape) != 2:  # experts are adapted as one tensor of three dimensions
            continue
        if part:  # A is (rank, in), B is (out, rank); of an embedding too
            fits = shape[1 if part.removeprefix("embedding_").startswith("A") else 0] in whole
        else:  # trained or resized as a whole
            fits = shape == whole
        if not fits:
            raise BadInput(
                f"adapter {adapter}: {layer} has shape {tuple(shape)}, in the base {ref.name!r} {tuple(whole)}: it was "
                "trained on another base, or on one with resized embeddings; name that one "
                "(model.resize_token_embeddings(n), saved)"
            )


def _shapes(path: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        return {name: list(f.get_slice(name).get_shape()) for name in f.keys()}


def load(model: Any, ref: ModelRef) -> Any:
    """Puts an adapter over its loaded base.

    Raises:
        BadInput: see `check`; or PEFT cannot load it.
    """
    from peft import PeftModel

    check(ref)
    try:
        return PeftModel.from_pretrained(model, ref.adapter or "")
    except (RuntimeError, ValueError, OSError) as e:
        lines = [line.strip() for line in str(e).splitlines() if line.strip()]
        raise BadInput(
            f"adapter {ref.adapter}: does not load over {ref.name!r} ({' '.join(lines[:2])[:300]}); name its own base"
        ) from None
