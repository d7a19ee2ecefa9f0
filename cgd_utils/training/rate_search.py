"""A learning rate for each method, chosen on questions that are neither trained on nor tested on.

One rate for all favours the method that it happens to suit. Where ``training.learning_rate`` lists several, each is tried
with a pilot seed that the comparison does not use, and the rate whose student answers most validation questions right is
that method's. All points are kept, so that a best rate at the edge of its list can be seen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import prompts
from ..core import statistics
from ..core.files import write_jsonl
from ..core.profile_files import changed
from ..core.records import Record
from ..core.store import Artifact, Run
from ..engines import generation, request_log
from ..engines.request_log import Request
from ..grading.records import grade
from ..synthesis import teaching
from ..synthesis.drafts import of_seed
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
        The artifact; its rows, a rate each, are ``{method, learning_rate, n, accuracy, ci_low, ci_high, loss, chosen, at_edge}``:
        percent right of the validation questions with its interval, the loss on their rows, and whether the chosen rate is the
        least or the greatest of the list. Among equal accuracies the lower loss wins.
    """
    p = run.profile
    rates = p.training.rates(method)
    pilot = p.training.pilot_seed
    records = teaching.records(of_seed(run, pilot), family)
    held = fine_tune.validation(records.rows(), p.training.validation_rows, pilot)
    models = [fine_tune.fine_tune(with_rate(run, rate), family, method, pilot) for rate in rates]

    def build(folder: Path) -> Record:
        points = [
            {"method": method, "learning_rate": rate, **_measured(run, family, method, model, held, rate, folder)}
            for rate, model in zip(rates, models, strict=True)
        ]
        chosen = max(points, key=lambda point: (point["accuracy"], -point["loss"]))
        edge = chosen["learning_rate"] in (min(rates), max(rates))
        rows = [{**point, "chosen": point is chosen, "at_edge": point is chosen and edge} for point in points]
        write_jsonl(folder / "rows.jsonl", rows)
        return {"rows": len(rows), "chosen": chosen["learning_rate"], "at_edge": edge}

    settings = {
        "rates": rates,
        "sampling": p.evaluation.sampling.model_dump(),
        "layout": p.models.layout,
        "engine": p.generation.identity(),
        "level": p.evaluation.level,
    }
    label = f"{family}-{method}"
    return run.make("rates", label, build, settings=settings, inputs=[m.key for m in models], rows=len(rates))


def _measured(
    run: Run, family: str, method: str, model: Artifact, held: list[Record], rate: float, folder: Path
) -> dict[str, Any]:
    name = f"{family}-{method}-{rate:g}"
    layout = prompts.layout(run.profile.models.layout)
    requests = [Request(r["id"], layout.ask(r["question"])) for r in held]
    generator = generation.open_generator(fine_tune.trained_ref(run, family, model, name), run.profile.generation)
    try:
        texts = request_log.generate(
            generator, requests, run.profile.evaluation.sampling, folder / f"{rate:g}.log.jsonl", f"{name}, validation"
        )
    finally:
        generator.close()
    golds = {r["id"]: r["answer"] for r in held}
    scores = grade([{"id": t["id"], "gold": golds[t["id"]], "text": t["text"]} for t in texts])
    right = sum(bool(s["correct"]) for s in scores)
    interval = statistics.wilson(right, len(scores), run.profile.evaluation.level)
    return {
        "n": len(scores),
        "accuracy": 100 * interval.estimate,
        "ci_low": 100 * interval.low,
        "ci_high": 100 * interval.high,
        "loss": model.rows("validation.jsonl")[-1]["loss"],
    }
