"""Finding and loading models and their tokenizers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from ..core.errors import BadInput
from ..core.files import file_hash
from . import adapter_base, attention, chat_templates, index_models, number_format, quantization


@dataclass(frozen=True)
class ModelRef:
    """A model to load: a folder or hub id, maybe with a PEFT adapter folder on top.

    ``name`` is what rows and tables call it; it holds no path of this machine.
    """

    path: str
    name: str
    adapter: str | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    quantize: bool = False
    without_template: str = "refuse"

    @property
    def identity(self) -> list[Any]:
        """What tells this model from others in a resume log: name, revision, weights' form, the adapter's content."""
        weights = sorted(Path(self.adapter).glob("adapter_model.*")) if self.adapter else []
        return [self.name, self.revision, self.dtype, self.quantize, [file_hash(p) for p in weights]]


# ---------------------------------------------------------------- loading models
def resolve(model: str) -> str:
    """The folder or hub id of a model as a profile names it.

    ``lab:<name>`` is a shipped checkpoint, ``index:<name>`` a model from the package index, see `index_models`.

    Raises:
        BadInput: no such lab student or index model, or a folder that holds no model.
    """
    if model.startswith(index_models.PREFIX):
        return str(index_models.path(model.removeprefix(index_models.PREFIX)))
    if model.startswith("lab:"):
        from ..lab import students

        try:
            return str(students.path(model.removeprefix("lab:")))
        except ValueError as e:
            raise BadInput(str(e)) from None
    path = Path(model).expanduser()
    if path.exists():
        if not (path / "config.json").exists():
            raise BadInput(f"model {model!r}: the folder holds no config.json, so it is not a transformers model")
        return str(path)
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise BadInput(f"model {model!r}: no such folder, and not a hub id of the form owner/name")
    return model


@contextlib.contextmanager
def _found(ref: ModelRef) -> Iterator[None]:
    """Turns a missing model into words.

    Raises:
        BadInput: the model is neither here nor on the hub, or its repository may not be read.
    """
    try:
        yield
    except OSError as e:
        raise BadInput(
            f"model {ref.name!r}: could not be read from {ref.path!r} ({str(e).splitlines()[0][:200]}); check the name and "
            "revision, agree to a gated model's terms and log in, or copy it into a folder"
        ) from None


def load_tokenizer(ref: ModelRef) -> Any:
    """The tokenizer of a model, with a chat template and a pad token that is not the end of a turn.

    Raises:
        BadInput: see `models.chat_templates.prepare`.
    """
    from transformers import AutoTokenizer

    with _found(ref):
        tok = AutoTokenizer.from_pretrained(ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code)
    chat_templates.prepare(tok, ref.name, ref.without_template)
    return tok


def pick_device(device: str) -> str:
    """'cuda' or 'cpu' for a profile's ``models.device``.

    Raises:
        BadInput: CUDA is asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise BadInput("models.device = 'cuda' but torch sees no CUDA GPU; set models.device: auto or cpu")
    return "cuda" if available and device != "cpu" else "cpu"


def load_model(ref: ModelRef) -> Any:
    """Loads a causal language model, and its adapter if it has one.

    Raises:
        BadInput: no such model, or an adapter that belongs to another base.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    getLogger("bitsandbytes").setLevel("ERROR")  # warns of an optional kernel that no profile needs
    device = pick_device(ref.device)
    dtype = number_format.resolve(ref.path, ref.dtype, device)
    extra: dict[str, Any] = {}
    place = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    where = place
    if ref.quantize:
        extra["quantization_config"] = quantization.config(dtype)
        # the experts of a mixture do not fit in 16 bits: they are read into main memory and brought over in 4 bits
        where = "cpu" if quantization.has_experts(ref) else place
    with _found(ref):
        model: Any = AutoModelForCausalLM.from_pretrained(
            ref.path,
            revision=ref.revision,
            trust_remote_code=ref.trust_remote_code,
            dtype=getattr(torch, dtype),
            device_map={"": where},
            **extra,
        )
    if ref.quantize:
        if quantization.quantize_experts(model, place) and where != place:
            model.to(place)
        quantization.keep_4bit_weights_plain(model)
    if attention.serves(model):
        attention.use(model)
    if ref.adapter is not None:
        model = adapter_base.load(model, ref)
    return model


def context_length(model: Any) -> int:
    """Tokens that a model can attend to; large if its config does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 20


def end_of_turn_ids(tok: Any, model: Any = None) -> list[int]:
    """Token ids that end a turn: the tokenizer's and those of the model's generation config."""
    ids = {tok.eos_token_id}
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids |= set(configured if isinstance(configured, list) else [configured])
    return sorted(i for i in ids if i is not None)
