"""Engine ray on a real local cluster of two workers: the same rows as one process, also when a worker is killed."""

import os
import signal
import sys
from collections import Counter

import pytest

from cgd_utils.core.errors import BadInput, GenerationFailed
from cgd_utils.core.files import read_jsonl
from cgd_utils.core.settings import Engine, Sampling
from cgd_utils.engines import generation
from cgd_utils.engines.generation import TransformersGenerator
from cgd_utils.engines.ray_engine import RayGenerator
from cgd_utils.engines.request_log import Request, generate
from cgd_utils.lab import world
from cgd_utils.models import loading
from cgd_utils.models.loading import ModelRef

pytest.importorskip("ray")
REF = ModelRef(loading.resolve("lab:llama-weak"), "weak", dtype="float32", device="cpu")
REQUESTS = [
    Request(p["id"], [{"role": "user", "content": p["question"]}]) for p in world.make_problems(40, [1, 2], 0, "ray")
]
SETTINGS = Engine(engine="ray", ray_engine="transformers", ray_workers=2, batch_size=5)
GREEDY = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module")
def cluster():
    """Two worker slots on this machine, as two CPUs."""
    import ray

    for last in (False, False, True):  # Ray gives up on a busy machine after half a minute
        try:
            ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=100 * 2**20,
            )
            break
        except Exception:
            ray.shutdown()
            if last:
                raise
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return generate(TransformersGenerator(REF), REQUESTS, GREEDY, tmp_path_factory.mktemp("alone") / "log")


class Marked(TransformersGenerator):
    """Notes each block with its process; the first process to get a second block is killed in the middle of it, once."""

    def __init__(self, folder, kills):
        super().__init__(REF, 5)
        self.folder, self.kills, self.blocks = folder, kills, 0

    def generate(self, batch, sampling):
        rows = super().generate(batch, sampling)
        self.blocks += 1
        with (self.folder / "blocks").open("a") as f:
            f.write(f"{os.getpid()} {' '.join(r.id for r, _ in batch)}\n")
        if self.kills and self.blocks == 2:
            try:
                (self.folder / "killed").touch(exist_ok=False)
            except FileExistsError:
                return rows
            os.kill(os.getpid(), signal.SIGKILL)
        return rows


def marked(folder, kills):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers do not know this test's module
    return RayGenerator(REF, SETTINGS, lambda ref, settings: Marked(folder, kills))


@pytest.mark.parametrize("kills", [False, True])
def test_two_workers_give_the_rows_of_one_process(cluster, alone, tmp_path, kills):
    rows = generate(marked(tmp_path, kills), REQUESTS, GREEDY, tmp_path / "log")
    assert rows == alone
    logged = Counter(r["key"] for r in read_jsonl(tmp_path / "log"))
    assert len(logged) == 40, "nothing lost"
    assert set(logged.values()) == {1}, "nothing twice"
    blocks = [line.split() for line in (tmp_path / "blocks").read_text().splitlines()]
    assert len({b[0] for b in blocks}) >= 2, "only one worker worked"
    assert (tmp_path / "killed").exists() is kills
    if kills:
        assert max(Counter(b[1] for b in blocks).values()) == 2, "the killed worker's block was done again"


def test_it_goes_on_where_another_engine_stopped(cluster, alone, tmp_path):
    generate(TransformersGenerator(REF), REQUESTS[:30], GREEDY, tmp_path / "log")
    assert generate(marked(tmp_path, False), REQUESTS, GREEDY, tmp_path / "log") == alone
    assert len((tmp_path / "blocks").read_text().splitlines()) == 2, "ten requests in blocks of five"


def test_an_engines_error_is_told_and_finished_blocks_are_kept(cluster, tmp_path):
    generator = generation.open_generator(REF, SETTINGS)
    with pytest.raises(GenerationFailed, match="leaves no room for a prompt"):
        generate(generator, REQUESTS, Sampling(max_new_tokens=10**6), tmp_path / "log")


def test_gpus_that_the_cluster_lacks_are_told(cluster):
    wants = ModelRef(REF.path, "weak", device="cuda")
    with pytest.raises(BadInput, match="2 GPUs each need 8, and the cluster has 0"):
        generation.open_generator(wants, SETTINGS.model_copy(update={"ray_workers": 4, "tensor_parallel_size": 2}))


def test_no_cluster_at_the_address_is_told(cluster, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(BadInput, match="no Ray cluster answers"):
        generation.open_generator(REF, SETTINGS.model_copy(update={"ray_address": "127.0.0.1:1"}))


def test_no_ray_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"cgd-kit\[scale\]"):
        RayGenerator(REF, SETTINGS, None)
