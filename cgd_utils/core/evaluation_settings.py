"""Profile fields of benchmarks, ablations and analyses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .engine_settings import AnyEngine
from .section import Count, Positive, Section
from .synthesis_settings import TEMPLATE_SOURCES, Sampling, Steps, Templates
from .training_settings import known_methods


class Benchmark(Section):
    """A benchmark file of the user's (JSONL, CSV or Parquet), or questions made from templates."""

    name: str = Field(description="in tables and results")
    path: str | None = Field(None, description="the file")
    source: Literal["word-problems", "gsm-symbolic", "instructions"] | None = Field(
        None, description="in place of a file: templates, or the kit's instructions (only rows counts then)"
    )
    split: Literal["test", "validation"] = Field(
        "test", description="source only: no question is in two splits, nor in training"
    )
    templates: Templates = Field("seen", description="source only: as data.templates")
    steps: Steps = Field([1, 2, 3], description="source only: as data.steps")
    numbers: Annotated[int, Field(ge=5)] = Field(30, description="source only: as data.numbers")
    seed: int = Field(0, description="source only: draws the questions")
    fields: dict[str, str] = Field({}, description="our field (question, answer, id) -> the file's column")
    rule: Literal["math", "relative", "exact", "authors"] = Field("math", description="grading rule")
    rows: Count = Field(0, description="first rows to use; 0 = all, from templates evaluation.lab_rows")

    @model_validator(mode="after")
    def _one_origin(self) -> Benchmark:
        if (self.path is None) == (self.source is None):
            raise ValueError(f"benchmark {self.name!r}: give path (a file) or source ({', '.join(TEMPLATE_SOURCES)})")
        return self


class Evaluation(Section):
    """What is asked of every model, and how answers are graded."""

    benchmarks: list[str | Benchmark] = Field(
        ["lab-k2", "lab-k3", "lab-k4", "lab-k5", "lab-k6", "lab-instructions"],
        description="names or files, see Benchmark",
    )
    lab_rows: Positive = Field(
        200, description="questions of each lab benchmark, and of word-problems-* and gsm-symbolic-*"
    )
    benchmark_dir: str | None = Field(
        None, description="folder of named benchmarks' files; else CGD_BENCHMARK_DIR, else the hub"
    )
    sampling: Sampling = Field(Sampling(), description="how answers are sampled")
    rule: Literal["own", "math", "relative", "exact", "authors"] = Field(
        "own", description="grading rule of all benchmarks with a gold answer; own = each benchmark's"
    )
    also_grade: list[Literal["own", "math", "relative", "exact", "authors"]] = Field(
        [],
        description="further rules for the same answers: metrics `accuracy_<rule>`, and each disagreement in 04",
    )
    base_told: str = Field(
        "",
        description="words after every question for a row `base, told to write steps`: what prompting alone gives; empty = no row",
    )
    base_votes: Annotated[int, Field(ge=0, le=35)] = Field(
        0,
        description="answers, asked with those words, for a row `self-consistency of the base`: their majority; 0 = no row",
    )
    execute_code: bool = Field(False, description="run code that the model wrote (humaneval), in a sandbox; Linux only")
    headline: list[str] = Field([], description="benchmarks averaged in the headline table; empty = all graded ones")
    level: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="level of the intervals")


class Ablations(Section):
    """Grids of notebook 05; each name is an entry in ablations.GRIDS."""

    grids: list[str] = Field(["critique_content"], description="entries of ablations.GRIDS; empty = none")
    seeds: list[int] = Field([], description="empty = training.seeds")
    families: list[str] = Field([], description="families that get every grid; empty = all of models.students")
    everywhere: list[str] = Field([], description="grids that the other families get too")


class Judge(Section):
    """A model that rates critiques by `prompts.JUDGE`; several runs, or several judges, show how far ratings agree."""

    model: str | None = Field(None, description="'lab:<name>', a folder or a hub id; None with the openai engine")
    revision: str | None = Field(None, description="commit of a hub model")
    runs: Positive = Field(2, description="times each critique is rated, each with a seed of its own")
    sampling: Sampling = Field(Sampling(temperature=0.7, max_new_tokens=512), description="its n is not used")
    generation: AnyEngine | None = Field(None, description="the judge's own engine; None = the run's")

    @model_validator(mode="after")
    def _named(self) -> Judge:
        if not self.model and not (self.generation and self.generation.served_as):
            raise ValueError("name the judge: model, or generation.server_model with the openai engine")
        return self


class Analyses(Section):
    """What notebook 06 measures."""

    methods: list[str] = Field(
        ["distilled_sft", "cgd"], description="trained methods looked into; those the run does not train are left out"
    )
    seeds: Positive = Field(3, description="how many of training.seeds, from the first")
    rows: Positive = Field(100, description="records a seed: likelihoods, attention, drift")
    batch_size: Positive = Field(25, description="rows a forward pass")
    max_length: Positive = Field(
        2048,
        description="tokens of prompt and ŷ; longer rows are left out and counted (attention needs memory by their square)",
    )
    benchmarks: list[str] = Field(
        [],
        description="asked for Pass@k and cost; empty = the lab's longest trained and longest untrained step count, else AIME and AMC",
    )
    samples: Count = Field(8, description="answers a question for Pass@k; 0 = no sampling")
    temperature: Annotated[float, Field(gt=0, le=5)] = Field(0.7, description="of those answers")
    sample_rows: Positive = Field(40, description="first questions of each benchmark, for Pass@k")
    cost_rows: Count = Field(
        60, description="first questions of each benchmark, for self-refine against one pass; 0 = none"
    )
    judges: list[Judge] = Field([], description="who rates critiques; none in the lab, where quality is known exactly")
    judge_rows: Positive = Field(200, description="critiques that each judge rates")

    @field_validator("methods")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        return known_methods(value)
