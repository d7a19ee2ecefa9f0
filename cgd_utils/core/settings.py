"""Profiles: every setting of a run, validated, with units.

A profile is a YAML file (``notebooks/profiles/*.yaml``, or a user's own). It may say ``base: lab`` and then holds only what
differs. Overrides are dotted names: ``load("lab", {"training.epochs": 2})``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from . import settings_read
from .engine_settings import AnyEngine, TransformersEngine
from .engine_settings import Engine as Engine
from .evaluation_settings import Ablations, Analyses, Evaluation
from .evaluation_settings import Benchmark as Benchmark
from .evaluation_settings import Judge as Judge
from .section import Positive, Section
from .section import nearest as nearest
from .synthesis_settings import LAB_SOURCES as LAB_SOURCES
from .synthesis_settings import TEMPLATE_SOURCES as TEMPLATE_SOURCES
from .synthesis_settings import Data, Models, Synthesis
from .synthesis_settings import Sampling as Sampling
from .synthesis_settings import Teacher as Teacher
from .synthesis_settings import Templates as Templates
from .training_settings import RATE_FORMS as RATE_FORMS
from .training_settings import Lora as Lora
from .training_settings import Training


class Profile(Section):
    """Every setting of a run."""

    name: str = Field(description="the run's folder under outputs; the file's name if left out")
    description: str = Field("", description="one line, shown when a run starts")
    processes: Positive | Literal["auto"] = Field(
        1,
        description="models trained and evaluated side by side on a CPU, one thread each; auto = one for each core with 2 GiB of free memory; "
        "1 = one after the other with all threads. No effect on CUDA",
    )
    protocol: Literal["kit", "authors"] = Field(
        "kit",
        description="authors = the settings of notebooks/profiles/protocols/authors.yaml, and those under `authors:` of the profile, are "
        "laid over the profile's; fields that are set beside it count",
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
        self.synthesis.check_given(self.data)
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
