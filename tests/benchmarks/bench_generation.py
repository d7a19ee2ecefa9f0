"""What the engines cost over what they wrap, as ratios of one run: python tests/benchmarks/bench_generation.py [--rounds 3]

1. transformers: tokens a second of the engine over those of a plain batched ``model.generate`` in given order, on the questions of the
   lab's benchmarks (greedy and sampled); the plain one also with a static cache.
2. openai: answers a second of the engine over those of a bare asyncio loop around the same client, same server, same concurrency.
3. vllm (where CGD_VLLM_PYTHON names an interpreter that has it): tokens a second of the engine's worker over those of bare ``LLM.generate``,
   and the openai engine against ``vllm serve``; loading not counted.

Both sides of a ratio take turns, so load on the machine falls on both. Without a GPU ratios are of CPU seconds (one thread) where one
process does all the work, else of wall time.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from cgd_utils.core.settings import Engine, Sampling
from cgd_utils.engines import generation, request_log
from cgd_utils.engines.generation import TransformersGenerator
from cgd_utils.engines.request_log import Request
from cgd_utils.lab import world
from cgd_utils.models import loading
from cgd_utils.models.loading import ModelRef

options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
options.add_argument("--rounds", type=int, default=3)
options.add_argument("--rows", type=int, default=80, help="questions of each lab benchmark")
options.add_argument("--only", choices=["transformers", "openai", "vllm"])
options = options.parse_args()
REF = ModelRef(loading.resolve("lab:llama"), "llama", dtype="float32", device="cpu")
NEW = 160


def lab_requests(rows):
    """The questions of lab-k2 … lab-k6 and lab-instructions, in the order of the benchmarks."""
    problems = [p for k in (2, 3, 4, 5, 6) for p in world.make_problems(rows, [k], 0, f"bench-k{k}")]
    styles = list(world.INSTRUCTIONS)
    problems += [
        world.instruct(p, styles[i % len(styles)])
        for i, p in enumerate(world.make_problems(rows, [2, 3, 4], 0, "bench-i"))
    ]
    return [Request(f"{p['id']}-{i}", [{"role": "user", "content": p["question"]}]) for i, p in enumerate(problems)]


def turns(name, unit, sides, clock):
    """Runs the sides in turn; prints the median rate of each and its ratio to the first."""
    rates = {k: [] for k in sides}
    for _ in range(options.rounds):
        for k, work in sides.items():
            start = clock()
            done = work()
            rates[k].append(done / (clock() - start))
    base = next(iter(sides))
    for k, r in rates.items():
        ratios = [a / b for a, b in zip(r, rates[base], strict=True)]
        print(f"{name:<28} {k:<34} {statistics.median(r):>9.1f} {unit:<14} ratio {statistics.median(ratios):.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)  # fmt: skip


# ---------------------------------------------------------------- transformers
def plain(engine, requests, sampling, size, **more):
    """Tokens of batches in given order, each padded to its longest prompt and run until its last row has ended."""
    tok, model, ends, count = engine.tokenizer, engine.model, engine._ends, 0
    for start in range(0, len(requests), size):
        ids = generation.prompt_ids(tok, requests[start : start + size])
        batch = tok.pad({"input_ids": ids}, return_tensors="pt", padding_side="left")
        chosen = (
            {"do_sample": True, "temperature": sampling.temperature, "top_k": 0}
            if sampling.temperature
            else {"do_sample": False}
        )
        with torch.inference_mode():
            out = model.generate(
                **batch, max_new_tokens=NEW, pad_token_id=tok.pad_token_id, eos_token_id=sorted(ends), **chosen, **more
            )
        for row in out[:, batch["input_ids"].shape[1] :].tolist():
            count += next((i + 1 for i, t in enumerate(row) if t in ends), len(row))
    return count


def bench_transformers():
    torch.set_num_threads(1)
    engine = TransformersGenerator(REF, 256)
    requests = lab_requests(options.rows)
    pairs = [(r, 0) for r in requests]

    def ours(sampling):
        return sum(row["n_tokens"] for b in engine.batches(pairs) for row in engine.generate(b, sampling))

    plain(engine, requests[:8], Sampling(), 8)  # loads the model
    for name, sampling in (
        ("greedy", Sampling(max_new_tokens=NEW)),
        ("temperature 1", Sampling(max_new_tokens=NEW, temperature=1.0)),
    ):
        torch.manual_seed(0)
        sides = {
            f"plain generate, batches of {size}": lambda s=sampling, n=size: plain(engine, requests, s, n)
            for size in (256, 32)
        }
        if not sampling.temperature:
            sides["plain, static cache"] = lambda s=sampling: plain(
                engine, requests, s, 256, cache_implementation="static"
            )
        sides["engine transformers"] = lambda s=sampling: ours(s)
        turns(f"transformers, {name}", "tokens/CPU s", sides, time.process_time)


# ---------------------------------------------------------------- openai
SERVER = """
import asyncio, json, sys
reply = json.dumps({"id": "c", "object": "chat.completion", "created": 0, "model": "m", "usage": {"prompt_tokens": 30, "completion_tokens": 40,
  "total_tokens": 70}, "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 40}}]}).encode()
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            size = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            await reader.readexactly(size)
            await asyncio.sleep(float(sys.argv[1]))
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(reply) + reply)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    s = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(s.sockets[0].getsockname()[1], flush=True)
    await s.serve_forever()
asyncio.run(main())
"""


def bare_loop(url, model, requests, concurrency, new):
    """Answers of a plain asyncio loop with as many requests under way; counts what came back."""
    from openai import AsyncOpenAI

    async def all_of_them():
        client, todo, done = AsyncOpenAI(base_url=url, api_key="none", max_retries=0), iter(requests), []

        async def work():
            for r in todo:
                done.append(
                    await client.chat.completions.create(
                        model=model, messages=r.messages, temperature=0, max_tokens=new
                    )
                )

        await asyncio.gather(*(work() for _ in range(concurrency)))
        await client.close()
        return len(done)

    return asyncio.run(all_of_them())


def engine_loop(url, model, requests, concurrency, new):
    settings = Engine(engine="openai", base_url=url, server_model=model, concurrency=concurrency)
    with tempfile.TemporaryDirectory() as folder:
        generator = generation.open_generator(ModelRef("", model), settings)
        return len(request_log.generate(generator, requests, Sampling(max_new_tokens=new), Path(folder) / "log.jsonl"))


def bench_server(name, url, model, requests, new=NEW):
    for concurrency in (16, 64):
        turns(f"{name}, {concurrency} at once", "answers/s", {
            "bare asyncio loop": lambda c=concurrency: bare_loop(url, model, requests, c, new),
            "engine openai": lambda c=concurrency: engine_loop(url, model, requests, c, new),
        }, time.perf_counter)  # fmt: skip


def bench_openai():
    server = subprocess.Popen([sys.executable, "-c", SERVER, "0.2"], stdout=subprocess.PIPE, text=True)
    try:
        bench_server(
            "openai, 200 ms a text", f"http://127.0.0.1:{int(server.stdout.readline())}/v1", "m", lab_requests(100)
        )
    finally:
        server.terminate()
        server.wait()


# ---------------------------------------------------------------- vllm
BARE = """
import json, sys, time
task = json.load(open(sys.argv[1]))
from vllm import LLM, SamplingParams
llm = LLM(**task["engine"])
start = time.monotonic()
made = llm.generate([{"prompt_token_ids": p["ids"]} for p in task["prompts"]], SamplingParams(**task["sampling"]), use_tqdm=False)
json.dump([sum(len(m.outputs[0].token_ids) for m in made), time.monotonic() - start], open(sys.argv[2], "w"))
"""


def bench_vllm(python):
    settings = Engine(engine="vllm", vllm_python=python, max_model_len=512, gpu_memory_utilization=0.15)
    requests, sampling = lab_requests(options.rows), Sampling(max_new_tokens=NEW)
    generator = generation.open_generator(REF, settings)
    rates = {"bare LLM.generate": [], "engine vllm": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            task = {"engine": generator._engine(), "sampling": generator._sampling(sampling, generator.tokenizer),
                    "prompts": [{"ids": ids} for ids in generation.prompt_ids(generator.tokenizer, requests)]}  # fmt: skip
            (Path(folder) / "task.json").write_text(json.dumps(task))
            subprocess.run([python, "-c", BARE, f"{folder}/task.json", f"{folder}/out.json"], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)  # fmt: skip
            tokens, seconds = json.loads((Path(folder) / "out.json").read_text())
            rates["bare LLM.generate"].append(tokens / seconds)
            rows = request_log.generate(generator, requests, sampling, Path(folder) / "log.jsonl")
            rates["engine vllm"].append(sum(r["n_tokens"] for r in rows) / generator.seconds["generate"])
    for k, r in rates.items():
        ratios = [a / b for a, b in zip(r, rates["bare LLM.generate"], strict=True)]
        print(f"{'vllm':<28} {k:<34} {statistics.median(r):>9.1f} {'tokens/s':<14} ratio {statistics.median(ratios):.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)  # fmt: skip


print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPU threads, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, "
      f"{options.rounds} rounds, lab:llama\n", flush=True)  # fmt: skip
if options.only in (None, "transformers"):
    bench_transformers()
if options.only in (None, "openai"):
    bench_openai()
if (python := os.environ.get("CGD_VLLM_PYTHON")) and options.only in (None, "vllm"):
    bench_vllm(python)
elif options.only in (None, "vllm"):
    print("vllm: not measured, CGD_VLLM_PYTHON names no interpreter")
