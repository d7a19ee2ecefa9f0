"""Profile fields of problems, models, drafts and teachers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .engine_settings import AnyEngine
from .section import Count, Positive, Section, Share, nearest

# problem sources that are worlds of the lab: their truth is known, see lab.world
LAB_SOURCES = ("lab",)


# problem sources whose problems are made from templates, each with a worked solution
TEMPLATE_SOURCES = ("word-problems", "gsm-symbolic")


# step counts in turn, or the share of each
Steps = list[Positive] | dict[Positive, Annotated[float, Field(gt=0)]]


Templates = Literal["seen", "unseen", "all"]


LAYOUTS = ("lab", "plain", "standard", "authors")  # of prompts.yaml


DType = Literal["auto", "float32", "bfloat16", "float16"]


class Data(Section):
    """Where the training problems come from."""

    source: str = Field(
        "lab",
        description="'lab', 'word-problems', 'gsm-symbolic', a name in data.SOURCES, a JSONL/CSV/Parquet file, "
        "or a hub id",
    )
    fields: dict[str, str] = Field({}, description="our field (question, answer, solution, id) -> the source's column")
    split: str = Field("train", description="split of a hub data set")
    config: str | None = Field(None, description="configuration of a hub data set")
    revision: str | None = Field(None, description="commit of a hub data set")
    rows: Count = Field(1500, description="problems to use; 0 = all")
    steps: Steps = Field(
        [2, 3, 4],
        description="lab and templates: step counts k of the problems in turn; templates also {k: share}, such as {1: 0.5, 2: 0.3, 3: 0.2}",
    )
    templates: Templates = Field(
        "seen", description="word-problems, gsm-symbolic: all templates, or without those held out"
    )
    numbers: Annotated[int, Field(ge=5)] = Field(
        30, description="word-problems: the greatest number, told or worked out"
    )
    per_seed: bool = Field(
        False,
        description="lab and templates: each of training.seeds has its own problems and drafts; seed is added to it",
    )
    decontaminate: Literal["off", "report", "remove"] = Field(
        "report", description="training problems that overlap with a benchmark: shown in 04, or taken out"
    )
    decontaminate_ngram: Count = Field(8, description="shared words that count as overlap; 0 = whole questions only")
    unreadable: Literal["stop", "drop", "keep"] = Field(
        "stop",
        description="rows whose answer the grader cannot read: left out, and above 2% of them the run stops; left out, however many; kept, not graded",
    )
    order: Literal["shuffled", "first"] = Field(
        "shuffled",
        description="files and hub: which `rows` are taken: those of a shuffle, without repeated questions, or the first of the file as they stand",
    )
    seed: int = Field(
        0, description="lab and templates: draws the problems; others: shuffles before the first `rows` are taken"
    )

    @property
    def from_templates(self) -> bool:
        """Whether the problems are made from templates, with a worked solution each."""
        return self.source in TEMPLATE_SOURCES

    @property
    def is_drawn(self) -> bool:
        """Whether the problems are made by seed, as many as wanted, without a file or the hub."""
        return self.is_lab or self.from_templates

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Data:
        if self.is_lab and isinstance(self.steps, dict):
            raise ValueError("the lab takes step counts in turn, such as steps: [2, 3, 4]")
        if self.order == "first" and self.is_drawn:
            raise ValueError(
                f"order = 'first' needs a file or hub data set, and source is {self.source!r}: it draws problems"
            )
        if self.per_seed and not self.is_drawn:
            drawn = ", ".join((*LAB_SOURCES, *TEMPLATE_SOURCES))
            raise ValueError(f"per_seed needs a source that draws problems by seed: {drawn}")
        return self

    @property
    def is_lab(self) -> bool:
        """Whether the problems are of a lab world, whose truth an exact teacher knows."""
        return self.source in LAB_SOURCES


class Models(Section):
    """The students, and how every model of the run is loaded."""

    students: dict[str, str] = Field(
        {"llama": "lab:llama"},
        description="family -> 'lab:<name>', 'index:<name>' (from the package index), a model folder or a hub id",
    )
    weaker: dict[str, str] = Field({}, description="family -> a weaker model of it, for draft_source: weaker")
    revision: str | None = Field(None, description="commit of hub models")
    trust_remote_code: bool = Field(False, description="run model code from the hub; only for repositories you trust")
    dtype: DType = Field(
        "auto",
        description="weights of loaded models; auto = bfloat16 on CUDA and, for large models, on CPUs that multiply in it; else float32",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where models run; auto = CUDA if there is one")
    layout: str = Field(
        "standard",
        description="prompts: `lab`, `plain`, `standard` or `authors` (cgd_utils/prompts.yaml), or a .yaml file of your own",
    )

    without_template: Literal["refuse", "question-answer"] = Field(
        "refuse",
        description="a model whose tokenizer has no chat template (a base model): refused, or asked as `Question: … Answer: …`",
    )

    @field_validator("layout")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in LAYOUTS and not value.endswith((".yaml", ".yml")):
            raise ValueError(f"use one of {', '.join(LAYOUTS)}, or a .yaml file of your own{nearest(value, LAYOUTS)}")
        return value

    @field_validator("students")
    @classmethod
    def _some(cls, value: dict[str, str]) -> dict[str, str]:
        if not value:
            raise ValueError("name at least one student, for example {llama: lab:llama}")
        return value


class Sampling(Section):
    """How text is generated."""

    temperature: Annotated[float, Field(ge=0, le=5)] = Field(0.0, description="0 = greedy")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="nucleus; 1 = off")
    max_new_tokens: Positive = Field(256, description="tokens")
    n: Positive = Field(1, description="samples a prompt")
    seed: int = Field(0, description="of the sampling; each text has its own stream")

    @model_validator(mode="after")
    def _greedy_once(self) -> Sampling:
        if self.temperature == 0 and self.n > 1:
            raise ValueError(
                f"n = {self.n} with temperature = 0: greedy samples are all the same; set n: 1 or a temperature"
            )
        return self


class Teacher(Section):
    """Who critiques and refines."""

    kind: Literal["exact", "prose", "model", "data"] = Field(
        "exact",
        description="'exact' knows the lab's truth; 'prose' reads drafts in prose against a worked solution in equations; 'model' is any LLM; "
        "'data' = the columns critique, refined and, if there is one, direct of data.source",
    )
    model: str | None = Field(None, description="kind model: 'lab:<name>', a folder or a hub id")
    revision: str | None = Field(None, description="kind model: commit of a hub model")
    error_rate: Share = Field(0.0, description="exact, prose: share of texts in which the teacher errs")
    refined_error_rate: Share | None = Field(
        None, description="exact, prose: share of refined answers in which it errs; None = error_rate"
    )
    specificity: Share = Field(1.0, description="exact, prose: share of critiques that name the step and value")
    relevance: Share = Field(1.0, description="share of critiques that are about their own problem")
    leakage: Share = Field(0.0, description="exact, prose: share of critiques that say the final answer")
    critic: Literal["teacher", "student", "data"] = Field(
        "teacher",
        description="who writes the critiques; the refined and direct answers stay the teacher's; data = the column critique of data.source",
    )
    sampling: Sampling = Field(Sampling(max_new_tokens=512), description="kind model")
    generation: AnyEngine | None = Field(None, description="kind model: the teacher's own engine; None = the run's")

    @model_validator(mode="after")
    def _named(self) -> Teacher:
        if self.kind == "model" and not self.model and not (self.generation and self.generation.served_as):
            raise ValueError("teacher.kind is 'model' but teacher.model is not set: name a model")
        if self.critic == "data" and self.kind != "model":
            raise ValueError(
                "teacher.critic is 'data', which leaves refined answers to a model: set teacher.kind: model"
            )
        return self


class Synthesis(Section):
    """Drafts, critiques and refined answers."""

    draft_source: Literal["student", "weaker", "corrupted", "data"] = Field(
        "student",
        description="who writes the drafts; corrupted = the right answer with a slip (lab only); data = the column draft of data.source",
    )
    draft: Sampling = Field(Sampling(), description="how drafts are sampled")
    teacher: Teacher = Teacher()
    thoughts: Literal["drop", "keep"] = Field(
        "drop",
        description="what reasoning models think before they answer, such as `<think>…</think>`: left out of every "
        "training prompt and target, or kept as written",
    )
    keep: Literal["all", "wrong", "right"] = Field("all", description="drafts to train on, by `keep_by`")
    keep_by: Literal["conclusion", "truth"] = Field(
        "conclusion", description="who says that a draft is wrong: the critique, or the problem's answer"
    )
    right_share: Share | None = Field(
        None,
        description="share of records whose draft is right by `keep_by`; the scarcer kind limits their number; None = as they come",
    )
    leave_out: list[Literal["no_conclusion", "disagrees", "truncated", "leaks"]] = Field(
        [],
        description="records left out: no conclusion could be read; it contradicts the truth; a teacher's text was cut; the critique tells the answer",
    )
    useless: Literal["stop", "tell"] = Field(
        "stop",
        description="what 02 and 04 do where most texts are cut off or say nothing, or refined answers are no better than drafts; see troubleshooting",
    )
    seed: int = Field(0, description="of corrupted drafts and of the knobs of an exact or prose teacher")

    def check_given(self, data: Data) -> None:
        """Raises ValueError where texts are to come from a source that has none, or critiques without the drafts that they are about."""
        given = {
            "draft_source": self.draft_source == "data",
            "teacher.kind": self.teacher.kind == "data",
            "teacher.critic": self.teacher.critic == "data",
        }
        wanted = [f"synthesis.{name} = 'data'" for name, is_so in given.items() if is_so]
        if wanted and data.is_drawn:
            raise ValueError(
                f"{wanted[0]} needs a file or hub data set with drafts, and data.source is {data.source!r}"
            )
        if wanted and not given["draft_source"]:
            raise ValueError(
                f"{wanted[0]}: its critiques are about the drafts of the data; set synthesis.draft_source: data"
            )
