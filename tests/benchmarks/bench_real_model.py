"""A real student of 135 million weights on this machine's processor, against what a user would run instead.

python tests/benchmarks/bench_real_model.py [--rows 48] [--prompts 64 256] [--new 100] [--only training|generation]

Everything is measured in one run, so that ratios hold whatever else the machine does:

1. training with LoRA on rows of (x, y', c) → ŷ: this kit's trainer, TRL's ``SFTTrainer`` with its defaults, and a bare loop
   with bf16 autocast; all in the same number format, tokens a second of prompt and completion without padding.
2. greedy generation: plain batched ``model.generate``, the kit's engine transformers, and, where CGD_VLLM_PYTHON names an
   interpreter that has vLLM, the kit's engine vllm and bare ``LLM.generate``; new tokens a second, loading not counted.
3. the processor's own rate of multiplying matrices in bf16, and which share of it the two above reach.
4. agreement of greedy texts: bf16 with fp32, and vLLM with transformers, on the first 20 tokens.
5. what a comparison of 7 arms × 4 seeds would take by these figures.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import psutil
import torch

from cgd_utils import methods, prompts
from cgd_utils.core import settings
from cgd_utils.core.settings import Engine, Sampling
from cgd_utils.data import word_problems
from cgd_utils.engines import generation
from cgd_utils.engines.request_log import Request
from cgd_utils.models import chat_templates, loading, number_format
from cgd_utils.training import tokenization, trainer

BATCH, RATE, RANK = 16, 3e-4, 16
LAYOUT = prompts.layout("plain")
BARE_VLLM = """
import json, sys, time
task = json.load(open(sys.argv[1]))
from vllm import LLM, SamplingParams
llm = LLM(**task["engine"])
for ids in task["sets"]:
    start = time.monotonic()
    texts = llm.generate([{"prompt_token_ids": i} for i in ids], SamplingParams(**task["sampling"]), use_tqdm=False)
    print("RATE", sum(len(t.outputs[0].token_ids) for t in texts) / (time.monotonic() - start), flush=True)
"""


def problems(n):
    return word_problems.make_problems(n, [1, 2, 3], 3, "test", "all", 30)


def training_rows(n):
    """CGD rows whose texts are about as long as real ones."""
    records = [
        {
            **p,
            "draft": p["solution"].replace("1", "2"),
            "critique": f"The draft says {p['solution'].splitlines()[0]!r}. Look at that step again.\nConclusion: wrong",
            "refined": f"{p['solution']}\nAnswer: {p['answer']}",
        }
        for p in problems(n)
    ]
    return methods.rows("cgd", records, LAYOUT)


def matrix_rate():
    """Multiplications and additions a second in bf16 on all cores."""
    a, b = (torch.randn(2048, 2048).bfloat16() for _ in range(2))
    best = 0.0
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * 2048**3 / (time.perf_counter() - start))
    return best


# ---------------------------------------------------------------- training
def kit(base, tok, rows, micro):
    t = settings.Training(
        mode="lora", learning_rate=RATE, lr_scheduler="constant", warmup=0, batch_size=BATCH, micro_batch_size=micro
    )
    with tempfile.TemporaryDirectory() as folder:
        facts = trainer.train(base, tok, rows, t, 0, Path(folder))
        history = [json.loads(line) for line in (Path(folder) / "history.jsonl").open()]
    return sum(h["seconds"] for h in history), facts["final_loss"]


def with_adapter(base):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(loading.load_model(base), config)


def bare(base, tok, rows, micro):
    model = with_adapter(base).train()
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=RATE, weight_decay=0.0)
    collate = tokenization.Collator(rows, tok.pad_token_id, False)
    half = model.get_base_model().dtype == torch.bfloat16
    start = time.perf_counter()
    for at in range(0, len(rows), BATCH):
        step = list(range(at, min(at + BATCH, len(rows))))
        learnt = tokenization.lengths([rows[i] for i in step])[1]
        total = 0.0
        for i in range(0, len(step), micro):
            batch = collate([{"numbers": step[i : i + micro]}])
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = model(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
                ).logits
            targets = batch["labels"][:, 1:].flatten()
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets, reduction="sum")
            (loss / learnt).backward()
            total += loss.item() / learnt
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - start, total


def plain_trl(base, tok, chats):
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    half = number_format.resolve(base.path, base.dtype, "cpu") == "bfloat16"
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            learning_rate=RATE,
            num_train_epochs=1,
            use_cpu=True,
            bf16=half,
            disable_tqdm=True,
            save_strategy="no",
        )
        data = Dataset.from_list([{"prompt": r["prompt"], "completion": r["completion"]} for r in chats])
        adapter = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        trl = SFTTrainer(
            model=loading.load_model(base), args=config, train_dataset=data, processing_class=tok, peft_config=adapter
        )
        start = time.perf_counter()
        trl.train()
        return time.perf_counter() - start, trl.state.log_history[-1]["train_loss"]


def bench_training(base, tok, n, micro):
    chats = training_rows(n)
    rows, _ = tokenization.tokenize(chats, tok, 1024)
    tokens, learnt = tokenization.lengths(rows)
    print(
        f"\ntraining: {n} rows, {tokens} tokens, {learnt} of them learnt, LoRA r {RANK}, batch {BATCH}, micro-batch {micro}"
    )
    bare(base, tok, rows[:BATCH], micro)  # warm-up
    rates = {}
    for name, work in (
        ("kit", lambda: kit(base, tok, rows, micro)),
        ("bare loop", lambda: bare(base, tok, rows, micro)),
        ("TRL defaults", lambda: plain_trl(base, tok, chats)),
    ):
        seconds, loss = work()
        rates[name] = tokens / seconds
        print(f"  {name:<14} {rates[name]:8.0f} tokens/s   loss {loss:.4f}", flush=True)
    print(f"  kit / TRL defaults {rates['kit'] / rates['TRL defaults']:.2f} (wanted >= 1.5)   "
          f"kit / bare loop {rates['kit'] / rates['bare loop']:.2f} (wanted >= 1.0)")  # fmt: skip
    return rates["kit"]


# ---------------------------------------------------------------- generation
def plain(engine, ids, new):
    """New tokens of plain batched ``model.generate``, all prompts at once, and the token ids of each text."""
    tok = engine.tokenizer
    batch = tok.pad({"input_ids": ids}, return_tensors="pt", padding_side="left")
    with torch.inference_mode():
        out = engine.model.generate(
            **batch,
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=tok.pad_token_id,
            eos_token_id=sorted(engine._ends),
        )
    texts = out[:, batch["input_ids"].shape[1] :].tolist()
    cut = [t[: next((i + 1 for i, x in enumerate(t) if x in engine._ends), len(t))] for t in texts]
    return sum(map(len, cut)), cut


def in_order(rows):
    """New tokens of rows, and their texts in the order of the requests."""
    return sum(r["n_tokens"] for r in rows), [r["text"] for r in sorted(rows, key=lambda r: int(r["id"]))]


def batched(engine, pairs, sampling):
    return in_order([row for batch in engine.batches(pairs) for row in engine.generate(batch, sampling)])


def streamed(engine, pairs, sampling):
    return in_order([row for part in engine.stream(pairs, sampling) for row in part])


def first_tokens(tok, texts, n=20):
    return [tok(t, add_special_tokens=False)["input_ids"][:n] for t in texts]


def agreement(tok, a, b):
    pairs = list(zip(first_tokens(tok, a), first_tokens(tok, b), strict=True))
    return sum(x == y for x, y in pairs) / len(pairs)


def timed(name, work, rates):
    start = time.perf_counter()
    tokens, texts = work()
    rates[name] = tokens / (time.perf_counter() - start)
    print(f"  {name:<22} {rates[name]:8.0f} tokens/s", flush=True)
    return texts


def bench_generation(base, counts, new, python):
    own = generation.TransformersGenerator(base, 256)
    sampling, tok = Sampling(max_new_tokens=new), own.tokenizer
    requests = [Request(f"{i}", LAYOUT.ask(p["question"])) for i, p in enumerate(problems(max(counts)))]
    ids = chat_templates.prompt_ids(tok, [r.messages for r in requests])
    own.generate([(requests[0], 0)], Sampling(max_new_tokens=2))  # loads
    best, texts = {}, {}
    for n in counts:
        print(f"\ngeneration: {n} prompts, {new} new tokens at most, {own.model.dtype}")
        rates = best[n] = {}
        pairs = [(r, 0) for r in requests[:n]]
        plain_ids = timed("plain generate", lambda n=n: plain(own, ids[:n], new), rates)
        texts["plain"] = [tok.decode(t, skip_special_tokens=True) for t in plain_ids]
        texts["transformers"] = timed("engine transformers", lambda p=pairs: batched(own, p, sampling), rates)
    own.close()
    if python:
        engine = Engine(engine="vllm", vllm_python=python)
        served = generation.open_generator(base, engine)
        list(served.stream([(requests[0], 0)] * 1 + [(r, 0) for r in requests[1:2]], sampling))  # loads
        list(served.stream([(r, 0) for r in requests], Sampling(max_new_tokens=2)))
        for n in counts:
            print(f"\ngeneration: {n} prompts, vLLM")
            pairs = [(r, 0) for r in requests[:n]]
            texts["vllm"] = timed("engine vllm", lambda p=pairs: streamed(served, p, sampling), best[n])
        settings_used = {**served._engine(), **served._on_cpu([{"ids": i} for i in ids], new)}
        with tempfile.TemporaryDirectory() as folder:
            task = Path(folder) / "task.json"
            sets = [ids[:1], *(ids[:n] for n in counts)]
            told = {"engine": settings_used, "sampling": served._sampling(sampling, tok), "sets": sets}
            task.write_text(json.dumps(told))
            out = subprocess.run(
                [python, "-P", "-c", BARE_VLLM, str(task)], capture_output=True, text=True, check=True
            ).stdout
        bare_rates = [float(line.split()[1]) for line in out.splitlines() if line.startswith("RATE")][1:]
        for n, rate in zip(counts, bare_rates, strict=True):
            best[n]["bare LLM.generate"] = rate
            print(f"\n{n} prompts: bare LLM.generate {rate:.0f} tokens/s; engine vllm / bare {best[n]['engine vllm'] / rate:.2f} "
                  f"(wanted >= 0.95); engine vllm / plain generate {best[n]['engine vllm'] / best[n]['plain generate']:.2f} (wanted >= 2.5)")  # fmt: skip
        print(f"first 20 tokens: vLLM = transformers for {100 * agreement(tok, texts['vllm'], texts['transformers']):.1f}% of {max(counts)} texts")  # fmt: skip
    full = loading.ModelRef(base.path, base.name, dtype="float32", device="cpu")
    other = generation.TransformersGenerator(full, 256)
    few = [(r, 0) for r in requests[: min(counts)]]
    same = agreement(tok, batched(other, few, sampling)[1], texts["transformers"][: len(few)])
    print(f"first 20 tokens: bf16 = fp32 for {100 * same:.1f}% of {len(few)} texts")
    return max(rate for rates in best.values() for name, rate in rates.items() if name.startswith("engine"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--prompts", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--only", choices=["training", "generation"])
    options = parser.parse_args()
    base = loading.ModelRef(loading.resolve("index:smollm2-135m-instruct"), "smollm2", device="cpu")
    weights = number_format.weights(base.path)
    tok = loading.load_tokenizer(base)
    rate = matrix_rate()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} threads, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, "
          f"{weights / 1e6:.0f} million weights in {number_format.resolve(base.path, 'auto', 'cpu')}; bf16 matrices {rate / 1e9:.0f} GFLOP/s", flush=True)  # fmt: skip
    trained = generated = None
    if options.only != "generation":
        trained = bench_training(base, tok, options.rows, options.micro)
        print(f"  share of the processor's bf16 rate: {6 * weights * trained / rate:.0%}")
    if options.only != "training":
        generated = bench_generation(base, options.prompts, options.new, os.environ.get("CGD_VLLM_PYTHON"))
        print(f"  share of the processor's bf16 rate: {2 * weights * generated / rate:.0%}")
    print(f"memory of this process at the end: {psutil.Process().memory_info().rss / 2**30:.1f} GiB")
    if trained and generated:
        hours = (7 * 4 * 384 * 2 * 300 / trained + 7 * 4 * 900 * 90 / generated) / 3600
        print(
            f"7 arms × 4 seeds (384 rows of 300 tokens, 2 epochs; 900 questions of 90 new tokens each): {hours:.1f} h"
        )


if __name__ == "__main__":
    main()
