"""Profile fields of training: methods, rates, adapters and batches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from .section import Count, Positive, Section, Share, nearest

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


METHODS = (
    "sft", "distilled_sft", "refined_sft", "cft", "cgd",
    "cgd_no_critique", "cgd_irrelevant", "cgd_generic", "cgd_masked", "cgd_noisy", "cgd_replay",
    "cgd_random", "cgd_biased", "cgd_joint",
)  # fmt: skip


def known_methods(value: list[str]) -> list[str]:
    """The methods, each one known by its name before a bracket; else an error with the nearest name."""
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
    share_by: Literal["truth", "conclusion"] = Field(
        "truth",
        description="whether a draft counts as right in right_share by the grader, or by its critique's conclusion",
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
    batch_of: Literal["rows", "packs"] = Field(
        "rows",
        description="what batch_size counts; packs: a step takes the rows that fill so many passes, so methods with longer rows take more steps",
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"] = Field(
        "auto",
        description="auto = sdpa, grouped products for 16 bits on a CPU; packing on CUDA takes FlashAttention where it is installed",
    )
    gradient_checkpointing: bool = Field(False, description="keep a layer's input only: less memory, a third more work")
    liger: bool | Literal["auto"] = Field("auto", description="Liger kernels; auto = on CUDA where they are installed")
    compile: bool = Field(False, description="torch.compile; pays for long runs with few different lengths (packing)")
    fsdp: bool = Field(False, description="mode full under torchrun: shard weights and optimizer over the processes")
    keep: Count = Field(
        0,
        description="models kept along the way, evenly spaced, the last among them (grid checkpoint_choice); 0 = the last",
    )
    save_steps: Count = Field(0, description="optimizer steps between checkpoints; 0 = at the end only")
    track: list[Literal["tensorboard", "wandb", "trackio"]] = Field(
        [], description="also record there; the package must be installed, and W&B and trackio may log in"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("name at least one method")
        return known_methods(value)

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
        if self.batch_of == "packs" and (not self.packing or self.equal != "steps"):
            raise ValueError("batch_of = 'packs' needs packing: true and equal: steps")
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
        known_methods([self.equal_to])
        self._searchable()
        return self

    def _searchable(self) -> None:
        """Several rates need a way to choose, and questions to choose by."""
        if isinstance(self.learning_rate, dict):
            known_methods(list(self.learning_rate))
            if missing := [m for m in self.methods if m not in self.learning_rate]:
                raise ValueError(
                    f"learning_rate names no rate for {', '.join(missing)}; add one or give one rate for all"
                )
        several = self.searched
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
    def searched(self) -> list[str]:
        """The methods with several rates, of which `select` chooses."""
        return [method for method in self.methods if len(self.rates(method)) > 1]

    @property
    def common_rate(self) -> float:
        """One rate for all methods: the only one, or the middle one of all that are listed."""
        given = self.learning_rate
        parts = list(given.values()) if isinstance(given, dict) else [given]
        listed = sorted({rate for part in parts for rate in (part if isinstance(part, list) else [part])})
        return listed[len(listed) // 2]
