"""What goes on inside a student: how likely and how certain the refined answer ŷ is, where attention goes, how far it has drifted.

One pass over one model makes one artifact, ``internals``: ``uncertainty.jsonl`` (a row a record and condition),
``attention.jsonl`` (a row a record and layer) and ``pooled.npy`` (records, layers + 1, hidden). Works on any
transformers model; needs a tokenizer that gives offsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import prompts
from ..core.errors import BadInput
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run, content_key
from ..evaluation import style_drift
from ..evaluation.trained_models import Subject, looked_at, seeds, subjects
from ..models import chat_templates, loading, named
from ..reporting import summaries
from ..training import tokenization

X, DRAFT, CRITIQUE, OTHER, TARGET, TEMPLATE = "x", "y'", "c", "another c", "ŷ", "template"
CONDITIONS = (X, "x, y'", "x, y', c", "x, y', another c")
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
    q, draft = record["question"], record["draft"]
    shown = {X: (q,), "x, y'": (q, draft), "x, y', c": (q, draft, record["critique"])}.get(condition, (q, draft, other))
    messages = layout.ask(q) if len(shown) == 1 else layout.ask_refined(*shown)
    prompt = chat_templates.text(tok, messages, open_turn=True)
    content = messages[-1]["content"]
    at = prompt.rfind(content.strip())
    if at < 0:
        raise BadInput(
            f"record {record['id']!r}: the chat template changes the user's turn, so its parts cannot be found"
        )
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


def batches(encoded: Sequence[Encoded], size: int, pad: int) -> Iterator[tuple[list[int], Record]]:
    """Batches of rows of similar length: their indices, and left-padded ``input_ids, attention_mask, position_ids`` (rows, length)."""
    import torch

    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i].ids))
    for at in range(0, len(order), size):
        rows = order[at : at + size]
        width = max(len(encoded[i].ids) for i in rows)
        ids = torch.tensor([[pad] * (width - len(encoded[i].ids)) + encoded[i].ids for i in rows])
        mask = torch.tensor([[0] * (width - len(encoded[i].ids)) + [1] * len(encoded[i].ids) for i in rows])
        yield rows, {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


# ---------------------------------------------------------------- three ways of looking
def uncertainty(model: Any, encoded: Sequence[Encoded], size: int, pad: int) -> list[tuple[float, float]]:
    """Mean over ŷ's tokens of the negative log-likelihood and of the next-token distribution's entropy, in nats, of each row."""
    import torch

    out: list[tuple[float, float]] = [(0.0, 0.0)] * len(encoded)
    for rows, batch in batches(encoded, size, pad):
        longest = max(len(encoded[i].ids) - encoded[i].start for i in rows)
        with torch.inference_mode():
            logits = model(**_to(batch, model), logits_to_keep=longest + 1).logits
            for i, row in zip(rows, logits, strict=True):
                target = torch.tensor(encoded[i].ids[encoded[i].start :], device=row.device)
                logp = row[-len(target) - 1 : -1].float().log_softmax(-1)
                nll = -logp.gather(1, target[:, None]).mean()
                out[i] = (nll.item(), torch.special.entr(logp.exp()).sum(-1).mean().item())
    return out


def attention(model: Any, encoded: Sequence[Encoded], size: int, pad: int) -> list[list[dict[str, float]]]:
    """Where ŷ's tokens attend: for each row and layer the mass on each of `PARTS`, mean over ŷ's tokens and heads; sums to 1.

    Each layer's weights are summed up in a hook and dropped, so only one layer's lie in memory.

    Raises:
        BadInput: the model's attention gives no weights.
    """
    import torch

    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    plain.set_attn_implementation("eager")
    modules = [m for m in plain.modules() if hasattr(m, "layer_idx") and type(m).__name__.endswith("Attention")]
    out: list[list[dict[str, float]]] = [[] for _ in encoded]
    now: list[tuple[int, Any]] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        if output[1] is None:
            raise BadInput(
                f"model: {type(module).__name__} gives no attention weights, so their mass cannot be measured"
            )
        for (i, onehot), weights in zip(now, output[1], strict=True):
            ours = weights[:, -(len(encoded[i].ids) - encoded[i].start) :].float().mean(0)
            mass = (ours @ onehot).mean(0).tolist()
            out[i].append(dict(zip(PARTS, mass, strict=True)))

    hooks = [m.register_forward_hook(keep) for m in sorted(modules, key=lambda m: m.layer_idx)]
    if not hooks:
        raise BadInput(f"model: {type(plain).__name__} has no attention layers that can be read")
    try:
        for rows, batch in batches(encoded, size, pad):
            width = batch["input_ids"].shape[1]
            now[:] = [(i, _onehot(encoded[i].parts, width).to(model.device)) for i in rows]
            with torch.inference_mode():
                model(**_to(batch, model), logits_to_keep=1)
    finally:
        for h in hooks:
            h.remove()
    return out


def _onehot(parts: Sequence[str], width: int) -> Any:
    import torch

    out = torch.zeros(width, len(PARTS))
    for j, p in enumerate(parts):
        out[width - len(parts) + j, PARTS.index(p)] = 1
    return out


def pooled(model: Any, encoded: Sequence[Encoded], size: int, pad: int) -> Any:
    """Hidden states of each prompt (without ŷ), mean over its tokens: float32 (rows, layers + 1, hidden)."""
    import numpy as np
    import torch

    heads = [replace(e, ids=e.ids[: e.start], parts=e.parts[: e.start]) for e in encoded]
    out: list[Any] = [None] * len(heads)
    for rows, batch in batches(heads, size, pad):
        with torch.inference_mode():
            states = model(**_to(batch, model), output_hidden_states=True, logits_to_keep=1).hidden_states
            mask = batch["attention_mask"][..., None].to(states[0].device)
            means = [(s.float() * mask).sum(1) / mask.sum(1) for s in states]
        for i, vectors in zip(rows, torch.stack(means, 1).cpu().numpy(), strict=True):
            out[i] = vectors
    return np.stack(out)


def _to(batch: Record, model: Any) -> Record:
    return {k: v.to(model.device) for k, v in batch.items()}


# ---------------------------------------------------------------- artifacts
def internals(run: Run, who: Subject, records: Sequence[Record]) -> Artifact:
    """Looks into one model with the given records: see the module's head."""
    p = run.profile
    layout = prompts.layout(p.models.layout)

    def build(folder: Path) -> Record:
        import numpy as np

        tok, model = loading.load_tokenizer(who.ref), loading.load_model(who.ref).eval()
        size, limit = p.analyses.batch_size, min(p.analyses.max_length, loading.context_length(model))
        rows = {c: [encode(tok, layout, r, c, _next(records, i)) for i, r in enumerate(records)] for c in CONDITIONS}
        fits = [i for i in range(len(records)) if max(len(e[i].ids) for e in rows.values()) <= limit]
        if not fits:
            raise BadInput(f"{who.label}: every record is longer than {limit} tokens; raise analyses.max_length")
        kept = {c: [e[i] for i in fits] for c, e in rows.items()}
        found = {c: uncertainty(model, e, size, tok.pad_token_id) for c, e in kept.items()}
        write_jsonl(folder / "uncertainty.jsonl", [
            {"id": records[i]["id"], "condition": c, "nll": values[j][0], "entropy": values[j][1],
             "tokens": len(kept[c][j].ids) - kept[c][j].start}
            for c, values in found.items() for j, i in enumerate(fits)
        ])  # fmt: skip
        np.save(folder / "pooled.npy", pooled(model, kept[X], size, tok.pad_token_id))
        mass = attention(model, kept["x, y', c"], size, tok.pad_token_id)
        write_jsonl(folder / "attention.jsonl", [
            {"id": records[i]["id"], "layer": k, **m} for j, i in enumerate(fits) for k, m in enumerate(mass[j])
        ])  # fmt: skip
        del model  # the distance loads both models anew
        base = named.student_ref(run, who.family)
        distance = None if who.seed is None else style_drift.weight_distance(base, who.ref)
        return {"rows": len(fits), "too_long": len(records) - len(fits), "weight_distance": distance}

    settings = {"ids": content_key([[r[k] for k in ("id", "question", "draft", "critique", "refined")] for r in records]),
                "layout": p.models.layout, "dtype": who.ref.dtype, "batch": p.analyses.batch_size,
                "max_length": p.analyses.max_length}  # fmt: skip
    return run.make("internals", who.label, build, settings=settings, inputs=[who.key])  # fmt: skip


def _next(records: Sequence[Record], i: int) -> str:
    return records[(i + 1) % len(records)]["critique"]


def look_inside(run: Run, family: str) -> list[Record]:
    """Measurements of uncertainty, attention and drift of every analysed model of a family.

    The base is looked at with the records of all seeds, a trained model with those of its seed.
    """
    import numpy as np

    level = run.profile.evaluation.level
    rows = {s: looked_at(run, family, s)[0] for s in seeds(run)}
    union = list({r["id"]: r for mine in rows.values() for r in mine}.values())
    base, *trained = subjects(run, family)
    before = internals(run, base, union)
    out = [*_uncertainty_rows(base, before, level), *_attention_rows(base, before, level)]
    vectors = dict(zip(_ids(before), np.load(before.folder / "pooled.npy"), strict=True))
    for who in trained:
        after = internals(run, who, rows[who.seed or 0])
        out += [*_uncertainty_rows(who, after, level), *_attention_rows(who, after, level)]
        ours = dict(zip(_ids(after), np.load(after.folder / "pooled.npy"), strict=True))
        about = {"analysis": "drift", "family": family, "method": who.method, "seed": who.seed}
        same = [i for i in ours if i in vectors]
        cosines = np.array([cosine(ours[i], vectors[i]) for i in same])
        out += [
            summaries.mean(cosines[:, k], level, **about, condition=f"layer {k}", metric="cosine")
            for k in range(cosines.shape[1])
        ]
        distance = after.manifest["facts"]["weight_distance"]
        out.append({**about, "condition": "weights", "metric": "distance", "value": distance, "n": 1, "ci_low": None,
                    "ci_high": None})  # fmt: skip
    return out


def cosine(a: Any, b: Any) -> Any:
    """Cosine of the last axis: (…, hidden) and (…, hidden) → (…)."""
    import numpy as np

    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def _ids(made: Artifact) -> list[str]:
    return [r["id"] for r in made.rows("uncertainty.jsonl") if r["condition"] == X]


def _uncertainty_rows(who: Subject, made: Artifact, level: float) -> Iterator[Record]:
    """Each condition's mean, and what each adds to the one before (paired by record)."""
    about = {"analysis": "uncertainty", "family": who.family, "method": who.method, "seed": who.seed}
    by: dict[str, dict[str, Record]] = {c: {} for c in CONDITIONS}
    for r in made.rows("uncertainty.jsonl"):
        by[r["condition"]][r["id"]] = r
    for metric in ("nll", "entropy"):
        for c in CONDITIONS:
            values = [r[metric] for r in by[c].values()]
            yield summaries.mean(values, level, **about, condition=c, metric=metric)
        for a, b in ((CONDITIONS[2], X), (CONDITIONS[2], CONDITIONS[1]), (CONDITIONS[2], CONDITIONS[3])):
            values = [r[metric] - by[b][i][metric] for i, r in by[a].items()]
            yield summaries.mean(values, level, **about, condition=f"({a}) − ({b})", metric=metric)


def _attention_rows(who: Subject, made: Artifact, level: float) -> Iterator[Record]:
    about = {"analysis": "attention", "family": who.family, "method": who.method, "seed": who.seed}
    rows = made.rows("attention.jsonl")
    layers = sorted({r["layer"] for r in rows})
    for k in layers:
        mine = [r for r in rows if r["layer"] == k]
        for part in PARTS:
            yield summaries.mean([r[part] for r in mine], level, **about, condition=f"layer {k}", metric=part)
    for k, name in ((layers[0], "first layer"), (layers[-1], "last layer")):
        values = [r[CRITIQUE] - r[X] for r in rows if r["layer"] == k]
        yield summaries.mean(values, level, **about, condition=name, metric="c − x")
