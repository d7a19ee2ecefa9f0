"""Badges and the install cell at the top of the notebooks that can be opened on Colab, Kaggle or Binder.

The repository's public address stands in ``pyproject.toml`` (``[project.urls] Repository``); after a change:
``python tools/hosted_notebooks.py`` writes it into the notebooks.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

KIT = Path(__file__).parents[1]
BRANCH = "main"
TAG = "hosted"  # such cells are no part of a notebook's results, nor of its page
# notebook → the one that its badges open
NOTEBOOKS = {
    **{
        f"notebooks/{name}.ipynb": f"notebooks/{name}.ipynb"
        for name in ("00_setup", "01_problems_and_drafts", "02_critiques_and_refinements", "03_train", "04_evaluate")
    },
    **dict.fromkeys(
        [
            "notebooks/course/what_do_critiques_teach.ipynb",
            "notebooks/course/what_do_critiques_teach_solutions.ipynb",  # the student's version is made of it
        ],
        "notebooks/course/what_do_critiques_teach.ipynb",
    ),
}

_BADGES = """\
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{name}/blob/{branch}/{path})
[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://kaggle.com/kernels/welcome?src={address}/blob/{branch}/{path})
[![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{name}/{branch}?labpath={path})

On Colab or Kaggle (there with *Internet* on), the next cell fetches the kit and installs it beside the host's own PyTorch, in some minutes.
Models run on the GPU where there is one. A session starts empty, so what the notebooks before this one make is made anew in it. On Binder, and
where the kit is installed, the cell does nothing."""

_CELL = """\
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

hosted = {{"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"}} & set(os.environ)
if hosted and importlib.util.find_spec("cgd_utils") is None:
    kit = Path("cgd-kit").absolute()
    if not kit.exists():
        address = "{address}"
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", address, str(kit)], check=True)
    subprocess.run([sys.executable, str(kit / "tools" / "hosted_install.py")], check=True)
    sys.path.insert(0, str(kit))  # a running kernel does not look for new packages"""


def address() -> str:
    """The repository's public address."""
    project = tomllib.loads((KIT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def cells(path: str) -> list[dict[str, Any]]:
    """The badge cell and the install cell of a notebook at a path of the repository."""
    public = address()
    badges = _BADGES.format(name=public.removeprefix("https://github.com/"), branch=BRANCH, path=path, address=public)
    metadata = {"tags": [TAG]}
    code = _CELL.format(address=public).splitlines(keepends=True)
    return [
        {"cell_type": "markdown", "id": "hosted-00", "metadata": metadata, "source": badges.splitlines(keepends=True)},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "hosted-01",
            "metadata": metadata,
            "outputs": [],
            "source": code,
        },
    ]


def written(path: str) -> str:
    """A notebook's text with its cells for hosts, after its first cell."""
    notebook = json.loads((KIT / path).read_text(encoding="utf-8"))
    first, *rest = (c for c in notebook["cells"] if TAG not in c["metadata"].get("tags", ()))
    notebook["cells"] = [first, *cells(NOTEBOOKS[path]), *rest]
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in NOTEBOOKS:
        (KIT / name).write_text(written(name), encoding="utf-8")
