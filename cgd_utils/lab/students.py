"""The lab's pretrained models, shipped as safetensors beside this file: students of five architectures, a weaker sibling,
the student of the second world, and a learned teacher."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .pretraining import RECIPES, STEP_WEIGHTS, PretrainingSettings, pretrain, train_tokenizer
from .tokenizer import load as load_tokenizer

FOLDER = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True)
class Student:
    """One lab student.

    Attributes:
        name: folder name under ``checkpoints/`` and the name used in profiles (``lab:<name>``).
        model_type: transformers' name of the architecture.
        stands_for: the family of the paper it stands for.
        size: fields of the config.
        pretraining: how it was pretrained.
        start: the student whose checkpoint it goes on from; None = from nothing.
    """

    name: str
    model_type: str
    stands_for: str
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


_FAMILIES = (
    Student("llama", "llama", "LLaMA3.1-8B-Instruct", _size(4), PretrainingSettings(tokens=16_000_000)),
    Student("llama-weak", "llama", "a weaker model of the LLaMA family", _size(3, 64, 2, 192)),
    Student("qwen", "qwen2", "Qwen2.5-Math-7B", _size(4), PretrainingSettings(tokens=16_000_000)),
    Student(
        "mixtral", "mixtral", "Mixtral-8x7B-Instruct",
        _size(3, mlp=192, num_local_experts=4, num_experts_per_tok=2, sliding_window=None, output_router_logits=True),
        PretrainingSettings(tokens=16_000_000),
    ),
    Student("olmo", "olmo2", "OLMo-2-7B-Instruct", _size(3)),
    # S1.1-3B is a Qwen2.5 model; the lab gives it an architecture of its own so that five are exercised
    Student("s1", "qwen3", "S1.1-3B", _size(3, head_dim=32)),
    Student(
        "llama-misconception", "llama", "LLaMA3.1-8B-Instruct with one wrong rule", _size(4),
        PretrainingSettings(tokens=2_500_000, learning_rate=1e-3, muon_learning_rate=1e-2, seed=1, recipe="misconception"),
        start="llama",
    ),
    Student(
        "teacher", "llama", "a learned teacher, such as LLaMA3.3-70B-Instruct", _size(4),
        PretrainingSettings(tokens=1_500_000, learning_rate=1e-3, muon_learning_rate=1e-2, seed=2, recipe="teacher"),
        start="llama",
    ),
)  # fmt: skip
STUDENTS: dict[str, Student] = {s.name: s for s in _FAMILIES}


def path(name: str) -> Path:
    """Folder of a shipped checkpoint.

    Raises:
        ValueError: no student of that name, or its checkpoint is not built.
    """
    if name not in STUDENTS:
        raise ValueError(f"lab student {name!r}: use one of {', '.join(STUDENTS)}")
    folder = FOLDER / name
    if not (folder / "model.safetensors").exists():
        raise ValueError(
            f"lab student {name!r}: {folder} holds no checkpoint; build it with notebooks/lab/build_lab.ipynb"
        )
    return folder


def config(student: Student, tok: Any) -> Any:
    """The transformers config of a student for the tokenizer ``tok``."""
    from transformers import AutoConfig

    return AutoConfig.for_model(
        student.model_type,
        vocab_size=len(tok),
        max_position_embeddings=tok.model_max_length,
        tie_word_embeddings=True,
        bos_token_id=tok.bos_token_id,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        **student.size,
    )


def build(name: str, work: Path, out: Path = FOLDER, settings: PretrainingSettings | None = None) -> Path:
    """Pretrains one student (or goes on in ``work/<name>``) and saves it under ``out/<name>``.

    From nothing, or from the shipped checkpoint that its ``start`` names.

    Saved in float16: half the size, and rounding is 16 times finer than bfloat16's.
    """
    import torch

    student = STUDENTS[name]
    settings = settings or student.pretraining
    start = path(student.start) if student.start else None
    tok = load_tokenizer(start) if start else train_tokenizer()
    model = pretrain(config(student, tok), tok, settings, work / name, start=start)
    if student.model_type == "mixtral":
        model.config.output_router_logits = False  # needed in pretraining only, and slow in generation
    folder = out / name
    model.to(torch.float16).save_pretrained(folder)
    tok.save_pretrained(folder)
    (folder / "curve.jsonl").write_bytes((work / name / "curve.jsonl").read_bytes())
    recipe = RECIPES[settings.recipe]
    built = {
        "parameters": model.num_parameters(), "tokens": settings.tokens, "start": student.start, "world": recipe.source,
        "threads": torch.get_num_threads(), "mixture": recipe.mixture, "styles": recipe.styles, "step_counts": STEP_WEIGHTS,
    }  # fmt: skip
    (folder / "pretraining.json").write_text(json.dumps(built, indent=1) + "\n", encoding="utf-8")
    return folder
