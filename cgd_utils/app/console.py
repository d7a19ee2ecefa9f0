"""How commands are declared and what they print: results as tables or JSON, errors in words, hints for typing slips."""

from __future__ import annotations

import difflib
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..core.records import Record

_STYLES = {"done": "green", "stale": "yellow", "partial": "yellow", "missing": "bright_black", "to do": "bright_black"}
# packages that only some commands need
_EXTRAS = {
    "lm_eval": "pip install 'cgd-kit[eval]'",
    "vllm": "pip install 'cgd-kit[gpu]' (Linux)",
    "ray": "pip install 'cgd-kit[scale]'",
}


@dataclass(frozen=True)
class Result:
    """What a command gives.

    Attributes:
        rows: a table's rows.
        value: what ``--json`` prints; None = the rows.
        note: for people, under the table.
        legend: column → what it is, for people.
        code: the exit code.
    """

    rows: Sequence[Record] = ()
    value: Any = None
    note: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)
    code: int = 0


def one(row: Record, note: str = "") -> Result:
    """The result of a command that tells one thing."""
    return Result([row], row, note)


def show(result: Result, as_json: bool) -> int:
    """Prints a result, as a table of rounded numbers or as JSON with every digit; returns its exit code."""
    if as_json:
        print(json.dumps(result.rows if result.value is None else result.value, ensure_ascii=False, indent=1))
    elif result.rows:
        print(_table(result), end="")
    if result.note and not as_json:
        print(result.note)
    return result.code


def _table(result: Result) -> str:
    """The table and its legend as one text, so that a reader who leaves a pipe early is told to the caller."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # a log has no width: there only long cells are broken
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = dict.fromkeys(k for r in result.rows for k in r)
    cells = {c: _cells(c, [r.get(c) for r in result.rows]) for c in columns}
    for c in columns:
        numbers = all(isinstance(r.get(c), int | float | None) and r.get(c) is not True for r in result.rows)
        table.add_column(Text(c), justify="right" if numbers else "left", overflow="fold", max_width=70)
    for i, r in enumerate(result.rows):
        style = _STYLES.get(r.get("state", ""), "red" if r.get("ok") is False else "")
        table.add_row(*(Text(cells[c][i]) for c in columns), style=style)
    with console.capture() as captured:
        console.print(table)
        for c, meaning in result.legend.items():
            if c in columns:
                console.print(Text(f"{c}: {meaning}"), style="dim")
    return captured.get()


def _cells(column: str, values: list[Any]) -> list[str]:
    """A column as people read it: probabilities (``p``, ``p_…``) in four decimals, other numbers in two or three."""
    numbers = [abs(v) for v in values if isinstance(v, float) and v == v]
    if column == "p" or column.startswith("p_"):
        return ["" if v is None or v != v else f"{v:.4f}" if v >= 1e-4 else "<0.0001" for v in values]
    largest = max(numbers, default=0)
    form = "{:,.0f}" if largest >= 1000 else "{:.2f}" if largest >= 1 else "{:.3g}"
    return ["" if v is None or v != v else form.format(v) if isinstance(v, float) else str(v) for v in values]


# libraries are imported by the command that needs them: `cgd --help` answers at once
app = typer.Typer(
    name="cgd",
    help="Critique-Guided Distillation, from problems to the paper's tables.",
    epilog="example: cgd run --profile lab --set training.epochs=2\n\n"
    "cgd COMMAND --help has an example of each. Results for scripts: --json.",
    add_completion=False,
)


def opt(help: str, *names: str, **more: Any) -> Any:
    """An option with its help; ``names`` where the parameter's own is not the option's."""
    return typer.Option(*names, help=help, **more)


Profile = Annotated[str | None, opt("a shipped profile or a YAML file (default: lab, or what NAME was made from)")]
Name = Annotated[str | None, opt("a variant: its own folder outputs/NAME, which keeps its --set for later commands")]
Outputs = Annotated[Path | None, opt("folder of the runs' folders, seen from here (default: the kit's outputs)")]
Settings = Annotated[list[str] | None, opt("change a profile field; repeatable", "--set", metavar="FIELD=VALUE")]
Out = Annotated[Path, opt("file to write")]
Workers = Annotated[int | None, opt("processes (default: one a core)")]
Device = Annotated[Literal["auto", "cpu", "cuda"], opt("where the model runs")]
Json = Annotated[bool, opt("print the result as JSON", "--json")]
RUN = {"profile": (Profile, None), "name": (Name, None), "outputs": (Outputs, None), "settings": (Settings, None)}


def open_run(
    profile: str | None, name: str | None, outputs: Path | None, settings: list[str] | None
) -> tuple[Any, str, dict[str, Any]]:
    """The run of a command's options, its profile and the changed fields; relative paths are seen from here."""
    from ..core import profile_files, store, variants

    overrides = profile_files.parse_assignments(settings or [])
    if profile and profile.endswith((".yaml", ".yml")):
        profile = str(Path(profile).resolve())  # a notebook's working directory is another
    folder = outputs and outputs.expanduser().absolute()
    if name:
        profile, overrides = variants.settings(store.outputs_folder(folder), name, profile, overrides)
    profile = profile or "lab"
    run = store.open_run(profile, folder, overrides)
    return run, profile, {field: run.profile.get(field) for field in overrides}  # as validated, for the notebooks


def command(example: str) -> Callable[[Any], Any]:
    """Makes a function a command: its docstring is the help, its `app.console.Result` is printed, as JSON with ``--json``.

    A parameter ``this`` becomes the options that name a run, which is opened for it; ``opened`` is its profile and the
    changed fields; ``as_json`` tells how to print.
    """

    def add(function: Callable[..., Result]) -> None:
        own = inspect.signature(function, eval_str=True).parameters

        def call(**given: Any) -> int:
            as_json = given["as_json"] if "as_json" in own else given.pop("as_json")
            if "this" in own:
                given["this"], *opened = open_run(*(given.pop(name) for name in RUN))
                given |= {"opened": opened} if "opened" in own else {}
            return show(function(**given), as_json)

        shared = {**(RUN if "this" in own else {}), "as_json": (Json, False)}
        options = [p.replace(kind=p.KEYWORD_ONLY) for p in own.values() if p.name not in ("this", "opened", "as_json")]
        for name, (kind, default) in shared.items():
            options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
        call.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in options}
        call.__name__, call.__doc__ = function.__name__.rstrip("_"), function.__doc__
        app.command(epilog=f"example: {example}")(call)

    return add


def fail(message: str, code: int) -> int:
    """Tells an error on standard error; returns the exit code."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text.assemble(("error:", "red"), f" {message}"), soft_wrap=True)
    return code


def explain(error: Exception) -> int:
    """Tells what a user can mend, without a traceback, and gives the exit code; raises what is the kit's fault."""
    from ..core.errors import GenerationFailed
    from ..training.checkpoints import TrainingFailed
    from ..training.side_by_side import WorkerDied
    from .chain import StageFailed

    if isinstance(error, (StageFailed, GenerationFailed, TrainingFailed, WorkerDied)):
        return fail(str(error), 1)
    if isinstance(error, BrokenPipeError):  # the reader of a pipe has seen enough: cgd audit | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRAS.get((error.name or "").partition(".")[0], "set the environment up again: make setup")
        return fail(f"{error}; {extra}", 2)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return fail(f"{error.filename}: {error.strerror.lower()}", 2)
    if hasattr(error, "errors"):  # pydantic's, without its addresses
        parts = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        return fail("; ".join(f"{where}: {what}" if where else what for where, what in parts), 2)
    if isinstance(error, (ValueError, OSError)):  # BadInput, ProfileError, graders' input errors; files
        return fail(str(error), 2)
    raise error


def hint(error: Exception, words: list[str]) -> str:
    """What was probably meant, on further lines: a setting given as an option, a profile's name, an option's place."""
    from ..core import profile_files

    context: Any = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None) or ""
    fields = profile_files.dotted_fields()
    said = []
    if option and context is not None and context.parent is None:
        said.append(f"options follow the command: cgd COMMAND {option} …")
    elif option:
        said += [f"a setting is written as {s}" for s in _as_setting(option, words, fields)]
    elif "--set" in words and words[-1] != "--set" and words[words.index("--set") + 1] in fields:
        said.append("--set takes one word: --set FIELD=VALUE")
    for i, word in enumerate(words):
        if word.partition("=")[0] in fields and "=" in word and words[i - 1] != "--set":
            said.append(f"a setting is written as --set {word}")
        if word in fields and words[i - 1] != "--set":
            value = words[i + 1] if i + 1 < len(words) and not words[i + 1].startswith("-") else "VALUE"
            said.append(f"a setting is written as --set {word}={value}")
        if word in profile_files.names() and words[i - 1] != "--profile":
            said.append(f"a profile is written as {'cgd run ' if i == 0 else ''}--profile {word}")
    path = context.command_path if context is not None else "cgd"
    return "".join(f"\n  {line}" for line in [*said, f"help: {path} --help"])


def _as_setting(option: str, words: list[str], fields: list[str]) -> list[str]:
    """``--training.epochs 2``, ``--epochs=2`` as the ``--set`` that they stand for; none if no field is near."""
    name = option.lstrip("-").replace("-", "_")
    last = {f: f.rpartition(".")[2] for f in fields}
    meant = [f for f in fields if name in (f, last[f])]
    if not meant:
        near = difflib.get_close_matches(name, fields if "." in name else sorted(set(last.values())), 1, 0.75)
        meant = [f for f in fields if near and near[0] in (f, last[f])]
    i = next((i for i, w in enumerate(words) if w.partition("=")[0] == option), 0)
    _, given, value = words[i].partition("=")
    if not given and i + 1 < len(words) and not words[i + 1].startswith("--"):
        value = words[i + 1]
    return [f"--set {f}={value or 'VALUE'}" for f in meant[:4]]
