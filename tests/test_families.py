"""Labels under every family's own chat template, and what each family trains."""

import families
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils import methods, prompts
from cgd_utils.core import settings
from cgd_utils.core.errors import BadInput
from cgd_utils.engines import decoding, generation, request_log
from cgd_utils.grading import thoughts
from cgd_utils.models import adapters, chat_templates, loading, quantization
from cgd_utils.training import tokenization

LAYOUT = prompts.layout("standard")


@pytest.fixture(params=families.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=families.ALL)
def shape(request):
    """The tokenizer of a template shape, as the kit loads it."""
    name = request.param
    return loading.load_tokenizer(loading.ModelRef(str(families.stand_in(name)), name, device="cpu"))


def learnt_text(tok, completion, question="What is 0 + 12?"):
    row = {
        "id": "row-7",
        "method": "sft",
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": completion}],
    }
    [out], _ = tokenization.tokenize([row], tok, 8192)
    return tok.decode([t for t in out["labels"] if t != tokenization.IGNORED])


@pytest.fixture
def ref(family):
    return loading.ModelRef(str(families.stand_in(family)), family, device="cpu")


def said(tok, ids):
    """What a model that generated these tokens is read to have answered."""
    return thoughts.split(decoding.text_of(tok, [], ids)).answer


@pytest.fixture
def tok(ref):
    return loading.load_tokenizer(ref)


@pytest.mark.parametrize("method", ["sft", "cft", "cgd"])
def test_the_loss_is_on_the_completion_and_its_end_of_turn(method, shape):
    rows = methods.rows(method, families.records(), LAYOUT)
    tokenised, too_long = tokenization.tokenize(rows, shape, 8192)
    assert len(tokenised) == len(rows) and not too_long
    for row, out in zip(rows, tokenised, strict=True):
        learnt = [t for t, label in zip(out["input_ids"], out["labels"], strict=True) if label != tokenization.IGNORED]
        assert learnt == out["input_ids"][-len(learnt) :], "the learnt tokens are one run at the end"
        assert learnt[-1] == shape.eos_token_id == out["labels"][-1]
        assert said(shape, learnt[:-1]).strip() == row["completion"][0]["content"].strip()
        assert shape.eos_token_id not in learnt[:-1]


def test_the_prompt_is_what_evaluation_sends(shape):
    """Default system prompts and dates are the same tokens in training and at inference."""
    [row] = methods.rows("sft", families.records(1), LAYOUT)
    [out], _ = tokenization.tokenize([row], shape, 8192)
    [asked] = generation.prompt_ids(shape, [request_log.Request("a", LAYOUT.ask(families.records(1)[0]["question"]))])
    assert out["input_ids"][: len(asked)] == asked
    assert (
        set(out["labels"][: len(asked)]) == {tokenization.IGNORED} and out["labels"][len(asked)] != tokenization.IGNORED
    )


# what a template shape learns of the answer 'So it is 14.'
LEARNT = {
    "smollm2": "So it is 14.<|im_end|>",
    "gemma": "So it is 14.<end_of_turn>",
    "phi3": "So it is 14.<|end|>",
    "phi4-mini": "So it is 14.<|end|>",
    "mistral": "So it is 14.</s>",
    "mistral-small": "So it is 14.</s>",
    "llama": "So it is 14.<|eot_id|>",
    "qwen": "So it is 14.<|im_end|>",
    "olmo": "So it is 14.<|endoftext|>",
    "qwen3": "<think>\n\n</think>\n\nSo it is 14.<|im_end|>",
    "granite": "So it is 14.<|end_of_text|>",
    "gpt-oss": "<|channel|>final<|message|>So it is 14.<|return|>",
}


@pytest.mark.parametrize(("name", "wanted"), LEARNT.items())
def test_one_end_of_turn_is_learnt(name, wanted):
    tok = loading.load_tokenizer(loading.ModelRef(str(families.stand_in(name)), name))
    assert learnt_text(tok, "So it is 14.").strip() == wanted
    assert tok.pad_token != tok.eos_token


def test_a_saved_tokenizer_is_the_same_again(shape, tmp_path):
    shape.save_pretrained(tmp_path)
    again = loading.load_tokenizer(loading.ModelRef(str(tmp_path), "again"))
    assert (again.chat_template, again.eos_token, again.pad_token) == (
        shape.chat_template,
        shape.eos_token,
        shape.pad_token,
    )
    assert learnt_text(again, "Seven.") == learnt_text(shape, "Seven.")


def test_a_special_token_in_an_answer_is_refused_with_its_row(shape):
    marks = {shape.eos_token, shape.pad_token, *shape.all_special_tokens} - {None}
    for mark in sorted(marks):
        for answer in (f"It is{mark} 14.", f"It is 14.{mark}", f"{mark}It is 14."):
            with pytest.raises(BadInput, match=r"training row 'row-7'|refuses turns"):
                learnt_text(shape, answer)


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]) | st.sampled_from("\n"), min_size=1, max_size=60)
)
@pytest.mark.parametrize("name", ["smollm2", "phi3", "gpt-oss", "granite", "qwen3"])
def test_any_text_is_learnt_whole(name, answer):
    tok = families.tokenizer(name)
    chat_templates.prepare(tok, name)
    if not answer.strip() or any(t in answer for t in (*tok.get_added_vocab(), "</think>")):
        return
    ids = chat_templates.encode(tok, [learnt_text(tok, answer)])[0]
    assert said(tok, ids).split() == answer.split()


# ---------------------------------------------------------------- templates that are refused
R1 = """{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}{{- '<|user|>' + message['content'] }}
    {%- else %}{{- '<|assistant|>' + message['content'].split('</think>')[-1] + eos_token }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"""


def with_template(family, template, **special):
    tok = families.tokenizer(family)
    about = special or {
        "bos_token": tok.bos_token,
        "eos_token": tok.eos_token,
        "pad_token": families.ALL[family][2].get("pad_token"),
    }
    return type(tok)(tokenizer_object=tok.backend_tokenizer, chat_template=template, **about)


def test_a_template_that_drops_thoughts_is_told():
    tok = with_template("llama", R1)
    assert learnt_text(tok, "It is 15.") == "It is 15.<|eot_id|>"
    with pytest.raises(BadInput, match=r"'row-7'.*drops or changes a part.*'It is 15\."):
        learnt_text(tok, "<think>7 + 8 = 15</think>It is 15.")


def test_thoughts_that_a_template_keeps_are_learnt():
    tok = loading.load_tokenizer(loading.ModelRef(str(families.stand_in("qwen3")), "qwen3"))
    assert learnt_text(tok, "<think>7 + 8 = 15</think>It is 15.") == (
        "<think>\n7 + 8 = 15\n</think>\n\nIt is 15.<|im_end|>"
    )


def test_a_template_that_refuses_a_turn_is_told_in_words():
    tok = loading.load_tokenizer(loading.ModelRef(str(families.stand_in("gemma")), "gemma"))
    asked = {"role": "user", "content": "q"}
    with pytest.raises(BadInput, match=r"refuses turns of user, user \(Conversation roles must alternate"):
        chat_templates.text(tok, [asked, asked])
    folded = [
        [{"role": "user", "content": "s\n\nq"}]
    ]  # a system role that it does not know: at the head of the user's turn
    assert chat_templates.prompt_ids(tok, [[{"role": "system", "content": "s"}, asked]]) == chat_templates.prompt_ids(
        tok, folded
    )


def base(family, without_template="question-answer"):
    return loading.ModelRef(str(families.base_model(family)), "base", without_template=without_template)


def test_a_base_model_is_refused_unless_plain_text_is_asked_for():
    with pytest.raises(
        BadInput, match=r"'base': its tokenizer has no chat template.*models.without_template: question-answer"
    ):
        loading.load_tokenizer(base("llama", "refuse"))
    tok = loading.load_tokenizer(base("llama"))
    written = chat_templates.text(
        tok, [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], open_turn=True
    )
    assert written == "s\n\nQuestion:\nq\n\nAnswer:\n"
    own = loading.load_tokenizer(
        loading.ModelRef(str(families.stand_in("llama")), "own", without_template="question-answer")
    )
    assert "Question:" not in chat_templates.text(own, [{"role": "user", "content": "q"}])


@pytest.mark.parametrize("family", ["llama", "qwen-math", "mixtral", "olmo"])
@pytest.mark.parametrize("method", ["sft", "cft", "cgd"])
def test_a_base_models_rows_learn_the_answer_and_the_end_of_text(family, method):
    tok = loading.load_tokenizer(base(family))
    for layout in (LAYOUT, prompts.layout("authors")):
        rows = methods.rows(method, families.records(), layout)
        for row, kept in zip(rows, tokenization.tokenize(rows, tok, 8192)[0], strict=True):
            learnt = [i for i in kept["labels"] if i != tokenization.IGNORED]
            assert learnt[-1] == tok.eos_token_id and learnt.count(tok.eos_token_id) == 1
            assert tok.decode(learnt[:-1]).strip() == row["completion"][0]["content"].strip()
            asked = chat_templates.prompt_ids(tok, [row["prompt"]])[0]
            assert kept["input_ids"][: len(asked)] == asked


def test_a_base_model_reads_its_beginning_of_text_where_its_tokenizer_would_write_it():
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(families.base_model("llama"))
    begin = (tok.bos_token, tok.bos_token_id)
    tok.backend_tokenizer.post_processor = TemplateProcessing(single=f"{tok.bos_token} $A", special_tokens=[begin])
    chat_templates.prepare(tok, "base", "question-answer")
    [asked] = chat_templates.prompt_ids(tok, [[{"role": "user", "content": "q"}]])
    assert asked.count(tok.bos_token_id) == 1 and asked[0] == tok.bos_token_id


def test_a_tokenizer_whose_only_special_token_is_its_end_is_told(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE({"a": 0, "</s>": 1}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel()
    template = "{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", chat_template=template).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="'only': its tokenizer has no special token but its end of turn '</s>'"):
        loading.load_tokenizer(loading.ModelRef(str(tmp_path), "only"))


# ---------------------------------------------------------------- dates
@pytest.mark.parametrize(
    ("template", "date"),
    [
        ("Today: {{ strftime_now('%d %B %Y') }}.", "26 July 2024"),
        ('{%- set f = "%Y-%m-%d" %}Today: {{ strftime_now(f) }}.', "2024-07-26"),
        (
            "{%- if not date_string is defined %}{%- set date_string = strftime_now('%b %-d, %Y') %}{% endif %}"
            "Today: {{ date_string }}.",
            "26 Jul 2024",
        ),
        ("Today: {{ date_string }}.", "26 Jul 2024"),
        ("{% macro when() %}{{ strftime_now('%A, %d/%m/%y') }}{% endmacro %}Today: {{ when() }}.", "Friday, 26/07/24"),
    ],
)
def test_every_date_that_a_template_writes_is_pinned(template, date):
    tok = with_template("qwen", template + families.QWEN)
    before = tok.apply_chat_template([{"role": "user", "content": "q"}], tokenize=False, date_string="DATE")
    chat_templates.prepare(tok, "dated")
    text = chat_templates.text(tok, [{"role": "user", "content": "q"}])
    assert text.startswith(f"Today: {date}.<|im_start|>system")
    assert text.partition(".")[2] == before.partition(".")[2]


def test_a_template_without_a_date_is_left_as_it_is():
    assert chat_templates.pinned(families.QWEN) == families.QWEN
    dated = "\n{{ strftime_now('%Y') }}"
    tok = with_template("qwen", chat_templates.pinned(dated))
    assert chat_templates.text(tok, [{"role": "user", "content": "q"}]) == "\n2024"


def test_special_tokens_of_the_paper_s_families(family, tok):
    [row] = methods.rows("cgd", families.records(1), LAYOUT)
    [out], _ = tokenization.tokenize([row], tok, 8192)
    head = [t for t, label in zip(out["input_ids"], out["labels"], strict=True) if label == tokenization.IGNORED]
    assert tok.pad_token_id != tok.eos_token_id and tok.pad_token_id not in out["input_ids"]
    if tok.bos_token_id is not None:
        assert head[0] == tok.bos_token_id and head.count(tok.bos_token_id) == 1
    ends = {"llama": "<|eot_id|>", "mixtral": "</s>", "olmo": "<|endoftext|>"}
    assert tok.eos_token == ends.get(family, "<|im_end|>")


def test_a_date_in_a_template_is_pinned(monkeypatch):
    tok = loading.load_tokenizer(loading.ModelRef(str(families.stand_in("llama")), "llama"))
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

    model = loading.load_model(ref)
    tuned = get_peft_model(model, adapters.lora_config(settings.Lora(), model))
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

    model = loading.load_model(loading.ModelRef(str(families.stand_in("mixtral")), "mixtral", device="cpu"))
    tuned = get_peft_model(model, adapters.lora_config(settings.Lora(experts=True), model))
    names = [n for n, q in tuned.named_parameters() if q.requires_grad]
    assert any("experts" in n and "lora_A" in n for n in names)
    dense = loading.load_model(loading.ModelRef(str(families.stand_in("qwen")), "qwen", device="cpu"))
    with pytest.raises(BadInput, match="has no experts"):
        adapters.lora_config(settings.Lora(experts=True), dense)
    with pytest.raises(BadInput, match=r"no layer 'query'; this model has .*q_proj"):
        adapters.lora_config(settings.Lora(target_modules=["query"]), dense)


def test_adapter_gradients_over_4_bits_are_those_over_the_dequantised_weights(family, ref):
    """Also after a no-grad forward in eval mode, which would repack the weights on AVX512-BF16 processors."""
    import bitsandbytes as bnb
    import torch
    from peft import get_peft_model

    four = loading.load_model(loading.ModelRef(ref.path, family, dtype="float32", device="cpu", quantize=True))
    plain = loading.load_model(loading.ModelRef(ref.path, family, dtype="float32", device="cpu"))
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
        tuned = get_peft_model(model.train(), adapters.lora_config(settings.Lora(r=4), model))
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
