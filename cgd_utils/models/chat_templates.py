"""Chat templates: the one place where messages become a model's text and tokens, for drafts, training and evaluation.

What a template writes is read off a short conversation of our own, so no family is named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..core.errors import BadInput

Message = dict[str, str]
_ANSWER = "CGDKIT"
# Llama 3's own fallback date
_PINNED = datetime(2024, 7, 26)
_FORMATS = "".join(f"|replace('%{c}', '{_PINNED.strftime('%' + c)}')" for c in "aAbBdeHIjmMpSyYFDT")
# a prompt that holds today's date would differ between training and evaluation, and between two runs; `+%}` keeps the
# template's own first line break
_PINNED_DATE = f'{{% set date_string = "{_PINNED:%d %b %Y}" +%}}'
_PINNED_CLOCK = f"{{% macro strftime_now(format) %}}{{{{ format|replace('%-d', '%d'){_FORMATS} }}}}{{% endmacro +%}}"


# for base models without a chat template; an answer ends in the tokenizer's own end of text
QUESTION_ANSWER = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] + '\\n\\n' }}"
    "{% elif m['role'] == 'user' %}{{ 'Question:\\n' + m['content'] + '\\n\\n' }}"
    "{% else %}{{ 'Answer:\\n' + m['content'] + eos_token + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:\\n' }}{% endif %}"
)
NO_TEMPLATE = (
    "its tokenizer has no chat template; use an instruction-tuned model, or ask it in plain text: "
    "models.without_template: question-answer"
)


def prepare(tok: Any, name: str, without_template: str = "refuse") -> None:
    """Makes a tokenizer fit for training and evaluation: dates pinned, ``eos_token`` a turn's end, a pad of its own.

    Args:
        tok: a tokenizer, changed in place; all of it is saved with it.
        name: of the model, for errors.
        without_template: what to do where there is none: ``refuse``, or ``question-answer`` for `QUESTION_ANSWER`.

    Raises:
        BadInput: no chat template, or no special token that could pad.
    """
    if not tok.chat_template:
        if without_template == "refuse":
            raise BadInput(f"model {name!r}: {NO_TEMPLATE}")
        # a template writes the special tokens itself: this one the beginning of text where the tokenizer would
        begins = tok.bos_token_id is not None and tok("x")["input_ids"][:1] == [tok.bos_token_id]
        tok.chat_template = ("{{ bos_token }}" if begins else "") + QUESTION_ANSWER
    templates = tok.chat_template
    tok.chat_template = (
        {k: pinned(t) for k, t in templates.items()} if isinstance(templates, dict) else pinned(templates)
    )
    end = turn(tok).end
    if end is not None and end != tok.eos_token:
        tok.eos_token = end
    if tok.pad_token_id is None or tok.pad_token_id == tok.eos_token_id:
        tok.pad_token = _pad_token(tok, name)


def pinned(template: str) -> str:
    """A template that writes 26 July 2024 wherever it would write today's date, in whatever format it asks for."""
    out = template
    if "date_string" in template and not template.startswith((_PINNED_DATE, _PINNED_CLOCK)):
        out = _PINNED_DATE + out
    if "strftime_now" in template and not template.startswith(_PINNED_CLOCK):
        out = _PINNED_CLOCK + out
    return out


def _pad_token(tok: Any, name: str) -> str:
    vocabulary = tok.get_vocab()
    others = [t for t in _special_tokens(tok) if t != tok.eos_token]
    framing = turn(tok).text
    candidates = [
        *(t for t in ("<|finetune_right_pad_id|>", "<|endoftext|>", "<|pad|>", "<pad>", "<unk>") if t in vocabulary),
        *(t for t in others if "pad" in t.lower()),
        *(t for t in others if t not in framing),
        *others,
    ]
    pad = next((t for t in candidates if t != tok.eos_token), None)
    if pad is None:
        raise BadInput(
            f"model {name!r}: its tokenizer has no special token but its end of turn {tok.eos_token!r}, so nothing can "
            "pad; give it one (tok.add_special_tokens({'pad_token': '<pad>'})) and resize the model's embeddings"
        )
    return pad


# ---------------------------------------------------------------- what a template writes
@dataclass(frozen=True)
class Turn:
    """What a template writes around the assistant's answer.

    Attributes:
        text: a whole conversation of one question and one answer.
        opening: between the prompt, with the assistant's turn opened, and the answer; mostly nothing.
        closing: after the answer.
        end: the special token that ends the turn. It need not be the tokenizer's own end: Qwen2.5-Math's base ends a
            text with ``<|endoftext|>`` and a turn with ``<|im_end|>``. None if the template writes none.
    """

    text: str
    opening: str
    closing: str
    end: str | None


def turn(tok: Any) -> Turn:
    """What a tokenizer's template writes around the assistant's answer."""
    question = [{"role": "user", "content": "x"}]
    prompt = text(tok, question, open_turn=True)
    whole = text(tok, [*question, {"role": "assistant", "content": _ANSWER}])
    before, _, closing = whole.rpartition(_ANSWER)
    opening = before.removeprefix(prompt) if before.startswith(prompt) else ""
    found = [(closing.find(t), -len(t), t) for t in _special_tokens(tok) if t in closing]
    return Turn(whole, opening, closing, min(found)[2] if found else None)


def text(tok: Any, messages: Sequence[Message], open_turn: bool = False) -> str:
    """A conversation as the template writes it; ``open_turn`` adds the opening of the assistant's turn.

    A system turn that the template refuses, or leaves out, is written at the head of the user's, with an empty line after it.

    Raises:
        BadInput: the template refuses the conversation.
    """
    from jinja2 import TemplateError

    has_system = len(messages) > 1 and messages[0]["role"] == "system"
    try:
        written = tok.apply_chat_template(list(messages), add_generation_prompt=open_turn, tokenize=False)
        if not has_system or messages[0]["content"].strip() in written:
            return written
    except TemplateError as e:
        if has_system:
            return text(tok, _folded(messages), open_turn)
        roles = ", ".join(m["role"] for m in messages)
        raise BadInput(f"chat template of {Path(tok.name_or_path).name!r}: refuses turns of {roles} ({e})") from None
    return text(tok, _folded(messages), open_turn)


def _folded(messages: Sequence[Message]) -> list[Message]:
    """A conversation whose system turn stands at the head of the user's: Mistral's and Gemma's templates know no such role."""
    system, first, *rest = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]


def encode(tok: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts that a template wrote: it writes the special tokens itself."""
    return tok(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def prompt_ids(tok: Any, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Token ids of what a model is asked: the template applied once, with the opening of the assistant's turn."""
    return encode(tok, [text(tok, c, open_turn=True) for c in conversations])


def special_ids(tok: Any) -> set[int]:
    """Ids of the special tokens: those that are no text to the model."""
    return set(tok.convert_tokens_to_ids(_special_tokens(tok)))


def _special_tokens(tok: Any) -> list[str]:
    added = [t.content for t in tok.added_tokens_decoder.values() if t.special]
    return list(dict.fromkeys([*tok.all_special_tokens, *added]))
