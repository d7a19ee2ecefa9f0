"""Engine ``vllm``, the inner side: a program of its own, so that the GPU's memory comes back when it ends.

``python vllm_worker.py TASK.json`` reads model, sampling and tokenised prompts, and appends a row a text to the task's ``out`` file.
It imports nothing of the kit, so it also runs in an environment that holds only vLLM.
"""

import json
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


def main(path):
    with open(path, encoding="utf-8") as f:  # noqa: PTH123
        task = json.load(f)
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    adapter, started = task["adapter"], time.monotonic()
    settings = {**task["engine"], **(_cpu_settings(task["on_cpu"]) if task["on_cpu"] and _on_cpu() else {})}
    engine = LLM(**settings, **({"enable_lora": True, "max_lora_rank": adapter["rank"]} if adapter else {}))
    lora = LoRARequest(adapter["name"], 1, adapter["path"]) if adapter else None
    loaded = time.monotonic()
    limit = engine.llm_engine.model_config.max_model_len
    with open(task["out"], "a", encoding="utf-8") as out:  # noqa: PTH123

        def put(row):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")

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
            for item, made in zip(
                chunk, engine.generate(prompts, sampling, use_tqdm=False, lora_request=lora), strict=True
            ):
                said = made.outputs[0]
                put(
                    {
                        "at": item["at"],
                        "text": said.text,
                        "finish_reason": said.finish_reason or "error",
                        "n_tokens": len(said.token_ids),
                    }
                )
            out.flush()
    with open(task["seconds"], "w", encoding="utf-8") as out:  # noqa: PTH123
        json.dump({"load": loaded - started, "generate": time.monotonic() - loaded}, out)


if __name__ == "__main__":
    main(sys.argv[1])
