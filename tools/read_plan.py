"""Reads the hypotheses of docs/plan-smollm.md off the kept run: ``python tools/read_plan.py``."""

import numpy as np
import pandas as pd

from cgd_utils.core import profile_files, statistics
from cgd_utils.core.crossed import crossed_mean
from cgd_utils.core.provenance import PROJECT
from cgd_utils.data import benchmarks
from cgd_utils.evaluation.figures import BY_QUESTION, shares

RESULTS = PROJECT / "outputs" / "reference" / "smollm" / "results.csv"
SEEN, UNSEEN = "word-problems-seen", "word-problems-unseen"
LEVEL = 1 - 0.05 / 2  # two looks: three seeds, then six
HYPOTHESES = {"H1": ("cgd", "distilled_sft"), "H2": ("cgd", "cft")}
ALL, FRESH = range(6), range(3, 6)  # H5 was asked of the last three before they were trained


def templates():
    """Benchmark → the template of each of its questions."""
    evaluation = profile_files.load("smollm").evaluation
    loaded = [benchmarks.load(b, evaluation) for b in evaluation.benchmarks]
    return {b.name: [p["meta"]["template"] for p in b.problems] for b in loaded}


def by_template(d, names):
    """(seeds, questions) → (seeds, templates): the mean over the questions of each template."""
    return np.array(
        [d[:, [i for i, name in enumerate(names) if name == one]].mean(axis=1) for one in sorted(set(names))]
    ).T


def told(test, factor=100):
    """A test in points, with its p."""
    points = statistics.told(factor * test.difference, factor * test.low, factor * test.high, "+.1f")
    return f"{points} points, p {test.p:.2g}"


def main():
    rows = pd.read_csv(RESULTS, dtype={"seed": "Int64"})
    kept = rows[rows["metric"] == "accuracy"].set_index(["method", "seed", "benchmark"])[BY_QUESTION]
    template = templates()

    def difference(ours, theirs, seeds, benchmark, grouped):
        d = np.array([shares(kept[ours, s, benchmark]) - shares(kept[theirs, s, benchmark]) for s in seeds])
        return by_template(d, template[benchmark]) if grouped else d

    for grouped in (False, True):
        print("units: templates" if grouped else "units: questions")
        found = {}
        for name, pair in HYPOTHESES.items():
            seen, unseen = (difference(*pair, ALL, b, grouped) for b in (SEEN, UNSEEN))
            found[name] = crossed_mean([seen, unseen], LEVEL)
            print(f"  {name} {' − '.join(pair)}: {told(found[name])} ({100 * LEVEL:g}%)")
            print(f"     seen {told(crossed_mean([seen], LEVEL))}; unseen {told(crossed_mean([unseen], LEVEL))}")
        corrected = statistics.holm([t.p for t in found.values()])
        print("  Holm:", ", ".join(f"{name} {p:.2g}" for name, p in zip(found, corrected, strict=True)))
        unseen, seen = (difference(*HYPOTHESES["H1"], FRESH, b, grouped) for b in (UNSEEN, SEEN))
        # the mean of the two tables is half of what is asked
        print(f"  H5, seeds 3 to 5: {told(crossed_mean([unseen, -seen]), 200)} (95%)")


if __name__ == "__main__":
    main()
