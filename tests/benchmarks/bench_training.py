"""Lab student, full fine-tuning: this kit's trainer against plain TRL with its defaults and a bare torch loop.

python tests/benchmarks/bench_training.py [--rows 192] [--rounds 3] [--micro 8]

All three train the same lab student on the same CGD rows in the same order, in turns, in one process; ratios are of tokens a
second (prompt + completion, without padding), the median over the rounds. The bare loop does the same updates as the kit:
batch 32, AdamW, clipping, the loss divided by the learnt tokens of the step. Plain TRL gets the rows as prompt and completion
and keeps its defaults (batch 8, activation checkpointing, entropy and accuracy of every token); CPU and learning rate are set.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from random import Random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
RATE, BATCH = 1e-4, 32


def lab_rows(n):
    """CGD rows of the lab: problems with slips as drafts, the exact teacher's critiques and refinements."""
    from cgd_utils import methods, prompts
    from cgd_utils.lab import teacher, world

    records = []
    knobs = teacher.TeacherSettings(0.0, 1.0, 1.0, 0.0)
    for p in world.make_problems(n, [2, 3, 4], 0, "train"):
        rng = Random(p["id"])
        draft = world.corrupt(rng, p["meta"], rng.choice(("steps", "verify")))
        critique = teacher.critique(draft, p["meta"], rng, knobs).text
        records.append(
            {**p, "draft": draft, "critique": critique, "refined": teacher.refine(draft, p["meta"], rng, knobs)}
        )
    return methods.rows("cgd", records, prompts.layout("lab"))


def kit(base, tok, rows, micro):
    from cgd_utils.core import settings
    from cgd_utils.training.trainer import train

    t = settings.Training(
        mode="full", learning_rate=RATE, lr_scheduler="constant", warmup=0, batch_size=BATCH, micro_batch_size=micro
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        facts = train(base, tok, rows, t, 0, Path(folder))
        whole = time.perf_counter() - started
        import json

        history = [json.loads(line) for line in (Path(folder) / "history.jsonl").open()]
    return sum(h["seconds"] for h in history), facts["final_loss"], whole


def bare(base, tok, rows):
    import torch

    from cgd_utils.models import loading
    from cgd_utils.training.tokenization import Collator

    torch.manual_seed(0)
    model = loading.load_model(base).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    collate = Collator(rows, tok.pad_token_id, False)
    started = time.perf_counter()
    for i in range(0, len(rows), BATCH):
        batch = collate([{"numbers": list(range(i, min(i + BATCH, len(rows))))}])
        labels = batch["labels"][:, 1:]
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits[
            :, :-1
        ]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        last = loss.item()
    return time.perf_counter() - started, last


def plain_trl(base, tok, rows):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from cgd_utils.models import loading

    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(output_dir=folder, learning_rate=RATE, num_train_epochs=1, use_cpu=True, bf16=False, disable_tqdm=True,
                           save_strategy="no")  # fmt: skip
        data = Dataset.from_list([{"prompt": r["prompt"], "completion": r["completion"]} for r in rows])
        trainer = SFTTrainer(model=loading.load_model(base), args=config, train_dataset=data, processing_class=tok)
        started = time.perf_counter()
        trainer.train()
        seconds, told = time.perf_counter() - started, trainer.state.log_history
        # it logs every tenth step; a shorter run tells its mean only
        return seconds, ([h["loss"] for h in told if "loss" in h] or [told[-1]["train_loss"]])[-1]


def main(rows=192, rounds=3, micro=8):
    import torch
    from datasets import disable_progress_bars

    from cgd_utils.models import loading
    from cgd_utils.training import tokenization

    disable_progress_bars()
    base = loading.ModelRef(loading.resolve("lab:llama"), "llama", dtype="float32", device="cpu")
    tok = loading.load_tokenizer(base)
    chats = lab_rows(rows)
    tokenised, _ = tokenization.tokenize(chats, tok, 4096)
    tokens = tokenization.lengths(tokenised)[0]
    out = {"kit": [], "bare": [], "trl": []}
    losses = {}
    bare(base, tok, tokenised[:BATCH])  # warm-up
    for _ in range(rounds):
        seconds, losses["kit"], _ = kit(base, tok, tokenised, micro)
        out["kit"].append(tokens / seconds)
        seconds, losses["bare"] = bare(base, tok, tokenised)
        out["bare"].append(tokens / seconds)
        seconds, losses["trl"] = plain_trl(base, tok, chats)
        out["trl"].append(tokens / seconds)
    ratio = {k: statistics.median(a / b for a, b in zip(out["kit"], out[k], strict=True)) for k in ("trl", "bare")}
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rows} rows, {tokens} tokens, {rounds} rounds, micro-batch {micro}"
    )
    for name, values in out.items():
        print(f"{name:5} {statistics.median(values):8.0f} tokens/s   last loss {losses[name]:.4f}")
    print(
        f"kit / plain TRL defaults: {ratio['trl']:.2f} (wanted >= 1.3)   kit / bare loop: {ratio['bare']:.2f} (wanted >= 0.8)"
    )
    print(f"last step's loss, kit - bare loop: {losses['kit'] - losses['bare']:+.5f}")
    return {"ratios": ratio, "losses": losses}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--micro", type=int, default=8)
    main(**vars(parser.parse_args()))
