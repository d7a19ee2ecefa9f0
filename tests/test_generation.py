"""The transformers engine: order, seeds, limits, and the resume log."""

import pytest

from cgd_utils import generation
from cgd_utils.artifacts import BadInput
from cgd_utils.generation import ModelRef, Request, TransformersGenerator, generate
from cgd_utils.lab import world
from cgd_utils.profiles import Sampling

REQUESTS = [
    Request(p["id"], [{"role": "user", "content": p["question"]}]) for p in world.make_problems(20, [1, 2, 3], 0, "gen")
]
REF = ModelRef(generation.resolve("lab:llama"), "llama", dtype="float32", device="cpu")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_do_not_depend_on_the_batch(temperature, tmp_path):
    sampling = Sampling(temperature=temperature, max_new_tokens=48)
    one = generate(TransformersGenerator(REF, 20), REQUESTS, sampling, tmp_path / "a.jsonl")
    other = generate(TransformersGenerator(REF, 3), REQUESTS[::-1], sampling, tmp_path / "b.jsonl")
    assert [r["text"] for r in one] == [r["text"] for r in other[::-1]]
    assert [r["id"] for r in one] == [r.id for r in REQUESTS]


def test_samples_differ_and_seeds_repeat(tmp_path):
    sampling = Sampling(temperature=1.0, n=4, max_new_tokens=48)
    one = generate(TransformersGenerator(REF), REQUESTS[:5], sampling, tmp_path / "a.jsonl")
    assert one == generate(TransformersGenerator(REF), REQUESTS[:5], sampling, tmp_path / "b.jsonl")
    assert len({r["text"] for r in one}) > 5


def test_sampling_follows_the_softmax():
    import torch

    sampler = generation._sampler(Sampling(temperature=2.0), list(range(20_000)))
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).repeat(20_000, 1)
    drawn = torch.bincount(sampler(None, logits).argmax(-1), minlength=4) / 20_000
    assert torch.allclose(drawn, torch.softmax(logits[0] / 2.0, -1), atol=0.015)


def test_a_torn_log_goes_on(tmp_path):
    log = tmp_path / "a.jsonl"
    whole = generate(TransformersGenerator(REF, 4), REQUESTS, Sampling(max_new_tokens=48), log)
    text = log.read_bytes()
    log.write_bytes(text[: len(text) // 2])
    assert generate(TransformersGenerator(REF, 4), REQUESTS, Sampling(max_new_tokens=48), log) == whole

    class NoModel(TransformersGenerator):
        model = property(lambda self: pytest.fail("the model was loaded for finished work"))

    assert generate(NoModel(REF, 4), REQUESTS, Sampling(max_new_tokens=48), log) == whole


def test_a_prompt_beyond_the_context_is_reported(tmp_path):
    long = Request("long", [{"role": "user", "content": "héllo \\frac{1}{2} 数 " * 500}])
    rows = generate(TransformersGenerator(REF), [long, REQUESTS[0]], Sampling(max_new_tokens=16), tmp_path / "a.jsonl")
    assert [r["finish_reason"] == "too_long" for r in rows] == [True, False]


def test_duplicate_ids_are_refused(tmp_path):
    with pytest.raises(BadInput, match="occurs twice"):
        generate(TransformersGenerator(REF), [REQUESTS[0]] * 2, Sampling(), tmp_path / "a.jsonl")
