"""Engine ``ray``: Ray Data over blocks of requests, each worker an actor with an engine and a model of its own.

What finished comes back by id and goes into the resume log as soon as its block is done; a worker that dies is started
again by Ray and its block is done again, so that nothing is lost, and the log takes no row twice.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..core.engine_settings import Engine, RayEngine
from ..core.errors import BadInput, GenerationFailed
from ..core.records import Record
from ..core.settings import Sampling
from .request_log import Request

Opener = Callable[[Any, Engine], Any]


class RayGenerator:
    """Spreads requests over the workers of a Ray cluster.

    A worker holds ``tensor_parallel_size`` GPUs (none where ``models.device`` is cpu, or this machine and the cluster
    have none) and runs ``generation.ray_engine``. A model folder must lie at the same path on every machine.

    Args:
        ref: the model.
        settings: ``ray_workers``, ``ray_engine``, ``ray_address``, ``batch_size`` (requests a block).
        open_worker: opens the engine inside a worker: ``engines.generation.open_generator``.

    Raises:
        BadInput: Ray is not installed, no such cluster, or fewer GPUs than the workers need.
    """

    def __init__(self, ref: Any, settings: RayEngine, open_worker: Opener) -> None:
        if importlib.util.find_spec("ray") is None:
            raise BadInput("generation.engine = 'ray' but Ray is not installed: pip install 'cgd-kit[scale]'")
        self.ref, self.settings, self.open_worker = ref, settings, open_worker
        self.max_model_len = settings.max_model_len if settings.ray_engine == "vllm" else None
        self._started = _start(settings.ray_address)
        self.gpus = self._gpus_a_worker()

    @property
    def identity(self) -> Any:
        return self.ref.identity

    def close(self) -> None:
        """Leaves the cluster; one that was started here ends."""
        import ray

        if self._started:
            ray.shutdown()

    def _gpus_a_worker(self) -> int:
        import ray

        have = int(ray.cluster_resources().get("GPU", 0))
        if self.ref.device == "cpu" or (self.ref.device == "auto" and not have):
            return 0
        each = self.settings.tensor_parallel_size
        if have < (need := each * self.settings.ray_workers):
            self.close()
            raise BadInput(
                f"generation.ray_workers = {self.settings.ray_workers} with {each} GPUs each need {need}, and the cluster "
                f"has {have}: lower it, add machines, or set models.device: cpu"
            )
        return each

    def stream(self, wanted: Sequence[tuple[Request, int]], sampling: Sampling) -> Iterator[list[Record]]:
        """Rows block by block, as blocks finish.

        Raises:
            GenerationFailed: a worker's engine failed; finished blocks are with the caller.
        """
        import ray
        from ray.data import ActorPoolStrategy, DataContext

        context = DataContext.get_current()
        context.enable_progress_bars = False  # the kit shows its own
        # longest first, as the transformers engine does: equal lengths share a block
        order = sorted(wanted, key=lambda pair: -sum(len(m["content"]) for m in pair[0].messages))
        items = [{"request": json.dumps([asdict(r), s])} for r, s in order]
        blocks = -(-len(items) // self.settings.batch_size)
        size = min(self.settings.ray_workers, blocks)
        made = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
            Worker,
            fn_constructor_args=[self.ref, self._inner(), sampling, self.open_worker],
            batch_size=None,
            num_gpus=self.gpus,
            compute=ActorPoolStrategy(size=size),
        )  # fmt: skip; Ray Data restarts actors and tries their tasks again without limit
        try:
            for block in made.iter_batches(batch_size=None, prefetch_batches=0):
                if rows := [json.loads(row) for row in block["row"].tolist()]:
                    yield rows
        except ray.exceptions.RayError as e:
            raise GenerationFailed(_why(e)) from e

    def _inner(self) -> Engine:
        return self.settings.inner()


class Worker:
    """What lives in a Ray actor: one engine, its model loaded once."""

    def __init__(self, ref: Any, settings: Engine, sampling: Sampling, open_worker: Opener) -> None:
        self.generator, self.sampling = open_worker(ref, settings), sampling

    def __call__(self, block: Any) -> dict[str, list[str]]:
        pairs = [(Request(**told), sample) for told, sample in map(json.loads, block["request"].tolist())]
        if hasattr(self.generator, "stream"):
            rows = [row for part in self.generator.stream(pairs, self.sampling) for row in part]
        else:
            rows = [row for b in self.generator.batches(pairs) for row in self.generator.generate(b, self.sampling)]
        return {"row": [json.dumps(row) for row in rows]}


def _start(address: str | None) -> bool:
    """Joins the cluster at ``address``, or starts one on this machine; whether it was joined or started here.

    Raises:
        BadInput: nothing answers at the address.
        GenerationFailed: Ray's own processes did not come up on this machine.
    """
    import ray

    if ray.is_initialized():
        return False
    try:
        ray.init(address=address or "local", include_dashboard=False if address is None else None, log_to_driver=False)
    except Exception as e:  # Ray raises a bare Exception where its own processes do not come up
        if address is None:
            raise GenerationFailed(
                f"Ray did not start on this machine ({str(e).splitlines()[0][:200]}); it waits half a minute for its "
                "processes: run again when the machine is less busy, or start one with `ray start --head` and set "
                "generation.ray_address: auto"
            ) from None
        raise BadInput(
            f"generation.ray_address = {address!r}: no Ray cluster answers ({str(e).splitlines()[0][:200]}); start one with "
            "`ray start --head`, or leave it out for this machine alone"
        ) from None
    return True


_RAISED = re.compile(r"(?:\w+\.)*(\w*(?:Error|Exception|BadInput|GenerationFailed): .+)")


def _why(error: BaseException) -> str:
    """The error of the engine inside a worker, without Ray's frames."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = next((m for line in lines if (m := _RAISED.match(line)) and not line.startswith("ray.")), None)
    words = told[1] if told else next((line for line in reversed(lines) if line), type(error).__name__)
    return f"a Ray worker failed: {words[:500]}; finished texts are kept: run again to go on"
