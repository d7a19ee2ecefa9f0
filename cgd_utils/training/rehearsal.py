"""A rehearsal of training before long work: one made-up row of every student and method, up to a generated token."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import methods, prompts
from ..core.errors import BadInput
from ..core.records import Record
from ..core.settings import Sampling
from ..core.store import Run
from ..engines import decoding
from ..models import chat_templates, loading, named
from . import tokenization

_RECORD = {
    "id": "rehearsal",
    "question": "Ann has 2 apples and gets 3 more. How many has she?",
    "answer": "5",
    "solution": "2 + 3 = 5\n#### 5",
    "draft": "2 + 3 = 6\nAnswer: 6",
    "draft_correct": False,
    "critique": "The sum is wrong: 2 + 3 is 5. Conclusion: wrong",
    "conclusion": "wrong",
    "refined": "2 + 3 = 5\nAnswer: 5",
    "direct": "She has 2 + 3 = 5.\nAnswer: 5",
}
# what of a config says how large the model is; a toy of the same architecture has these
_TOY = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "num_local_experts": 2,
    "num_experts": 2,
    "num_experts_per_tok": 1,
}


def rehearse(run: Run) -> list[Record]:
    """Puts a made-up row of every student and method through what a run does with it, at the size of a toy.

    Each row is laid out, tokenised and masked with the student's own tokenizer and chat template; a model of the
    student's architecture, two small layers of random weights, reads the batch and generates one token. No weight of
    the student is loaded. A model of the hub that cannot be reached is left out: a run meets it in its first notebook.

    Returns:
        Rows ``{family, method, prompt_tokens, learnt}`` of what was tried; ``learnt`` is the text under the loss.

    Raises:
        BadInput: what would fail in training; the student and the method are named.
    """
    p, out = run.profile, []
    layout = prompts.layout(p.models.layout)
    for family, model in p.models.students.items():
        ref = named.model_ref(run, model, family)
        config = _config(ref)
        if config is None:
            continue
        tok = loading.load_tokenizer(ref)
        toy = _toy(config)
        rows = []
        for method in p.training.methods:
            try:
                [row], _ = tokenization.tokenize(methods.rows(method, [_RECORD], layout), tok, max_length=1 << 20)
            except BadInput as e:
                raise BadInput(f"models.students: {family} = {model!r} cannot be trained with {method}: {e}") from None
            rows.append(row)
            learnt = [x for x in row["labels"] if x != tokenization.IGNORED]
            out.append(
                {
                    "family": family,
                    "method": method,
                    "prompt_tokens": len(row["labels"]) - len(learnt),
                    "learnt": tok.decode(learnt),
                }
            )
        [asked] = chat_templates.prompt_ids(tok, [layout.ask(str(_RECORD["question"]))])
        _fits_vocabulary(config, [*(r["input_ids"] for r in rows), asked], f"{family} = {model!r}")
        if toy is not None:
            _try(toy, tok, rows, asked)
    return out


def _config(ref: loading.ModelRef) -> Any:
    """A student's config; None where it lies on a hub that cannot be reached."""
    from transformers import AutoConfig

    if not Path(ref.path).is_dir() and not _hub_answers():
        return None
    try:
        return AutoConfig.from_pretrained(ref.path, revision=ref.revision, trust_remote_code=ref.trust_remote_code)
    except (OSError, ValueError) as e:
        if Path(ref.path).is_dir():
            reason = str(e).splitlines()[0]
            raise BadInput(f"model {ref.name!r}: its config.json cannot be used ({reason})") from None
        return None


@functools.cache
def _hub_answers() -> bool:
    """Whether the hub answers within seconds: without a network its client would try for half a minute a file."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # of whatever transport the client uses
        return False
    return True


def _toy(config: Any) -> Any:
    """A small model of a config's architecture with random weights; None if that cannot be made small so."""
    import torch
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(config)
    config.quantization_config = None
    text = config.get_text_config()
    for name, size in _TOY.items():
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, size)
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[: _TOY["num_hidden_layers"]]
    with torch.random.fork_rng(devices=[]):
        try:
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        except Exception:  # whatever a model's own code makes of sizes that it was not written for
            return None


def _fits_vocabulary(config: Any, encoded: Sequence[Sequence[int]], student: str) -> None:
    size, largest = config.get_text_config().vocab_size, max(max(ids) for ids in encoded)
    if largest >= size:
        raise BadInput(
            f"models.students: {student}: its tokenizer writes token {largest}, but the model knows {size} tokens; the "
            "tokenizer is not this model's, or the model's embeddings were not resized"
        )


def _try(toy: Any, tok: Any, rows: Sequence[Record], asked: Sequence[int]) -> None:
    """A forward pass with the loss of all rows, and one generated token."""
    import torch

    batch = tokenization.Collator(rows, tok.pad_token_id, packed=False)([{"numbers": list(range(len(rows)))}])
    batch.pop("numbers")
    with torch.no_grad():
        toy(**batch)
    ends = set(loading.end_of_turn_ids(tok))
    decoding.decode(toy, tok, [asked], [0], Sampling(max_new_tokens=1), ends)
