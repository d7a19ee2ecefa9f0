"""The drafts y' of a family's student, and how any model of a run is asked for texts."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

from .. import prompts
from ..core.files import write_jsonl
from ..core.profile_files import changed
from ..core.records import Record
from ..core.settings import Engine, Sampling, Synthesis
from ..core.store import Artifact, Run
from ..data import decontamination, problem_sources
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


def ask_model(
    ref: ModelRef, engine: Engine, requests: list[Request], sampling: Sampling, log: Path, what: str
) -> list[Record]:
    """A model's generation rows, in the order of the requests; those that ``log`` holds are not asked again.

    ``what`` stands before the progress bar. The model's memory is given back.
    """
    with closing(generation.open_generator(ref, engine)) as generator:
        return request_log.generate(generator, requests, sampling, log, what)


def drafts(run: Run, family: str) -> Artifact:
    """The drafts y' of a family's student: generation rows in the order of the problems."""
    p = run.profile
    problems = decontamination.training_problems(run)
    source, sampling = p.synthesis.draft_source, p.synthesis.draft
    model = p.models.weaker[family] if source == "weaker" else student(run, family)
    ref = model_ref(run, model, model.rpartition("/")[2])
    layout = prompts.layout(p.models.layout)

    def build(folder: Path) -> Record:
        if source == "corrupted":
            rows = [_corrupted(r, p.synthesis.seed) for r in problems.rows()]
        elif source == "data":
            rows = [_given(r) for r in problems.rows()]
        else:
            requests = [Request(r["id"], layout.ask_draft(r["question"])) for r in problems.rows()]
            log = folder / "drafts.log.jsonl"
            rows = ask_model(ref, p.generation, requests, sampling, log, f"drafts ({ref.name})")
        write_jsonl(folder / "rows.jsonl", rows)
        if source in ("corrupted", "data"):
            return {"rows": len(rows)}
        reasons = Counter(r["finish_reason"] for r in rows)
        return {"rows": len(rows), "tokens": sum(r["n_tokens"] for r in rows), **reasons}

    settings = {
        "source": source,
        "sampling": sampling.model_dump(),
        "models": p.models.model_dump(exclude={"students", "weaker", "dtype", "layout"}),
        "layout": layout.key,
        "dtype": ref.dtype,
        "model": model_key(ref.path),
        "seed": p.synthesis.seed,
        "engine": p.generation.identity(),
    }
    return run.make("drafts", family, build, settings=settings, inputs=[problems.key], rows=p.data.rows)


def _corrupted(problem: Record, seed: int) -> Record:
    """A generation row whose text is the problem's solution with a fault in it (lab only)."""
    from ..lab import world

    rng = Random(f"corrupted/{seed}/{problem['id']}")
    text = world.corrupt(rng, problem["meta"], rng.choice(("steps", "verify")))
    about = {"id": problem["id"], "sample": 0, "prompt": problem["question"]}
    return {**about, "text": text, "finish_reason": "stop", "n_tokens": 0, "model": "corrupted"}


def _given(problem: Record) -> Record:
    """A generation row whose text came with the problem."""
    about = {"id": problem["id"], "sample": 0, "prompt": problem["question"]}
    text = problem_sources.given(problem, "draft")
    return {**about, "text": text, "finish_reason": "stop", "n_tokens": 0, "model": "data"}
