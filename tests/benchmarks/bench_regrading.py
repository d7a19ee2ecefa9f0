"""Seconds to grade a lab run's stored answers again and to compute all its statistics: python tests/benchmarks/bench_regrading.py [MODELS].

Stands for the lab's base, 5 methods and the 6 other cells of its ablation at 3 seeds (34 models, 1,200 answers each): half of the
answers are the teacher's solutions, half bare wrong numbers. No model is loaded.
"""

import json
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from cgd_utils.core import files, store
from cgd_utils.data import benchmarks
from cgd_utils.evaluation import compare, results
from cgd_utils.evaluation.scores import check_version, score
from cgd_utils.reporting import result_rows

models = int(sys.argv[1]) if len(sys.argv) > 1 else 34
with TemporaryDirectory() as folder:
    run = store.open_run("lab", folder)
    loaded = {b.name: b for b in benchmarks.benchmarks(run)}
    names = [("base", None), *((f"m{i // 3}" if i // 3 else "cgd", i % 3) for i in range(models - 1))]
    made = []
    for method, seed in names:
        rng = Random(f"{method}{seed}")
        rows = [
            {"benchmark": b.name, "id": q["id"], "sample": 0, "prompt": q["question"], "n_tokens": 9, "finish_reason": "stop",
             "text": q["solution"] if rng.random() < 0.5 else f"Answer: {rng.randrange(999)}"}
            for b in loaded.values() for q in b.problems
        ]  # fmt: skip
        path = Path(folder) / f"{method}-{seed}"
        files.write_jsonl(path / "made" / "rows.jsonl", rows)
        made.append(path)
    wall, cpu = time.perf_counter(), time.process_time()
    out = []
    for (method, seed), path in zip(names, made, strict=True):
        texts = store.Artifact(path / "made", "", {})
        rows = texts.rows()
        check_version(rows, loaded)
        files.write_jsonl(path / "scores" / "rows.jsonl", score(rows, loaded))
        scores = store.Artifact(path / "scores", "", {})
        out += results.results(run, "llama", method, seed, scores, texts)
    graded = time.perf_counter()
    table = result_rows.headline(result_rows.write_results(run, out))
    sides: dict[str, dict] = {}
    for (method, seed), path in zip(names, made, strict=True):
        sides.setdefault(method, {})[seed] = compare._scores(path / "scores" / "rows.jsonl")
    ours = compare.Side("cgd", sides.pop("cgd"), {})
    pairs = [compare.compare(ours, compare.Side(m, s, {})) for m, s in sides.items()]
    end = time.perf_counter()
    print(json.dumps({
        "models": len(names), "answers": len(names) * sum(len(b.problems) for b in loaded.values()), "comparisons": sum(map(len, pairs)),
        "grading_and_results_s": round(graded - wall, 1), "tables_and_tests_s": round(end - graded, 1),
        "processor_s": round(time.process_time() - cpu, 1), "rows": len(table)}))  # fmt: skip
