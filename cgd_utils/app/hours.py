"""How long a run takes, roughly: the tokens of its stages over a speed that is measured on this machine, or published.

An estimate for the choice between a lunch and a week. Not in it: reading prompts, loading models, grading, tables.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .. import methods, prompts
from ..ablations import cell_runs
from ..analysis import inference_time
from ..core.engine_settings import Engine, LocalEngine, ServerEngine, VllmEngine
from ..core.records import Record
from ..core.settings import Sampling
from ..core.store import Run
from ..data import benchmarks, problem_sources
from ..engines import generation, request_log
from ..models import loading, memory, named
from ..training.side_by_side import processes

# assumed where nothing was measured: tokens of a question, and of a worked solution
QUESTION = 128
TEXT = 512
# published for models of 8.03 billion weights; other sizes are taken in proportion
WEIGHTS = 8.03e9
TRAINED = 2413, "torchtune, QLoRA of Llama-3.1-8B on one RTX 4090"
VLLM = 5777, "MLPerf offline, 8B in fp8 with vLLM on one H100"
SMALL = 250e6  # weights that are read in a second
CPU_STUDENT = 2.5e9  # weights; larger models are run on a card, whatever this machine has
# a step of decoding reads every weight once, so this is the best that engine transformers can do there
BANDWIDTH = 1008e9, "memory bandwidth of an RTX 4090, an upper bound"


@dataclass(frozen=True)
class Measured:
    """Tokens a second of a student on this machine, and how long its texts were.

    Attributes:
        weights: of the model that was measured.
        generated: new tokens a second, engine transformers.
        trained: tokens a second, forward and backward.
        question, text: mean tokens of a question and of a draft.
        processes: models trained or evaluated side by side, each at this speed.
    """

    weights: int
    generated: float
    trained: float
    question: float
    text: float
    processes: int


@dataclass(frozen=True)
class Work:
    """What a stage asks of a model: tokens it writes, and tokens it learns from (with their prompts)."""

    stage: str
    model: str
    engine: Engine
    generated: float = 0
    trained: float = 0


def measure(run: Run, family: str, weights: int, seconds: float) -> Measured:
    """Drafts and training steps of a student, each for half of ``seconds`` after the model is loaded.

    Raises:
        BadInput, OSError: the model cannot be loaded.
    """
    import torch

    p, t = run.profile, run.profile.training
    side_by_side = processes(run, len(t.methods) * len(t.seeds))
    threads = torch.get_num_threads()
    generator = generation.TransformersGenerator(
        named.student_ref(run, family), min(64, getattr(p.generation, "batch_size", 64))
    )
    try:
        torch.set_num_threads(1 if side_by_side > 1 else threads)
        ask = prompts.layout(p.models.layout).ask
        requests = [request_log.Request(str(i), ask(q)) for i, q in enumerate(_questions(run)[: generator.batch_size])]
        question = sum(map(len, generation.prompt_ids(generator.tokenizer, requests))) / len(requests)
        generated, text = _drafting(generator, requests, p.synthesis.draft, seconds / 2)
        length = min(t.max_length, round(question + 3 * text))
        trained = _training(generator.model, (t.micro_batch_size, length), t.mode == "full", seconds / 2)
    finally:
        torch.set_num_threads(threads)
        generator.close()
    return Measured(weights, generated, trained, question, text, side_by_side)


def _questions(run: Run) -> list[str]:
    source = run.profile.data
    if source.is_drawn or problem_sources.is_file(source.source):
        return [r["question"] for r in problem_sources.load_problems(source.model_copy(update={"rows": 64}))[0]]
    return [f"A box holds {i} pens. How many pens do {i + 3} boxes hold?" for i in range(2, 66)]


def _drafting(generator: Any, requests: list[Any], sampling: Sampling, seconds: float) -> tuple[float, float]:
    """New tokens a second and the mean length of a text; texts are let grow, twofold at a time, while time is left.

    Where texts are cut, the mean is that of lengths with a constant chance to end: all tokens over the texts that end.
    """
    length = 16
    wanted = [(r, 0) for r in requests]
    generator.generate(wanted[:1], sampling.model_copy(update={"max_new_tokens": 1, "n": 1}))  # loads the model
    until = time.monotonic() + seconds
    while True:
        length = min(length, sampling.max_new_tokens)
        started = time.monotonic()
        rows = generator.generate(wanted, sampling.model_copy(update={"max_new_tokens": length, "n": 1}))
        took = time.monotonic() - started
        if length == sampling.max_new_tokens or time.monotonic() + 2 * took > until:
            break
        length *= 2
    written = sum(r["n_tokens"] for r in rows)
    ended = sum(r["finish_reason"] == "stop" for r in rows)
    return written / took, min(written / ended if ended else TEXT, sampling.max_new_tokens)


def _training(model: Any, shape: tuple[int, int], full: bool, seconds: float) -> float:
    """Tokens a second of forward and backward passes; with frozen weights, as under an adapter, unless ``full``."""
    import torch

    model.train().requires_grad_(full)
    if not full:
        model.enable_input_require_grads()
    ids = torch.randint(0, model.config.get_text_config().vocab_size, shape, device=model.device)
    started, passes = time.monotonic(), 0
    while passes == 0 or time.monotonic() - started < seconds:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        model.zero_grad()
        passes += 1
    return passes * ids.numel() / (time.monotonic() - started)


def work(run: Run, question: float = QUESTION, text: float = TEXT) -> list[Work]:
    """What the stages of a run ask of its models, where a question and a text have so many tokens in the mean."""
    p, t, teacher = run.profile, run.profile.training, run.profile.synthesis.teacher
    rows = _rows(run)
    searches = {m: len(t.rates(m)) for m in t.searched}  # a model for each rate, on the pilot seed
    seeds = len(t.seeds) + bool(searches) if p.data.per_seed else 1
    drafted = rows * seeds
    questions = sum(_count(b, run) for b in p.evaluation.benchmarks)
    long = lambda sampling: min(sampling.max_new_tokens, text)  # noqa: E731
    trained_rows = (t.rows or rows) * t.epochs
    out = []
    for family, student in p.models.students.items():
        plain = {c for f, g in cell_runs.plan(run) if f == family for c in cell_runs.plain(run, g, family)}
        cells = {
            c.name: c.method for f, g in cell_runs.plan(run) if f == family for c in cell_runs.cells(run, g, family)
        }
        cells = {name: method for name, method in cells.items() if name not in {*plain, *t.methods}}
        models = {
            "03_train": [m for m in t.methods for _ in range(len(t.seeds) + searches.get(m, 0))],
            "05_ablations": [m for m in cells.values() for _ in cell_runs.seeds(run)],
        }
        out.append(Work("01_problems_and_drafts", student, p.generation, drafted * long(p.synthesis.draft)))
        if teacher.kind == "model":
            told = 3 * drafted * long(teacher.sampling)  # critique, refined answer, direct answer
            out.append(
                Work("02_critiques_and_refinements", teacher.model or "", teacher.generation or p.generation, told)
            )
        for stage, made in models.items():
            learnt = sum(_row_tokens(m, question, long(p.synthesis.draft), t.max_length) for m in made) * trained_rows
            out.append(Work(stage, student, p.generation, trained=learnt))
        answer = questions * long(p.evaluation.sampling)
        asked = 1 + len(t.methods) * len(t.seeds)
        chosen = sum(searches.values()) * t.validation_rows * long(p.evaluation.sampling)
        out.append(Work("03_train", student, p.generation, chosen))
        out.append(Work("04_evaluate", student, p.generation, asked * answer))
        out.append(Work("05_ablations", student, p.generation, len(models["05_ablations"]) * answer))
        a = p.analyses
        sets = len(a.benchmarks or inference_time.hardest(p) or inference_time.HARD)
        asked = 1 + len([m for m in a.methods if m in t.methods]) * min(a.seeds, len(t.seeds))
        tries = sets * (
            a.samples * a.sample_rows + 4 * a.cost_rows
        )  # self-refine: answer, critique, revision; one pass
        out.append(Work("06_analyses", student, p.generation, asked * tries * long(p.evaluation.sampling)))
    return [w for w in out if w.generated or w.trained]


def _rows(run: Run) -> int:
    source = run.profile.data
    if problem_sources.is_file(source.source):
        return len(problem_sources.load_problems(source)[0])
    return source.rows


def _count(benchmark: Any, run: Run) -> int:
    if not isinstance(benchmark, str):
        return benchmark.rows or len(benchmarks.load(benchmark, run.profile.evaluation).problems)
    named = benchmarks.NAMED.get(benchmark)
    return named.rows if named else run.profile.evaluation.lab_rows


def _row_tokens(method: str, question: float, text: float, most: int) -> float:
    shown = {"x": 0, "x, y'": 1, "x, y', c": 2}[methods.parse(method)[0].shows]
    return min(most, question + (shown + 1) * text)


def estimate(
    run: Run, shapes: Mapping[str, memory.Shape], on_disk: Collection[str] = (), seconds: float = 0
) -> list[Record]:
    """Hours of each stage.

    Args:
        run: the run.
        shapes: of its models, as far as they are known.
        on_disk: models that can be loaded without network; the first student among them is measured.
        seconds: how long to measure; 0 = published speeds only.

    Returns:
        Rows ``{stage, model, generated, trained, hours, speed}``: tokens, and the speed with its source; ``hours`` is
        None where no speed is known (a server's, or that of a model without a config).
    """
    measured = None
    for family, model in run.profile.models.students.items():
        # a model that needs more time to be read than there is to measure it is left alone
        if seconds and model in on_disk and model in shapes and shapes[model].weights < seconds * SMALL:
            measured = measure(run, family, shapes[model].weights, seconds)
            break
    unfit = _without_gpu(run) and not measured
    rows = []
    for w in work(run, measured.question, measured.text) if measured else work(run):
        rate, source = _speed(w, shapes.get(w.model), measured if w.model in on_disk else None)
        if unfit and rate and w.model in on_disk and shapes[w.model].weights < CPU_STUDENT:
            # published speeds are of graphics cards: on this machine they would promise minutes for hours
            rate, source = None, "this machine's speed was not measured here; `cgd check` does"
        tokens = w.trained or w.generated
        row: Record = {"stage": w.stage, "model": w.model or w.engine.served_as}
        row |= {"generated": round(w.generated), "trained": round(w.trained)}
        row["hours"] = None if rate is None else tokens / rate / 3600
        row["speed"] = source if rate is None else f"{rate:,.0f} tokens/s ({source})"
        rows.append(row)
    return rows


def _without_gpu(run: Run) -> bool:
    """Whether a run's models compute on a processor here."""
    return loading.pick_device("cpu" if run.profile.models.device == "cpu" else "auto") == "cpu"


def _speed(w: Work, shape: memory.Shape | None, measured: Measured | None) -> tuple[float | None, str]:
    """Tokens a second and where that is from."""
    inner = w.engine.inner()
    if not w.trained and isinstance(inner, ServerEngine):
        return None, "the speed of a server is its own"
    if shape is None:
        return None, "no config, so no size"
    # `auto` is vLLM where it pays, which is faster than what was measured: the estimate errs to the safe side
    if measured is not None and (w.trained or inner.engine in ("transformers", "auto")):
        rate = measured.trained if w.trained else measured.generated
        side = measured.processes if w.stage[:2] in ("03", "04", "05") else 1
        return rate * side * measured.weights / shape.weights, "measured on this machine"
    size = shape.weights / WEIGHTS
    if w.trained:
        return TRAINED[0] / size, TRAINED[1]
    if isinstance(inner, VllmEngine):
        return VLLM[0] / size * inner.tensor_parallel_size, VLLM[1]
    batch_size = inner.batch_size if isinstance(inner, LocalEngine) else 1
    return batch_size * BANDWIDTH[0] / (2 * shape.weights), BANDWIDTH[1]
