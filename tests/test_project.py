"""The project itself: import arrows, import time, consistent versions, notebooks as they should be committed."""

import ast
import json
import re
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement

from cgd_utils.app import chain
from cgd_utils.core import profile_files
from cgd_utils.core.provenance import PACKAGE, PROJECT

# rooms in the order of the data: a room imports from those before it, and from its own modules
ROOMS = """
core prompts methods grading lab data models engines synthesis training evaluation reporting ablations analysis paper app
__main__
""".split()


def _room(module):
    """The room of a dotted name of the package, without the package's own name."""
    return module.split(".")[0]


def _imports(path):
    """Every module of the package that a file imports, by its dotted name without the package's own."""
    inside = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = [*inside[: len(inside) - node.level + 1], *(node.module.split(".") if node.module else [])]
            yield from [".".join(start)] if start else [a.name for a in node.names if a.name in ROOMS]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    folder = PACKAGE / room
    for path in folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]:
        for other in _imports(path):
            assert ROOMS.index(_room(other)) <= ROOMS.index(room), f"{path.relative_to(PACKAGE)} imports {other}"


def test_every_module_has_its_room():
    found = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert found - {"__init__"} == set(ROOMS)


def test_import_is_light():
    code = (
        "import sys, cgd_utils.core.store, cgd_utils.engines.generation, cgd_utils.training.fine_tune; "
        "print([m for m in ('torch', 'transformers', 'pandas', 'scipy') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_versions_agree():
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lock = dict(
        line.split("==")
        for line in (PROJECT / "requirements.lock").read_text().split()
        if re.match(r"^[\w.-]+==", line)
    )
    locked = {k.lower().replace("_", "-"): v for k, v in lock.items()}
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        need = Requirement(text)
        assert need.specifier.contains(locked[need.name.lower()]), text
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    assert {"--constraint requirements.lock", "--editable .[dev]"} <= set(environment["dependencies"][-1]["pip"])
    assert not [k for k in locked if k.startswith(("nvidia", "cuda", "vllm"))]


def test_the_lock_can_be_installed_on_the_oldest_python():
    """One locked version that wants a later Python sends pip searching for many minutes, and then it fails."""
    import tomllib
    from importlib import metadata

    from packaging.specifiers import SpecifierSet

    oldest = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    lock = dict(re.findall(r"^([\w.-]+)==(\S+)$", (PROJECT / "requirements.lock").read_text(), re.MULTILINE))
    lock = {k.lower().replace("_", "-"): v for k, v in lock.items()}
    for found in metadata.distributions():
        name, wanted = found.metadata["Name"].lower().replace("_", "-"), found.metadata["Requires-Python"]
        if lock.get(name) == found.version and wanted:
            assert SpecifierSet(wanted).contains(f"{oldest}.0"), f"{name} {found.version} needs Python {wanted}"


NOTEBOOKS = sorted((PROJECT / "notebooks").rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    assert not any(c["outputs"] or c["execution_count"] for c in code)
    assert sum("parameters" in c["metadata"].get("tags", []) for c in code) == 1
    assert all(len("".join(c["source"]).splitlines()) <= 30 for c in code)
    first, last = ("".join(notebook["cells"][i]["source"]) for i in (0, -1))
    assert "**Shows**" in first and "**Needs**" in first
    assert "next" in last.lower()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_use_public_names_and_no_paths_of_a_machine(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        assert not re.search(r"(?<![\w/])(/home/|/Users/|/tmp/|/work/|/root/|[A-Z]:\\)", source), source
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(
            ast.parse("".join(line for line in source.splitlines(keepends=True) if not line.startswith(("%", "!"))))
        ):
            names = (
                [node.attr]
                if isinstance(node, ast.Attribute)
                else [a.name for a in getattr(node, "names", []) if hasattr(a, "name")]
            )
            private = [n for n in names if n.startswith("_") and not n.startswith("__")]
            assert not private, f"{path.name} uses the private name {private[0]}"


def test_the_chain_names_every_numbered_notebook():
    assert [p.stem for p in sorted((PROJECT / "notebooks").glob("*.ipynb"))] == list(chain.NAMES)


@pytest.mark.parametrize("name", profile_files.names())
def test_every_profile_is_valid(name):
    assert profile_files.load(name).name == name


def test_readme_names_the_two_commands():
    readme = (PROJECT / "README.md").read_text()
    assert "make reproduce" in readme and "make test" in readme


def test_no_two_test_files_share_a_name():
    """Without packages, pytest imports test files by their base name: two of one name break collection."""
    names = [p.name for p in (PROJECT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
