"""Generation: one protocol, its engines, and the models they load.

A request is ``{id, messages}``; a generation row is ``{id, sample, prompt, text, finish_reason, n_tokens, model, key}``.
``finish_reason`` is ``stop`` (the model ended its turn), ``length`` (cut at ``max_new_tokens``) or ``too_long`` (the
prompt does not fit the model's context: nothing was generated, nothing was cut silently). `generate` and its resume log
are in `request_log`.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, Protocol

from . import adapter_base, chat_templates, decoding, index_models, quantization
from .artifacts import BadInput, GenerationFailed, file_hash
from .profiles import Engine, Sampling
from .request_log import Request, generate
from .seeds import row_seed

__all__ = [
    "ENGINES",
    "Generator",
    "ModelRef",
    "Request",
    "TransformersGenerator",
    "answers",
    "generate",
    "open_generator",
]
Record = dict[str, Any]


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

    @property
    def identity(self) -> list[Any]:
        """What tells this model from others in a resume log: name, revision, weights' form, the adapter's content."""
        weights = sorted(Path(self.adapter).glob("adapter_model.*")) if self.adapter else []
        return [self.name, self.revision, self.quantize, [file_hash(p) for p in weights]]


class Generator(Protocol):
    """An engine with a model: turns a batch of requests into rows, in the batch's order.

    An engine that finishes rows in an order of its own has ``stream(missing, sampling)`` in place of the first two.
    ``max_model_len`` is the profile's limit of prompt and text, None for the model's own; a server, whose limit is not known
    here, has none.
    """

    @property
    def identity(self) -> Any:
        """The model's, see `ModelRef.identity`."""
        ...

    def batches(self, requests: Sequence[tuple[Request, int]]) -> list[list[tuple[Request, int]]]:
        """Splits (request, sample) pairs into batches; depends on nothing but its argument."""
        ...

    def generate(self, batch: Sequence[tuple[Request, int]], sampling: Sampling) -> list[Record]: ...

    def close(self) -> None:
        """Gives the model's memory back."""
        ...


class TransformersGenerator:
    """Batched ``model.generate``: sorted by length, within a memory budget, without work for finished rows.

    The model is loaded at the first batch. Where memory runs out all the same, batches are halved from then on; `counts`
    tells how often.
    """

    max_model_len = None

    def __init__(
        self, ref: ModelRef, batch_size: int = 256, memory_gib: float | None = None, share: float = 0.9
    ) -> None:
        self.ref, self.batch_size, self.memory_gib, self.share = ref, batch_size, memory_gib, share
        self.counts: Counter[str] = Counter()
        self._most = batch_size
        self._model: Any = None
        self._tokenizer: Any = None

    @property
    def identity(self) -> Any:
        return self.ref.identity

    @property
    def tokenizer(self) -> Any:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.ref)
        return self._tokenizer

    @property
    def model(self) -> Any:
        if self._model is None:
            from transformers import GenerationConfig

            self._model = load_model(self.ref).eval()
            self._ends = set(end_of_turn_ids(self.tokenizer, self._model))
            # a model's own config brings hidden settings (repetition penalty, banned words): nothing but ours holds
            self._model.generation_config = GenerationConfig()
        return self._model

    def close(self) -> None:
        self._model = None

    def batches(self, requests: Sequence[tuple[Request, int]]) -> list[list[tuple[Request, int]]]:
        lengths = [sum(len(m["content"]) for m in r.messages) for r, _ in requests]
        order = sorted(range(len(requests)), key=lambda i: (-lengths[i], i))
        ordered = [requests[i] for i in order]
        return [ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)]

    def generate(self, batch: Sequence[tuple[Request, int]], sampling: Sampling) -> list[Record]:
        """Rows of a batch, in its order.

        Raises:
            BadInput: ``max_new_tokens`` alone fills the model's context.
            GenerationFailed: the memory does not hold a single row.
        """
        room = context_length(self.model) - sampling.max_new_tokens
        if room <= 0:
            raise BadInput(f"max_new_tokens = {sampling.max_new_tokens} leaves no room for a prompt in the context of {self.ref.name!r} "
                           f"({context_length(self.model)} tokens); lower it")  # fmt: skip
        encoded = prompt_ids(self.tokenizer, [r for r, _ in batch])
        fits = [i for i, ids in enumerate(encoded) if len(ids) <= room]
        made = dict(
            zip(fits, self._decoded([encoded[i] for i in fits], [batch[i] for i in fits], sampling), strict=True)
        )
        rows = []
        for i, (r, s) in enumerate(batch):
            ids, reason = made.get(i, ([], "too_long"))
            said = decoding.text_of(self.tokenizer, encoded[i], ids[:-1] if reason == "stop" else ids)
            rows.append({"id": r.id, "sample": s, "prompt": r.messages[-1]["content"],
                         "text": "" if reason == "too_long" else said, "finish_reason": reason,
                         "n_tokens": len(ids), "model": self.ref.name})  # fmt: skip
        return rows

    def _decoded(
        self, encoded: list[list[int]], asked: list[tuple[Request, int]], sampling: Sampling
    ) -> list[tuple[list[int], str]]:
        """The new tokens of each prompt; a part that does not fit the memory is tried again in halves."""
        budget = decoding.memory_budget(self.model, self.memory_gib, self.share)
        parts = decoding.within([len(e) for e in encoded], sampling.max_new_tokens, self.model, budget, self._most)
        out: list[tuple[list[int], str]] = []
        while parts:
            part = parts.pop(0)
            seeds = [row_seed(sampling.seed, asked[i][0].id, asked[i][1]) for i in part]
            try:
                out += decoding.decode(
                    self.model, self.tokenizer, [encoded[i] for i in part], seeds, sampling, self._ends
                )
                continue
            except (RuntimeError, MemoryError) as e:
                if not decoding.is_out_of_memory(e):
                    raise
                told = str(e).splitlines()[0] if str(e) else type(e).__name__
            # outside of the except block: the error's frames hold the batch's tensors
            if len(part) == 1:
                raise GenerationFailed(f"{self.ref.name}: the memory does not hold one text of {len(encoded[part[0]])} + "
                                       f"{sampling.max_new_tokens} tokens ({told}); lower max_new_tokens, or use engine vllm or openai")  # fmt: skip
            decoding.free_memory()
            self.counts["out_of_memory"] += 1
            self._most = len(part) // 2
            parts = [part[: self._most], part[self._most :], *parts]
        return out


def answers(ref: ModelRef, questions: Sequence[str], sampling: Sampling) -> list[str]:
    """A model's answers to plain questions, in their order: for trying a model out; nothing is kept."""
    generator = TransformersGenerator(ref)
    requests = [(Request(str(i), [{"role": "user", "content": q}]), 0) for i, q in enumerate(questions)]
    texts = {row["id"]: row["text"] for b in generator.batches(requests) for row in generator.generate(b, sampling)}
    generator.close()
    return [texts[str(i)] for i in range(len(questions))]


# ---------------------------------------------------------------- tokens
def prompt_ids(tok: Any, requests: Sequence[Request]) -> list[list[int]]:
    """Token ids of requests, see `chat_templates.prompt_ids`."""
    return chat_templates.prompt_ids(tok, [r.messages for r in requests])


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
        from .lab import students

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
        raise BadInput(f"model {ref.name!r}: could not be read from {ref.path!r} ({str(e).splitlines()[0][:200]}); check the name and "
                       "revision, agree to a gated model's terms and log in, or copy it into a folder") from None  # fmt: skip


def load_tokenizer(ref: ModelRef) -> Any:
    """The tokenizer of a model, with a chat template and a pad token that is not the end of a turn.

    Raises:
        BadInput: see `chat_templates.prepare`.
    """
    from transformers import AutoTokenizer

    with _found(ref):
        tok = AutoTokenizer.from_pretrained(ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code)
    chat_templates.prepare(tok, ref.name)
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
    dtype = {"auto": "bfloat16" if device == "cuda" else "float32"}.get(ref.dtype, ref.dtype)
    extra: dict[str, Any] = {}
    place = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    where = place
    if ref.quantize:
        extra["quantization_config"] = quantization.config(dtype)
        # the experts of a mixture do not fit in 16 bits: they are read into main memory and brought over in 4 bits
        where = "cpu" if _has_experts(ref) else place
    with _found(ref):
        model = AutoModelForCausalLM.from_pretrained(
            ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code,
            dtype=getattr(torch, dtype), device_map={"": where}, **extra,
        )  # fmt: skip
    if ref.quantize:
        if quantization.quantize_experts(model, place) and where != place:
            model.to(place)
        quantization.keep_4bit_weights_plain(model)
    if ref.adapter is not None:
        model = adapter_base.load(model, ref)
    return model


def _has_experts(ref: ModelRef) -> bool:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code)
    return any(getattr(config, n, None) for n in ("num_local_experts", "num_experts"))


def context_length(model: Any) -> int:
    """Tokens that a model can attend to; large if its config does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 20


def end_of_turn_ids(tok: Any, model: Any = None) -> list[int]:
    """Token ids that end a turn: the tokenizer's and those of the model's generation config."""
    ids = {tok.eos_token_id}
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids |= set(configured if isinstance(configured, list) else [configured])
    return sorted(i for i in ids if i is not None)


ENGINES = ("transformers", "vllm", "openai", "ray")


def open_generator(ref: ModelRef, engine: Engine) -> Any:
    """The engine that a profile names, with a model; the ``openai`` engine's model is the server's.

    Raises:
        BadInput: what an engine cannot do and can be known before work starts: no such model, no GPU where one is asked
            for, no vLLM or Ray, a malformed URL, no key.
    """
    if engine.engine == "openai":
        from .server import ServerGenerator

        return ServerGenerator(engine, ref.name)
    if engine.engine == "ray":
        from .ray_engine import RayGenerator

        load_tokenizer(ref)  # a missing model is told here, not by a worker
        return RayGenerator(ref, engine, open_generator)
    pick_device(ref.device)
    if engine.engine == "vllm":
        from .vllm_engine import VLLMGenerator

        return VLLMGenerator(ref, engine, load_tokenizer(ref))
    return TransformersGenerator(ref, engine.batch_size, engine.batch_memory_gib, engine.gpu_share)
