r"""Rows per second of `grade` (2 workers) against sequential math_verify parse + verify, on the same texts in one run.

    CGD_BENCHMARK_DIR=… python tests/benchmarks/bench_grading.py [ANSWERS, default 10000]

The gold answers are those of the eight benchmark files. Two sets of answers:

repeats     625 questions × 16 samples, as for Pass@16: about 6 in 10 right, wrong ones from a few popular mistakes
no repeats  no pair of gold and answer occurs twice: right ones in another notation, wrong ones with a number changed
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from pathlib import Path

from cgd_utils.grading.extraction import extract
from cgd_utils.grading.records import grade

NOTATIONS = [
    lambda g: g,
    lambda g: g.replace("\\frac", "\\dfrac"),
    lambda g: g.replace("(", "\\left(").replace(")", "\\right)"),
    lambda g: g.replace(" ", ""),
    lambda g: f"x = {g}" if "=" not in g else g,
    lambda g: f"{g} \\text{{ units}}",
    lambda g: f"{g}.0" if g.isdigit() else f" {g} ",
]


def golds(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "final_answer" in row:
                gold = ", ".join(row["final_answer"])
            elif "####" in str(row.get("answer")):
                gold = row["answer"].split("####")[1]
            else:
                gold = row.get("answer", None) or extract(row["solution"])
            found.append(str(gold).strip().strip("$"))
    return found


def changed(gold: str, by: int) -> str:
    """The gold answer with its last whole number changed: a wrong answer of the same shape."""
    last = list(re.finditer(r"\d+", gold))
    if not last:
        return f"{gold} + {by}"
    i, j = last[-1].span()
    return f"{gold[:i]}{int(gold[i:j]) + by}{gold[j:]}"


def text(answer: str) -> str:
    return f"Let us see. First we compute what is given, and then we find that the answer is $\\boxed{{{answer}}}$."


def with_repeats(gold: list[str], n: int, choose: random.Random) -> list[dict]:
    rows = []
    for i, g in enumerate(choose.sample(gold, max(1, n // 16))):
        for k in range(16):
            right = choose.random() < 0.6
            answer = choose.choice(NOTATIONS[:3])(g) if right else changed(g, min(4, int(choose.expovariate(0.7)) + 1))
            rows.append({"id": i, "sample": k, "gold": g, "text": text(answer)})
    return rows


def without_repeats(gold: list[str], n: int, choose: random.Random) -> list[dict]:
    rows, seen = [], set()
    unique = list(dict.fromkeys(gold))
    choose.shuffle(unique)
    k = 0
    while len(rows) < n:
        for g in unique:
            answer = NOTATIONS[k // 3 % len(NOTATIONS)](g) if k % 3 == 0 else changed(g, k)
            if (g, answer) not in seen and len(rows) < n:
                seen.add((g, answer))
                rows.append({"id": len(rows), "gold": g, "text": text(answer)})
        k += 1
    return rows


def sequential(rows: list[dict]) -> tuple[float, int]:
    from math_verify import parse, verify

    parse("$1$")
    start = time.perf_counter()
    right = sum(verify(parse(f"${row['gold']}$"), parse(row["text"])) for row in rows)
    return len(rows) / (time.perf_counter() - start), right


def ours(rows: list[dict]) -> tuple[float, int]:
    start = time.perf_counter()
    right = sum(score["correct"] is True for score in grade(rows, workers=2))
    return len(rows) / (time.perf_counter() - start), right


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    gold = golds(Path(os.environ["CGD_BENCHMARK_DIR"]))
    for name, make in (("repeats", with_repeats), ("no repeats", without_repeats)):
        rows = make(gold, n, random.Random(0))
        fast, ours_right = ours(rows)
        slow, theirs_right = sequential(rows)
        print(
            f"{name:11} {len(rows):6} answers: {fast:7.0f}/s against {slow:5.0f}/s, ratio {fast / slow:5.1f}; "
            f"right {ours_right} against {theirs_right}",
            flush=True,
        )


if __name__ == "__main__":
    main()
