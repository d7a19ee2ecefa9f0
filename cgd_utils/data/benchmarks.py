"""Benchmarks by name: the lab's, those made from templates, the paper's math sets, and files of the user's own.

A named set is looked for as ``<name>.jsonl`` (or .json, .csv, .parquet) in the profile's ``evaluation.benchmark_dir``, else in the
folder that ``CGD_BENCHMARK_DIR`` names, else on the hub. Example row of a loaded benchmark::

    {"id": "aime24-00000", "source": "aime24", "split": "test", "question": "Every morning …", "answer": "204", …}
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.errors import BadInput
from ..core.files import file_hash
from ..core.records import Record
from ..core.settings import Benchmark, Evaluation, nearest
from ..core.store import Run, content_key
from ..grading.rules import RULES
from . import instructions, problem_sources, tables

LAB = {f"lab-k{k}": k for k in range(1, 9)}  # name → step count
LAB_INSTRUCTIONS = ("lab-instructions",)

# questions made from templates, of the step counts that most of a source's templates have
TEMPLATED = {
    f"{source}-{templates}": Benchmark.model_validate(
        {"name": f"{source}-{templates}", "source": source, "templates": templates, "steps": steps}
    )
    for source, steps in (("word-problems", [1, 2, 3]), ("gsm-symbolic", [2, 3, 4, 5]))
    for templates in ("seen", "unseen")
}


@dataclass(frozen=True)
class Named:
    """A public benchmark: where it is, what its columns hold, how many rows it has, how it is graded.

    Attributes:
        hub_id, config, split, revision: on the hub.
        rows: questions expected; another number is reported.
        rule: grading rule; ``relative`` where the field grants a relative tolerance.
        answers: what an answer is.
        fields: our field → the file's column.
    """

    hub_id: str
    rows: int
    answers: str
    rule: str = "math"
    config: str | None = None
    split: str = "test"
    revision: str = "main"
    fields: dict[str, str] = field(default_factory=dict)


# zero-shot, graded from the generated text, as in the paper; the answer is asked for in \boxed{} (prompts.standard)
NAMED = {
    "math-500": Named("HuggingFaceH4/MATH-500", 500, "expression", fields={"question": "problem", "answer": "answer"}),
    "minerva_math": Named("math-ai/minervamath", 272, "number or expression", "relative"),
    "gsm8k": Named("openai/gsm8k", 1319, "integer", config="main", fields={"question": "question", "answer": "answer"}),
    "olympiadbench": Named("Hothan/OlympiadBench", 675, "expression, maybe several", config="OE_TO_maths_en_COMP", split="train",
                           fields={"question": "question", "answer": "final_answer"}),
    "amc23": Named("math-ai/amc23", 40, "integer", fields={"answer": "answer"}),
    "aime24": Named("HuggingFaceH4/aime_2024", 30, "integer from 0 to 999", split="train", fields={"answer": "answer"}),
    "aime25": Named("math-ai/aime25", 30, "integer from 0 to 999", fields={"answer": "answer"}),
    "theoremqa": Named("TIGER-Lab/TheoremQA", 800, "number, list or truth value", "relative"),
    # the model's code is run: only with evaluation.execute_code
    "humaneval": Named("openai/openai_humaneval", 164, "a Python function", "code"),
}  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A benchmark ready to be asked: its problems, grading rule (None = the lab's check of an instruction, ``ifeval`` = IFEval's),
    metric, and where it is from.
    """

    name: str
    problems: list[Record]
    rule: str | None
    metric: str
    key: str
    note: str = ""

    @property
    def version(self) -> str:
        """Hash of the questions and their ids: the same for the same version of a benchmark."""
        return content_key([(q["id"], q["question"]) for q in self.problems])


def load(which: str | Benchmark, settings: Evaluation) -> Loaded:
    """Loads one benchmark of a profile.

    Raises:
        BadInput: unknown name, missing file or column, no rows, a question without a gold answer.
    """
    if isinstance(which, str) and which in TEMPLATED:
        which = TEMPLATED[which]
    if which == instructions.NAME or (isinstance(which, Benchmark) and which.source == instructions.NAME):
        return _instructions(which)
    if isinstance(which, Benchmark) and which.source:
        return _from_templates(which, settings)
    if isinstance(which, Benchmark):
        path = Path(which.path or "").expanduser()
        if not path.is_file():
            raise BadInput(f"benchmark {which.name!r}: {which.path}: no such file")
        rows = _problems(which.name, tables.read_table(path), which.fields)[: which.rows or None]
        key = content_key(which.model_dump(exclude={"path"}), file_hash(path))
        return Loaded(which.name, rows, which.rule, "accuracy", key, str(path))
    if which in NAMED:
        return _named(which, settings)
    from ..lab import world

    if which in LAB_INSTRUCTIONS:
        rows = world.make_instruction_set(settings.lab_rows, [1, 2, 3], 0, "test")
        return Loaded(which, rows, None, "instruction_following", content_key(which, settings.lab_rows))
    if which not in LAB:
        from .general_benchmarks import GENERAL

        known = [*LAB, *LAB_INSTRUCTIONS, instructions.NAME, *TEMPLATED, *NAMED, *GENERAL]
        raise BadInput(
            f"unknown benchmark {which!r}{nearest(which, known)}; known: {', '.join(known)}, or a file: {{name, path}}"
        )
    k = LAB[which]
    rows = world.make_problems(settings.lab_rows, [k], 0, f"test-k{k}")
    return Loaded(which, rows, "exact", "accuracy", content_key(which, settings.lab_rows))


def _instructions(which: str | Benchmark) -> Loaded:
    name, count = (which, 0) if isinstance(which, str) else (which.name, which.rows)
    rows = instructions.problems()[: count or None]
    key = content_key(name, [(r["id"], r["question"], r["meta"]) for r in rows])
    return Loaded(name, rows, "ifeval", "instruction_following", key, "the kit's prompts, IFEval's checks")


def _from_templates(which: Benchmark, settings: Evaluation) -> Loaded:
    count = which.rows or settings.lab_rows
    rows = problem_sources.from_templates(which.source or "", count, which, which.split)
    key = content_key(which.model_dump(exclude={"path", "fields"}), count)
    note = f"{which.source}, {which.templates} templates, {count} questions"
    return Loaded(which.name, rows, which.rule, "accuracy", key, note)


def benchmarks(run: Run, rule: str | None = None) -> list[Loaded]:
    """Every benchmark of the run's profile that the kit asks itself, in its order (lm-eval's: `general_benchmarks`).

    Those with gold answers are graded by ``rule``; None = ``evaluation.rule``, ``own`` = each by its own.
    """
    from .general_benchmarks import GENERAL

    settings = run.profile.evaluation
    loaded = [load(b, settings) for b in settings.benchmarks if not (isinstance(b, str) and b in GENERAL)]
    chosen = rule or settings.rule
    return [replace(b, rule=chosen) if chosen != "own" and b.rule in RULES else b for b in loaded]


def _named(name: str, settings: Evaluation) -> Loaded:
    about, path = NAMED[name], local_file(name, settings)
    if about.rule == "code" and not settings.execute_code:
        raise BadInput(
            f"benchmark {name!r} runs code that the model wrote: set evaluation.execute_code: true to allow it, in a sandbox"
        )
    if path:
        table = tables.read_table(path)
    else:
        nowhere = f"benchmark {name!r}: no {name}.jsonl in evaluation.benchmark_dir or CGD_BENCHMARK_DIR, and "
        table = tables.read_hub(nowhere, about.hub_id, about.config, about.split, about.revision)
    if about.rule == "code":
        rows = _code_problems(name, table)
    else:
        rows = _problems(name, table, about.fields if table and set(about.fields.values()) <= set(table[0]) else {})
    note = str(path or about.hub_id)
    if len(rows) != about.rows:
        count = f"{len(rows)} questions, expected {about.rows}"
        warnings.warn(f"benchmark {name!r} from {note}: {count}", stacklevel=2)
        note += f"; {count}"
    questions = content_key([(r["id"], r["question"], r["answer"]) for r in rows])
    return Loaded(name, rows, about.rule, "accuracy", content_key(name, questions, about.rule), note)


def local_file(name: str, settings: Evaluation | None = None) -> Path | None:
    """The file of a named benchmark in the profile's folder, else in ``CGD_BENCHMARK_DIR``; None if it is in neither.

    Raises:
        BadInput: the profile names a folder that does not exist.
    """
    named = settings.benchmark_dir if settings else None
    if named and not Path(named).expanduser().is_dir():
        raise BadInput(f"evaluation.benchmark_dir {named!r}: no such folder")
    for folder in (named, os.environ.get("CGD_BENCHMARK_DIR")):
        for kind in tables.SUFFIXES if folder else ():
            path = Path(folder or "").expanduser() / f"{name}{kind}"
            if path.is_file():
                return path
    return None


def _code_problems(name: str, table: list[Record]) -> list[Record]:
    """HumanEval's rows ``{task_id, prompt, entry_point, canonical_solution, test}`` as problems."""
    wanted = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
    for i, row in enumerate(table, 1):
        if missing := [f for f in wanted if not row.get(f)]:
            raise BadInput(f"benchmark {name!r}, row {i}: no {missing[0]!r}; rows have {', '.join(wanted)}")
    ask = "Complete this Python function. Answer with the whole function in one code block.\n\n"
    return [
        {
            "id": r["task_id"],
            "source": name,
            "split": "test",
            "question": f"{ask}{r['prompt']}",
            "answer": r["canonical_solution"],
            "solution": r["canonical_solution"],
            "meta": {f: r[f] for f in ("prompt", "entry_point", "test")},
        }
        for r in table
    ]


def _problems(name: str, table: list[Record], fields: dict[str, str]) -> list[Record]:
    rows, dropped = problem_sources.to_problems(table, name, "test", fields, keep_duplicates=True)
    if not rows:
        raise BadInput(f"benchmark {name!r}: no usable rows ({dropped or 'the file is empty'})")
    if dropped.get("empty"):
        raise BadInput(
            f"benchmark {name!r}: {dropped['empty']} of {len(table)} rows have no question or no gold answer; mend or remove them"
        )
    return rows
