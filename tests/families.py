"""Tiny stand-ins of model families: the real architecture class, a small tokenizer trained here, and a chat template in
the family's published format, written anew from its documentation. Random weights; nothing is fetched.

`FAMILIES` are the paper's; `SHAPES` are other templates that a student may have, each with a trap of its own."""

import functools
import shutil
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

# the beginning-of-text token opens every turn, the unknown token is the end of a text
SMOLLM2 = """{%- for message in messages %}
    {%- if loop.first and messages[0]['role'] != 'system' %}
        {{- '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

# the assistant is called model, a system turn is refused, the turn's end is not the tokenizer's end
GEMMA = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}"""

# a second end, the text's, after the turn's
PHI3 = """{%- for message in messages %}
    {{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- else %}{{- eos_token }}{%- endif %}"""
PHI4_MINI = PHI3.replace("|>\\n'", "|>'").replace("<|end|>\\n'", "<|end|>'")

# no opening of the assistant's turn
MISTRAL = """{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}{{- '[INST] ' + message['content'] + '[/INST]' }}
    {%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token }}
    {%- else %}{{- raise_exception('Only user and assistant roles are supported') }}{%- endif %}
{%- endfor %}"""

# today's and yesterday's date, the one in a variable
MISTRAL_SMALL = """{%- set today = strftime_now("%Y-%m-%d") %}
{%- set weekday = strftime_now("%A") %}
{%- set default_system_message = "You are Mistral Small 3. The current date is " + today + ", a " + weekday + "." %}
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set system_message = default_system_message %}{%- set loop_messages = messages %}{%- endif %}
{{- '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]' }}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}{{- '[INST]' + message['content'] + '[/INST]' }}
    {%- else %}{{- message['content'] + eos_token }}{%- endif %}
{%- endfor %}"""

# the last answer gets a block of thoughts, an empty one where it has none
QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{{- '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content %}{%- set thoughts = '' %}
        {%- if '</think>' in content %}
            {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.last %}
            {{- '<|im_start|>assistant\\n<think>\\n' + thoughts.strip('\\n') }}
            {{- '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}{{- '<|im_start|>assistant\\n' + content }}{%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""

# one token begins the text, ends each turn and pads; the date is in words
GRANITE = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set today = "Today's Date: " + strftime_now('%B %d, %Y') + ".\\n" %}
    {%- set system_message = "Knowledge Cutoff Date: April 2024.\\n" + today + "You are Granite, developed by IBM." %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\\n' }}
{%- for message in loop_messages %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\\n' }}
    {%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}
{%- endfor %}"""

# an answer is opened by its channel; the last one ends in another token than those before; the date stands in a macro
GPT_OSS = """{%- macro system_message() %}
    {{- 'You are ChatGPT, a large language model trained by OpenAI.\\nKnowledge cutoff: 2024-06\\n' }}
    {{- 'Current date: ' + strftime_now('%Y-%m-%d') + '\\n\\nReasoning: medium\\n\\n' }}
    {{- '# Valid channels: analysis, commentary, final. Channel must be included for every message.' }}
{%- endmacro %}
{{- '<|start|>system<|message|>' + system_message() + '<|end|>' }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- if '<|channel|>final<|message|>' in message.content %}
            {{- raise_exception('You have passed a message with channel tags') }}
        {%- endif %}
        {{- '<|start|>assistant<|channel|>final<|message|>' + message.content }}
        {%- if loop.last and not add_generation_prompt %}{{- '<|return|>' }}{%- else %}{{- '<|end|>' }}{%- endif %}
    {%- else %}{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"""

_ENDED = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
SHAPES = {
    "smollm2": (
        "llama",
        SMOLLM2,
        {
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|im_end|>",
        },
        ["<repo_name>", "<file_sep>"],
        {"tie_word_embeddings": True},
    ),
    "gemma": (
        "gemma2",
        GEMMA,
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"},
        ["<start_of_turn>", "<end_of_turn>"],
        {"head_dim": 32},
    ),
    "phi3": (
        "phi3",
        PHI3,
        {"bos_token": "<s>", "unk_token": "<unk>", **_ENDED},
        ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
        {},
    ),
    "phi4-mini": (
        "phi3",
        PHI4_MINI,
        {"bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", **_ENDED},
        ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
        {},
    ),
    "mistral": (
        "mistral",
        MISTRAL,
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        ["[INST]", "[/INST]"],
        {},
    ),
    "mistral-small": (
        "mistral",
        MISTRAL_SMALL,
        {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
        ["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"],
        {},
    ),
    "qwen3": (
        "qwen3",
        QWEN3,
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        ["<|im_start|>"],
        {"head_dim": 32},
    ),
    "granite": (
        "granite",
        GRANITE,
        dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|end_of_text|>"),
        ["<|start_of_role|>", "<|end_of_role|>", "<fim_prefix>", "<fim_pad>"],
        {},
    ),
    "gpt-oss": (
        "gpt_oss",
        GPT_OSS,
        {"bos_token": "<|startoftext|>", "eos_token": "<|return|>", "pad_token": "<|endoftext|>"},
        ["<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>"],
        {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 32, "sliding_window": 128},
    ),
}
ALL = {**FAMILIES, **SHAPES}
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

    _, template, special, more, _ = ALL[family]
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

    kind, _, _, _, more = ALL[family]
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


@functools.cache
def base_model(family):
    """A family's stand-in as a base model: its tokenizer has no chat template."""
    folder = Path(tempfile.mkdtemp(prefix=f"cgd-{family}-base-")) / family
    shutil.copytree(stand_in(family), folder, ignore=shutil.ignore_patterns("chat_template*"))
    return folder


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
