"""What a model answers to the benchmarks: generations, kept raw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .. import prompts
from ..core.files import write_json, write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run
from ..data.benchmarks import Loaded, benchmarks
from ..engines import generation, request_log
from ..engines.request_log import Request
from ..models.loading import ModelRef

VERSIONS = "questions.json"  # in a folder of generations: benchmark -> version of the questions that were asked


def generations(run: Run, label: str, ref: ModelRef, model_key: str) -> Artifact:
    """The raw answers of one model to every benchmark: rows ``{benchmark, id, sample, prompt, text, …}``."""
    p = run.profile
    loaded = benchmarks(run)
    layout = prompts.layout(p.models.layout)
    sampling = p.evaluation.sampling

    def build(folder: Path) -> Record:
        requests = [Request(f"{b.name}/{q['id']}", layout.ask(q["question"])) for b in loaded for q in b.problems]
        generator = generation.open_generator(ref, p.generation)
        try:
            rows = request_log.generate(generator, requests, sampling, folder / "log.jsonl", label)
        finally:
            generator.close()
        told = sampling.model_dump()
        write_json(folder / VERSIONS, question_keys(loaded))
        write_jsonl(
            folder / "rows.jsonl",
            [
                {"benchmark": r["id"].partition("/")[0], **r, "id": r["id"].partition("/")[2], "sampling": told}
                for r in rows
            ],
        )
        return {"rows": len(rows), "tokens": sum(r["n_tokens"] for r in rows),
                "truncated": sum(r["finish_reason"] == "length" for r in rows),
                "too_long": sum(r["finish_reason"] == "too_long" for r in rows)}  # fmt: skip

    settings = {"sampling": sampling.model_dump(), "layout": p.models.layout, "dtype": ref.dtype,
                "benchmarks": [b.key for b in loaded], "engine": p.generation.identity()}  # fmt: skip
    return run.make(
        "generations", label, build, settings=settings, inputs=[model_key],
        rows=sum(len(b.problems) for b in loaded) * sampling.n,
    )  # fmt: skip


def label(family: str, method: str, seed: int | None) -> str:
    """What the folders of a model are called; ``seed`` None is the base."""
    if seed is None:
        return f"{family}-base"
    return re.sub(r"[^\w.×=%-]+", "-", f"{family}-{method}").rstrip("-") + f"-s{seed}"


def question_keys(loaded: Sequence[Loaded]) -> dict[str, str]:
    """Benchmark → version of its questions: the same version, the same questions."""
    return {b.name: b.version for b in loaded}
