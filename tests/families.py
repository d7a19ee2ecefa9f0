"""Tiny stand-ins of the five families: the real architecture class, a small tokenizer trained here, and a chat template in the
family's published format, written anew from its documentation. Random weights; nothing is fetched."""

import functools
import tempfile
from pathlib import Path

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""

CHATML = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] != 'system' %}
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
QWEN = CHATML.replace("SYSTEM", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
QWEN_MATH = CHATML.replace("SYSTEM", "Please reason step by step, and put your final answer within \\\\boxed{}.")

MIXTRAL = """{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}{{- ' [INST] ' + message['content'] + ' [/INST]' }}
    {%- else %}{{- ' ' + message['content'] + eos_token }}{%- endif %}
{%- endfor %}"""

OLMO2 = """{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}{{- '<|system|>\\n' + message['content'] + '\\n' }}
    {%- elif message['role'] == 'user' %}{{- '<|user|>\\n' + message['content'] + '\\n' }}
    {%- else %}{{- '<|assistant|>\\n' + message['content'] + eos_token }}{%- if not loop.last %}{{- '\\n' }}{%- endif %}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}"""

# family -> architecture, template, special tokens as the published tokenizer has them, and more of the config
FAMILIES = {
    "llama": ("llama", LLAMA3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|finetune_right_pad_id|>"},
              ["<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"], {}),
    "qwen": ("qwen2", QWEN, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>"], {}),
    # the base model's own end is <|endoftext|>, its pad token too; only the template ends turns with <|im_end|>
    "qwen-math": ("qwen2", QWEN_MATH, {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>", "<|im_end|>"], {}),
    "s1": ("qwen2", QWEN, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>"], {}),
    "mixtral": ("mixtral", MIXTRAL, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, [],
                {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "olmo": ("olmo2", OLMO2, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}, [], {}),
}  # fmt: skip
TEXT = [
    "Here is a question, a student's draft of an answer, and a reviewer's critique of the draft.",
    "Review the draft. Follow its reasoning line by line and say which steps hold. Conclusion: wrong",
    "Reason step by step and put the final answer in \\boxed{}. 0123456789 + - * / = ( ) # ` \n\n## Question ## Draft ## Critique",
]


@functools.cache
def tokenizer(family):
    """A tokenizer of the family's kind with its published special tokens and template format."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    _, template, special, more, _ = FAMILIES[family]
    tokens = list(dict.fromkeys([*special.values(), *more]))
    if family == "mixtral":  # sentencepiece: a space mark before the first word, and what it does not know is <unk>
        inner = Tokenizer(models.BPE(unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        inner.decoder = decoders.Metaspace(prepend_scheme="first")
        alphabet = [chr(c) for c in range(32, 127)] + ["\n"]
    else:
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(TEXT, trainer)
    inner.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in tokens])
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template, **special)


def build(family, folder, seed=0, **size):
    """Saves the stand-in of a family under ``folder`` and returns the folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, _, _, _, more = FAMILIES[family]
    tok = tokenizer(family)
    config = AutoConfig.for_model(kind, **{
        "vocab_size": len(tok), "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 32768, "bos_token_id": tok.bos_token_id,
        "eos_token_id": tok.eos_token_id, "pad_token_id": tok.pad_token_id, **more, **size,
    })  # fmt: skip
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return Path(folder)


@functools.cache
def stand_in(family):
    """The folder of a family's stand-in, made once a session."""
    return build(family, Path(tempfile.mkdtemp(prefix=f"cgd-{family}-")) / family)


def records(n=6, words=12):
    """Distillation records with texts of different lengths."""
    out = []
    for i in range(n):
        steps = " ".join(f"{i}+{j}={i + j}" for j in range(words // 2 + i))
        out.append({
            "id": f"r{i}", "question": f"What is {i} + {words}?", "answer": str(i + words), "solution": f"Answer: {i + words}",
            "draft": f"{steps}\nAnswer: {i}", "draft_correct": False, "critique": f"Step 1 is wrong: {steps}. Conclusion: wrong",
            "conclusion": "wrong", "refined": f"{steps}\nAnswer: \\boxed{{{i + words}}}", "direct": f"Answer: \\boxed{{{i + words}}}",
        })  # fmt: skip
    return out
