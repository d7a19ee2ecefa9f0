"""Labels under every family's own chat template, and what each family trains."""

import families
import pytest

from cgd_utils import adapters, generation, methods, profiles, prompts, quantization, tokenization
from cgd_utils.artifacts import BadInput

LAYOUT = prompts.layout("standard")


@pytest.fixture(params=families.FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def ref(family):
    return generation.ModelRef(str(families.stand_in(family)), family, device="cpu")


@pytest.fixture
def tok(ref):
    return generation.load_tokenizer(ref)


@pytest.mark.parametrize("method", ["sft", "cft", "cgd"])
def test_the_loss_is_on_the_completion_and_its_end_of_turn(method, tok):
    rows = methods.rows(method, families.records(), LAYOUT)
    tokenised, too_long = tokenization.tokenize(rows, tok, 8192)
    assert len(tokenised) == len(rows) and not too_long
    for row, out in zip(rows, tokenised, strict=True):
        learnt = [t for t, label in zip(out["input_ids"], out["labels"], strict=True) if label != tokenization.IGNORED]
        assert learnt == out["input_ids"][-len(learnt) :], "the learnt tokens are one run at the end"
        assert learnt[-1] == tok.eos_token_id == out["labels"][-1]
        assert tok.decode(learnt[:-1]).strip() == row["completion"][0]["content"].strip()
        assert tok.eos_token_id not in learnt[:-1]


def test_the_prompt_is_what_evaluation_sends(ref, tok):
    """Default system prompts and dates are the same tokens in training and at inference."""
    [row] = methods.rows("sft", families.records(1), LAYOUT)
    [out], _ = tokenization.tokenize([row], tok, 8192)
    [asked] = generation.prompt_ids(
        generation.TransformersGenerator(ref).tokenizer,
        [generation.Request("a", LAYOUT.ask(families.records(1)[0]["question"]))],
    )
    assert out["input_ids"][: len(asked)] == asked
    assert (
        set(out["labels"][: len(asked)]) == {tokenization.IGNORED} and out["labels"][len(asked)] != tokenization.IGNORED
    )


def test_special_tokens(family, tok):
    [row] = methods.rows("cgd", families.records(1), LAYOUT)
    [out], _ = tokenization.tokenize([row], tok, 8192)
    head = [t for t, label in zip(out["input_ids"], out["labels"], strict=True) if label == tokenization.IGNORED]
    assert tok.pad_token_id != tok.eos_token_id and tok.pad_token_id not in out["input_ids"]
    if tok.bos_token_id is not None:
        assert head[0] == tok.bos_token_id and head.count(tok.bos_token_id) == 1
    ends = {"llama": "<|eot_id|>", "mixtral": "</s>", "olmo": "<|endoftext|>"}
    assert tok.eos_token == ends.get(family, "<|im_end|>")


def test_a_date_in_a_template_is_pinned(monkeypatch):
    tok = generation.load_tokenizer(generation.ModelRef(str(families.stand_in("llama")), "llama"))
    text = tok.apply_chat_template([{"role": "user", "content": "q"}], tokenize=False, add_generation_prompt=True)
    assert "Today Date: 26 Jul 2024\n" in text
    assert text.startswith("<|begin_of_text|><|start_header_id|>system")


def test_a_second_beginning_of_text_is_refused():
    tok = families.tokenizer("llama")
    doubled = type(tok)(tokenizer_object=tok.backend_tokenizer, chat_template="{{- bos_token }}" + families.LLAMA3,
                        **families.FAMILIES["llama"][2])  # fmt: skip
    with pytest.raises(BadInput, match="occurs more than once"):
        tokenization.tokenize(methods.rows("sft", families.records(1), LAYOUT), doubled, 8192)


def test_a_template_without_an_end_of_turn_is_refused():
    tok = families.tokenizer("qwen")
    endless = type(tok)(tokenizer_object=tok.backend_tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                        chat_template="{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")  # fmt: skip
    with pytest.raises(BadInput, match="does not end in the end-of-turn token"):
        tokenization.tokenize(methods.rows("sft", families.records(1), LAYOUT), endless, 8192)


def test_what_a_family_trains_is_stated(family, ref):
    from peft import get_peft_model

    model = generation.load_model(ref)
    tuned = get_peft_model(model, adapters.lora_config(profiles.Lora(), model))
    told = adapters.trained_parts(tuned)
    attention = "k_proj, o_proj, q_proj, v_proj"
    mlp = {"down_proj", "gate_proj", "up_proj"}
    if family == "mixtral":
        assert told.startswith(f"LoRA on {attention} (8 layers)")
        assert {"experts", "gate", "embed_tokens", "lm_head"} <= set(told.partition("frozen: ")[2].split(", "))
    else:
        assert mlp <= set(told.partition("LoRA on ")[2].partition(" (")[0].split(", ")) and "(14 layers)" in told


def test_experts_are_trained_when_asked():
    from peft import get_peft_model

    model = generation.load_model(generation.ModelRef(str(families.stand_in("mixtral")), "mixtral", device="cpu"))
    tuned = get_peft_model(model, adapters.lora_config(profiles.Lora(experts=True), model))
    names = [n for n, q in tuned.named_parameters() if q.requires_grad]
    assert any("experts" in n and "lora_A" in n for n in names)
    dense = generation.load_model(generation.ModelRef(str(families.stand_in("qwen")), "qwen", device="cpu"))
    with pytest.raises(BadInput, match="has no experts"):
        adapters.lora_config(profiles.Lora(experts=True), dense)
    with pytest.raises(BadInput, match=r"no layer 'query'; this model has .*q_proj"):
        adapters.lora_config(profiles.Lora(target_modules=["query"]), dense)


def test_adapter_gradients_over_4_bits_are_those_over_the_dequantised_weights(family, ref):
    """Also after a no-grad forward in eval mode, which would repack the weights on AVX512-BF16 processors."""
    import bitsandbytes as bnb
    import torch
    from peft import get_peft_model

    four = generation.load_model(generation.ModelRef(ref.path, family, dtype="float32", device="cpu", quantize=True))
    plain = generation.load_model(generation.ModelRef(ref.path, family, dtype="float32", device="cpu"))
    for name, module in four.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            weight = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain.get_submodule(name).weight.data = weight.float()
    for module, name in quantization.expert_weights(plain):
        path = next(n for n, m in plain.named_modules() if m is module)
        getattr(module, name).data = getattr(four.get_submodule(path), name).detach().float()
    ids = torch.arange(3, 43).reshape(2, 20)
    with torch.no_grad():
        four.eval()(input_ids=ids)
    found = []
    for model in (four, plain):
        torch.manual_seed(0)
        tuned = get_peft_model(model.train(), adapters.lora_config(profiles.Lora(r=4), model))
        torch.manual_seed(1)
        for n, q in tuned.named_parameters():
            if "lora_B" in n:  # zero at first, which would leave A without a gradient
                q.data = torch.randn_like(q) * 0.02
        tuned(input_ids=ids, labels=ids).loss.backward()
        found.append({n: q.grad.float() for n, q in tuned.named_parameters() if q.requires_grad})
    assert found[0].keys() == found[1].keys() and found[0]
    for n, grad in found[0].items():
        assert grad.abs().sum() > 0, n
        assert (grad - found[1][n]).norm() <= 1e-3 * found[1][n].norm(), n
