"""Engine ``vllm``, the inner side: a program of its own, so that the GPU's memory comes back when it ends.

``python vllm_worker.py TASK.json`` reads model, sampling and tokenised prompts, and appends a row a text to the task's ``out`` file.
It imports nothing of the kit, so it also runs in an environment that holds only vLLM.
"""

import json
import sys
import time


def main(path):
    with open(path, encoding="utf-8") as f:  # noqa: PTH123
        task = json.load(f)
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    adapter, started = task["adapter"], time.monotonic()
    engine = LLM(**task["engine"], **({"enable_lora": True, "max_lora_rank": adapter["rank"]} if adapter else {}))
    lora = LoRARequest(adapter["name"], 1, adapter["path"]) if adapter else None
    loaded = time.monotonic()
    limit = engine.llm_engine.model_config.max_model_len
    with open(task["out"], "a", encoding="utf-8") as out:  # noqa: PTH123

        def put(row):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()

        wanted = []
        for item in task["prompts"]:
            if len(item["ids"]) + task["sampling"]["max_tokens"] > limit:
                put({"at": item["at"], "text": "", "finish_reason": "too_long", "n_tokens": 0})
            else:
                wanted.append(item)
        for start in range(0, len(wanted), task["chunk"]):
            chunk = wanted[start : start + task["chunk"]]
            sampling = [SamplingParams(**task["sampling"], seed=item["seed"]) for item in chunk]
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
    with open(task["seconds"], "w", encoding="utf-8") as out:  # noqa: PTH123
        json.dump({"load": loaded - started, "generate": time.monotonic() - loaded}, out)


if __name__ == "__main__":
    main(sys.argv[1])
