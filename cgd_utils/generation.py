"""Generation: one protocol, its engines, and the resume log they share.

A request is ``{id, messages}``; a generation row is ``{id, sample, prompt, text, finish_reason, n_tokens, model}``.
``finish_reason`` is ``stop`` (the model ended its turn), ``length`` (cut at ``max_new_tokens``) or ``too_long`` (the
prompt does not fit the model's context: nothing was generated, nothing was cut silently).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, Protocol

from . import progress, prompts, quantization
from .artifacts import BadInput, GenerationFailed, JsonlLog
from .profiles import Engine, Sampling
from .seeds import row_seed

Record = dict[str, Any]
# Llama 3's own fallback date; the {%- … -%} marks swallow the line around it
PINNED_DATE = '{%- set date_string = "26 Jul 2024" -%}'


@dataclass(frozen=True)
class Request:
    """One prompt: an id that is unique in its set, and chat messages."""

    id: str
    messages: list[prompts.Message]


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


class Generator(Protocol):
    """An engine with a model: turns a batch of requests into rows, in the batch's order."""

    def batches(self, requests: Sequence[tuple[Request, int]]) -> list[list[tuple[Request, int]]]:
        """Splits (request, sample) pairs into batches; depends on nothing but its argument."""
        ...

    def generate(self, batch: Sequence[tuple[Request, int]], sampling: Sampling) -> list[Record]: ...

    def close(self) -> None:
        """Gives the model's memory back."""
        ...


def generate(
    generator: Generator, requests: Sequence[Request], sampling: Sampling, log: Path, description: str = "generate"
) -> list[Record]:
    """Generates every request, going on where ``log`` stops; returns the rows in the order of the requests.

    The batches are planned over the whole set, so an interrupted run computes the same batches as an undisturbed one.

    Args:
        generator: the engine.
        requests: distinct ids.
        sampling: see `profiles.Sampling`.
        log: append-only JSONL; rows are on disk as soon as their batch is done.
        description: shown beside the progress bar.

    Raises:
        BadInput: two requests with the same id.
    """
    wanted = [(r, s) for r in requests for s in range(sampling.n)]
    if len({(r.id, s) for r, s in wanted}) < len(wanted):
        twice = next(r.id for i, r in enumerate(requests) if r.id in {q.id for q in requests[:i]})
        raise BadInput(f"requests: id {twice!r} occurs twice; ids must be distinct")
    journal = JsonlLog(log)
    rows = {(r["id"], r["sample"]): r for r in journal.rows()}
    missing = [(r, s) for r, s in wanted if (r.id, s) not in rows]
    failed: list[Record] = []
    if missing:
        with progress.bar(
            total=len(wanted),
            initial=len(wanted) - len(missing),
            desc=description,
            unit="text",
            leave=False,
        ) as bar:
            for made in _made(generator, wanted, missing, rows, sampling):
                failed += [row for row in made if row["finish_reason"] == "error"]
                new = [
                    row for row in made if row["finish_reason"] != "error" and (row["id"], row["sample"]) not in rows
                ]
                journal.append(new)
                rows |= {(r["id"], r["sample"]): r for r in new}
                bar.update(len(made))
    if failed:
        raise GenerationFailed(
            f"{description}: {len(failed)} of {len(wanted)} texts could not be had, first {failed[0]['id']!r}: {failed[0].get('error')}; "
            "the others are kept: run again to ask for the rest"
        )
    return [rows[r.id, s] for r, s in wanted]


def _made(
    generator: Any, wanted: list[Any], missing: list[Any], rows: Mapping[tuple[str, int], Record], sampling: Sampling
) -> Iterator[list[Record]]:
    """The missing rows in the portions in which an engine finishes them."""
    if hasattr(generator, "stream"):
        yield from generator.stream(missing, sampling)
        return
    for batch in generator.batches(wanted):
        if not all((r.id, s) in rows for r, s in batch):
            yield generator.generate(batch, sampling)


class TransformersGenerator:
    """Batched ``model.generate``: sorted by length, left-padded; the model is loaded at the first batch.

    Sampling adds Gumbel noise from each row's own random stream to its logits and takes the largest, which is sampling
    from the softmax (Gumbel-max), so a text does not depend on its neighbours in the batch.
    """

    def __init__(self, ref: ModelRef, batch_size: int = 256) -> None:
        self.ref, self.batch_size = ref, batch_size
        self._model: Any = None
        self._tokenizer: Any = None

    @property
    def tokenizer(self) -> Any:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.ref)
        return self._tokenizer

    @property
    def model(self) -> Any:
        if self._model is None:
            self._model = load_model(self.ref).eval()
        return self._model

    def close(self) -> None:
        self._model = None

    def _ids(self, request: Request) -> list[int]:
        return self.tokenizer.apply_chat_template(
            request.messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]

    def batches(self, requests: Sequence[tuple[Request, int]]) -> list[list[tuple[Request, int]]]:
        lengths = [sum(len(m["content"]) for m in r.messages) for r, _ in requests]
        order = sorted(range(len(requests)), key=lambda i: (-lengths[i], i))
        ordered = [requests[i] for i in order]
        return [ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)]

    def generate(self, batch: Sequence[tuple[Request, int]], sampling: Sampling) -> list[Record]:
        import torch

        tok = self.tokenizer
        encoded = [self._ids(r) for r, _ in batch]
        limit = context_length(self.model) - sampling.max_new_tokens
        fits = [i for i, ids in enumerate(encoded) if len(ids) <= limit]
        texts: dict[int, tuple[str, str, int]] = {}
        if fits:
            padded = tok.pad({"input_ids": [encoded[i] for i in fits]}, return_tensors="pt", padding_side="left")
            width = padded["input_ids"].shape[1]
            processors = []
            if sampling.temperature > 0:
                seeds = [row_seed(sampling.seed, batch[i][0].id, batch[i][1]) for i in fits]
                processors = [_sampler(sampling, seeds)]
            with torch.inference_mode():
                out = self.model.generate(
                    **padded.to(self.model.device),
                    max_new_tokens=sampling.max_new_tokens,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    num_beams=1,
                    repetition_penalty=1.0,
                    logits_processor=processors,
                    pad_token_id=tok.pad_token_id,
                    eos_token_id=end_of_turn_ids(tok, self.model),
                )
            ends = set(end_of_turn_ids(tok, self.model))
            for i, ids in zip(fits, out[:, width:].tolist(), strict=True):
                stop = next((j for j, t in enumerate(ids) if t in ends), None)
                kept = ids if stop is None else ids[:stop]
                texts[i] = (
                    tok.decode(kept, skip_special_tokens=True),
                    "length" if stop is None else "stop",
                    len(kept) + (stop is not None),
                )
        return [
            {
                "id": r.id, "sample": s, "prompt": r.messages[-1]["content"], "text": texts.get(i, ("", "", 0))[0],
                "finish_reason": texts[i][1] if i in texts else "too_long",
                "n_tokens": texts.get(i, ("", "", 0))[2], "model": self.ref.name,
            }
            for i, (r, s) in enumerate(batch)
        ]  # fmt: skip


def _sampler(sampling: Sampling, seeds: list[int]) -> Any:
    import torch
    from transformers import LogitsProcessor, TopPLogitsWarper

    class Sampler(LogitsProcessor):
        """Temperature, nucleus, and one Gumbel draw a row from the row's own stream (drawn on the CPU)."""

        def __init__(self) -> None:
            self.streams = [torch.Generator().manual_seed(s) for s in seeds]
            self.top_p = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            scores = scores.float() / sampling.temperature
            if self.top_p is not None:
                scores = self.top_p(input_ids, scores)
            noise = torch.empty(scores.shape)
            for row, stream in zip(noise, self.streams, strict=True):
                row.exponential_(generator=stream)
            return scores - noise.log().to(scores.device)

    return Sampler()


def answers(ref: ModelRef, questions: Sequence[str], sampling: Sampling) -> list[str]:
    """A model's answers to plain questions, in their order: for trying a model out; nothing is kept."""
    generator = TransformersGenerator(ref)
    requests = [(Request(str(i), [{"role": "user", "content": q}]), 0) for i, q in enumerate(questions)]
    texts = {row["id"]: row["text"] for b in generator.batches(requests) for row in generator.generate(b, sampling)}
    generator.close()
    return [texts[str(i)] for i in range(len(questions))]


# ---------------------------------------------------------------- loading models
def resolve(model: str) -> str:
    """The folder or hub id of a model as a profile names it; ``lab:<name>`` is a shipped checkpoint.

    Raises:
        BadInput: no such lab student, or a folder that holds no model.
    """
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


def load_tokenizer(ref: ModelRef) -> Any:
    """The tokenizer of a model, with a chat template and a pad token that is not the end of a turn.

    Raises:
        BadInput: it has no chat template.
    """
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code)
    if not tok.chat_template:
        raise BadInput(f"model {ref.name!r}: its tokenizer has no chat template; use an instruction-tuned model")
    if "strftime_now" in tok.chat_template and "date_string" in tok.chat_template:
        # a prompt that holds today's date would differ between training and evaluation, and between two runs
        tok.chat_template = PINNED_DATE + tok.chat_template
    end = end_of_turn(tok)
    if end is not None and end != tok.eos_token:
        tok.eos_token = end
    if tok.pad_token_id is None or tok.pad_token_id == tok.eos_token_id:
        tok.pad_token = next(
            (t for t in ("<|finetune_right_pad_id|>", "<|endoftext|>", "<|pad|>", "<pad>", "<unk>")
             if t in tok.get_vocab() and t != tok.eos_token),
            None,
        ) or next(t for t in tok.all_special_tokens if t != tok.eos_token)  # fmt: skip
    return tok


def end_of_turn(tok: Any) -> str | None:
    """The special token with which the chat template ends the assistant's turn; None if it writes none.

    It need not be the tokenizer's own end: Qwen2.5-Math's base ends a text with ``<|endoftext|>`` and a turn with ``<|im_end|>``.
    """
    mark = "CGDKIT"
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": mark}]
    rest = tok.apply_chat_template(turns, tokenize=False).rpartition(mark)[2]
    ids = tok(rest, add_special_tokens=False)["input_ids"]
    special = {*tok.all_special_ids, *(i for i, t in tok.added_tokens_decoder.items() if t.special)}
    return next((tok.convert_ids_to_tokens(i) for i in ids if i in special), None)


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
        BadInput: the adapter belongs to another base.
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
    model = AutoModelForCausalLM.from_pretrained(
        ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code,
        dtype=getattr(torch, dtype), device_map={"": where}, **extra,
    )  # fmt: skip
    if ref.quantize:
        if quantization.quantize_experts(model, place) and where != place:
            model.to(place)
        quantization.keep_4bit_weights_plain(model)
    if ref.adapter is not None:
        from peft import PeftModel

        check_adapter(ref)
        model = PeftModel.from_pretrained(model, ref.adapter)
    return model


def _has_experts(ref: ModelRef) -> bool:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code)
    return any(getattr(config, n, None) for n in ("num_local_experts", "num_experts"))


def check_adapter(ref: ModelRef) -> None:
    """Refuses an adapter that was trained on another base.

    Raises:
        BadInput: no adapter in the folder, or its base differs.
    """
    import json

    path = Path(ref.adapter or "") / "adapter_config.json"
    if not path.exists():
        raise BadInput(f"adapter {ref.adapter}: the folder holds no adapter_config.json")
    base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
    if Path(base).name != Path(ref.path).name:
        raise BadInput(f"adapter {ref.adapter} was trained on {base!r}, not on {ref.name!r}: load it over its own base")


def context_length(model: Any) -> int:
    """Tokens that a model can attend to; large if its config does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 20


def end_of_turn_ids(tok: Any, model: Any = None) -> list[int]:
    """Token ids that end a turn: the tokenizer's and those of the model's generation config."""
    ids = {tok.eos_token_id}
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids |= set(configured if isinstance(configured, list) else [configured])
    return sorted(i for i in ids if i is not None)


ENGINES = ("transformers", "vllm", "openai")


def open_generator(ref: ModelRef, engine: Engine) -> Any:
    """The engine that a profile names, with a model; the ``openai`` engine's model is the server's."""
    if engine.engine == "openai":
        from .server import ServerGenerator

        return ServerGenerator(engine, ref.name)
    if engine.engine == "vllm":
        from .vllm_engine import VLLMGenerator

        return VLLMGenerator(ref, engine, load_tokenizer(ref))
    return TransformersGenerator(ref, engine.batch_size)
