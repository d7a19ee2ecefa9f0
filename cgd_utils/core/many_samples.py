"""Many samples a question: Pass@k and the majority of k answers, with intervals over questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .bootstrap import DRAWS, bootstrap_interval, resampled_means
from .statistics import Interval


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> np.ndarray:
    """Unbiased Pass@k of each question: 1 - C(n-c, k) / C(n, k) with ``c`` of ``n`` samples right, shapes (questions,).

    In product form, as Chen et al. 2021 (arXiv 2107.03374) advise; ``n`` and ``c`` may be numbers and broadcast.

    Raises:
        ValueError: k < 1, k > n (sample more answers), or c outside 0..n.
    """
    sampled, right = np.broadcast_arrays(np.asarray(n), np.asarray(c))
    if ((right < 0) | (right > sampled)).any():
        raise ValueError(f"pass_at_k: c = {right.tolist()} right of n = {sampled.tolist()} - needs 0 <= c <= n")
    if sampled.size == 0 or not 1 <= k <= sampled.min():
        least = sampled.min() if sampled.size else "no questions"
        raise ValueError(f"pass_at_k: k = {k}, n = {least} - needs 1 <= k <= n")
    fail = np.ones(sampled.shape)
    for j in range(k):
        fail *= np.maximum(sampled - right - j, 0) / (sampled - j)
    return 1 - fail


def pass_at_k_curve(
    counts: Sequence[int], n: int, ks: Sequence[int], draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> dict[int, Interval]:
    """Mean Pass@k over questions for each k: ``counts`` (questions,) right answers of ``n`` samples each.

    Percentile intervals from resampling questions, the same resamples for every k; Wilson's where all questions are alike.
    """
    each = np.array([pass_at_k(n, np.asarray(counts), k) for k in ks])
    resampled = resampled_means(each, draws, np.random.default_rng(seed))
    return {
        int(k): bootstrap_interval(float(each[i].mean()), resampled[:, i], level, each.shape[1])
        for i, k in enumerate(ks)
    }


def majority_at_k(
    answers: Sequence[Sequence[object]],
    correct: Sequence[Sequence[bool]],
    k: int,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Expected accuracy of the majority of ``k`` answers: ``answers`` and ``correct`` are (questions, n samples).

    For each question, ``draws`` times, k of its n answers without replacement; the most frequent answer is taken.
    Answers vote as equal if they are equal as values, so give extracted, normalised ones. Tied answers share the point
    (what a random choice among them scores on average); ``None`` and "" do not vote, and no votes at all are wrong. The
    interval resamples questions.

    Raises:
        ValueError: shapes differ, no questions, or k outside 1..n.
    """
    shapes = [(len(row), len(right)) for row, right in zip(answers, correct, strict=True)]
    if not shapes or any(pair != (shapes[0][0],) * 2 for pair in shapes):
        raise ValueError(f"majority_at_k: answers and correct hold {shapes[:3]} - give n of both for every question")
    n = shapes[0][0]
    if not 1 <= k <= n:
        raise ValueError(f"majority_at_k: k = {k}, n = {n} - needs 1 <= k <= n")
    rng = np.random.default_rng(seed)
    each = np.array([_majority(row, right, k, draws, rng) for row, right in zip(answers, correct, strict=True)])
    return bootstrap_interval(float(each.mean()), resampled_means(each[None], DRAWS, rng)[:, 0], level, len(each))


def _majority(row: Sequence[object], right: Sequence[bool], k: int, draws: int, rng: np.random.Generator) -> float:
    voted = [x for x in dict.fromkeys(row) if x is not None and x != ""]
    if not voted:
        return 0.0
    ballots = np.array([[x == candidate for candidate in voted] for x in row], float)
    share_right = np.asarray(right, float) @ ballots / ballots.sum(axis=0)
    chosen = rng.random((1 if k == len(row) else draws, len(row))).argsort(axis=1).argsort(axis=1) < k
    votes = chosen @ ballots
    winners = (votes == votes.max(axis=1, keepdims=True)) & (votes > 0)
    return float(((winners * share_right).sum(axis=1) / np.maximum(winners.sum(axis=1), 1)).mean())
