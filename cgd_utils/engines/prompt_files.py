"""``cgd generate`` and ``cgd merge``: answers to a file of prompts, in shards where several machines share the work.

Example rows of a prompts file, and of an answers file::

    {"id": "1", "prompt": "What is 2 + 2?"}            or {"id": "1", "messages": [{"role": "user", "content": "…"}]}
    {"id": "1", "sample": 0, "prompt": "…", "text": "4", "finish_reason": "stop", "n_tokens": 2, "model": "…"}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import BadInput
from ..core.files import JsonlLog, read_jsonl, write_json, write_jsonl
from ..core.records import Record
from ..core.settings import Engine, Sampling
from ..models.loading import ModelRef
from . import generation, request_log
from .request_log import Request


def read_prompts(path: Path) -> list[Request]:
    """The requests of a prompts file.

    Raises:
        BadInput: no rows, a row without id or prompt, messages that are none, an id twice.
    """
    out = []
    for i, row in enumerate(read_jsonl(path), 1):
        messages = row.get("messages") or (
            [{"role": "user", "content": row["prompt"]}] if isinstance(row.get("prompt"), str) else None
        )
        if "id" not in row or not messages:
            raise BadInput(f"{path}, row {i}: needs id, and prompt (text) or messages")
        if not all(isinstance(m, dict) and isinstance(m.get("content"), str) and m.get("role") for m in messages):
            raise BadInput(f"{path}, row {i}: messages must be objects with role and content (text)")
        out.append(Request(str(row["id"]), messages))
    if not out:
        raise BadInput(f"{path}: no prompts")
    if twice := [i for i, n in Counter(r.id for r in out).items() if n > 1]:
        raise BadInput(f"{path}: id {twice[0]!r} occurs twice; ids must be distinct")
    return out


def shard_of(requests: Sequence[Request], shard: str | None) -> list[Request]:
    """Shard ``i/N`` (i from 0) of the requests: every N-th one.

    Raises:
        BadInput: not of the form i/N with 0 <= i < N.
    """
    if shard is None:
        return list(requests)
    try:
        i, n = map(int, shard.split("/"))
    except ValueError:
        i, n = -1, 0
    if not 0 <= i < n:
        raise BadInput(f"--shard {shard!r}: give i/N with i from 0 to N - 1, such as 0/8")
    return list(requests[i::n])


def generate(
    prompts: Path, out: Path, ref: ModelRef, engine: Engine, sampling: Sampling, shard: str | None = None
) -> Record:
    """Answers every prompt of a file; ``out`` is appended to while it runs, and goes on where it stopped.

    Returns:
        Counts by finish reason, and what the engine counted.

    Raises:
        BadInput: see `read_prompts`; ``out`` holds answers of another model, of other settings or to other prompts.
        GenerationFailed: some answers could not be had; the others are in ``out``.
    """
    requests = shard_of(read_prompts(prompts), shard)
    about = {
        "model": ref.name,
        "revision": ref.revision,
        "adapter": ref.adapter,
        "sampling": sampling.model_dump(),
        **engine.request_changes(),
    }
    manifest = out.with_name(out.name + ".settings.json")
    if out.exists():
        _same_work(out, manifest, about, requests)
    generator = generation.open_generator(ref, engine)
    write_json(manifest, about)
    try:
        rows = request_log.generate(generator, requests, sampling, out, out.name)
    finally:
        generator.close()
    write_jsonl(out, rows)  # in the order of the prompts
    counts = dict(Counter(r["finish_reason"] for r in rows))
    return {
        "rows": len(rows),
        **counts,
        "tokens": sum(r["n_tokens"] for r in rows),
        **getattr(generator, "counts", {}),
        **({"cost": round(generator.cost, 6)} if hasattr(generator, "cost") else {}),
    }


def _same_work(out: Path, manifest: Path, about: Record, requests: Sequence[Request]) -> None:
    if not manifest.exists():
        raise BadInput(f"{out}: exists and is not of this command; choose another --out")
    if json.loads(manifest.read_text(encoding="utf-8")) != about:
        raise BadInput(f"{out}: holds answers of another model or other settings ({manifest}); choose another --out")
    JsonlLog(out)  # cuts a torn last line
    asked = {r.id: r.messages[-1]["content"] for r in requests}
    for row in read_jsonl(out):
        if asked.get(row["id"]) != row["prompt"]:
            raise BadInput(f"{out}: id {row['id']!r} answers another prompt than the file's; choose another --out")


def merge(shards: Sequence[Path], prompts: Path, out: Path) -> Record:
    """Joins the answers of all shards in the order of the prompts.

    Raises:
        BadInput: a prompt without an answer, an answer twice, or an answer to no prompt of the file.
    """
    requests = read_prompts(prompts)
    if out.resolve() in {s.resolve() for s in shards}:
        raise BadInput(f"{out}: is one of the shards; choose another --out")
    rows: dict[tuple[str, int], Record] = {}
    for path in shards:
        for row in read_jsonl(path):
            if (row["id"], row["sample"]) in rows:
                raise BadInput(f"{path}: id {row['id']!r} (sample {row['sample']}) is in another shard or row too")
            rows[row["id"], row["sample"]] = row
    known = {r.id for r in requests}
    if extra := next((i for i, _ in rows if i not in known), None):
        raise BadInput(f"id {extra!r} is in the shards but not in {prompts}")
    samples = 1 + max((s for _, s in rows), default=0)
    missing = [(r.id, s) for r in requests for s in range(samples) if (r.id, s) not in rows]
    if missing:
        raise BadInput(
            f"{len(missing)} answers are missing, first id {missing[0][0]!r}: finish every shard before merging"
        )
    write_jsonl(out, [rows[r.id, s] for r in requests for s in range(samples)])
    return {"rows": len(rows), "shards": len(shards)}
