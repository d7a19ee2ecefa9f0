"""Executed notebooks as pages: notebook 07 without its code is the report of a run, all of them are copies to be read.

nbconvert makes the pages with the template beside this module: each is one file that needs no network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import files
from ..core.errors import BadInput
from ..core.source_code import for_host
from ..core.store import Run
from . import chain

if TYPE_CHECKING:
    from nbformat import NotebookNode

TEMPLATE = Path(__file__).with_name("report.html.j2")


def write(run: Run) -> Path:
    """Writes ``report.html``, what notebook 07 shows, into the run's folder; returns its path.

    Raises:
        BadInput: notebook 07 was not executed to its end.
    """
    import nbformat
    import yaml

    name = chain.NAMES[-1]
    about = chain.manifest(run, name)
    executed = chain.executed_copy(run, name)
    if about is None or not executed.exists():
        raise BadInput(f"{executed}: not executed yet, and the report is made of it; run it: {run.command()}")
    kept = [m for m in (chain.manifest(run, stage) for stage in chain.NAMES) if m is not None]
    times = {m["stage"]: m["wall_seconds"] for m in kept}
    provenance = {"command": run.command(), "wall_seconds": times, "environment": about["environment"]}
    settings = yaml.safe_dump(about["profile"], sort_keys=False, allow_unicode=True)
    notebook = nbformat.read(executed, as_version=4)
    path = run.folder / "report.html"
    texts = [settings, json.dumps(provenance, indent=1)]
    files.write_text(path, page(notebook, run.profile.name, with_code=False, provenance=texts))
    return path


def page(notebook: NotebookNode, title: str, with_code: bool, provenance: Sequence[str] = ()) -> str:
    """An executed notebook as HTML.

    Args:
        notebook: as nbformat reads it; its pictures get descriptions.
        title: of the page.
        with_code: whether its code is shown.
        provenance: texts that the page ends with.
    """
    from nbconvert import HTMLExporter

    notebook.cells = [cell for cell in notebook.cells if not for_host(cell)]
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    sections = [name.strip() for text in texts for name in re.findall(r"^## (.+)", text, re.MULTILINE)]
    if provenance:
        sections.append("Settings and provenance")
    for cell in notebook.cells:
        _describe_pictures(cell.get("outputs", []))
    exporter = HTMLExporter(
        template_file=str(TEMPLATE), exclude_input=not with_code, exclude_input_prompt=True, exclude_output_prompt=True
    )
    about = {"title": title, "sections": sections, "provenance": provenance}
    html, _ = exporter.from_notebook_node(notebook, resources=about)
    return str(html)


def _describe_pictures(outputs: Sequence[Any]) -> None:
    """Gives the pictures of a cell the captions that it printed, in their order, for those who cannot see them."""
    captions = [line for o in outputs if o.get("name") == "stdout" for line in o.text.splitlines()]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    for picture, caption in zip(pictures, captions, strict=False):
        picture.metadata.setdefault("image/png", {})["alt"] = caption
