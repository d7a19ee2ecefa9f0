"""The transformers engine: order, seeds, limits, and the resume log."""

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core.errors import BadInput, GenerationFailed
from cgd_utils.core.settings import Engine, Sampling
from cgd_utils.engines import decoding, generation
from cgd_utils.engines.generation import TransformersGenerator
from cgd_utils.engines.request_log import Request, generate
from cgd_utils.lab import world
from cgd_utils.models import loading
from cgd_utils.models.loading import ModelRef

REQUESTS = [
    Request(p["id"], [{"role": "user", "content": p["question"]}]) for p in world.make_problems(20, [1, 2, 3], 0, "gen")
]
REF = ModelRef(loading.resolve("lab:llama"), "llama", dtype="float32", device="cpu")


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

    sampler = decoding.Sampler(Sampling(temperature=2.0), list(range(20_000)))
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


def plain(engine, requests, max_new_tokens):
    """The texts of one padded ``model.generate`` over all requests in their order."""
    import torch

    ids = generation.prompt_ids(engine.tokenizer, requests)
    batch = engine.tokenizer.pad({"input_ids": ids}, return_tensors="pt", padding_side="left")
    with torch.inference_mode():
        out = engine.model.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=engine.tokenizer.eos_token_id,
                                    pad_token_id=engine.tokenizer.pad_token_id)  # fmt: skip
    return engine.tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("family", ["llama", "qwen", "mixtral", "olmo", "s1"])
def test_rows_that_leave_the_batch_do_not_change_the_others(family):
    engine = TransformersGenerator(ModelRef(loading.resolve(f"lab:{family}"), family, dtype="float32", device="cpu"))
    styles = ("terse", "steps", "verify")
    asked = [
        world.instruct(p, styles[i % 3]) if i % 3 else p
        for i, p in enumerate(world.make_problems(12, [1, 2, 3], 1, "leave"))
    ]
    requests = [Request(p["id"], [{"role": "user", "content": p["question"]}]) for p in asked]
    rows = engine.generate([(r, 0) for r in requests], Sampling(max_new_tokens=90))
    assert len({r["n_tokens"] // decoding.STEP for r in rows}) > 2, "all rows left together, so this test shows nothing"
    assert [r["text"] for r in rows] == plain(engine, requests, 90)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_out_of_memory_halves_the_batch_and_changes_nothing(temperature, tmp_path, monkeypatch):
    import torch

    sampling = Sampling(temperature=temperature, max_new_tokens=24)
    whole = generate(TransformersGenerator(REF), REQUESTS, sampling, tmp_path / "a.jsonl")
    real, seen = decoding.decode, []

    def small(model, tokenizer, prompts, *more):
        seen.append(len(prompts))
        if len(prompts) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(model, tokenizer, prompts, *more)

    monkeypatch.setattr(decoding, "decode", small)
    engine = TransformersGenerator(REF)
    assert generate(engine, REQUESTS, sampling, tmp_path / "b.jsonl") == whole
    assert seen == [20, 10, 5, 5, 10, 5, 5]
    assert engine.counts["out_of_memory"] == 3
    seen.clear()
    engine.generate([(r, 0) for r in REQUESTS], sampling)
    assert seen == [5, 5, 5, 5], "the smaller batch is kept"


def test_memory_that_holds_no_text_is_told(monkeypatch):
    import torch

    def none(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(decoding, "decode", none)
    with pytest.raises(GenerationFailed, match="lower max_new_tokens, or use engine vllm"):
        TransformersGenerator(REF).generate([(REQUESTS[0], 0)], Sampling(max_new_tokens=8))


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def bug(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(decoding, "decode", bug)
    with pytest.raises(RuntimeError, match="shapes"):
        TransformersGenerator(REF).generate([(r, 0) for r in REQUESTS], Sampling(max_new_tokens=8))


@cache
def loaded():
    return TransformersGenerator(REF).model


@given(st.lists(st.integers(1, 500), max_size=40), st.integers(1, 10), st.floats(0, 5))
def test_batches_stay_within_the_budget(lengths, most, rows):
    model = loaded()
    budget = rows * decoding.row_bytes(model, 200, 100)
    parts = decoding.within(lengths, 100, model, budget, most)
    assert [i for p in parts for i in p] == list(range(len(lengths)))
    for part in parts:
        assert len(part) <= most
        longest = max(lengths[i] for i in part)
        assert len(part) == 1 or len(part) * decoding.row_bytes(model, longest, 100) <= budget


def test_the_estimate_covers_what_a_cache_takes():
    import torch
    from transformers import DynamicCache

    model = loaded()
    filled = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(input_ids=torch.zeros(3, 50, dtype=torch.long), past_key_values=filled)
    taken = sum(layer.keys.nbytes + layer.values.nbytes for layer in filled.layers)
    assert taken < 3 * decoding.row_bytes(model, 50, 0) < 20 * taken


def test_hidden_settings_of_a_model_do_not_count(tmp_path):
    """A model's generation_config may hold a repetition penalty or banned words; only the profile's sampling holds."""
    import shutil

    folder = tmp_path / "llama"
    shutil.copytree(REF.path, folder)
    told = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(
        json.dumps({**told, "no_repeat_ngram_size": 2, "suppress_tokens": [20]})
    )
    engine = TransformersGenerator(ModelRef(str(folder), "llama", dtype="float32", device="cpu"))
    batch = [(r, 0) for r in REQUESTS]
    sampling = Sampling(max_new_tokens=48)
    assert engine.generate(batch, sampling) == TransformersGenerator(REF).generate(batch, sampling)


# ---------------------------------------------------------------- errors that can be known before work starts
@pytest.mark.parametrize(
    ("model", "message"),
    [("lab:nobody", "nobody"), ("/no/such/model", "no such folder"), ("just-a-name", "not a hub id")],
)
def test_a_missing_model_is_named(model, message):
    with pytest.raises(BadInput, match=message):
        loading.resolve(model)


def test_a_model_that_is_not_on_the_hub_is_told():
    with pytest.raises(BadInput, match="'nobody': could not be read from 'nobody/nothing'"):
        loading.load_tokenizer(ModelRef("nobody/nothing", "nobody"))


def test_a_gpu_that_is_not_there_is_told_before_the_model_is_loaded(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for engine in ("transformers", "vllm"):
        with pytest.raises(BadInput, match="sees no CUDA GPU"):
            generation.open_generator(ModelRef("nobody/nothing", "nobody", device="cuda"), Engine(engine=engine))


def test_more_new_tokens_than_the_context_are_refused():
    with pytest.raises(BadInput, match="leaves no room for a prompt"):
        TransformersGenerator(REF).generate([(REQUESTS[0], 0)], Sampling(max_new_tokens=10**6))


@pytest.fixture
def thinker():
    """A tokenizer like Magistral's: its marks of a thought are special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(byte_level.alphabet()))}, []))
    inner.pre_tokenizer = byte_level
    inner.decoder = decoders.ByteLevel()
    special = ["[THINK]", "[/THINK]", "[TOOL]"]
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", additional_special_tokens=special)


@pytest.mark.parametrize(
    ("prompt", "made", "text"),
    [
        ("2+2?", "[THINK]3?[/THINK]4[TOOL]", "[THINK]3?[/THINK]4"),
        ("2+2?</s>[THINK]\n", "3?", "[THINK]3?"),
        ("2+2?</s>[THINK]\n", "3?[/THINK]4", "[THINK]3?[/THINK]4"),
        ("2+2?</s><think>\n", "", "<think>"),
        ("2+2?<think>\n\n</think>\n\n", "4", "4"),
    ],
)
def test_a_text_shows_where_its_thought_begins_and_ends(thinker, prompt, made, text):
    assert decoding.text_of(thinker, thinker.encode(prompt), thinker.encode(made)) == text


def test_a_text_of_a_model_that_marks_no_thoughts_has_no_special_tokens():
    tok = loading.load_tokenizer(ModelRef(loading.resolve("lab:llama"), "llama"))
    ids = tok.encode("12+5=17")
    assert decoding.text_of(tok, ids, [*ids, tok.eos_token_id]) == tok.decode(ids, skip_special_tokens=True)
