"""The drafts y' of a family's student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from .. import prompts
from ..core.files import write_jsonl
from ..core.profile_files import changed
from ..core.records import Record
from ..core.settings import Engine, Sampling, Synthesis
from ..core.store import Artifact, Run
from ..data import decontamination
from ..engines import generation, request_log
from ..engines.request_log import Request
from ..grading import thoughts
from ..models.loading import ModelRef
from ..models.named import model_key, model_ref, student


def spoken(text: str, settings: Synthesis) -> str:
    """What of a model's text may be shown to another model or learnt: all but its thoughts, unless they are to be kept.

    A text that was cut off inside a thought leaves nothing, and `select` counts its record as ``incomplete``.
    """
    return text if settings.thoughts == "keep" else thoughts.split(text).answer


def rule_of(run: Run) -> str:
    """The grading rule for the training problems."""
    return "exact" if run.profile.data.is_lab else "math"


def of_seed(run: Run, seed: int) -> Run:
    """The run whose problems, drafts and records a training seed has: the run itself, but with ``data.per_seed``.

    Then the seed is added to ``data.seed``, ``synthesis.draft.seed`` and ``synthesis.seed``; training seed 0 has those of the run.
    """
    p = run.profile
    if not p.data.per_seed:
        return run
    seeds = {"data": p.data.seed, "synthesis": p.synthesis.seed, "synthesis.draft": p.synthesis.draft.seed}
    changes: Record = {f"{section}.seed": start + seed for section, start in seeds.items()}
    return replace(run, profile=changed(p, {**changes, "data.per_seed": False}))


def drafts(run: Run, family: str) -> Artifact:
    """The drafts y' of a family's student: generation rows in the order of the problems."""
    p = run.profile
    problems = decontamination.problems(run)
    source, sampling = p.synthesis.draft_source, p.synthesis.draft
    model = p.models.weaker[family] if source == "weaker" else student(run, family)
    ref = model_ref(run, model, model.rpartition("/")[2])
    layout = prompts.layout(p.models.layout)

    def build(folder: Path) -> Record:
        rows = problems.rows()
        if source == "corrupted":
            write_jsonl(folder / "rows.jsonl", [_corrupted(r, p.synthesis.seed) for r in rows])
            return {"rows": len(rows)}
        made = ask_model(
            run, ref, [Request(r["id"], layout.ask(r["question"])) for r in rows], sampling, folder, "drafts"
        )
        write_jsonl(folder / "rows.jsonl", made)
        return _facts(made)

    settings = {"source": source, "sampling": sampling.model_dump(), "models": p.models.model_dump(exclude={"students", "weaker"}),
                "model": model_key(ref.path), "seed": p.synthesis.seed, "engine": p.generation.identity()}  # fmt: skip
    return run.make("drafts", family, build, settings=settings, inputs=[problems.key], rows=p.data.rows)


def ask_model(
    run: Run,
    ref: ModelRef,
    requests: list[Request],
    sampling: Sampling,
    folder: Path,
    what: str,
    engine: Engine | None = None,
) -> list[Record]:
    generator = generation.open_generator(ref, engine or run.profile.generation)
    try:
        return request_log.generate(generator, requests, sampling, folder / f"{what}.log.jsonl", f"{what} ({ref.name})")
    finally:
        generator.close()


def _facts(rows: Sequence[Record]) -> Record:
    reasons = [r["finish_reason"] for r in rows]
    return {
        "rows": len(rows),
        "tokens": sum(r["n_tokens"] for r in rows),
        **{w: reasons.count(w) for w in set(reasons)},
    }


def _corrupted(problem: Record, seed: int) -> Record:
    from ..lab import world

    rng = Random(f"corrupted/{seed}/{problem['id']}")
    text = world.corrupt(rng, problem["meta"], rng.choice(("steps", "verify")))
    return {"id": problem["id"], "sample": 0, "prompt": problem["question"], "text": text, "finish_reason": "stop",
            "n_tokens": 0, "model": "corrupted"}  # fmt: skip
