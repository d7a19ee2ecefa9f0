"""Each of the lab's students: its size, its pretraining, and the checkpoint it goes on from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgd_utils.lab import students

from .pretraining import RECIPES, STEP_WEIGHTS, PretrainingSettings, pretrain, train_tokenizer


@dataclass(frozen=True)
class Plan:
    """How one student is made.

    Attributes:
        size: fields of its transformers config.
        pretraining: its settings.
        start: the student whose shipped checkpoint it goes on from; None = from nothing.
    """

    size: dict[str, Any]
    pretraining: PretrainingSettings = field(default_factory=lambda: PretrainingSettings(tokens=9_000_000))
    start: str | None = None


def _size(layers: int, hidden: int = 128, heads: int = 4, mlp: int = 384, **more: Any) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": mlp,
        **more,
    }


_LONG = PretrainingSettings(tokens=16_000_000)
_MIXTRAL = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None, "output_router_logits": True}


def _goes_on(tokens: int, seed: int, recipe: str) -> PretrainingSettings:
    return PretrainingSettings(tokens, learning_rate=1e-3, muon_learning_rate=1e-2, seed=seed, recipe=recipe)


PLANS = {
    "llama": Plan(_size(4), _LONG),
    "llama-weak": Plan(_size(3, 64, 2, 192)),
    "qwen": Plan(_size(4), _LONG),
    "mixtral": Plan(_size(3, mlp=192, **_MIXTRAL), _LONG),
    "olmo": Plan(_size(3)),
    "s1": Plan(_size(3, head_dim=32)),
    "teacher": Plan(_size(4), _goes_on(1_500_000, 2, "teacher"), start="llama"),
}


def config(name: str, tok: Any) -> Any:
    """The transformers config of a student for the tokenizer ``tok``."""
    from transformers import AutoConfig

    return AutoConfig.for_model(
        students.STUDENTS[name].model_type,
        vocab_size=len(tok),
        max_position_embeddings=tok.model_max_length,
        tie_word_embeddings=True,
        bos_token_id=tok.bos_token_id,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        **PLANS[name].size,
    )


def build(name: str, work: Path, out: Path = students.FOLDER, settings: PretrainingSettings | None = None) -> Path:
    """Pretrains one student (or goes on in ``work/<name>``) and saves it under ``out/<name>``.

    Saved in float16: half the size, and rounding is 16 times finer than bfloat16's.
    """
    import torch
    from transformers import AutoTokenizer

    plan = PLANS[name]
    settings = settings or plan.pretraining
    start = students.path(plan.start) if plan.start else None
    tok = AutoTokenizer.from_pretrained(start) if start else train_tokenizer()
    model = pretrain(config(name, tok), tok, settings, work / name, start=start)
    if model.config.model_type == "mixtral":
        model.config.output_router_logits = False  # needed in pretraining only, and slow in generation
    folder = out / name
    model.to(torch.float16).save_pretrained(folder)
    tok.save_pretrained(folder)
    (folder / "curve.jsonl").write_bytes((work / name / "curve.jsonl").read_bytes())
    recipe = RECIPES[settings.recipe]
    facts = {
        "parameters": model.num_parameters(),
        "tokens": settings.tokens,
        "start": plan.start,
        "world": "lab",
        "threads": torch.get_num_threads(),
        "mixture": recipe.mixture,
        "styles": recipe.styles,
        "step_counts": STEP_WEIGHTS,
    }
    (folder / "pretraining.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return folder
