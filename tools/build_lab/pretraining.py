"""Pretraining of the lab's students from scratch: the text they learn from, and a resumable loop.

The world and this mixture were chosen by what the *base* students can do (see the model cards in
``cgd_utils/lab/checkpoints/``), never by which training method does better with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from cgd_utils import prompts
from cgd_utils.lab import teacher, world

from . import tokenizer

# The way of answering, the same distribution for plain questions, for refined answers and under instructions that
# leave it open: what a student has linked in pretraining is what critique-conditioned training can move.
STYLE_WEIGHTS = {"terse": 0.6, "steps": 0.3, "verify": 0.1}
# Shares of the kinds of dialogue.
MIXTURE = {"plain": 0.25, "instructed": 0.40, "refine": 0.20, "critique": 0.15}
STEP_WEIGHTS = {1: 2, 2: 3, 3: 3, 4: 3, 5: 2}
# Instructions, in the order of world.INSTRUCTIONS: those that need more practice come more often.
INSTRUCTION_WEIGHTS = (3, 3, 1, 1, 1, 2)
RETRY_RATE = 0.1
LAYOUT = prompts.layout("lab")


@dataclass(frozen=True)
class Recipe:
    """What a student reads: its ways of answering, and the shares of the kinds of dialogue."""

    styles: dict[str, float]
    mixture: dict[str, float]


RECIPES = {
    "lab": Recipe(STYLE_WEIGHTS, MIXTURE),
    # a teacher: never terse, and practised in critiques and refinements
    "teacher": Recipe(
        {"steps": 0.75, "verify": 0.25}, {"plain": 0.25, "instructed": 0.05, "refine": 0.30, "critique": 0.40}
    ),
}  # fmt: skip

Segment = tuple[str, bool]


@dataclass(frozen=True)
class Dialogue:
    """One pretraining example: the user's turn, and the reply in segments (text, is it learnt)."""

    kind: str
    user: str
    reply: tuple[Segment, ...]


def _reply(rng: Random, meta: dict[str, Any], style: str) -> tuple[Segment, ...]:
    """A right answer; in verified steps now and then with a slip that its check finds. The slip is not learnt."""
    if style != "verify" or rng.random() >= RETRY_RATE:
        return ((world.write(meta, style), True),)
    i = rng.randrange(meta["k"])
    op, n = meta["steps"][i]
    a = world.values(meta)[i]
    result = world.slip(rng, a, op, n)
    lines = world.written_steps(meta, style)
    before = "".join(line + "\n" for line in lines[:i])
    after = "".join(line + "\n" for line in lines[i:])
    return (
        (before, True),
        (world.equation(a, op, n, result), False),
        (f", {world.check(a, op, n, result)}\n{after}Answer: {world.values(meta)[-1]}", True),
    )


def dialogue(rng: Random, recipe: Recipe = RECIPES["lab"]) -> Dialogue:
    """Draws one dialogue of the mixture."""
    problem = world.make_problem(rng, rng.choices(*zip(*STEP_WEIGHTS.items(), strict=True))[0])
    meta, question = problem["meta"], problem["question"]
    style = rng.choices(*zip(*recipe.styles.items(), strict=True))[0]
    kind = rng.choices(*zip(*recipe.mixture.items(), strict=True))[0]
    if kind == "plain":
        return Dialogue(kind, LAYOUT.ask(question)[0]["content"], _reply(rng, meta, style))
    if kind == "instructed":
        name, word = rng.choices(list(world.INSTRUCTIONS), INSTRUCTION_WEIGHTS)[0], rng.choice(world.WORDS)
        asked = world.instruct(problem, name, word)
        reply = (
            _reply(rng, meta, name)
            if name in ("steps", "verify")
            else ((world.INSTRUCTIONS[name].obey(meta, style, word), True),)
        )
        return Dialogue(kind, LAYOUT.ask(asked["question"])[0]["content"], reply)
    draft = draw_draft(rng, meta)
    settings = teacher.TeacherSettings(specificity=0.9, leakage=0.1)
    critique = teacher.critique(draft, meta, rng, settings).text
    if kind == "critique":
        return Dialogue(kind, LAYOUT.ask_critique(question, draft)[0]["content"], ((critique, True),))
    shown = critique if rng.random() < 0.8 else None
    return Dialogue(kind, LAYOUT.ask_refined(question, draft, shown)[0]["content"], _reply(rng, meta, style))


def draw_draft(rng: Random, meta: dict[str, Any]) -> str:
    """A draft for a pretraining dialogue: right in two of five, else with a slip, a lost step or a wrong operation."""
    style, kind = rng.choice(world.STYLES), rng.random()
    if kind < 0.4:
        return world.write(meta, style)
    if kind < 0.8 or meta["k"] == 1:
        return world.corrupt(rng, meta, style)
    i = rng.randrange(meta["k"])
    steps = [list(s) for s in meta["steps"]]
    if kind < 0.9:
        del steps[i]
    else:
        steps[i] = ["-" if steps[i][0] == "+" else "+", steps[i][1]]
    changed = {"k": len(steps), "start": meta["start"], "steps": steps}
    if not all(0 <= v <= world.MAX_VALUE for v in world.values(changed)):
        return world.corrupt(rng, meta, style)
    return world.write(changed, style)


def corpus(seed: int, chunk: int, size: int, recipe: Recipe = RECIPES["lab"]) -> list[Dialogue]:
    """Chunk number ``chunk`` of the endless pretraining text: ``size`` dialogues, a function of its arguments only."""
    rng = Random(f"pretraining/{seed}/{chunk}")
    return [dialogue(rng, recipe) for _ in range(size)]


def train_tokenizer(seed: int = 0) -> Any:
    """The lab's tokenizer, trained on 20,000 dialogues of the mixture."""
    texts = (t for d in corpus(seed, -1, 20_000) for t in (d.user, *(s for s, _ in d.reply)))
    return tokenizer.train(texts, vocab_size=576)


def encode(dialogues: list[Dialogue], tok: Any) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels (-100 where nothing is learnt) of each dialogue, in the chat template's layout."""
    bos, eos, user, assistant = tok.convert_tokens_to_ids(
        [tokenizer.BOS, tokenizer.EOS, tokenizer.USER, tokenizer.ASSISTANT]
    )
    users = tok([d.user for d in dialogues])["input_ids"]
    pieces = iter(tok([s for d in dialogues for s, _ in d.reply])["input_ids"])
    out = []
    for d, u in zip(dialogues, users, strict=True):
        ids = [bos, user, *u, eos, assistant]
        labels = [-100] * len(ids)
        for _, learnt in d.reply:
            piece = next(pieces)
            ids += piece
            labels += piece if learnt else [-100] * len(piece)
        out.append(([*ids, eos], [*labels, eos]))
    return out


@dataclass(frozen=True)
class PretrainingSettings:
    """Settings of one pretraining run.

    Attributes:
        tokens: tokens to process in all (prompt and reply).
        batch_tokens: tokens in a batch, padding included.
        learning_rate: peak of AdamW's rate (embeddings, norms, experts).
        muon_learning_rate: peak of Muon's rate (weight matrices).
        warmup: share of the tokens with a rising rate; it falls linearly to zero afterwards.
        chunk: dialogues generated at a time; a checkpoint is written between chunks.
        seed: of the weights and of the text.
        recipe: what is read, a name in `RECIPES`.
    """

    tokens: int
    batch_tokens: int = 4096
    learning_rate: float = 2e-3
    muon_learning_rate: float = 2e-2
    warmup: float = 0.03
    chunk: int = 8192
    seed: int = 0
    recipe: str = "lab"


def _batches(
    rows: list[tuple[list[int], list[int]]], settings: PretrainingSettings, chunk: int, pad: int
) -> Iterator[tuple[Any, Any]]:
    import torch

    rows = sorted(rows, key=lambda r: len(r[0]))
    groups: list[list[tuple[list[int], list[int]]]] = [[]]
    for row in rows:
        if len(row[0]) * (len(groups[-1]) + 1) > settings.batch_tokens:
            groups.append([])
        groups[-1].append(row)
    Random(f"batches/{settings.seed}/{chunk}").shuffle(groups)
    for group in groups:
        width = max(len(ids) for ids, _ in group)
        yield (
            torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group]),
            torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in group]),
        )


def _optimizers(model: Any, settings: PretrainingSettings) -> list[Any]:
    import torch

    matrices, rest = [], []
    for name, p in model.named_parameters():
        (matrices if p.ndim == 2 and "embed" not in name and "lm_head" not in name else rest).append(p)
    return [
        torch.optim.Muon(matrices, lr=settings.muon_learning_rate, weight_decay=0.0, momentum=0.95),
        torch.optim.AdamW(rest, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def pretrain(
    config: Any, tok: Any, settings: PretrainingSettings, folder: Path, log_every: int = 50, start: Path | None = None
) -> Any:
    """Trains a model from its config on the mixture; goes on from ``folder/state.pt`` where it was stopped.

    The loss is on the replies only: questions are drawn at random, so there is nothing in them to learn. Writes one
    line to ``folder/curve.jsonl`` every ``log_every`` batches: tokens seen, loss (nats a learnt token), tokens a second.

    Args:
        config: a transformers config; its ``vocab_size`` must be the tokenizer's.
        tok: the lab's tokenizer.
        settings: see `PretrainingSettings`.
        folder: where state and curve are written.
        start: a checkpoint to go on from; None = random weights.

    Returns:
        The trained model, in evaluation mode, fp32.
    """
    import torch
    from tqdm.auto import tqdm
    from transformers import AutoModelForCausalLM

    torch.manual_seed(settings.seed)
    if start is None:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    else:
        model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, attn_implementation="sdpa").train()
    optimizers = _optimizers(model, settings)
    folder.mkdir(parents=True, exist_ok=True)
    state_file, curve_file = folder / "state.pt", folder / "curve.jsonl"
    seen, chunk, curve, wall = 0, 0, [], 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        if state["settings"] != asdict(settings):
            raise ValueError(f"{state_file} was made with other settings ({state['settings']}): delete it or use them")
        model.load_state_dict(state["model"])
        for o, s in zip(optimizers, state["optimizers"], strict=True):
            o.load_state_dict(s)
        seen, chunk, curve, wall = state["seen"], state["chunk"], state["curve"], state["wall"]
    bar = tqdm(total=settings.tokens, initial=seen, unit="tok", unit_scale=True, mininterval=10, desc=folder.name)
    started, batch_no, losses = time.time() - wall, 0, []
    pad = tok.pad_token_id
    while seen < settings.tokens:
        rows = encode(corpus(settings.seed, chunk, settings.chunk, RECIPES[settings.recipe]), tok)
        # one divisor for every batch of the chunk: a learnt token counts the same in short and in long batches
        for ids, labels in _batches(rows, settings, chunk, pad):
            share = seen / settings.tokens
            factor = max(0.0, min(share / settings.warmup + 1e-3, (1 - share) / (1 - settings.warmup)))
            for o, lr in zip(optimizers, (settings.muon_learning_rate, settings.learning_rate), strict=True):
                for g in o.param_groups:
                    g["lr"] = lr * factor
            learnt = int((labels != -100).sum())
            divisor = max(learnt, settings.batch_tokens // 8)
            with torch.autocast("cpu", torch.bfloat16):
                out = model(input_ids=ids, attention_mask=(ids != pad).long(), use_cache=False)
            where = labels[:, 1:] != -100
            loss_sum = torch.nn.functional.cross_entropy(
                out.logits[:, :-1][where].float(), labels[:, 1:][where], reduction="sum"
            )
            balance = getattr(out, "aux_loss", None)  # mixture of experts: keeps every expert in use
            (loss_sum / divisor + (0.0 if balance is None else 0.01 * balance)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for o in optimizers:
                o.step()
                o.zero_grad(set_to_none=True)
            n = int((ids != pad).sum())
            seen += n
            bar.update(n)
            losses.append(loss_sum.item() / learnt)
            batch_no += 1
            if batch_no % log_every == 0 or seen >= settings.tokens:
                wall = time.time() - started
                curve.append({"tokens": seen, "loss": round(sum(losses) / len(losses), 4), "seconds": round(wall, 1)})
                losses = []
                bar.set_postfix(loss=curve[-1]["loss"])
            if seen >= settings.tokens:
                break
        chunk += 1
        wall = time.time() - started
        state = {
            "settings": asdict(settings),
            "model": model.state_dict(),
            "seen": seen,
            "chunk": chunk,
            "wall": wall,
            "optimizers": [o.state_dict() for o in optimizers],
            "curve": curve,
        }
        torch.save(state, state_file.with_suffix(".tmp"))
        state_file.with_suffix(".tmp").replace(state_file)
        curve_file.write_text("".join(json.dumps(c) + "\n" for c in curve))
    bar.close()
    return model.eval()
