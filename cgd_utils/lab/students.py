"""The lab's pretrained models, shipped as safetensors beside this file; `tools/build_lab` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "checkpoints"


class Student(NamedTuple):
    """A shipped model.

    Attributes:
        model_type: transformers' name of its architecture.
        stands_for: the model of the paper that it stands for.
    """

    model_type: str
    stands_for: str


# students of five architectures, a weaker sibling, and a learned teacher
STUDENTS = {
    "llama": Student("llama", "LLaMA3.1-8B-Instruct"),
    "llama-weak": Student("llama", "a weaker model of the LLaMA family"),
    "qwen": Student("qwen2", "Qwen2.5-Math-7B"),
    "mixtral": Student("mixtral", "Mixtral-8x7B-Instruct"),
    "olmo": Student("olmo2", "OLMo-2-7B-Instruct"),
    # S1.1-3B is a Qwen2.5 model; the lab gives it an architecture of its own so that five are exercised
    "s1": Student("qwen3", "S1.1-3B"),
    "teacher": Student("llama", "a learned teacher, such as LLaMA3.3-70B-Instruct"),
}


def path(name: str) -> Path:
    """The folder of a shipped checkpoint, of the name that profiles write as ``lab:<name>``.

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
