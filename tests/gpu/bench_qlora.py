"""QLoRA at real size on one CUDA GPU: tokens a second, MFU and memory of settings, against plain TRL with its defaults.

python tests/gpu/bench_qlora.py [--model llama qwen mixtral] [--steps 4] [--out docs/qlora_speed.md]   # needs a GPU
python tests/gpu/bench_qlora.py --tiny                                                             # the logic, on a CPU

The model has the published shape (`models.memory.PUBLISHED`) and random weights, written to disk once and loaded in 4 bits the way a
run loads it; a mixture gets as many layers as fit, and the table says how many. Rows are CGD-shaped: prompts of 1,000 to 3,000
tokens, completions of 300 to 800, all settings on the same rows in one run. A step is ``--batch`` rows; the first is warm-up.

MFU counts the model's work: 4 FLOPs a weight and token (2 forward, 2 backward: frozen weights need no gradient), 6 × layers × hidden
× length for causal attention; recomputation by checkpointing is not counted. A setting that runs out of memory says so.
"""

import argparse
import functools
import gc
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

NAMES = {
    "llama": "meta-llama/Llama-3.1-8B-Instruct",
    "qwen": "Qwen/Qwen2.5-Math-7B",
    "mixtral": "mistralai/Mixtral-8x7B-Instruct-v0.1",
}
PEAK = {
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "4090": 165e12,
    "3090": 71e12,
}
NOT_MEASURED = "not measured"


def rows_of(n, vocabulary, prompt, completion, seed=0):
    """``n`` tokenised rows of random tokens, lengths drawn from the two ranges."""
    rng = Random(seed)
    out = []
    for i in range(n):
        head, tail = ([rng.randrange(10, vocabulary) for _ in range(rng.randint(*r))] for r in (prompt, completion))
        out.append({"id": f"r{i}", "input_ids": head + tail, "labels": [-100] * len(head) + tail})
    return out


def build(family, folder, tiny, layers=None):
    """Writes the model with random bf16 weights and a tokenizer, of ``layers`` layers at most; returns its config."""
    import families
    import torch
    from transformers import AutoModelForCausalLM

    from cgd_utils.models import memory

    config = memory.published_config(NAMES[family])
    if tiny:
        config.update({"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "num_key_value_heads": 2, "vocab_size": 1024})  # fmt: skip
    tok = families.tokenizer("qwen-math" if family == "qwen" else family)
    config.eos_token_id, config.pad_token_id = tok.eos_token_id, tok.pad_token_id
    if not tiny:
        free = min(shutil.disk_usage(folder).free, torch.cuda.get_device_properties(0).total_memory) * 0.85
        s = memory.shape(config)
        per_layer = 2 * (s.linear + s.experts) / s.layers
        config.num_hidden_layers = max(1, min(layers or s.layers, s.layers, int((free - 2 * s.other) / per_layer)))
    with torch.device("cpu" if tiny else "cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32 if tiny else torch.bfloat16)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    del model
    _free()
    return config


def _free():
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def flops_per_token(shape, length, experts=1):
    """Training FLOPs a processed token of an adapter over frozen weights, see the module's text."""
    active = shape.linear + shape.experts * shape.active_experts / experts
    head = shape.hidden * shape.vocabulary
    return 4 * (active + head) + 6 * shape.layers * shape.hidden * length


def variants(tiny):
    """Name -> what it changes; the first is the kit's recommendation for 8B students."""
    long, packed = (128, 256) if tiny else (4096, 8192)
    plain = {"max_length": long}
    out = {
        f"packed {packed}, checkpointing": {"packing": True, "max_length": packed, "gradient_checkpointing": True},
        f"packed {long}, checkpointing": {"packing": True, **plain, "gradient_checkpointing": True},
        f"packed {long}": {"packing": True, **plain},
        "micro-batch 1": {"micro_batch_size": 1, **plain},
        "micro-batch 1, checkpointing": {"micro_batch_size": 1, **plain, "gradient_checkpointing": True},
        "micro-batch 4, checkpointing": {"micro_batch_size": 4, **plain, "gradient_checkpointing": True},
        "micro-batch 1, checkpointing, eager attention": {"micro_batch_size": 1, **plain, "gradient_checkpointing": True, "attention": "eager"},
    }  # fmt: skip
    if importlib.util.find_spec("flash_attn"):
        out[f"packed {packed}, checkpointing, FlashAttention 2"] = {
            **out[f"packed {packed}, checkpointing"],
            "attention": "flash_attention_2",
        }
        out[f"packed {packed}, checkpointing, SDPA"] = {**out[f"packed {packed}, checkpointing"], "attention": "sdpa"}
    if importlib.util.find_spec("liger_kernel"):
        for name in (f"packed {packed}, checkpointing", "micro-batch 1", "micro-batch 1, checkpointing"):
            out[f"{name}, without Liger"] = {**out[name], "liger": False}
    if not tiny:
        out[f"packed {packed}, checkpointing, torch.compile"] = {
            **out[f"packed {packed}, checkpointing"],
            "compile": True,
        }
    return out


def measure(ref, tok, rows, changes, batch, warm):
    """Trains over the rows; ``{processed, trained, gib}`` a second and GiB, without the first ``warm`` steps."""
    from cgd_utils.core import settings
    from cgd_utils.training import trainer

    t = settings.Training(mode="qlora", learning_rate=1e-4, batch_size=batch, **{"micro_batch_size": 1, **changes})
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(ref, tok, rows, t, 0, Path(folder))
        steps = [json.loads(line) for line in (Path(folder) / "history.jsonl").open()][warm:]
    seconds = sum(s["seconds"] for s in steps)
    return {"processed": sum(s["processed_tokens"] for s in steps) / seconds, "trained": sum(s["trained_tokens"] for s in steps) / seconds,
            "gib": max(s["memory_gib"] for s in steps), "seconds": [round(s["seconds"], 2) for s in steps]}  # fmt: skip


def measure_trl(ref, tok, rows, warm, tiny):
    """Plain TRL over the same rows: SFTConfig's defaults but for max_length (its 1024 would cut the rows) and, tiny, the CPU."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from cgd_utils.models import loading

    times = []

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            torch.cuda.synchronize() if torch.cuda.is_available() else None
            times.append(time.perf_counter())

    _free()
    with tempfile.TemporaryDirectory() as folder:
        more = {"use_cpu": True, "bf16": False} if tiny else {}
        config = SFTConfig(
            output_dir=folder, max_length=None, num_train_epochs=1, save_strategy="no", disable_tqdm=True, **more
        )
        data = Dataset.from_list([{"input_ids": r["input_ids"], "labels": r["labels"]} for r in rows])
        made = SFTTrainer(model=loading.load_model(ref), args=config, train_dataset=data, processing_class=tok,
                          peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
                          callbacks=[Clock()])  # fmt: skip
        started = time.perf_counter()
        made.train()
    size = config.per_device_train_batch_size
    warm = min(warm, len(times) - 1)
    seconds = times[-1] - (times[warm - 1] if warm else started)
    tokens = [len(r["input_ids"]) for r in rows]  # shuffled by TRL: the mean length stands for the rows it saw
    share = (len(rows) - warm * size) / len(rows)
    learnt = sum(x != -100 for r in rows for x in r["labels"])
    gib = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else float("nan")
    return {"processed": share * sum(tokens) / seconds, "trained": share * learnt / seconds, "gib": gib}


def plain_generate(ref, tok, asked, new):
    """New tokens a second of Transformers' own ``generate``, all prompts in one left-padded batch."""
    import torch

    from cgd_utils.models import loading

    model = loading.load_model(ref).eval()
    texts = [tok.apply_chat_template(r.messages, tokenize=False, add_generation_prompt=True) for r, _ in asked]
    tok.padding_side = "left"
    batch = tok(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
    counted = []
    for tokens in (4, new):  # the first warms up
        started = time.perf_counter()
        with torch.inference_mode():
            made = model.generate(**batch, do_sample=False, max_new_tokens=tokens)[:, batch["input_ids"].shape[1] :]
        counted = [int((made != tok.pad_token_id).sum()), time.perf_counter() - started]
    return counted[0] / counted[1]


def generation_rates(folder, family, tiny, prompts=64, new=128):
    """Engine -> new tokens a second of the 16-bit model, the same prompts for each; None where vLLM is not installed."""
    from cgd_utils.core import settings
    from cgd_utils.engines import automatic, generation, request_log
    from cgd_utils.models import loading

    prompts, new = (4, 4) if tiny else (prompts, new)
    where = {"dtype": "float32", "device": "cpu"} if tiny else {"dtype": "bfloat16", "device": "cuda"}
    ref = loading.ModelRef(str(folder), family, **where)
    asked = [
        (request_log.Request(str(i), [{"role": "user", "content": f"What is {i} + 1?"}]), 0) for i in range(prompts)
    ]
    rates = {"plain generate": plain_generate(ref, loading.load_tokenizer(ref), asked, new)}
    for name, more in {"transformers": {}, "vllm": {"max_model_len": 8192}}.items():
        if name == "vllm" and (tiny or not automatic.has_vllm(sys.executable)):
            rates[name] = None
            continue
        _free()
        engine = generation.open_generator(ref, settings.Engine(engine=name, **more))
        try:
            engine.generate(asked, settings.Sampling(max_new_tokens=4))  # loads and warms up
            started = time.perf_counter()
            made = engine.generate(asked, settings.Sampling(max_new_tokens=new))
            rates[name] = sum(r["n_tokens"] for r in made) / (time.perf_counter() - started)
        finally:
            engine.close()
    return rates


def bench(family, steps, batch, tiny, layers=None, wanted=(), told=print):
    """Title of one model's table, its rows and its generation rates; ``told`` hears each row as it is measured."""
    import torch

    from cgd_utils.models import loading, memory

    with tempfile.TemporaryDirectory() as folder:
        config = build(family, Path(folder), tiny, layers)
        ref = loading.ModelRef(
            folder, family, dtype="float32" if tiny else "bfloat16", device="cpu" if tiny else "cuda", quantize=True
        )
        tok = loading.load_tokenizer(ref)
        ranges = ((20, 60), (10, 30)) if tiny else ((1000, 3000), (300, 800))
        rows = rows_of(steps * batch, min(500, config.vocab_size), *ranges)
        shape = memory.shape(config)
        mean = sum(len(r["input_ids"]) for r in rows) / len(rows)
        device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
        peak = next((flops for name, flops in PEAK.items() if name in device), None)
        weights = (shape.linear + shape.experts + shape.other) / 1e9
        title = f"{family}: shape of {NAMES[family]}, {shape.layers} layers, {weights:.1f}B weights, rows of {mean:.0f} tokens on average"
        told(title)
        out = []
        todo = {k: v for k, v in variants(tiny).items() if not wanted or any(w == k for w in wanted)}
        for name, changes in {**todo, "plain TRL, its defaults": None}.items():
            _free()
            row = {"setting": name, "processed": None, "trained": None, "gib": None, "mfu": None, "note": ""}
            try:
                got = (
                    measure_trl(ref, tok, rows, 1, tiny)
                    if changes is None
                    else measure(ref, tok, rows, changes, batch, 1)
                )
            except torch.OutOfMemoryError:
                row["note"] = "out of memory"
            else:
                per_token = flops_per_token(shape, mean, getattr(config, "num_local_experts", 1))
                row.update(got, mfu=got["processed"] * per_token / peak if peak else None)
            told(json.dumps(row))
            out.append(row)
        _free()
        rates = generation_rates(Path(folder), family, tiny)
    told(json.dumps(rates))
    return title, out, rates


def markdown(title, rows, rates):
    """The table of one model; ratios are to plain TRL in the same run."""
    trl = next((r["processed"] for r in rows if r["setting"].startswith("plain TRL")), None)
    lines = [
        f"### {title}",
        "",
        "| setting | processed tokens/s | trained tokens/s | × plain TRL | MFU | peak GiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        if r["processed"] is None:
            lines.append(f"| {r['setting']} | {r['note']} | | | | |")
            continue
        ratio = f"{r['processed'] / trl:.2f}" if trl else "–"
        mfu = f"{100 * r['mfu']:.0f}%" if r["mfu"] is not None else NOT_MEASURED
        lines.append(
            f"| {r['setting']} | {r['processed']:.0f} | {r['trained']:.0f} | {ratio} | {mfu} | {r['gib']:.1f} |"
        )
    told = [f"{k} {NOT_MEASURED if v is None else f'{v:.0f} tokens/s'}" for k, v in rates.items()]
    return "\n".join([*lines, "", f"Generation (64 prompts, 128 new tokens each, bf16): {'; '.join(told)}", ""])


def main(argv=None):
    import torch

    from cgd_utils.core import files, provenance

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", choices=NAMES, default=["llama", "qwen", "mixtral"])
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps a setting, the first is warm-up")
    parser.add_argument("--batch", type=int, default=16, help="rows a step")
    parser.add_argument("--layers", type=int, help="layers of a model at most; None = all, or as many as fit")
    parser.add_argument("--settings", nargs="+", default=[], help="rows of the table to measure; none named = all")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny models on the CPU: tests the logic, the numbers mean nothing"
    )
    parser.add_argument("--out", type=Path, help="also write the table there")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available() and not options.tiny:
        print(f"no CUDA GPU here: {NOT_MEASURED} (--tiny tries the logic on a CPU)", file=sys.stderr)
        return 2
    env = provenance.environment()
    versions = ", ".join(
        f"{k} {v}"
        for k, v in env["versions"].items()
        if k in ("torch", "transformers", "trl", "peft", "bitsandbytes", "vllm")
    )
    text = [
        f"{torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'CPU (tiny: the numbers mean nothing)'}; {versions}",
        "",
    ]
    for family in options.model:
        measured = bench(
            family,
            options.steps,
            options.batch,
            options.tiny,
            options.layers,
            options.settings,
            functools.partial(print, flush=True),
        )
        text.append(markdown(*measured))
        print("\n".join(text if family == options.model[0] else text[-1:]), flush=True)
        if options.out:
            files.write_text(options.out, "\n".join(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
