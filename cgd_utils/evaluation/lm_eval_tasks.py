"""General benchmarks through lm-eval's own tasks (prompts, few-shot examples, extraction, metrics), on the kit's
engines.

A task's data comes from ``<task>.jsonl`` (and ``<task>.fewshot.jsonl`` where its examples are another split) in
``evaluation.benchmark_dir`` or ``CGD_BENCHMARK_DIR``, in the published schema, else from the hub as lm-eval does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from string import ascii_uppercase
from tempfile import TemporaryDirectory
from typing import Any

from ..core import statistics
from ..core.errors import BadInput
from ..core.records import Record
from ..core.settings import Evaluation, Sampling
from ..core.store import content_key
from ..data.general_benchmarks import GENERAL, files
from ..engines import request_log
from ..engines.generation import Generator, TransformersGenerator
from ..engines.request_log import Request
from ..grading import thoughts
from . import figures

LOCAL = "local_"


def evaluate(
    generator: Generator, names: Sequence[str], settings: Evaluation, log: Path, limit: int | None = None
) -> tuple[list[Record], list[Record]]:
    """Runs general benchmarks on a model.

    Args:
        generator: an engine with the model.
        names: keys of `GENERAL`.
        settings: folder of files, sampling limits, level of the intervals.
        log: resume log of the generations.
        limit: first questions of each task; None = all.

    Returns:
        Rows ``{benchmark, metric, value, n, ci_low, ci_high, note}`` in percent, and one row an answer
        ``{benchmark, task, id, prompt, text, scores}``.

    Raises:
        BadInput: a task's data is neither in the folder nor on the hub.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    rows, answers = [], []
    with TemporaryDirectory() as folder:
        chosen = _local_tasks(names, settings, Path(folder))
        stock = any(not t.startswith(LOCAL) for group in chosen.values() for t in group)
        manager = TaskManager(include_path=folder, include_defaults=stock)  # reading lm-eval's own tasks takes seconds
        model = _model(generator, settings.sampling, log)
        for name, tasks in chosen.items():
            about = GENERAL[name]
            try:
                how = {"num_fewshot": about.shots or None, "limit": limit, "bootstrap_iters": 0, "log_samples": True}
                evaluated = simple_evaluate(model=model, tasks=tasks, task_manager=manager, **how)
            except (OSError, ValueError, ConnectionError) as e:
                reason = str(e).splitlines()[0] if str(e) else type(e).__name__
                raise BadInput(
                    f"benchmark {name!r}: lm-eval task {about.task!r} could not run ({reason}); put its data as "
                    f"{about.task}.jsonl into evaluation.benchmark_dir, or check the network"
                ) from e
            logged = [(task, s) for task, of_task in evaluated["samples"].items() for s in of_task]
            samples = [(task, s) for task, s in logged if s["filter"] == about.filter]
            rows += _results(name, [s for _, s in samples], settings)
            answers += [
                {
                    "benchmark": name,
                    "task": task.removeprefix(LOCAL),
                    "id": str(s["doc_id"]),
                    "prompt": str(s["arguments"][0][0]),
                    "text": _text(s["resps"]),
                    "scores": {metric: s[metric] for metric in about.metrics},
                }
                for task, s in samples
            ]
    return rows, answers


def _local_tasks(names: Sequence[str], settings: Evaluation, folder: Path) -> dict[str, list[str]]:
    """Writes a task for lm-eval a local file: its own one included, its data set replaced. Name → tasks to run."""
    import yaml

    index, out = _index(), {}
    for name in names:
        about, found = GENERAL[name], files(name, settings)
        out[name] = [] if found else [about.task]
        for task in _leaves(about.task, index) if found else ():
            rows = found.get(task) or found.get(about.task) or found.get(name)
            if rows is None:
                continue  # a subject without a file is not asked
            examples = next((found[f"{t}.fewshot"] for t in (task, about.task, name) if f"{t}.fewshot" in found), rows)
            config = index[task].cfg or {}
            asked = config.get("test_split") or config.get("validation_split")
            others = {config.get(s) for s in ("training_split", "validation_split", "fewshot_split")} - {None, asked}
            data_files = {**{s: str(examples.resolve()) for s in others}, asked: str(rows.resolve())}
            local: Record = {"include": str(index[task].yaml_path), "task": f"{LOCAL}{task}", "tag": None}
            local |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": data_files}}
            (folder / f"{LOCAL}{task}.yaml").write_text(yaml.safe_dump(local), encoding="utf-8")
            out[name].append(f"{LOCAL}{task}")
    return out


@cache
def _index() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager().task_index


def _leaves(task: str, index: Any) -> list[str]:
    """The tasks that a group is made of, itself if it is none."""
    parts = (index[task].cfg or {}).get("task")
    if not isinstance(parts, list):
        return [task]
    return [leaf for p in parts for leaf in _leaves(p if isinstance(p, str) else p.get("task") or p["group"], index)]


def _results(name: str, samples: Sequence[Record], settings: Evaluation) -> list[Record]:
    about, level = GENERAL[name], settings.level
    note = "" if len(samples) == about.rows else f"{len(samples)} questions, expected {about.rows}"
    found = {}
    for theirs, ours in about.metrics.items():
        values = [float(v) for s in samples for v in (s[theirs] if isinstance(s[theirs], list) else [s[theirs]])]
        if set(values) <= {0.0, 1.0}:
            found[ours] = figures.share([v == 1 for v in values], level)
        else:
            found[ours] = figures.percent(statistics.mean_t_interval(values, level))
    if about.options and settings.rule == "authors":
        read = found["accuracy"]
        found["accuracy"] = figures.share([_right_or_drawn(s, about.options) for s in samples], level)
        found |= {"accuracy_own": read} if "own" in settings.also_grade else {}
    return [{**row, "note": note} for row in figures.rows({"benchmark": name}, found)]


def _right_or_drawn(sample: Record, options: str) -> bool:
    """Whether an answer is right; one that names no option counts as a seeded draw among the question's."""
    if sample["filtered_resps"] != ["[invalid]"]:  # lm-eval's word for an answer that its filter cannot read
        return bool(sample["exact_match"] == 1)
    letters = ascii_uppercase[: len(sample["doc"][options])]
    return Random(f"draw/{sample['doc']}").choice(letters) == sample["target"]


def _text(answers: Any) -> str:
    first = answers[0][0] if answers and isinstance(answers[0], list | tuple) else answers
    return first if isinstance(first, str) else str(first)


def _model(generator: Generator, sampling: Sampling, log: Path) -> Any:
    """The generator as lm-eval sees a model: every prompt is one user turn of the student's own chat template.

    Its texts are those without thoughts, as from a server that parses reasoning; the resume log keeps them whole.
    """
    from lm_eval.api.model import LM
    from lm_eval.models.utils import postprocess_generated_text

    class KitModel(LM):
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            most = sampling.max_new_tokens
            limits = [min(int(r.args[1].get("max_gen_toks", most)), most) for r in requests]
            texts: dict[tuple[str, int], str] = {}
            for limit in sorted(set(limits)):
                prompts = dict.fromkeys(r.args[0] for r, n in zip(requests, limits, strict=True) if n == limit)
                asked = [Request(content_key(p, limit), [{"role": "user", "content": p}]) for p in prompts]
                greedy = sampling.model_copy(update={"temperature": 0.0, "n": 1, "max_new_tokens": limit})
                for p, row in zip(prompts, request_log.generate(generator, asked, greedy, log, "lm-eval"), strict=True):
                    texts[p, limit] = thoughts.split(row["text"]).answer
            return [
                postprocess_generated_text(texts[r.args[0], n], r.args[1].get("until"), None)
                for r, n in zip(requests, limits, strict=True)
            ]

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            from lm_eval.models.huggingface import HFLM

            assert isinstance(generator, TransformersGenerator), "general_benchmarks.check lets no other engine in"
            inner = HFLM(pretrained=generator.model, tokenizer=generator.tokenizer, batch_size=16)
            return inner.loglikelihood(requests, disable_tqdm=True)

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
            raise NotImplementedError("no task of the kit asks for perplexities")

    return KitModel()
