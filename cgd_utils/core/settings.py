"""Profiles: every setting of a run, validated, with units.

A profile is a YAML file (``notebooks/profiles/*.yaml``, or a user's own). It may say ``base: lab`` and then holds only what
differs. Overrides are dotted names: ``load("lab", {"training.epochs": 2})``.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from . import settings_read
from .engine_settings import AnyEngine, TransformersEngine
from .engine_settings import Engine as Engine
from .section import Count, Positive, Section, Share

Rate = Annotated[float, Field(gt=0, le=0.1)]


def _rate_form(value: Any) -> str:
    """Which of the forms of a learning rate a value is meant to be, so that an error speaks of that form alone."""
    return "each" if isinstance(value, dict) else "several" if isinstance(value, list) else "one"


OneOrSeveral = Annotated[
    Annotated[Rate, Tag("one")] | Annotated[list[Rate], Tag("several")],
    Discriminator(_rate_form),
]
LearningRate = Annotated[
    Annotated[Rate, Tag("one")]
    | Annotated[list[Rate], Tag("several")]
    | Annotated[dict[str, OneOrSeveral], Tag("each")],
    Discriminator(_rate_form),
]
RATE_FORMS = ("one", "several", "each")
DType = Literal["auto", "float32", "bfloat16", "float16"]
# problem sources that are worlds of the lab: their truth is known, see lab.world.WORLDS
LAB_SOURCES = ("lab", "lab-misconception")
# problem sources whose problems are made from templates, each with a worked solution
TEMPLATE_SOURCES = ("word-problems", "gsm-symbolic")
# step counts in turn, or the share of each
Steps = list[Positive] | dict[Positive, Annotated[float, Field(gt=0)]]
Templates = Literal["seen", "unseen", "all"]


class Data(Section):
    """Where the training problems come from."""

    source: str = Field(
        "lab",
        description="'lab', 'lab-misconception', 'word-problems', 'gsm-symbolic', a name in data.SOURCES, a JSONL/CSV/Parquet file, "
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
    layout: Literal["lab", "plain", "standard"] = Field("standard", description="prompt layout, see prompts.LAYOUTS")

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

    kind: Literal["exact", "prose", "model"] = Field(
        "exact",
        description="'exact' knows the lab's truth; 'prose' reads drafts in prose against a worked solution in equations; 'model' is any LLM",
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
    critic: Literal["teacher", "student"] = Field(
        "teacher", description="who writes the critiques; the refined and direct answers stay the teacher's"
    )
    sampling: Sampling = Field(Sampling(max_new_tokens=512), description="kind model")
    generation: AnyEngine | None = Field(None, description="kind model: the teacher's own engine; None = the run's")

    @model_validator(mode="after")
    def _named(self) -> Teacher:
        if self.kind == "model" and not self.model and not (self.generation and self.generation.served_as):
            raise ValueError("teacher.kind is 'model' but teacher.model is not set: name a model")
        return self


class Synthesis(Section):
    """Drafts, critiques and refined answers."""

    draft_source: Literal["student", "weaker", "corrupted"] = Field(
        "student", description="who writes the drafts; corrupted = the right answer with a slip (lab only)"
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


METHODS = (
    "sft", "distilled_sft", "refined_sft", "cft", "cgd",
    "cgd_no_critique", "cgd_irrelevant", "cgd_generic", "cgd_masked", "cgd_noisy", "cgd_replay",
    "cgd_random", "cgd_biased", "cgd_joint",
)  # fmt: skip


def _known_methods(value: list[str]) -> list[str]:
    for m in value:
        if m.partition("(")[0] not in METHODS:
            raise ValueError(f"unknown method {m!r}{nearest(m, METHODS)}; known: {', '.join(METHODS)}")
    return value


class Lora(Section):
    """The adapter of modes lora and qlora."""

    r: Positive = Field(16, description="rank")
    alpha: Positive = Field(32, description="scale: alpha / r")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="on the adapter's input")
    target_modules: str | list[str] = Field(
        "all-linear", description="'all-linear' = every linear layer but the head, or names such as [q_proj, v_proj]"
    )
    experts: bool = Field(False, description="mixture of experts, mode lora: also train the experts' weights")
    rslora: bool = Field(False, description="scale by alpha/sqrt(r) (arXiv 2312.03732)")
    dora: bool = Field(False, description="weight-decomposed LoRA (arXiv 2402.09353); vLLM cannot serve it")


class Training(Section):
    """One fine-tuning run for every method and seed."""

    methods: list[str] = Field(
        ["sft", "distilled_sft", "refined_sft", "cft", "cgd"],
        description="rows of methods.METHODS to train and compare",
    )
    seeds: list[int] = Field([0, 1, 2], description="each draws its own rows and order; the same for every method")
    mode: Literal["full", "lora", "qlora"] = Field(
        "qlora", description="all weights, an adapter, or an adapter on 4-bit weights"
    )
    lora: Lora = Lora()
    rows: Count = Field(0, description="rows drawn for a seed; 0 = all")
    right_share: Share | None = Field(
        None,
        description="share of rows whose draft is right; all shares then train on equally many rows; None = as they come",
    )
    equal: Literal["steps", "tokens"] = Field(
        "steps", description="what methods have in common: optimizer steps, or trained tokens (those of equal_to)"
    )
    equal_to: str = Field("cgd", description="equal: tokens – the method whose trained tokens every method gets")
    validation_rows: Count = Field(0, description="rows held out of a seed's draw; 0 = none")
    validation_steps: Count = Field(0, description="optimizer steps between validations; 0 = at the end only")
    learning_rate: LearningRate = Field(
        1e-4, description="peak; a list, or a list for each method, is searched as `select` says"
    )
    select: Literal["none", "validation"] = Field(
        "none", description="validation: of several rates the one whose student answers most held-out questions right"
    )
    pilot_seed: int = Field(1000, description="of the rate search; none of `seeds`")
    lr_scheduler: Literal["linear", "cosine", "constant"] = Field("linear", description="after the warmup")
    warmup: Share = Field(0.05, description="share of the steps")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="AdamW's")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="gradients are clipped to this norm")
    epochs: Annotated[float, Field(gt=0)] = Field(1.0, description="passes over the rows")
    batch_size: Positive = Field(64, description="rows an optimizer step, over all processes")
    micro_batch_size: Positive = Field(8, description="rows a forward pass")
    max_length: Positive = Field(4096, description="tokens of prompt + completion; longer rows are left out and listed")
    packing: bool = Field(
        False, description="forward passes of up to max_length tokens without padding, instead of micro_batch_size rows"
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"] = Field(
        "auto", description="auto = sdpa; packing on CUDA takes FlashAttention where it is installed"
    )
    gradient_checkpointing: bool = Field(False, description="keep a layer's input only: less memory, a third more work")
    liger: bool | Literal["auto"] = Field("auto", description="Liger kernels; auto = on CUDA where they are installed")
    compile: bool = Field(False, description="torch.compile; pays for long runs with few different lengths (packing)")
    fsdp: bool = Field(False, description="mode full under torchrun: shard weights and optimizer over the processes")
    save_steps: Count = Field(0, description="optimizer steps between checkpoints; 0 = at the end only")
    track: list[Literal["tensorboard", "wandb", "trackio"]] = Field(
        [], description="also record there; the package must be installed, and W&B and trackio may log in"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("name at least one method")
        return _known_methods(value)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"seeds = {value}: give one or more distinct seeds")
        return value

    @model_validator(mode="after")
    def _batches(self) -> Training:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size = {self.batch_size} is not a multiple of micro_batch_size = {self.micro_batch_size}"
            )
        if self.fsdp and self.mode != "full":
            raise ValueError(
                f"fsdp shards the weights of mode 'full'; mode {self.mode!r} runs as plain data parallelism"
            )
        if self.lora.experts and self.mode == "qlora":
            raise ValueError(
                "lora.experts trains 16-bit experts, and mode 'qlora' keeps them in 4 bits: use mode 'lora'"
            )
        if self.validation_steps and not self.validation_rows:
            raise ValueError(f"validation_steps = {self.validation_steps} but validation_rows = 0: hold some rows out")
        _known_methods([self.equal_to])
        self._searchable()
        return self

    def _searchable(self) -> None:
        """Several rates need a way to choose, and questions to choose by."""
        if isinstance(self.learning_rate, dict):
            _known_methods(list(self.learning_rate))
            if missing := [m for m in self.methods if m not in self.learning_rate]:
                raise ValueError(
                    f"learning_rate names no rate for {', '.join(missing)}; add one or give one rate for all"
                )
        several = any(len(self.rates(m)) > 1 for m in self.methods)
        if several and self.select == "none":
            raise ValueError("learning_rate lists several rates: set select: validation, or name one rate")
        if several and not self.validation_rows:
            raise ValueError("select = 'validation' but validation_rows = 0: hold some rows out")
        if several and self.pilot_seed in self.seeds:
            raise ValueError(f"pilot_seed = {self.pilot_seed} is one of seeds; the rate is chosen on a seed of its own")
        for method in self.methods:
            if len(set(self.rates(method))) != len(self.rates(method)) or not self.rates(method):
                raise ValueError(f"learning_rate of {method}: give one or more distinct rates")

    def rates(self, method: str) -> list[float]:
        """The learning rates of a method, lowest first; a method that is not named has the common rate."""
        given = self.learning_rate
        if isinstance(given, dict):
            given = given.get(method, self.common_rate)
        return sorted(given) if isinstance(given, list) else [given]

    @property
    def common_rate(self) -> float:
        """One rate for all methods: the only one, or the middle one of all that are listed."""
        given = self.learning_rate
        parts = list(given.values()) if isinstance(given, dict) else [given]
        listed = sorted({rate for part in parts for rate in (part if isinstance(part, list) else [part])})
        return listed[len(listed) // 2]


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
    rule: Literal["math", "relative", "exact"] = Field("math", description="grading rule")
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
        return _known_methods(value)


class Profile(Section):
    """Every setting of a run."""

    name: str = Field(description="the run's folder under outputs; the file's name if left out")
    description: str = Field("", description="one line, shown when a run starts")
    processes: Positive | Literal["auto"] = Field(
        1,
        description="models trained and evaluated side by side on a CPU, one thread each; auto = one for each core with 2 GiB of free memory; "
        "1 = one after the other with all threads. No effect on CUDA",
    )
    data: Data = Data()
    models: Models = Models()
    synthesis: Synthesis = Synthesis()
    training: Training = Training()
    generation: AnyEngine = TransformersEngine()
    evaluation: Evaluation = Evaluation()
    ablations: Ablations = Ablations()
    analyses: Analyses = Analyses()

    @field_validator("name")
    @classmethod
    def _a_folder(cls, value: str) -> str:
        if not value or value.startswith(".") or set(value) & set("/\\"):
            raise ValueError("must be the name of a folder: not empty, without / or \\, no dot in front")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        if not self.data.is_lab:
            if self.synthesis.teacher.kind == "exact":
                raise ValueError(
                    f"synthesis.teacher.kind = 'exact' knows only the lab's problems, and data.source is "
                    f"{self.data.source!r}: set synthesis.teacher.kind: model and synthesis.teacher.model, or kind: prose "
                    f"where solutions show their equations"
                )
            if self.synthesis.draft_source == "corrupted":
                raise ValueError("synthesis.draft_source = 'corrupted' needs a lab source; use student or weaker")
        elif self.synthesis.teacher.kind == "prose":
            raise ValueError(
                "synthesis.teacher.kind = 'prose' reads prose, and the lab's drafts are none: use kind: exact"
            )
        unknown = [f for f in self.ablations.families if f not in self.models.students]
        if unknown:
            raise ValueError(f"ablations.families names {', '.join(unknown)}, which models.students lacks")
        t = self.training
        if t.lora.dora and t.mode != "full" and self.generation.engine == "vllm":
            raise ValueError(
                "training.lora.dora = true but generation.engine = 'vllm': vLLM cannot serve DoRA adapters; "
                "use lora.rslora, generation.engine: transformers, or merge the adapter (cgd merge-adapter)"
            )
        if self.synthesis.draft_source == "weaker":
            missing = [f for f in self.models.students if f not in self.models.weaker]
            if missing:
                raise ValueError(f"synthesis.draft_source = 'weaker' but models.weaker lacks {', '.join(missing)}")
        self.place("")
        return self

    def get(self, dotted: str) -> Any:
        """The plain value of a dotted field, for example ``get("training.epochs")``."""
        with settings_read.unwatched():
            value: Any = self.model_dump(mode="json")
        for part in dotted.split("."):
            value = value[part]
        settings_read.note("", dotted)
        return value


def nearest(word: str, known: Any) -> str:
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""
