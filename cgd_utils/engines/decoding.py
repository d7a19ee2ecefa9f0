"""Batched decoding for engine ``transformers``: ``model.generate`` a few tokens at a time, so that finished rows can leave.

`decode` is what the engine spends its time in; it takes token ids and gives token ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.settings import Sampling
from ..grading import thoughts
from ..models import chat_templates

# tokens between two looks for finished rows: 4, 8 and 16 were within a few percent of each other, see bench_generation
STEP = 8
Row = tuple[list[int], str]


def decode(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    ends: set[int],
) -> list[Row]:
    """Continues a batch of prompts; a row that has ended its turn leaves the batch and its cache.

    Args:
        model: a causal language model.
        tokenizer: pads on the left.
        prompts: token ids, one list a row.
        seeds: of each row's random stream; unused at temperature 0.
        sampling: temperature, top_p, max_new_tokens.
        ends: token ids that end a turn.

    Returns:
        For each row the new token ids, with the one that ended the turn, and 'stop' or 'length'.
    """
    import torch
    from transformers import DynamicCache

    padded = tokenizer.pad({"input_ids": list(map(list, prompts))}, return_tensors="pt", padding_side="left")
    ids, mask = padded["input_ids"].to(model.device), padded["attention_mask"].to(model.device)
    width, live = ids.shape[1], list(range(len(prompts)))
    out: list[Row] = [([], "length")] * len(prompts)
    own_cache = DynamicCache(config=model.config.get_text_config())
    # recurrent states (hybrid models) cannot lose rows: their batch is generated at one go, with a cache of its own kind
    rows_can_leave = all(hasattr(layer, "batch_select_indices") for layer in own_cache.layers)
    cache, step = (own_cache, STEP) if rows_can_leave else (None, sampling.max_new_tokens)
    sampler = Sampler(sampling, seeds) if sampling.temperature > 0 else None
    end_ids = torch.tensor(sorted(ends), device=ids.device)
    with torch.inference_mode():
        while live:
            left = width + sampling.max_new_tokens - ids.shape[1]
            ids = model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                max_new_tokens=min(step, left),
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                num_beams=1,
                repetition_penalty=1.0,
                logits_processor=[sampler] if sampler else [],
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=sorted(ends),
            )
            mask = torch.cat([mask, mask.new_ones(len(live), ids.shape[1] - mask.shape[1])], 1)
            last = ids.shape[1] - width >= sampling.max_new_tokens
            done = torch.isin(ids[:, width:], end_ids).any(1) | last
            for at in done.nonzero()[:, 0].tolist():
                out[live[at]] = _ended(ids[at, width:].tolist(), ends)
            keep = (~done).nonzero()[:, 0]
            if len(keep) < len(live):
                live = [live[at] for at in keep.tolist()]
                if live:
                    ids, mask = ids[keep], mask[keep]
                    own_cache.batch_select_indices(keep)
                    if sampler:
                        sampler.keep(keep.tolist())
    return out


def _ended(ids: list[int], ends: set[int]) -> Row:
    stop = next((i for i, t in enumerate(ids) if t in ends), None)
    return (ids, "length") if stop is None else (ids[: stop + 1], "stop")


class Sampler:
    """A logits processor: temperature, nucleus, and one Gumbel draw a row from the row's own stream (drawn on the CPU).

    The largest of logits plus Gumbel noise is a draw from the softmax (Gumbel-max), so a text does not depend on its
    neighbours in the batch.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        import torch
        from transformers import TopPLogitsWarper

        self.temperature = sampling.temperature
        self.streams = [torch.Generator().manual_seed(s) for s in seeds]
        self.top_p = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None

    def keep(self, rows: Sequence[int]) -> None:
        """Forgets the streams of rows that have left."""
        self.streams = [self.streams[i] for i in rows]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        scores = scores.float() / self.temperature
        if self.top_p is not None:
            scores = self.top_p(input_ids, scores)
        noise = torch.empty(scores.shape)
        for row, stream in zip(noise, self.streams, strict=True):
            row.exponential_(generator=stream)
        return scores - noise.log().to(scores.device)


# ---------------------------------------------------------------- memory
def row_bytes(model: Any, prompt: int, new: int) -> int:
    """Upper estimate of the memory of one row, bytes: keys and values, activations of the prompt's pass, logits.

    Args:
        model: its config gives layers, heads and widths.
        prompt: tokens of the (padded) prompt.
        new: tokens to be generated.
    """
    c = model.config.get_text_config()
    size = model.dtype.itemsize
    kept = cache_bytes(c, size, prompt + new)
    passing = (4 * c.hidden_size + 3 * (getattr(c, "intermediate_size", None) or 4 * c.hidden_size)) * size * prompt
    return kept + passing + 16 * c.vocab_size


def cache_bytes(config: Any, size: int, tokens: int) -> int:
    """Bytes of the keys and values of tokens.

    Args:
        config: the text model's.
        size: bytes of a number.
        tokens: of all texts together.
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * head_dim * size * tokens


def memory_budget(model: Any, gib: float | None, share: float) -> float:
    """Bytes that a batch may take.

    Args:
        model: loaded.
        gib: the profile's ``generation.batch_memory_gib``; None = the GPU's memory times ``share`` less what is taken by
            models, or a quarter of the machine's memory without a GPU.
        share: the profile's ``generation.gpu_memory_utilization``.
    """
    if gib is not None:
        return gib * 2**30
    if model.device.type == "cuda":
        import torch

        total = torch.cuda.get_device_properties(model.device).total_memory
        return max(total * share - torch.cuda.memory_allocated(model.device), 0)
    import psutil

    return psutil.virtual_memory().total / 4


def within(lengths: Sequence[int], new: int, model: Any, budget: float, most: int) -> list[list[int]]:
    """Splits a batch (positions, in order) so that each part, padded to its longest prompt, stays within the budget.

    A part holds at least one row: what does not fit alone is tried, and told if it fails.
    """
    parts: list[list[int]] = []
    longest = 0
    for i, length in enumerate(lengths):
        longest = max(longest, length)
        fits = parts and len(parts[-1]) < most and (len(parts[-1]) + 1) * row_bytes(model, longest, new) <= budget
        if not fits:
            parts.append([])
            longest = length
        parts[-1].append(i)
    return parts


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory, on a GPU or on the CPU."""
    import torch

    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in told or "allocate memory" in told)
    )


def free_memory() -> None:
    """Gives what a failed batch held back to the device."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# ---------------------------------------------------------------- text
LONGEST_MARK = 16  # tokens of a mark of a thought and the blanks after it


def text_of(tok: Any, prompt: Sequence[int], made: Sequence[int]) -> str:
    """The text of the tokens that a model made after a prompt, so that its thought can be told apart (`thoughts`).

    Special tokens are left out, but for those that mark a thought; a mark with which the prompt opened one comes first.
    """
    marks = thought_ids(tok)
    dropped = chat_templates.special_ids(tok) - marks
    kept = [i for i in made if i not in dropped] if marks else made
    return opened_thought(tok, prompt) + tok.decode(kept, skip_special_tokens=not marks)


def opened_thought(tok: Any, prompt: Sequence[int]) -> str:
    """The mark by which a prompt's tokens end in an opened thought; empty where they do not."""
    return thoughts.opening(tok.decode(prompt[-LONGEST_MARK:]))


def thought_ids(tok: Any) -> set[int]:
    """The special tokens that mark thoughts."""
    return {i for i in chat_templates.special_ids(tok) if thoughts.is_mark(tok.convert_ids_to_tokens(i))}
