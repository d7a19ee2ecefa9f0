"""Variants of a run: ``cgd run --name NAME --set …`` gives them a folder of their own, ``outputs/NAME``.

The name is the profile's field ``name``. `FILE` in the folder notes which profile and which changes it was made from, so that
``cgd status --name NAME`` needs neither again. What a variant has in common with the runs beside it is not made twice, see
`core.store.Run.make`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import profile_files
from .errors import BadInput
from .files import write_json
from .store import Run

FILE = "variant.json"


def settings(
    outputs: Path, name: str, profile: str | None, overrides: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """The profile and the changes of a variant: those it was made from, and the given ones on top.

    Args:
        outputs: folder of the runs' folders.
        name: of the variant.
        profile: as given on the command line; None = what the variant was made from.
        overrides: dotted field → value, as given.

    Raises:
        BadInput: the name is another profile's, or the variant was made from another profile.
    """
    path = outputs / name / FILE
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        noted = {"profile": profile, "overrides": {}}
    except (OSError, ValueError) as e:
        raise BadInput(f"{path}: cannot be read ({e}); remove it and give --profile and --set again") from None
    if profile and noted["profile"] != profile:
        raise BadInput(
            f"--name {name!r}: {outputs / name} was made from profile {noted['profile']!r}, not {profile!r}; use another name"
        )
    taken = name in profile_files.names() or (not path.exists() and (outputs / name / "artifacts").exists())
    if taken and name != profile_files.load(noted["profile"] or "lab").name:
        raise BadInput(f"--name {name!r}: {outputs / name} is the folder of the profile of that name; use another name")
    return noted["profile"], {**noted["overrides"], **overrides, "name": name}


def note(run: Run, profile: str, overrides: Mapping[str, Any]) -> None:
    """Keeps what a variant was made from in its folder; does nothing for a run that goes by its profile's name."""
    if "name" in overrides:
        write_json(run.folder / FILE, {"profile": profile, "overrides": dict(overrides)})


def option(run: Run) -> str:
    """How the command line names a run: ``--profile lab``, or ``--name NAME`` for a variant."""
    return f"--name {run.folder.name}" if (run.folder / FILE).exists() else f"--profile {run.profile.name}"
