"""The loss of learnt tokens alone equals the loss of the whole sequence with labels."""

import pytest
import torch

from cgd_utils.training import learnt_loss


@pytest.fixture(scope="module")
def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=5000, num_key_value_heads=2, **sizes))


def batch(learnt):
    torch.manual_seed(1)
    ids = torch.randint(5, 5000, (3, 40))
    labels = torch.where(torch.arange(40) >= 40 - learnt, ids, -100) if learnt else torch.full_like(ids, -100)
    mask = torch.ones_like(ids)
    mask[1, :6] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False}


@pytest.mark.parametrize("learnt", [1, 7, 39])
def test_loss_and_gradients_are_those_of_full_logits(model, learnt, monkeypatch):
    monkeypatch.setattr(learnt_loss, "BLOCK", 16)
    inputs = batch(learnt)
    loss, right = learnt_loss.learnt_loss(model, inputs)
    loss.backward()
    found = {name: w.grad.clone() for name, w in model.named_parameters()}
    model.zero_grad()
    logits = model(**{k: v for k, v in inputs.items() if k != "labels"}).logits[:, :-1].flatten(0, 1)
    targets = inputs["labels"][:, 1:].flatten()
    whole = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
    whole.backward()
    torch.testing.assert_close(loss, whole)
    assert right == (logits.argmax(-1) == targets)[targets != -100].sum()
    for name, w in model.named_parameters():
        torch.testing.assert_close(found[name], w.grad, rtol=1e-4, atol=1e-5)
    model.zero_grad()


def test_a_pass_in_which_nothing_is_learnt_has_loss_zero_and_can_be_differentiated(model):
    loss, right = learnt_loss.learnt_loss(model, batch(0))
    loss.backward()
    assert (loss.item(), right.item()) == (0.0, 0)
    model.zero_grad()


def test_the_head_is_itself_again_afterwards(model):
    before = model(**{k: v for k, v in batch(3).items() if k != "labels"}).logits.shape
    learnt_loss.learnt_loss(model, batch(3))
    assert model(**{k: v for k, v in batch(3).items() if k != "labels"}).logits.shape == before


def test_it_pays_for_large_vocabularies_on_a_cpu_only(model):
    from cgd_utils.models import loading

    assert learnt_loss.pays(model)
    lab = loading.load_model(loading.ModelRef(loading.resolve("lab:llama"), "llama", dtype="float32", device="cpu"))
    assert not learnt_loss.pays(lab), "the lab's vocabulary is small, and its numbers do not change"
