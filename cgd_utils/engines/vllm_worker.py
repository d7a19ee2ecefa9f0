"""Engine ``vllm``, the inner side: a program of its own, so that the GPU's memory comes back when it ends.

``python vllm_worker.py ENGINE.json`` loads a model, then reads tasks from its standard input, a path of a JSON file a line: sampling
and tokenised prompts, and maybe an adapter. It appends a row a text to the task's ``out`` file and says in its ``seconds`` file that
it is done. It ends with its input, so that it never outlives the program that started it.
It imports nothing of the kit, so it also runs in an environment that holds only vLLM.
"""

import json
import os
import sys
import time


def _on_cpu():
    """Whether this vLLM is built for CPUs."""
    try:
        from vllm.platforms import current_platform
    except ImportError:  # old builds have no platforms: CUDA alone
        return False
    return current_platform.is_cpu()


def _cpu_settings(wanted):
    """The settings for a CPU; the cache gets half of the free memory at most, since the weights need some too."""
    import psutil
    from vllm.platforms import current_platform

    free = min(psutil.virtual_memory().available, current_platform.get_device_total_memory())
    return {**wanted, "kv_cache_memory_bytes": min(wanted["kv_cache_memory_bytes"], free // 2)}


def _texts(engine, task, put):
    """Asks the engine for a task's texts and puts a row for each."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    adapter, limit = task["adapter"], engine.llm_engine.model_config.max_model_len
    lora = LoRARequest(adapter["name"], adapter["number"], adapter["path"]) if adapter else None
    wanted = []
    for item in task["prompts"]:
        if len(item["ids"]) + task["sampling"]["max_tokens"] > limit:
            put({"at": item["at"], "text": "", "finish_reason": "too_long", "n_tokens": 0})
        else:
            wanted.append(item)
    for start in range(0, len(wanted), task["chunk"]):
        chunk = wanted[start : start + task["chunk"]]
        if task["sampling"]["temperature"] > 0:
            sampling = [SamplingParams(**task["sampling"], seed=item["seed"]) for item in chunk]
        else:
            sampling = [SamplingParams(**task["sampling"])] * len(chunk)
        prompts = [{"prompt_token_ids": item["ids"]} for item in chunk]
        outputs = engine.generate(prompts, sampling, use_tqdm=False, lora_request=lora)
        for item, output in zip(chunk, outputs, strict=True):
            text = output.outputs[0]
            put(
                {
                    "at": item["at"],
                    "text": text.text,
                    "finish_reason": text.finish_reason or "error",
                    "n_tokens": len(text.token_ids),
                }
            )


def main(path):
    with open(path, encoding="utf-8") as f:  # noqa: PTH123
        wanted = json.load(f)
    from vllm import LLM

    started = time.monotonic()
    settings = {**wanted["engine"], **(_cpu_settings(wanted["on_cpu"]) if wanted["on_cpu"] and _on_cpu() else {})}
    rank = wanted["lora_rank"]
    engine = LLM(**settings, **({"enable_lora": True, "max_lora_rank": rank} if rank else {}))
    load = time.monotonic() - started
    for line in sys.stdin:
        with open(line.strip(), encoding="utf-8") as f:  # noqa: PTH123
            task = json.load(f)
        begun = time.monotonic()
        with open(task["out"], "a", encoding="utf-8", buffering=1) as out:  # noqa: PTH123
            _texts(engine, task, lambda row, out=out: out.write(json.dumps(row, ensure_ascii=False) + "\n"))
        with open(task["seconds"] + ".part", "w", encoding="utf-8") as out:  # noqa: PTH123
            json.dump({"load": load, "generate": time.monotonic() - begun}, out)
        os.replace(task["seconds"] + ".part", task["seconds"])  # noqa: PTH105
        load = 0.0


if __name__ == "__main__":
    main(sys.argv[1])
