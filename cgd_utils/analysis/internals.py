"""What goes on inside a student: how likely and how certain the refined answer ŷ is, where attention goes, how far it
has drifted.

One pass over one model makes one artifact, ``internals``: ``uncertainty.jsonl`` (a row a record and condition),
``attention.jsonl`` (a row a record and layer) and ``pooled.npy`` (records, layers + 1, hidden). Works on any
transformers model; needs a tokenizer that gives offsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import prompts
from ..core.errors import BadInput
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run, content_key
from ..evaluation import style_drift
from ..evaluation.trained_models import Subject, looked_at, seeds, subjects
from ..models import chat_templates, loading, named
from ..training import tokenization
from .measures import Item, about, exact, measured

X, DRAFT, CRITIQUE, TARGET, TEMPLATE = "x", "y'", "c", "ŷ", "template"
CONDITIONS = X, WITH_DRAFT, WITH_CRITIQUE, ANOTHER = (X, "x, y'", "x, y', c", "x, y', another c")
# what a critique adds: to the question alone, to the draft, and beyond what another problem's critique adds
PAIRS = ((WITH_CRITIQUE, X), (WITH_CRITIQUE, WITH_DRAFT), (WITH_CRITIQUE, ANOTHER))
PARTS = (X, DRAFT, CRITIQUE, TARGET, TEMPLATE)
_PART = {"question": X, "draft": DRAFT, "critique": CRITIQUE}


# ---------------------------------------------------------------- rows as tokens
@dataclass(frozen=True)
class Encoded:
    """A prompt with its target: token ids (length,), the part of each token (one of `PARTS`), where ŷ starts."""

    ids: list[int]
    parts: list[str]
    start: int


def encode(tok: Any, layout: prompts.Layout, record: Record, condition: str, other: str = "") -> Encoded:
    """Tokens of (condition → ŷ), laid out and cut as for training; the end-of-turn token belongs to ŷ.

    Args:
        tok: a fast tokenizer with a chat template.
        layout: the prompt layout.
        record: a distillation record.
        condition: one of `CONDITIONS`.
        other: another problem's critique, for the last condition.

    Raises:
        BadInput: the tokenizer gives no offsets, or its template changes the user's turn.
    """
    if not tok.is_fast:
        raise BadInput(f"tokenizer {type(tok).__name__}: gives no character offsets; attention needs a fast tokenizer")
    critique = other if condition == ANOTHER else record["critique"]
    shown = (record["question"], record["draft"], critique)[: 1 + min(CONDITIONS.index(condition), 2)]
    messages = layout.ask(*shown) if len(shown) == 1 else layout.ask_refined(*shown)
    prompt = chat_templates.text(tok, messages, open_turn=True)
    content = messages[-1]["content"]
    at = prompt.rfind(content.strip())
    if at < 0:
        about = f"record {record['id']!r}"
        raise BadInput(f"{about}: the chat template changes the user's turn, so its parts cannot be found")
    shift = at - (len(content) - len(content.lstrip()))
    spans = {_PART[n]: (a + shift, b + shift) for n, (a, b) in layout.spans(*shown).items()}
    offsets = tok(prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    parts = [_part(a, b, spans) for a, b in offsets]
    reply = [{"role": "assistant", "content": record["refined"]}]
    row = {"id": record["id"], "method": condition, "prompt": messages, "completion": reply}
    [(ids, tail)] = tokenization.split([row], tok)
    return Encoded(ids + tail, parts + [TARGET] * len(tail), len(parts))


def _part(start: int, end: int, spans: dict[str, tuple[int, int]]) -> str:
    overlap = {n: min(end, b) - max(start, a) for n, (a, b) in spans.items()}
    best = max(overlap, key=lambda n: overlap[n])
    return best if overlap[best] > 0 else TEMPLATE


def batches(encoded: Sequence[Encoded], size: int, pad: int, device: Any) -> Iterator[tuple[list[int], Record]]:
    """Rows of similar length: their indices, and left-padded ids, mask and positions (rows, length) for the model."""
    import torch

    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i].ids))
    for at in range(0, len(order), size):
        rows = order[at : at + size]
        width = max(len(encoded[i].ids) for i in rows)
        ids = torch.tensor([[pad] * (width - len(encoded[i].ids)) + encoded[i].ids for i in rows])
        mask = torch.tensor([[0] * (width - len(encoded[i].ids)) + [1] * len(encoded[i].ids) for i in rows])
        batch = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        yield rows, {name: values.to(device) for name, values in batch.items()}


# ---------------------------------------------------------------- three ways of looking
def uncertainty(model: Any, encoded: Sequence[Encoded], size: int, pad: int) -> list[tuple[float, float]]:
    """Each row's negative log-likelihood and entropy of the next token, in nats, mean over ŷ's tokens."""
    import torch

    out: list[tuple[float, float]] = [(0.0, 0.0)] * len(encoded)
    for rows, batch in batches(encoded, size, pad, model.device):
        longest = max(len(encoded[i].ids) - encoded[i].start for i in rows)
        with torch.inference_mode():
            logits = model(**batch, logits_to_keep=longest + 1).logits
            for i, row in zip(rows, logits, strict=True):
                target = torch.tensor(encoded[i].ids[encoded[i].start :], device=row.device)
                logp = row[-len(target) - 1 : -1].float().log_softmax(-1)
                nll = -logp.gather(1, target[:, None]).mean()
                out[i] = (nll.item(), torch.special.entr(logp.exp()).sum(-1).mean().item())
    return out


def attention(model: Any, encoded: Sequence[Encoded], size: int, pad: int) -> list[list[dict[str, float]]]:
    """Where ŷ's tokens attend: for each row and layer the mass on each of `PARTS`, mean over ŷ's tokens and heads; sums
    to 1.

    Each layer's weights are summed up in a hook and dropped, so only one layer's lie in memory.

    Raises:
        BadInput: the model's attention gives no weights.
    """
    import torch

    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    plain.set_attn_implementation("eager")
    modules = [m for m in plain.modules() if hasattr(m, "layer_idx") and type(m).__name__.endswith("Attention")]
    out: list[list[dict[str, float]]] = [[] for _ in encoded]
    now: list[tuple[int, Any]] = []  # the rows of the batch under way, with the part of each of their tokens

    def keep(module: Any, inputs: Any, output: Any) -> None:
        if output[1] is None:
            layer = type(module).__name__
            raise BadInput(f"model: {layer} gives no attention weights, so their mass cannot be measured")
        for (i, onehot), weights in zip(now, output[1], strict=True):
            from_target = weights[:, encoded[i].start - len(encoded[i].ids) :].float().mean(0)
            mass = (from_target @ onehot).mean(0).tolist()
            out[i].append(dict(zip(PARTS, mass, strict=True)))

    hooks = [m.register_forward_hook(keep) for m in sorted(modules, key=lambda m: m.layer_idx)]
    if not hooks:
        raise BadInput(f"model: {type(plain).__name__} has no attention layers that can be read")
    try:
        for rows, batch in batches(encoded, size, pad, model.device):
            width = batch["input_ids"].shape[1]
            now[:] = [(i, _onehot(encoded[i].parts, width).to(model.device)) for i in rows]
            with torch.inference_mode():
                model(**batch, logits_to_keep=1)
    finally:
        for h in hooks:
            h.remove()
    return out


def _onehot(parts: Sequence[str], width: int) -> Any:
    """Which of `PARTS` each token of a left-padded row belongs to: (width, parts); padding belongs to none."""
    import torch

    out = torch.zeros(width, len(PARTS))
    out[range(width - len(parts), width), [PARTS.index(p) for p in parts]] = 1
    return out


def pooled(model: Any, encoded: Sequence[Encoded], size: int, pad: int) -> Any:
    """Hidden states of each prompt (without ŷ), mean over its tokens: float32 (rows, layers + 1, hidden)."""
    import torch

    heads = [replace(e, ids=e.ids[: e.start], parts=e.parts[: e.start]) for e in encoded]
    out: list[Any] = [None] * len(heads)
    for rows, batch in batches(heads, size, pad, model.device):
        with torch.inference_mode():
            states = model(**batch, output_hidden_states=True, logits_to_keep=1).hidden_states
            mask = batch["attention_mask"][..., None]
            means = [(s.float() * mask).sum(1) / mask.sum(1) for s in states]
        for i, vectors in zip(rows, torch.stack(means, 1).cpu().numpy(), strict=True):
            out[i] = vectors
    return np.stack(out)


# ---------------------------------------------------------------- artifacts
def internals(run: Run, who: Subject, records: Sequence[Record]) -> Artifact:
    """Looks into one model with the given records: see the module's head."""
    p = run.profile
    layout = prompts.layout(p.models.layout).in_training  # the prompts that likelihoods were trained under
    others = [*(r["critique"] for r in records[1:]), records[0]["critique"]]  # the next problem's

    def build(folder: Path) -> Record:
        tok, model = loading.load_tokenizer(who.ref), loading.load_model(who.ref).eval()
        limit = min(p.analyses.max_length, loading.context_length(model))
        look = {"model": model, "size": p.analyses.batch_size, "pad": tok.pad_token_id}
        kept: dict[str, list[Encoded]] = {c: [] for c in CONDITIONS}
        ids = []
        for record, other in zip(records, others, strict=True):
            encoded = {c: encode(tok, layout, record, c, other) for c in CONDITIONS}
            if max(len(e.ids) for e in encoded.values()) <= limit:
                ids.append(record["id"])
                for condition, e in encoded.items():
                    kept[condition].append(e)
        if not ids:
            raise BadInput(f"{who.label}: every record is longer than {limit} tokens; raise analyses.max_length")
        rows = [
            {"id": id, "condition": condition, "nll": nll, "entropy": entropy, "tokens": len(e.ids) - e.start}
            for condition, encoded in kept.items()
            for id, e, (nll, entropy) in zip(ids, encoded, uncertainty(encoded=encoded, **look), strict=True)
        ]
        write_jsonl(folder / "uncertainty.jsonl", rows)
        np.save(folder / "pooled.npy", pooled(encoded=kept[X], **look))
        masses = zip(ids, attention(encoded=kept[WITH_CRITIQUE], **look), strict=True)
        by_layer = [{"id": id, "layer": k, **mass} for id, layers in masses for k, mass in enumerate(layers)]
        write_jsonl(folder / "attention.jsonl", by_layer)
        del model, look  # the distance loads both models anew
        base = named.student_ref(run, who.family)
        distance = None if who.seed is None else style_drift.weight_distance(base, who.ref)
        return {"rows": len(ids), "too_long": len(records) - len(ids), "weight_distance": distance}

    settings = {
        "ids": content_key([[r[k] for k in ("id", "question", "draft", "critique", "refined")] for r in records]),
        "layout": layout.key,
        "dtype": who.ref.dtype,
        "batch": p.analyses.batch_size,
        "max_length": p.analyses.max_length,
    }
    return run.make("internals", who.label, build, settings=settings, inputs=[who.key])


def look_inside(run: Run, family: str) -> list[Record]:
    """Measurements of uncertainty, attention and drift of every analysed model of a family.

    The base is looked at with the records of all seeds, a trained model with those of its seed.
    """
    level = run.profile.evaluation.level
    rows = {seed: looked_at(run, family, seed)[0] for seed in seeds(run)}
    union = list({r["id"]: r for of_seed in rows.values() for r in of_seed}.values())
    out = []
    base_states: dict[str, Any] = {}
    for who in subjects(run, family):
        artifact = internals(run, who, union if who.seed is None else rows[who.seed])
        uncertainties, masses = artifact.rows("uncertainty.jsonl"), artifact.rows("attention.jsonl")
        out += measured(_uncertainty(uncertainties), level, **about("uncertainty", who))
        out += measured(_attention(masses), level, **about("attention", who))
        ids = [r["id"] for r in uncertainties if r["condition"] == X]
        states = dict(zip(ids, np.load(artifact.folder / "pooled.npy"), strict=True))
        if who.seed is None:
            base_states = states
            continue
        cosines = [cosine(states[i], base_states[i]) for i in states if i in base_states]
        items = ((f"layer {k}", "cosine", value) for layers in cosines for k, value in enumerate(layers))
        out += measured(items, level, **about("drift", who))
        distance = artifact.manifest["facts"]["weight_distance"]
        out.append(exact("weights", "distance", distance, 1, **about("drift", who)))
    return out


def cosine(a: Any, b: Any) -> Any:
    """Cosine of the last axis: (…, hidden) and (…, hidden) → (…)."""
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def _uncertainty(rows: Sequence[Record]) -> Iterator[Item]:
    """Each condition's figures, and what one adds to another (paired by record)."""
    found: dict[str, dict[str, Record]] = {c: {} for c in CONDITIONS}
    for r in rows:
        found[r["condition"]][r["id"]] = r
    for metric in ("nll", "entropy"):
        for condition, of_records in found.items():
            yield from ((condition, metric, r[metric]) for r in of_records.values())
        for a, b in PAIRS:
            yield from ((f"({a}) − ({b})", metric, r[metric] - found[b][i][metric]) for i, r in found[a].items())


def _attention(rows: Sequence[Record]) -> Iterator[Item]:
    """The mass on each part, by layer, and in the first and last one how much more the critique gets than x."""
    yield from ((f"layer {r['layer']}", part, r[part]) for r in rows for part in PARTS)
    layers = [r["layer"] for r in rows]
    for layer, name in ((min(layers), "first layer"), (max(layers), "last layer")):
        yield from ((name, "c − x", r[CRITIQUE] - r[X]) for r in rows if r["layer"] == layer)
