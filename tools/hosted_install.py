"""Installs the kit on a host that has its own PyTorch (Colab, Kaggle), whose build fits its GPU and stays as it is.

The first cell of a notebook runs it there: ``python tools/hosted_install.py``. It needs nothing but Python and pip.
The kit itself is installed without its dependencies, since it pins the torch of its tests; the others follow under
constraints that name the host's versions of what must not be replaced.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

KIT = Path(__file__).parents[1]
# builds that belong together, or that the running kernel has already loaded
KEPT = ("torch", "torchvision", "torchaudio", "numpy", "ipykernel", "ipywidgets", "jupyterlab")
OLDEST_TORCH = (2, 6)


class NotHere(SystemExit):
    """The kit cannot be installed on this host; the message says why and what to do."""


def version(name: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def name_of(requirement: str) -> str:
    """The distribution's name in a requirement such as ``math-verify[antlr4_13_2]==0.9.*``."""
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()


def wanted(requirements: Iterable[str], kept: Iterable[str]) -> list[str]:
    """The requirements that pip is asked for: all but those that the host keeps."""
    return [r for r in requirements if name_of(r) not in set(kept)]


def check_torch(found: str | None) -> None:
    """Refuses a host without torch, or with one that the kit's libraries do not know.

    Raises:
        NotHere: with the way out.
    """
    if found is None:
        raise NotHere("this host has no torch: on a machine of your own, `make setup` in the kit's folder installs one")
    major, minor = map(int, re.findall(r"\d+", found)[:2])
    if (major, minor) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise NotHere(
            f"this host's torch is {found}, the kit needs {oldest} or newer: choose a newer runtime of the host"
        )


def commands(kit: Path, constraints: Path, requirements: Sequence[str]) -> list[list[str]]:
    """What pip is asked: the kit alone, then what it needs."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [
        [*pip, "--no-deps", "--editable", str(kit)],
        [*pip, "--constraint", str(constraints), *requirements],
    ]


def main() -> None:
    """Installs, and says where models will compute.

    Raises:
        NotHere: too old a Python or torch, or pip failed.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - the host's Python, not the kit's
        raise NotHere(
            f"Python {sys.version.split()[0]}: the kit needs 3.11 or newer; choose a newer runtime of the host"
        )
    import tomllib  # 3.11 has it

    torch = version("torch")
    check_torch(torch)
    kept = {name: found for name in KEPT if (found := version(name))}
    project = tomllib.loads((KIT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{name}=={found}\n" for name, found in kept.items()), encoding="utf-8")
        for command in commands(KIT, constraints, wanted(project["dependencies"], kept)):
            if subprocess.run(command, check=False).returncode:
                pins = ", ".join(f"{name} {found}" for name, found in kept.items())
                raise NotHere(f"pip could not install the kit beside {pins}; its message stands above")
    if version("torch") != torch:
        raise NotHere(f"torch was {torch} and is {version('torch')} now: restart the runtime and report this")
    device = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'CPU, no GPU')"
    found = subprocess.run([sys.executable, "-c", device], check=False, capture_output=True, text=True).stdout.strip()
    print(f"the kit is installed; torch {torch} stays, models run on: {found or 'CPU, torch does not start'}")


if __name__ == "__main__":
    main()
