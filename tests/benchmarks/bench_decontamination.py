"""100,000 training questions against every named benchmark: python tests/benchmarks/bench_decontamination.py FOLDER."""

import sys
import time
from random import Random

from cgd_utils.core import provenance
from cgd_utils.core.settings import Evaluation
from cgd_utils.data import benchmarks, decontamination

settings = Evaluation(benchmark_dir=sys.argv[1])
questions = {
    n: [p["question"] for p in benchmarks.load(n, settings).problems]
    for n in benchmarks.NAMED
    if benchmarks.local_file(n, settings)
}
rng, pool = Random(0), [w for texts in questions.values() for t in texts for w in decontamination.words(t)]
problems = [{"id": i, "question": " ".join(rng.choices(pool, k=60))} for i in range(99_900)]
planted = [{"id": f"p{i}", "question": f"Now then: {rng.choice(questions['gsm8k'])}"} for i in range(100)]
start = time.perf_counter()
index = decontamination.Index(questions)
built = time.perf_counter()
found = decontamination.overlaps([*problems, *planted], index)
end = time.perf_counter()
hits = sum(str(f["id"]).startswith("p") for f in found)
print(f"index of {sum(map(len, questions.values()))} questions: {built - start:.1f} s, 100,000 questions: {end - built:.1f} s, "
      f"{hits} of 100 planted found, peak memory {provenance.peak_memory_gib():.2f} GiB")  # fmt: skip
