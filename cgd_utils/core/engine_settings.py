"""The settings of what generates: one section an engine, so that a field of another engine is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from .section import Count, Positive, Section

GPU_SHARE = 0.9
BatchMemory = Annotated[
    Annotated[float, Field(gt=0)] | None,
    Field(
        description="transformers: memory of a batch's cache and logits, GiB; "
        "None = gpu_memory_utilization of the GPU, or a quarter of the RAM"
    ),
]


class Engine(Section):
    """What generates, and what all engines have in common; each has a class of its own: see `ENGINES`.

    ``Engine(engine="vllm", max_model_len=4096)`` makes the engine of that name; a field that it lacks is refused.
    """

    engine: str

    def __new__(cls, **fields: Any) -> Engine:
        return super().__new__(ENGINES[fields.get("engine", "transformers")] if cls is Engine else cls)

    def inner(self) -> Engine:
        """The engine that generates in the end: Ray's workers have one of their own."""
        return self

    @property
    def gpu_share(self) -> float:
        """The share of a GPU's memory that it may take."""
        return GPU_SHARE

    @property
    def served_as(self) -> str:
        """The model as a server calls it; empty where none is asked."""
        return ""

    def identity(self) -> dict[str, Any]:
        """The settings that decide which text is the answer; the others decide how fast, so work goes on when they change."""
        named = {name: getattr(self, name, None) for name in ("quantization", "server_model")}
        return {**named, **self.request_changes()}

    def request_changes(self) -> dict[str, Any]:
        """What makes a server's requests, and so its texts, differ from those of ``sampling`` alone; empty without any."""
        return {}


class LocalEngine(Engine):
    """An engine that loads the model itself."""

    batch_size: Positive = Field(256, description="prompts a batch at most; ray: prompts a block")
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="share of the GPU's memory, or of the RAM for vLLM on a CPU; "
        "None = 0.9 of a GPU, on a CPU what the prompts need and half of the free RAM at most",
    )

    @property
    def gpu_share(self) -> float:
        return self.gpu_memory_utilization or GPU_SHARE


class TransformersEngine(LocalEngine):
    """Transformers in this process."""

    engine: Literal["transformers"] = Field("transformers", description="what generates")
    batch_memory_gib: BatchMemory = None


class SpreadEngine(LocalEngine):
    """An engine that may spread a model over GPUs: vLLM, by itself or within Ray."""

    vllm_python: str | None = Field(
        None, description="interpreter that has vLLM; None = this one, auto: or the one that `make vllm` set up"
    )
    tensor_parallel_size: Positive = Field(1, description="GPUs a model is spread over")
    max_model_len: Positive | None = Field(None, description="tokens of prompt and text; None = the model's")
    quantization: str | None = Field(None, description="such as fp8; None = as the weights are")


class VllmEngine(SpreadEngine):
    """vLLM in a process of its own."""

    engine: Literal["vllm"] = Field("vllm", description="what generates")


class AutoEngine(SpreadEngine):
    """vLLM where it is installed and the model is large enough to gain by it, else transformers: see `engines.automatic`."""

    engine: Literal["auto"] = Field("auto", description="what generates")
    batch_memory_gib: BatchMemory = None


class RayEngine(SpreadEngine):
    """Ray's workers, each with an engine of its own."""

    engine: Literal["ray"] = Field("ray", description="what generates")
    batch_memory_gib: BatchMemory = None
    ray_engine: Literal["transformers", "vllm"] = Field("vllm", description="the engine inside each worker")
    ray_workers: Positive = Field(1, description="workers, each with a model of its own")
    ray_address: str | None = Field(None, description="a running cluster, such as auto; None = this machine")

    def inner(self) -> Engine:
        kind = ENGINES[self.ray_engine]
        return kind(**{name: getattr(self, name) for name in kind.model_fields if name != "engine"})


class ServerEngine(Engine):
    """A server that speaks OpenAI's protocol."""

    engine: Literal["openai"] = Field("openai", description="what generates")
    base_url: str | None = Field(None, description="the server's address, such as http://localhost:8000/v1")
    server_model: str | None = Field(None, description="the model as the server calls it")
    api_key_env: str = Field("OPENAI_API_KEY", description="environment variable that holds the key")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the server calls the limit of new tokens"
    )
    omit_fields: list[Literal["max_tokens", "temperature", "top_p", "seed", "n"]] = Field(
        [], description="fields of a request that the server refuses; it then uses its own values"
    )
    extra_body: dict[str, Any] = Field(
        {}, description="more fields of every request, such as {reasoning_effort: low, top_k: 20}"
    )
    concurrency: Positive = Field(32, description="requests under way at once")
    timeout_s: Annotated[float, Field(gt=0)] = Field(600, description="seconds a request may take")
    retries: Count = Field(
        6,
        description="further tries after 429, 5xx, an error in place of an answer, timeouts, lost connections",
    )
    backoff_s: Annotated[float, Field(ge=0)] = Field(
        1.0, description="wait before the first retry; doubles, or as long as the server says; at most 60 s"
    )
    budget: Annotated[float, Field(gt=0)] | None = Field(None, description="stop cleanly at this cost")
    price_prompt: Annotated[float, Field(ge=0)] = Field(0.0, description="cost of a million prompt tokens")
    price_completion: Annotated[float, Field(ge=0)] = Field(0.0, description="cost of a million completion tokens")

    @property
    def served_as(self) -> str:
        return self.server_model or ""

    def request_changes(self) -> dict[str, Any]:
        changes = {"omit_fields": sorted(self.omit_fields), "extra_body": self.extra_body}
        return {name: value for name, value in changes.items() if value}


ENGINES: dict[str, type[Engine]] = {
    "transformers": TransformersEngine,
    "vllm": VllmEngine,
    "auto": AutoEngine,
    "openai": ServerEngine,
    "ray": RayEngine,
}


def engine_kind(value: Any) -> str | None:
    """Which engine a section means: transformers where it names none; None where there is no such engine."""
    kind = value.get("engine", "transformers") if isinstance(value, Mapping) else getattr(value, "engine", None)
    return kind if kind in ENGINES else None


AnyEngine = Annotated[
    Annotated[TransformersEngine, Tag("transformers")]
    | Annotated[VllmEngine, Tag("vllm")]
    | Annotated[AutoEngine, Tag("auto")]
    | Annotated[ServerEngine, Tag("openai")]
    | Annotated[RayEngine, Tag("ray")],
    Discriminator(
        engine_kind,
        custom_error_type="engine",
        custom_error_message=f"engine must be one of {', '.join(ENGINES)}",
    ),
]
