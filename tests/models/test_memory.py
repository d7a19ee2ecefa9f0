"""The memory estimate against what a forward pass really keeps, and proposals that fit."""

import families
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.__main__ import main
from cgd_utils.core import profile_files, settings
from cgd_utils.models import loading, memory

SHAPE = memory.shape(memory.published_config("meta-llama/Llama-3.1-8B-Instruct"))


def training(**changes):
    return settings.Training(
        **{"mode": "qlora", "batch_size": 64, "micro_batch_size": 1, "max_length": 2048, **changes}
    )


@pytest.mark.parametrize(("model", "billions"), [
    ("meta-llama/Llama-3.1-8B-Instruct", 8.03), ("Qwen/Qwen2.5-Math-7B", 7.62), ("Qwen/Qwen2.5-1.5B-Instruct", 1.54),
    ("simplescaling/s1.1-3B", 3.09), ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.7), ("allenai/OLMo-2-1124-7B-Instruct", 7.30),
    ("meta-llama/Llama-3.3-70B-Instruct", 70.6), ("simplescaling/s1.1-32B", 32.8), ("Qwen/Qwen2.5-7B-Instruct", 7.62),
])  # fmt: skip
def test_published_shapes_have_the_published_number_of_weights(model, billions):
    s = memory.shape(memory.published_config(model))
    assert s.weights / 1e9 == pytest.approx(billions, rel=0.01)


def test_every_student_and_teacher_of_a_shipped_profile_is_known():
    shipped = [profile_files.load(n) for n in profile_files.names()]
    wanted = {m for p in shipped for m in p.models.students.values()}
    wanted |= {p.synthesis.teacher.model for p in shipped if p.synthesis.teacher.model}
    assert {m for m in wanted if not m.startswith(("lab:", "index:"))} == set(memory.PUBLISHED)


@pytest.mark.parametrize("family", ["llama", "qwen", "olmo"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_what_the_backward_pass_keeps(family, checkpointing):
    """Bytes that autograd saves in a forward pass (weights left out), against the estimate: within a third."""
    import torch
    from peft import get_peft_model

    from cgd_utils.models import adapters

    folder = families.stand_in(family)
    model = loading.load_model(loading.ModelRef(str(folder), family, dtype="float32", device="cpu"))
    lora = settings.Lora(r=4)
    model = get_peft_model(model, adapters.lora_config(lora, model)).train()
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    weights = {q.untyped_storage().data_ptr() for q in model.parameters()}
    kept = {}

    def keep(x):
        if x.untyped_storage().data_ptr() not in weights:
            kept[x.untyped_storage().data_ptr()] = (
                x.untyped_storage().nbytes(),
                x,
            )  # held, so that no address is used twice
        return x

    length = 512
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        hidden = model.get_base_model().model(input_ids=torch.randint(3, 300, (2, length))).last_hidden_state
    measured = sum(n for n, _ in kept.values())
    t = settings.Training(
        mode="lora",
        lora=lora,
        micro_batch_size=2,
        batch_size=2,
        max_length=length,
        gradient_checkpointing=checkpointing,
    )
    shape = memory.shape(model.config)
    estimated = memory.activations(shape, t, 4)
    if checkpointing:  # one block in full exists in the backward pass only
        whole = memory.activations(shape, t.model_copy(update={"gradient_checkpointing": False}), 4)
        estimated -= whole / shape.layers
    assert hidden.requires_grad
    assert estimated == pytest.approx(measured, rel=0.34)


def test_an_8b_model_in_4_bits():
    """5.3 GiB of weights at 4.127 bits (linear layers) and 16 (embeddings, head)."""
    e = memory.estimate(SHAPE, training(gradient_checkpointing=True))
    assert e.weights == pytest.approx((6.979e9 * 4.127 / 8 + 1.051e9 * 2) / 2**30, rel=1e-3)
    assert e.total < 16


def test_a_70b_teacher_needs_two_large_gpus():
    """132 GiB of bfloat16 weights, and 80 layers × 8 heads × 128 × 2 of keys and values a token."""
    s = memory.shape(memory.published_config("meta-llama/Llama-3.3-70B-Instruct"))
    cache = 2 * 80 * 8 * 128 * 16384 * 2 / 2**30
    assert memory.generation(s, 16384) == pytest.approx(0.9 + 1.05 * (131.4 + cache), rel=1e-3)
    assert 70 < memory.generation(s, 16384, bits=8) < 80 < memory.generation(s, 16384) < 160


@given(
    st.sampled_from([8, 16, 24, 48, 80, 140]),
    st.integers(9, 14),
    st.booleans(),
    st.sampled_from(["qlora", "lora", "full"]),
)
def test_a_proposal_fits_and_changes_nothing_else(gpu, exponent, checkpointing, mode):
    s = SHAPE
    t = training(mode=mode, max_length=2**exponent, gradient_checkpointing=checkpointing)
    found = memory.proposal(s, t, gpu)
    if found is None:
        least = t.model_copy(update={"max_length": 512, "micro_batch_size": 1, "gradient_checkpointing": True})
        assert memory.estimate(s, least).total > 0.9 * gpu
        return
    assert memory.estimate(s, found).total <= 0.9 * gpu
    changed = {k for k in type(t).model_fields if getattr(t, k) != getattr(found, k)}
    assert changed <= {"micro_batch_size", "max_length", "gradient_checkpointing"}
    assert found.max_length <= t.max_length and t.batch_size % found.micro_batch_size == 0


def test_check_prints_the_table_and_a_proposal_without_network(capsys, tmp_path):
    options = ["check", "--profile", "paper-llama", "--outputs", str(tmp_path), "--gpu-gib", "12", "--json"]
    assert main(options) == 2  # no CUDA here
    assert "proposal" in capsys.readouterr().out
    assert main([*options[:-1]]) == 2
    assert "memory to train, GiB" in capsys.readouterr().out
