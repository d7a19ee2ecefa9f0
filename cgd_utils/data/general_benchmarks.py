"""General benchmarks: which of lm-eval's tasks they are, and the local files that hold their questions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import BadInput
from ..core.files import file_hash, read_jsonl
from ..core.settings import Evaluation
from ..core.store import content_key


@dataclass(frozen=True)
class General:
    """A general benchmark: lm-eval's task or group, its shots and rows, and which of its metrics are kept.

    Attributes:
        task: name in lm-eval 0.4.13.
        shots: worked examples in the prompt.
        rows: questions expected; another number is told in the result's note.
        metrics: lm-eval's metric → ours.
        filter: lm-eval's extraction whose scores count.
        likelihood: scored by log-likelihoods of given choices, which only the transformers engine gives.
        options: the column of a question's options, among which the rule `authors` draws where no answer can be read.
    """

    task: str
    shots: int
    rows: int
    metrics: dict[str, str]
    filter: str = "none"
    likelihood: bool = False
    options: str = ""


GENERAL = {
    "ifeval": General("ifeval", 0, 541, {
        "prompt_level_strict_acc": "instruction_following", "inst_level_strict_acc": "instruction_strict",
        "prompt_level_loose_acc": "prompt_loose", "inst_level_loose_acc": "instruction_loose"}),
    "gpqa_diamond": General("gpqa_diamond_generative_n_shot", 5, 198, {"exact_match": "accuracy"}, "flexible-extract"),
    "mmlu_pro": General("mmlu_pro", 5, 12032, {"exact_match": "accuracy"}, "custom-extract", options="options"),
    "bbh": General("bbh_cot_fewshot", 3, 6511, {"exact_match": "accuracy"}, "get-answer"),
    "musr": General("leaderboard_musr", 0, 756, {"acc_norm": "accuracy"}, likelihood=True),
    "truthfulqa": General("truthfulqa_mc2", 0, 817, {"acc": "accuracy"}, likelihood=True),
}  # fmt: skip


def check(name: str, engine: str) -> None:
    """What can be known before a model is loaded.

    Raises:
        BadInput: lm-eval (or its IFEval data) is missing, or the engine gives no log-likelihoods.
    """
    import importlib.util

    if importlib.util.find_spec("lm_eval") is None:
        raise BadInput(f"benchmark {name!r} needs lm-eval: pip install 'cgd-kit[eval]'")
    if name == "ifeval":
        from ..grading.ifeval import require_library

        require_library()
    if GENERAL[name].likelihood and engine != "transformers":
        raise BadInput(
            f"benchmark {name!r} needs log-likelihoods, which generation.engine = {engine!r} does not give; use transformers"
        )


def files(name: str, settings: Evaluation) -> dict[str, Path]:
    """The local files of a benchmark: lm-eval's task (or ``task.fewshot``) → file; empty if there are none.

    IFEval's prompts may lie anywhere: ``CGD_IFEVAL`` names their file.

    Raises:
        BadInput: ``CGD_IFEVAL`` names no file.
    """
    folders = (os.environ.get("CGD_BENCHMARK_DIR"), settings.benchmark_dir)  # the profile's wins
    found = {p.stem: p for folder in folders if folder for p in sorted(Path(folder).expanduser().glob("*.jsonl"))}
    if name == "ifeval" and (named := os.environ.get("CGD_IFEVAL")):
        found[name] = _existing(named)
    wanted = (GENERAL[name].task, name)
    parts = tuple(f"{w}_" for w in wanted)
    return {k: p for k, p in found.items() if k.removesuffix(".fewshot") in wanted or k.startswith(parts)}


def _existing(named: str) -> Path:
    path = Path(named).expanduser()
    if not path.is_file():
        raise BadInput(f"CGD_IFEVAL = {named!r}: no such file; name IFEval's input_data.jsonl, or unset it")
    return path


# what the published files call the question, in this order; musr's is told in two columns
QUESTION_COLUMNS = ("narrative", "question", "Question", "prompt", "input")


def questions(name: str, settings: Evaluation) -> list[str]:
    """The questions of a benchmark's local files, for decontamination; empty where its data is on the hub alone."""
    found = [row for k, p in files(name, settings).items() if not k.endswith(".fewshot") for row in read_jsonl(p)]
    return [" ".join(str(row[c]) for c in QUESTION_COLUMNS if row.get(c)) for row in found]


def key(name: str, settings: Evaluation) -> str:
    """Content key of a benchmark: its task, and its local files if there are any."""
    return content_key(name, GENERAL[name].task, {k: file_hash(p) for k, p in files(name, settings).items()})
