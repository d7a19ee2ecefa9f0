"""A learning rate for each method, chosen on questions that are neither trained on nor tested on.

One rate for all favours the method that it happens to suit. Where ``training.learning_rate`` lists several, each is tried
with a pilot seed that the comparison does not use, and the rate whose student answers most validation questions right is
that method's. All points are kept, so that a best rate at the edge of its list can be seen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .. import prompts
from ..core import statistics
from ..core.files import write_jsonl
from ..core.profile_files import changed
from ..core.records import Record
from ..core.store import Artifact, Run
from ..engines.request_log import Request
from ..grading.records import grade
from ..models import named
from ..models.loading import ModelRef
from ..synthesis import teaching
from ..synthesis.drafts import ask_model, rule_of
from . import fine_tune


def settled(run: Run, family: str, method: str) -> Run:
    """The run as a method is trained in it: with one learning rate."""
    rates = run.profile.training.rates(method)
    return with_rate(run, rates[0] if len(rates) == 1 else best(search(run, family, method).rows()))


def with_rate(run: Run, rate: float) -> Run:
    """The run with one learning rate for all methods."""
    if run.profile.training.learning_rate == rate:
        return run
    return replace(run, profile=changed(run.profile, {"training.learning_rate": rate}))


def best(points: list[Record]) -> float:
    """The rate that was chosen."""
    return next(p["learning_rate"] for p in points if p["chosen"])


def search(run: Run, family: str, method: str) -> Artifact:
    """Tries every rate of a method with the pilot seed.

    Returns:
        The artifact; its rows, a rate each, are ``{method, seed, learning_rate, n, accuracy, ci_low, ci_high, loss, chosen, at_edge}``:
        percent right of the validation questions with its interval, the loss on their rows, and whether the chosen rate is the
        least or the greatest of the list. Among equal accuracies the lower loss wins.
    """
    rates = run.profile.training.rates(method)
    tried = [try_rate(run, family, method, rate) for rate in rates]

    def build(folder: Path) -> Record:
        points = [t.manifest["facts"] for t in tried]
        chosen = max(points, key=lambda point: (point["accuracy"], -point["loss"]))
        edge = chosen["learning_rate"] in (min(rates), max(rates))
        rows = [{**point, "chosen": point is chosen, "at_edge": point is chosen and edge} for point in points]
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "chosen": chosen["learning_rate"], "at_edge": edge}

    label, inputs = f"{family}-{method}", [t.key for t in tried]
    return run.make("rates", label, build, settings={"rates": rates}, inputs=inputs, rows=len(rates))


def try_rate(run: Run, family: str, method: str, rate: float) -> Artifact:
    """Trains a method at one rate with the pilot seed and asks the validation questions.

    Its facts are a row of `search` without the choice.
    """
    pilot = run.profile.training.pilot_seed
    if run.profile.training.keep:  # the choice of the rate looks at the last model alone
        run = replace(run, profile=changed(run.profile, {"training.keep": 0}))
    records, held = _held_out(run, family)
    model = fine_tune.fine_tune(with_rate(run, rate), family, method, pilot)

    def build(folder: Path) -> Record:
        ref = fine_tune.trained_ref(run, family, model, f"{family}-{method}-{rate:g}")
        accuracy = _accuracy(run, ref, held, folder / "log.jsonl")
        loss = model.rows("validation.jsonl")[-1]["loss"]
        return {"method": method, "seed": pilot, "learning_rate": rate, **accuracy, "loss": loss}

    label, settings = f"{family}-{method}-{rate:g}", {"held": len(held), **_asked(run)}
    return run.make("rates", label, build, settings=settings, inputs=[model.key, records.key])


def trials(run: Run) -> list[tuple[str, str, float]]:
    """What `try_rate` has to be called with before `search` finds everything done: (family, method, rate)."""
    t = run.profile.training
    return [
        (family, method, rate)
        for family in run.profile.models.students
        for method in t.searched
        for rate in t.rates(method)
    ]


def points(run: Run) -> list[Record]:
    """The points of every family's and method's search, with ``family``; none where nothing is searched."""
    tried = [(family, m) for family in run.profile.models.students for m in run.profile.training.searched]
    return [{"family": family, **point} for family, m in tried for point in search(run, family, m).rows()]


def result_rows(found: list[Record]) -> list[Record]:
    """Points as rows of ``results.csv``: the method's name says the rate; a metric of its own, so that no mean takes them in."""
    columns = ("n", "ci_low", "ci_high")
    return [
        {
            "family": point["family"],
            "method": f"{point['method']} [rate {point['learning_rate']:g}]",
            "seed": point["seed"],
            "benchmark": "validation",
            "metric": "validation_accuracy",
            "value": point["accuracy"],
            **{name: point[name] for name in columns},
        }
        for point in found
    ]


def base_accuracy(run: Run, family: str) -> Record:
    """How many of the pilot's validation questions the untrained student answers right: ``{n, accuracy, ci_low, ci_high}``, percent."""
    pilot = run.profile.training.pilot_seed
    records, held = _held_out(run, family)
    ref = named.student_ref(run, family)

    def build(folder: Path) -> Record:
        return _accuracy(run, ref, held, folder / "log.jsonl")

    settings = {"pilot": pilot, "held": len(held), "dtype": ref.dtype, **_asked(run)}
    inputs = [records.key, named.model_key(ref.path)]
    return run.make("rates", f"{family}-base", build, settings=settings, inputs=inputs).manifest["facts"]


def validation_accuracy(run: Run, family: str, method: str, seed: int, model: Artifact) -> float:
    """Percent of a seed's held-out questions that a model trained on that seed answers right."""
    records = teaching.seed_records(run, family, seed)
    held = fine_tune.validation(records.rows(), run.profile.training.validation_rows, seed)

    def build(folder: Path) -> Record:
        ref = fine_tune.trained_ref(run, family, model, f"{family}-{method}-{seed}")
        return _accuracy(run, ref, held, folder / "log.jsonl")

    settings, inputs = {"held": len(held), **_asked(run)}, [model.key, records.key]
    made = run.make("validation", model.folder.name, build, settings=settings, inputs=inputs)
    return float(made.manifest["facts"]["accuracy"])


def _held_out(run: Run, family: str) -> tuple[Artifact, list[Record]]:
    """The pilot's records, and those of them that are asked for validation."""
    t = run.profile.training
    records = teaching.seed_records(run, family, t.pilot_seed)
    return records, fine_tune.validation(records.rows(), t.validation_rows, t.pilot_seed)


def _asked(run: Run) -> Record:
    """What decides the answers beside the model."""
    p = run.profile
    return {
        "sampling": p.evaluation.sampling.model_dump(),
        "layout": prompts.layout(p.models.layout).key,
        "engine": p.generation.identity(),
        "level": p.evaluation.level,
    }


def _accuracy(run: Run, ref: ModelRef, held: list[Record], log: Path) -> Record:
    """Percent right of the held-out questions, with its interval."""
    p = run.profile
    layout = prompts.layout(p.models.layout)
    requests = [Request(r["id"], layout.ask(r["question"])) for r in held]
    answers = ask_model(ref, p.generation, requests, p.evaluation.sampling, log, f"{ref.name}, validation")
    golds = {r["id"]: r["answer"] for r in held}
    scores = grade([{"id": a["id"], "gold": golds[a["id"]], "text": a["text"]} for a in answers], rule_of(run))
    right = sum(bool(s["correct"]) for s in scores)
    interval = statistics.wilson(right, len(scores), p.evaluation.level)
    shares = {"accuracy": interval.estimate, "ci_low": interval.low, "ci_high": interval.high}
    return {"n": len(scores), **{name: 100 * value for name, value in shares.items()}}
