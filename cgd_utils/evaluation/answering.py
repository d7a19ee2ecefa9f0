"""What a model answers to the benchmarks: generations, kept raw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .. import prompts
from ..core.files import write_json, write_jsonl
from ..core.records import Record
from ..core.store import Artifact, Run
from ..core.synthesis_settings import Sampling
from ..data.benchmarks import Loaded, benchmarks
from ..engines.request_log import Request
from ..synthesis.drafts import ask_model
from .trained_models import Subject

VERSIONS = "questions.json"  # in a folder of generations: benchmark -> version of the questions that were asked


def generations(
    run: Run,
    who: Subject,
    label: str = "",
    asked: Sequence[Loaded] = (),
    sampling: Sampling | None = None,
    words: str = "",
) -> Artifact:
    """The raw answers of one model to benchmarks: rows ``{benchmark, id, sample, prompt, text, …}``.

    Args:
        run: the run.
        who: the model.
        label: of the artifact; the model's own by default.
        asked: the benchmarks; all of the profile by default.
        sampling: the profile's by default.
        words: to be put after every question.
    """
    p = run.profile
    label = label or who.label
    loaded = asked or benchmarks(run)
    layout = prompts.layout(p.models.layout)
    sampling = sampling or p.evaluation.sampling
    requests = [request(b, question, layout, words) for b in loaded for question in b.problems]

    def build(folder: Path) -> Record:
        rows = ask_model(who.ref, p.generation, requests, sampling, folder / "log.jsonl", label)
        write_json(folder / VERSIONS, question_keys(loaded))
        write_jsonl(folder / "rows.jsonl", [{**row, "sampling": sampling.model_dump()} for row in by_benchmark(rows)])
        reasons = Counter(r["finish_reason"] for r in rows)
        tokens = sum(r["n_tokens"] for r in rows)
        return {"rows": len(rows), "tokens": tokens, "truncated": reasons["length"], "too_long": reasons["too_long"]}

    settings = {
        "sampling": sampling.model_dump(),
        "layout": layout.key,
        "dtype": who.ref.dtype,
        "benchmarks": [b.key for b in loaded],
        "engine": p.generation.identity(),
        **({"words": words} if words else {}),
    }
    expected = len(requests) * sampling.n
    return run.make("generations", label, build, settings=settings, inputs=[who.key], rows=expected)


def request(benchmark: Loaded, question: Record, layout: prompts.Layout, words: str = "") -> Request:
    """A benchmark's question as a request; its id is ``benchmark/id``, which `by_benchmark` takes apart.

    An instruction is asked as it is: a layout would add its own demand to it. ``words`` are put after the question.
    """
    text = f"{question['question']} {words}".rstrip() if words else question["question"]
    as_it_is = [{"role": "user", "content": text}]
    messages = as_it_is if benchmark.rule == "ifeval" else layout.ask(text)
    return Request(f"{benchmark.name}/{question['id']}", messages)


def by_benchmark(rows: Sequence[Record]) -> list[Record]:
    """Generation rows of `request`, with the benchmark and the question's own id."""
    parts = [row["id"].partition("/") for row in rows]
    return [{"benchmark": name, **row, "id": id} for (name, _, id), row in zip(parts, rows, strict=True)]


def question_keys(loaded: Sequence[Loaded]) -> dict[str, str]:
    """Benchmark → version of its questions: the same version, the same questions."""
    return {b.name: b.version for b in loaded}
