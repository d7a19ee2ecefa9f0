"""Generation: one protocol, its engines, and the models they load.

A request is ``{id, messages}``; a generation row is ``{id, sample, prompt, text, finish_reason, n_tokens, model, key}``.
``finish_reason`` is ``stop`` (the model ended its turn), ``length`` (cut at ``max_new_tokens``) or ``too_long`` (the
prompt does not fit the model's context: nothing was generated, nothing was cut silently). `generate` and its resume log
are in `request_log`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from ..core.engine_settings import AutoEngine, Engine, RayEngine, ServerEngine, TransformersEngine, VllmEngine
from ..core.errors import BadInput, GenerationFailed
from ..core.records import Record
from ..core.settings import Sampling
from ..models import chat_templates
from ..models.loading import ModelRef, context_length, end_of_turn_ids, load_model, load_tokenizer, pick_device
from . import automatic, decoding
from .request_log import Request, row_seed


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
            raise BadInput(
                f"max_new_tokens = {sampling.max_new_tokens} leaves no room for a prompt in the context of {self.ref.name!r} "
                f"({context_length(self.model)} tokens); lower it"
            )
        encoded = prompt_ids(self.tokenizer, [r for r, _ in batch])
        fits = [i for i, ids in enumerate(encoded) if len(ids) <= room]
        made = dict(
            zip(fits, self._decoded([encoded[i] for i in fits], [batch[i] for i in fits], sampling), strict=True)
        )
        rows = []
        for i, (r, s) in enumerate(batch):
            ids, reason = made.get(i, ([], "too_long"))
            said = decoding.text_of(self.tokenizer, encoded[i], ids[:-1] if reason == "stop" else ids)
            rows.append(
                {
                    "id": r.id,
                    "sample": s,
                    "prompt": r.messages[-1]["content"],
                    "text": "" if reason == "too_long" else said,
                    "finish_reason": reason,
                    "n_tokens": len(ids),
                    "model": self.ref.name,
                }
            )
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
                raise GenerationFailed(
                    f"{self.ref.name}: the memory does not hold one text of {len(encoded[part[0]])} + "
                    f"{sampling.max_new_tokens} tokens ({told}); lower max_new_tokens, or use engine vllm or openai"
                )
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
    """Token ids of requests, see `models.chat_templates.prompt_ids`."""
    return chat_templates.prompt_ids(tok, [r.messages for r in requests])


def open_generator(ref: ModelRef, engine: Engine) -> Any:
    """The engine that a profile names, with a model; the ``openai`` engine's model is the server's.

    Raises:
        BadInput: what an engine cannot do and can be known before work starts: no such model, no GPU where one is asked
            for, no vLLM or Ray, a malformed URL, no key.
    """
    if isinstance(engine, ServerEngine):
        from .server import ServerGenerator

        return ServerGenerator(engine, ref.name)
    if isinstance(engine, RayEngine):
        from .ray_engine import RayGenerator

        load_tokenizer(ref)  # a missing model is told here, not by a worker
        return RayGenerator(ref, engine, open_generator)
    pick_device(ref.device)
    if isinstance(engine, AutoEngine):
        engine = automatic.chosen(ref, engine)
    if isinstance(engine, VllmEngine):
        from .vllm_engine import VLLMGenerator

        return VLLMGenerator(ref, engine, load_tokenizer(ref))
    local = engine if isinstance(engine, TransformersEngine) else TransformersEngine()
    return TransformersGenerator(ref, local.batch_size, local.batch_memory_gib, local.gpu_share)
