"""Engine ``vllm``, the outer side: offline generation in a process of its own (`vllm_worker`)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.engine_settings import VllmEngine
from ..core.errors import BadInput, GenerationFailed
from ..core.records import Record
from ..core.settings import Sampling
from ..models import chat_templates
from . import automatic, decoding, vllm_process
from .request_log import row_seed

MAX_LORA_RANK = 512
# vLLM's own on a CPU: texts at once, and tokens a block of the cache
CPU_TEXTS, CPU_BLOCK = 256, 128
ROOM = 512  # tokens: a process with room for so many more is kept when later prompts are a little longer
# what vLLM's words ask for; the first that is found counts
ADVICE = {
    r"less than (desired|requested)": "lower generation.gpu_memory_utilization or leave it out, or end other programs",
    r"max_model_len .* is greater than": "lower generation.max_model_len",
    r"KV cache.*max seq len|max seq len.*KV cache|No available memory for the cache": "lower generation.max_model_len, or raise "
    "generation.gpu_memory_utilization",
    r"out of memory|allocate memory|died unexpectedly": "vLLM ran out of memory: lower generation.gpu_memory_utilization or "
    "generation.max_model_len, or raise generation.tensor_parallel_size",
}
_RAISED = re.compile(r"(?:^|[\s.])(\w*(?:Error|Exception|Interrupt): .+)")


class VLLMGenerator:
    """Generates with vLLM; every sampling and engine field is passed explicitly, the chat template is applied here, once.

    Raises:
        BadInput: no vLLM in the interpreter, an adapter that vLLM cannot serve, or more than one sample at temperature 0.
    """

    def __init__(self, ref: Any, settings: VllmEngine, tokenizer: Any) -> None:
        self.ref, self.settings, self.tokenizer = ref, settings, tokenizer
        self.max_model_len = settings.max_model_len
        self.seconds: dict[str, float] = {}
        self._opened = ""  # the mark with which the prompts open a thought
        self._adapter = self._served(ref.adapter) if ref.adapter else None
        self._has_gpus()
        self.python = str(Path(settings.vllm_python).expanduser()) if settings.vllm_python else sys.executable
        if not automatic.has_vllm(self.python):
            raise BadInput(
                f"generation.engine = 'vllm' but {self.python} has no vllm: pip install 'cgd-kit[gpu]', or name another "
                "interpreter in generation.vllm_python"
            )

    def _has_gpus(self) -> None:
        import torch

        have, need = torch.cuda.device_count(), self.settings.tensor_parallel_size
        if have and have < need:
            raise BadInput(f"generation.tensor_parallel_size = {need} but this machine has {have} GPUs; lower it")

    @property
    def identity(self) -> Any:
        return self.ref.identity

    def close(self) -> None:
        """Ends vLLM's process where it holds a GPU; on a CPU it waits for the next model, see `vllm_process`."""
        vllm_process.release()

    def _served(self, folder: str) -> Record:
        config = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))
        if config.get("use_dora") or config.get("modules_to_save"):
            raise BadInput(
                f"adapter {folder}: vLLM serves neither DoRA nor modules_to_save; use engine transformers or merge it"
            )
        if config["r"] > MAX_LORA_RANK:
            raise BadInput(f"adapter {folder}: rank {config['r']} is above vLLM's limit of {MAX_LORA_RANK}")
        return {"name": self.ref.name, "path": str(Path(folder).resolve()), "rank": config["r"]}

    def stream(self, wanted: Sequence[tuple[Any, int]], sampling: Sampling) -> Iterator[list[Record]]:
        """Rows as the worker writes them.

        `seconds` then holds how long loading and generating took.

        Raises:
            BadInput: ``max_new_tokens`` alone fills ``max_model_len``.
            GenerationFailed: the worker ended early; the rows before are with the caller.
        """
        limit = self.settings.max_model_len
        if limit is not None and sampling.max_new_tokens >= limit:
            raise BadInput(
                f"max_new_tokens = {sampling.max_new_tokens} leaves no room for a prompt in generation.max_model_len = {limit}; "
                "lower the one or raise the other"
            )
        tok, order = self.tokenizer, list(wanted)
        encoded = chat_templates.prompt_ids(tok, [r.messages for r, _ in order])
        prompts = [
            {"at": i, "seed": row_seed(sampling.seed, r.id, sample) % 2**31, "ids": ids}
            for i, ((r, sample), ids) in enumerate(zip(order, encoded, strict=True))
        ]
        self._opened = decoding.opened_thought(tok, encoded[0]) if encoded else ""
        settings = {
            "engine": self._engine(),
            "on_cpu": self._on_cpu(prompts, sampling.max_new_tokens),
            "lora_rank": served_rank(self._adapter["rank"]) if self._adapter else None,
        }
        worker = vllm_process.process(self.python, settings)
        finished = False
        try:
            for found in worker.texts(
                prompts, self._sampling(sampling, tok), self._adapter, self.settings.batch_size * 8
            ):
                if isinstance(found, dict):
                    self.seconds = found
                else:
                    yield [self._row(row, order) for row in found]
            finished = True
        except ChildProcessError as e:
            code, log = e.args
            raise GenerationFailed(_why(log, code)) from None
        finally:
            if not finished:  # a text under way would fall into the next task's time
                vllm_process.end()

    def _row(self, made: Record, order: list[Any]) -> Record:
        request, sample = order[made.pop("at")]
        if made["finish_reason"] != "too_long":
            made["text"] = self._opened + made["text"]
        return {
            "id": request.id,
            "sample": sample,
            "prompt": request.messages[-1]["content"],
            **made,
            "model": self.ref.name,
        }

    def _engine(self) -> Record:
        s, ref = self.settings, self.ref
        return {
            "model": ref.path,
            "tokenizer": ref.path,
            "revision": ref.revision,
            "trust_remote_code": ref.trust_remote_code,
            "dtype": ref.dtype,
            "tensor_parallel_size": s.tensor_parallel_size,
            "max_model_len": s.max_model_len,
            "gpu_memory_utilization": s.gpu_share,
            "quantization": s.quantization,
            "enable_prefix_caching": True,
            "generation_config": "vllm",
            "seed": 0,
        }

    def _on_cpu(self, prompts: Sequence[Record], new: int) -> Record:
        """What replaces engine settings where vLLM turns out to run on a CPU: context and cache that these prompts need.

        vLLM's own default is a share of the whole RAM, for one text of the model's whole context; it does not start where
        other programs use some of it.
        """
        if self.settings.gpu_memory_utilization is not None:
            return {}
        from transformers import AutoConfig

        ref = self.ref
        try:
            config = AutoConfig.from_pretrained(
                ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code
            )
            text = config.get_text_config()
            context = self.max_model_len or text.max_position_embeddings
            lengths = [n for p in prompts if (n := len(p["ids"]) + new) <= context] or [context]
            size = 4 if "float32" in (ref.dtype, str(text.dtype).removeprefix("torch.")) else 2
            tokens = sum(n + CPU_BLOCK for n in sorted(lengths)[-CPU_TEXTS:])
            held = self.max_model_len or min(
                -(-max(lengths) // ROOM) * ROOM, context
            )  # room for one text of that length
            cache = decoding.cache_bytes(text, size, max(tokens, held))
            return {"max_model_len": held, "kv_cache_memory_bytes": cache}
        except (AttributeError, TypeError, ValueError, OSError):
            return {}  # a config that transformers does not know, or without attention: vLLM's own settings hold

    def _sampling(self, sampling: Sampling, tok: Any) -> Record:
        return {
            "n": 1,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "max_tokens": sampling.max_new_tokens,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": [tok.eos_token_id],
            "skip_special_tokens": not decoding.thought_ids(tok),
        }


def served_rank(rank: int) -> int:
    """The least rank that vLLM offers for an adapter of a rank."""
    return next(offered for offered in (8, 16, 32, 64, 128, 256, MAX_LORA_RANK) if offered >= rank)


def _why(log: str, code: int) -> str:
    """What ended the worker, in words that name the setting to change; the first line holds the cause."""
    lines = [line.strip() for line in log.strip().splitlines()]
    # the last error may be "Engine core initialization failed. See root cause above"
    above = next((i for i, line in enumerate(lines) if "root cause" in line), len(lines))
    causes = [(i, m[1]) for i, line in enumerate(lines[:above]) if (m := _RAISED.search(line))]
    at, cause = causes[-1] if causes else (-1, lines[-1] if lines else "nothing was told")
    if "validation error" in cause:
        cause = "".join(lines[at + 1 : at + 2])  # pydantic's first line only counts the errors
    if code in (-9, 137):
        cause = "the process was killed, most often since it ran out of memory"
    advice = next(
        (a for words, a in ADVICE.items() if re.search(words, cause, re.IGNORECASE)), f"it ended with code {code}"
    )
    tail = "\n".join(lines[-12:])
    return f"vLLM: {cause[:400]}; {advice}; finished texts are kept: run again to go on\n{tail}"
