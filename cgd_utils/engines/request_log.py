"""The resume log that all engines share: what was asked is known by its content, so nothing is asked twice.

A row of the log is a generation row with a ``key``: the hash of model, sampling and messages (and, where texts are
sampled, of the id that their random stream hangs on). The engine is not part of it: one may go on where another stopped.
A changed prompt under an old id has a new key, and equal greedy requests have one and are asked once.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import progress
from ..core.errors import BadInput, GenerationFailed
from ..core.files import JsonlLog
from ..core.records import Record
from ..core.settings import Sampling
from ..core.store import content_key
from ..prompts import Message


@dataclass(frozen=True)
class Request:
    """One prompt: an id that is unique in its set, and chat messages."""

    id: str
    messages: list[Message]


def keys(model: Any, wanted: Sequence[tuple[Request, int]], sampling: Sampling) -> list[str]:
    """The content keys of (request, sample) pairs: 16 hex digits each.

    Args:
        model: what identifies the model (JSON).
        wanted: the pairs.
        sampling: ``n`` is no part of the key: more samples of a set keep those it has.
    """
    common = content_key(model, sampling.model_dump(exclude={"n", "seed"} if sampling.temperature == 0 else {"n"}))
    out = []
    for request, sample in wanted:
        told = [common, request.messages, sample, request.id if sampling.temperature > 0 else None]
        out.append(hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16])
    return out


def generate(
    generator: Any, requests: Sequence[Request], sampling: Sampling, log: Path, description: str = "generate"
) -> list[Record]:
    """Generates every request, going on where ``log`` stops; returns the rows in the order of the requests.

    The batches are planned over the whole set, so an interrupted run computes the same batches as an undisturbed one.
    Prompts that are too long for the model are counted in a warning.

    Args:
        generator: the engine.
        requests: distinct ids.
        sampling: see `core.settings.Sampling`.
        log: append-only JSONL; rows are on disk as soon as they are finished.
        description: shown beside the progress bar.

    Raises:
        BadInput: two requests with the same id.
        GenerationFailed: some texts could not be had; the others are in the log.
    """
    if twice := [i for i, n in Counter(r.id for r in requests).items() if n > 1]:
        raise BadInput(f"requests: id {twice[0]!r} occurs twice; ids must be distinct")
    pairs = [(r, s) for r in requests for s in range(sampling.n)]
    all_keys = keys(getattr(generator, "identity", None), pairs, sampling)
    first: dict[str, tuple[Request, int]] = {}
    for key, pair in zip(all_keys, pairs, strict=True):
        first.setdefault(key, pair)
    wanted, key_of = list(first.values()), {(r.id, s): key for key, (r, s) in first.items()}
    journal = JsonlLog(log)
    context = {"max_model_len": generator.max_model_len} if hasattr(generator, "max_model_len") else {}
    rows = {r["key"]: r for r in journal.rows() if r.get("key") in first and _is_done(r, context)}
    missing = [(r, s) for key, (r, s) in first.items() if key not in rows]
    failed: list[Record] = []
    if missing:
        with progress.bar(total=len(wanted), initial=len(rows), desc=description, unit="text", leave=False) as bar:
            for made in _made(generator, wanted, missing, sampling):
                new = {}
                for row in made:
                    key = key_of[row["id"], row["sample"]]
                    if row["finish_reason"] == "error":
                        failed.append(row)
                    elif key not in rows:
                        new[key] = {**row, "key": key, **(context if row["finish_reason"] == "too_long" else {})}
                journal.append(new.values())
                rows |= new
                bar.update(len(made))
    if failed:
        raise GenerationFailed(
            f"{description}: {len(failed)} of {len(wanted)} texts could not be had, first {failed[0]['id']!r}: {failed[0].get('error')}; "
            "the others are kept: run again to ask for the rest"
        )
    if long := [r.id for key, (r, _) in first.items() if rows[key]["finish_reason"] == "too_long"]:
        warnings.warn(
            f"{description}: {len(long)} of {len(wanted)} prompts do not fit the model's context with max_new_tokens = "
            f"{sampling.max_new_tokens} (first id {long[0]!r}); they have no text, and finish_reason too_long",
            stacklevel=2,
        )
    told = zip(pairs, all_keys, strict=True)
    return [{**rows[key], "id": r.id, "prompt": r.messages[-1]["content"]} for (r, _), key in told]


def _is_done(row: Record, context: Record) -> bool:
    """Whether a logged row answers its request.

    A prompt that was too long is asked again where the context is another. A server's context is not known here, so it is
    asked again in every run: a refusal costs nothing.
    """
    return row["finish_reason"] != "too_long" or (bool(context) and context.items() <= row.items())


def _made(generator: Any, wanted: list[Any], missing: list[Any], sampling: Sampling) -> Iterator[list[Record]]:
    """The missing rows in the portions in which an engine finishes them."""
    if hasattr(generator, "stream"):
        yield from generator.stream(missing, sampling)
        return
    open_ids = {(r.id, s) for r, s in missing}
    for batch in generator.batches(wanted):
        if not open_ids.isdisjoint((r.id, s) for r, s in batch):
            yield generator.generate(batch, sampling)


def row_seed(seed: int, request: str, sample: int) -> int:
    """The seed of one text: independent of the batch it is in, 63 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{request}/{sample}".encode()).digest()[:8], "big") >> 1
