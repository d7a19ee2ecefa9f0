"""Training as artifacts: any method, full fine-tuning, LoRA or QLoRA, on the same questions in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from .. import methods, prompts
from ..core import provenance, store
from ..core.errors import BadInput
from ..core.files import write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run
from ..models import adapters, loading, named
from ..models.loading import ModelRef
from ..synthesis import teaching
from . import tokenization, torchrun, trainer


def draw(
    records: Sequence[Record],
    rows: int,
    seed: int,
    right_share: float | None = None,
    held_out: int = 0,
    share_by: str = "truth",
) -> list[Record]:
    """The records that a seed trains on, in its order: the same for every method.

    With ``right_share`` a mix of right and wrong drafts, by the grader (``share_by`` truth) or by the critique (conclusion); its
    size is the same for every share: what the scarcer kind gives.
    The last ``held_out`` records of the seed's order are never drawn, see `validation`.

    Raises:
        BadInput: more rows asked for than there are.
    """
    if rows + held_out > len(records) or held_out == len(records):
        held = f" + training.validation_rows = {held_out}" if held_out else ""
        raise BadInput(
            f"training.rows = {rows}{held} but the synthesis left only {len(records)} records; lower it or use 0 (all)"
        )
    order = _order(len(records), seed)
    order = order[: len(order) - held_out]
    if right_share is not None:
        judged = [r["conclusion"] == "right" if share_by == "conclusion" else bool(r["draft_correct"]) for r in records]
        kinds = [[i for i in order if judged[i] is right] for right in (True, False)]
        size = min(len(kinds[0]), len(kinds[1]), rows or len(records))
        n = round(size * right_share)
        chosen = {*kinds[0][:n], *kinds[1][: size - n]}
        if not chosen:
            raise BadInput("training.right_share: all drafts are right or all are wrong, so no mix can be drawn")
        return [records[i] for i in order if i in chosen]
    return [records[i] for i in order[: rows or None]]


def validation(records: Sequence[Record], held_out: int, seed: int) -> list[Record]:
    """The records that a seed holds out: the last of its order, the same for every method."""
    return [records[i] for i in _order(len(records), seed)[len(records) - held_out :]] if held_out else []


def _order(n: int, seed: int) -> list[int]:
    order = list(range(n))
    Random(f"order/{seed}").shuffle(order)
    return order


def fine_tune(
    run: Run,
    family: str,
    method: str,
    seed: int,
    records: Artifact | None = None,
    watch: Callable[[Record], None] | None = None,
) -> Artifact:
    """Trains one student with one method and seed, or loads it; the model or adapter lies in ``<artifact>/model``.

    Under torchrun every process calls it: they train together, and the first one writes.

    Args:
        run: the run.
        family: of the student, as in ``models.students``.
        method: see `methods.METHODS`.
        seed: draws the rows and their order.
        records: distillation records; None = those of the run's training seed.
        watch: called with the row of every step while it trains.
    """
    from . import rate_search  # it trains with this function

    run = rate_search.settled(run, family, method)
    p = run.profile
    records = records or teaching.seed_records(run, family, seed)
    base = named.model_ref(run, named.student(run, family), family)
    t = p.training
    tok = loading.load_tokenizer(base)
    settings = {
        "training": t.model_dump(exclude={"methods", "seeds", "track", "select", "pilot_seed"}),
        "method": method,
        "seed": seed,
        "models": p.models.model_dump(exclude={"students", "weaker", "dtype", "layout"}),
        "layout": prompts.layout(p.models.layout).in_training.key,
        "dtype": base.dtype,
        "base": named.model_key(base.path),
        # only these can take rows away: a method more in the profile trains nothing else again
        "left_out_with": list(_long(run, _drawn(run, records.rows(), seed), method, seed, tok)),
    }

    def build(folder: Path) -> Record:
        tokenised, too_long = training_rows(run, records.rows(), method, seed, tok)
        held = validation(records.rows(), t.validation_rows, seed)
        checked, _ = tokenization.tokenize(_rows(run, method, held, seed), tok, t.max_length)
        if too_long:
            write_jsonl(folder / "too_long.jsonl", too_long)
        steps = None
        if t.equal == "tokens":
            steps = _steps_for(tokenised, _budget(run, records.rows(), seed, tok), t.batch_size)
        facts = trainer.train(base, tok, tokenised, t, seed, folder, checked, steps, watch)
        made = {"rows": len(tokenised), "too_long": len(too_long), "validation_rows": len(checked), **facts}
        if torchrun.rank() == 0:
            adapters.write_card(
                folder / "model",
                {
                    "base": p.models.students[family],
                    "family": family,
                    "method": method,
                    "seed": seed,
                    "mode": t.mode,
                    "data_key": records.key,
                    "facts": made,
                    "settings": settings["training"],
                    "versions": provenance.environment()["versions"],
                },
            )
        return made

    label = f"{family}-{method.replace('(', '-').rstrip(')')}-s{seed}"
    if torchrun.rank():
        return _join(run, label, build, settings, [records.key])
    return run.make("models", label, build, settings=settings, inputs=[records.key])


def _join(run: Run, label: str, build: Callable[[Path], Record], settings: Record, inputs: list[str]) -> Artifact:
    """The part of a further process of torchrun: it trains along; the first process holds the lock and writes."""
    import torch.distributed as dist

    key, folder = run.place("models", label, build, settings=settings, inputs=inputs)
    if (done := store.load(folder)) is not None:
        return done
    build(folder)
    dist.barrier() if dist.is_initialized() else None
    return Artifact(folder, key, {})


def _drawn(run: Run, records: Sequence[Record], seed: int) -> list[Record]:
    t = run.profile.training
    return draw(records, t.rows, seed, t.right_share, t.validation_rows, t.share_by)


def _long(run: Run, drawn: Sequence[Record], method: str, seed: int, tok: Any) -> dict[str, list[Record]]:
    """The rows of the other compared methods, of those only that might have a row longer than ``training.max_length``."""
    t = run.profile.training
    others = {m: _rows(run, m, drawn, seed) for m in t.methods if m != method}
    return {m: rows for m, rows in others.items() if rows and tokenization.may_be_too_long(rows, tok, t.max_length)}


def _rows(run: Run, method: str, records: Sequence[Record], seed: int) -> list[Record]:
    return methods.rows(method, records, prompts.layout(run.profile.models.layout), seed) if records else []


def training_rows(
    run: Run, records: Sequence[Record], method: str, seed: int, tok: Any
) -> tuple[list[Record], list[Record]]:
    """Tokenised rows of a method and seed, and the rows left out as too long for this or any compared method.

    A question that is too long in one method's row is left out of all, so that every method sees the same questions; the
    list says whose row it was: ``{id, length, method}``.

    Raises:
        BadInput: nothing is left.
    """
    t = run.profile.training
    drawn = _drawn(run, records, seed)
    rows = _rows(run, method, drawn, seed)
    tokenised, left_out = tokenization.tokenize(rows, tok, t.max_length)
    too_long = {r["id"]: {**r, "method": method} for r in left_out}
    for other, theirs in _long(run, drawn, method, seed, tok).items():
        for r in tokenization.tokenize(theirs, tok, t.max_length)[1]:
            too_long.setdefault(r["id"], {**r, "method": other})
    tokenised = [r for r in tokenised if r["id"] not in too_long]
    if not tokenised:
        raise BadInput(f"training.max_length = {t.max_length}: all {len(rows)} rows are longer; raise it")
    return tokenised, list(too_long.values())


def _budget(run: Run, records: Sequence[Record], seed: int, tok: Any) -> int:
    """Trained tokens that every method gets: those of ``training.equal_to`` in ``training.epochs``."""
    t = run.profile.training
    rows, _ = training_rows(run, records, t.equal_to, seed, tok)
    sizes = _learnt(rows, t.batch_size)
    return sum(sizes[i % len(sizes)] for i in range(-int(-t.epochs * len(sizes) // 1)))


def _learnt(rows: Sequence[Record], batch_size: int) -> list[int]:
    return [tokenization.lengths(rows[i : i + batch_size])[1] for i in range(0, len(rows), batch_size)]


def _steps_for(rows: Sequence[Record], budget: int, batch_size: int) -> int:
    """Optimizer steps, going round the rows, after which the trained tokens are nearest to the budget; at least 1."""
    sizes, seen, steps = _learnt(rows, batch_size), 0, 0
    while seen < budget:
        seen += sizes[steps % len(sizes)]
        steps += 1
    last = sizes[(steps - 1) % len(sizes)]
    return max(1, steps - 1 if steps and seen - budget > budget - (seen - last) else steps)


def trained_ref(run: Run, family: str, model: Artifact, name: str) -> ModelRef:
    """How to load a trained model: a whole model, or an adapter over the family's base."""
    folder = model.folder / "model"
    if (folder / "adapter_config.json").exists():
        return named.model_ref(run, named.student(run, family), name, adapter=str(folder))
    return named.model_ref(run, str(folder), name)


def whole(run: Run, family: str, model: Artifact, label: str) -> Path:
    """The folder of a trained model that can be loaded by itself; an adapter is merged into its base (16 or 32 bits)."""
    ref = trained_ref(run, family, model, label)
    if ref.adapter is None:
        return Path(ref.path)

    def build(folder: Path) -> None:
        from dataclasses import replace

        loading.load_model(replace(ref, quantize=False)).merge_and_unload().save_pretrained(folder / "model")
        loading.load_tokenizer(ref).save_pretrained(folder / "model")

    return run.make("merged", label, build, inputs=[model.key]).folder / "model"
