"""Commands that exchange with others: records that they published, rows for their trainers, models on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import Out, Result, command, one, opt


@command("cgd push ADAPTER_FOLDER me/qwen-cgd --profile gpu")
def push(
    this: Any,
    folder: Path,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    public: Annotated[bool, opt("a new repository is public (default: private)", "--public")] = False,
) -> Result:
    """Upload a model, an adapter or an export's rows to the hub, with its card; needs a login of yours."""
    from ..models import adapters
    from ..training import export

    if export.is_export(folder):
        return one(export.push(folder, repository, private=not public))
    return one(adapters.push(folder, repository, private=not public, run=this))


@command("cgd gguf merged --out student.gguf")
def gguf(
    model: Annotated[Path, typer.Argument(metavar="MERGED_FOLDER")],
    out: Out,
    form: Annotated[str, opt("of the weights: f32, f16, bf16, q8_0", "--type")] = "q8_0",
) -> Result:
    """A merged model as a GGUF file, through llama.cpp's converter (CGD_LLAMA_CPP names its folder)."""
    from ..models import sharing

    return one(sharing.gguf(model, out, form))


@command("cgd import critiques.json --form cft --answers answers.jsonl --out records.jsonl")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE")],
    out: Annotated[
        Path, opt("rows {id, question, answer, draft, critique, refined, …}, a .jsonl file for data.source")
    ],
    form: Annotated[
        str, opt("columns (one a text), or cft (question and solution shown, the critique learnt)")
    ] = "columns",
    pattern: Annotated[
        str | None, opt("regular expression over what the model was shown, groups named question, draft, critique")
    ] = None,
    learnt: Annotated[
        Literal["critique", "refined"] | None, opt("what the model's reply is (default: the form's)")
    ] = None,
    answers: Annotated[Path | None, opt("rows {question, answer}: right answers, for drafts of unknown truth")] = None,
) -> Result:
    """Drafts, critiques and refined answers that others published, as a file that a profile learns from."""
    from ..synthesis import imported

    legend = {"no_answer": "left out: right answer unknown", "unmatched": "left out: the text does not come apart"}
    return Result([imported.import_file(source, out, form, pattern, learnt, answers)], legend=legend)


@command("cgd export --profile lab --method cgd --format trl --out cgd-rows")
def export(
    this: Any,
    method: Annotated[str, opt("such as cgd or 'cgd_noisy(0.3)'")],
    form: Annotated[Literal["trl", "llama-factory"], opt("whose rows", "--format")],
    out: Annotated[Path, opt("folder; an earlier export there is replaced")],
    family: Annotated[str | None, opt("whose drafts (default: the profile's first family)")] = None,
    seed: Annotated[int | None, opt("only the rows that this training seed draws (default: all)")] = None,
) -> Result:
    """The training rows of a method for TRL or LLaMA-Factory, with a dataset card; makes no drafts or critiques."""
    from ..training import export

    written = export.write(this, method, form, out, family, seed)
    return Result([{**written, "files": ", ".join(written["files"])}], written)
