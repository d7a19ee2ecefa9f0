"""The models that a run names: its students, how they are loaded, what identifies them."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import BadInput
from ..core.files import file_hash
from ..core.store import Run, content_key
from . import loading, number_format
from .loading import ModelRef


def model_ref(run: Run, model: str, name: str, *, adapter: str | None = None, revision: str | None = None) -> ModelRef:
    """A model of the run, to be loaded as ``profile.models`` says."""
    m = run.profile.models
    path = loading.resolve(model)
    return ModelRef(
        path=path,
        name=name,
        adapter=adapter,
        revision=revision or m.revision,
        # resolved here, since it is part of the keys of all that the model makes: 16 and 32 bits never mix
        dtype=number_format.resolve(path, m.dtype, m.device),
        device=m.device,
        trust_remote_code=m.trust_remote_code,
        quantize=run.profile.training.mode == "qlora" and adapter is not None,
        without_template=m.without_template,
    )


def model_key(path: str) -> str:
    """What identifies a model's content: the hash of a local folder's weights, or the hub id."""
    folder = Path(path)
    if not folder.is_dir():
        return path
    return content_key([(p.name, file_hash(p)) for p in sorted(folder.glob("*.safetensors"))])


def student(run: Run, family: str) -> str:
    """The model of a family.

    Raises:
        BadInput: the profile has no such family.
    """
    students = run.profile.models.students
    if family not in students:
        raise BadInput(f"family {family!r}: the profile has {', '.join(students)}")
    return students[family]


def student_ref(run: Run, family: str) -> ModelRef:
    """How to load a family's untrained student."""
    return model_ref(run, student(run, family), family)
