"""Lab models side by side (``processes: auto``) against one after the other with all threads, both from nothing, in one run.

python tests/benchmarks/bench_processes.py [--models 4] [--rounds 2]

Each model is trained by CGD on the profile ``lab`` and evaluated; the time holds the start of the processes.
"""

import argparse
import statistics
import tempfile
import time


def seconds(processes, models, folder):
    from cgd_utils.ablations import cell_runs
    from cgd_utils.core import store
    from cgd_utils.evaluation import results

    run = store.open_run("lab", folder, {"processes": processes, "training.seeds": list(range(models))})
    results.evaluate(run, "llama", "base")  # what both share: problems, drafts, records, the base's answers
    started = time.perf_counter()
    cell_runs.main_comparison(run, "llama", ["cgd"], run.profile.training.seeds)
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    import torch

    ratios = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as beside:
            one, several = (seconds(p, options.models, f) for p, f in ((1, alone), ("auto", beside)))
        ratios.append(one / several)
        print(f"{options.models} models: {one:.1f} s one after the other, {several:.1f} s side by side")
    print(f"ratio {statistics.median(ratios):.2f} ({torch.get_num_threads()} threads, torch {torch.__version__})")


if __name__ == "__main__":
    main()
