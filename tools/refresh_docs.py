"""Writes docs/profiles.md from the settings' model, docs/published.md from the published items, and the protocol's table of departures.md; tests hold them in step.

``.venv/bin/python tools/refresh_docs.py``
"""

import re
import types
import typing

import yaml
from pydantic import BaseModel

from cgd_utils.core import profile_files, section, settings
from cgd_utils.core.provenance import PACKAGE, PROJECT
from cgd_utils.paper import published_items

PUBLISHED = PROJECT / "docs" / "published.md"
_PUBLISHED_HEAD = """# Every published number, and the run that puts the kit's own beside it

<!-- made by tools/refresh_docs.py from cgd_utils/published/items.yaml: edit there -->

Critique-Guided Distillation (ICML 2026, arXiv 2505.11628). The printed figures lie in [`cgd_utils/published`](../cgd_utils/published); notebook 07
sets a run's own beside them where student, teacher, method and data agree. Nobody has run these profiles with the kit: each takes a large GPU for a day
or more. What differs from the authors' settings: [departures](departures.md).

"""
PAGE = PROJECT / "docs" / "profiles.md"
_HEAD = """# Profiles: every setting of a run

<!-- made by tools/refresh_docs.py from cgd_utils/core/settings.py: edit there -->

A profile is a YAML file. A shipped one is chosen by its name (`--profile lab`), your own by its path (`--profile mine.yaml`). It may begin
with `base: lab` and then holds only what differs. Paths in a profile are taken from the folder that the profile lies in. Single fields
are changed by their dotted names:

```bash
cgd run --profile lab --set training.epochs=2 --set models.students='{{qwen: "lab:qwen"}}'
cgd status --profile lab --set training.epochs=2   # which notebooks that would make stale, and why
```

Such a change takes the place of the run's own results. To keep both, give the variant a name:

```bash
cgd run --profile lab --name lab-long --set training.epochs=2   # its results go to outputs/lab-long
cgd status --name lab-long                                      # the name stands for the profile and its changes
```

`status`, `report`, `compare`, `export`, `train`, `check` and `push` take `--name` too. Its folder is a run's folder like any other; what it has
in common with the runs beside it (the same drafts, critiques, models) is linked into its `artifacts/`, not made again, and each folder can be
removed without harm to the others. In a notebook a name is one more change: `overrides = {{"name": "lab-long", "training.epochs": 2}}`.

In a notebook the same is `overrides = {{"training.epochs": 2}}` in the first code cell. An unknown field or a value out of range is refused
before any work starts, with the nearest known name.

## Shipped profiles

{shipped}
"""
_NOTE = {
    "TransformersEngine": "Used twice: `generation` for the students, `synthesis.teacher.generation` for the teacher. Each engine has its own fields, and a field of another engine is refused. What each engine is good for: [engines](engines.md).",
    "Sampling": "Used three times: `synthesis.draft`, `synthesis.teacher.sampling`, `evaluation.sampling`.",
}


def kind(annotation):
    """A type in a user's words."""
    origin = typing.get_origin(annotation)
    parts = typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind(parts[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys("none" if p is type(None) else kind(p) for p in parts))
    if origin is typing.Literal:
        return " / ".join(f"`{p}`" for p in parts)
    if origin is list:
        return f"list of {kind(parts[0])}"
    if origin is dict:
        return "mapping"
    named = {int: "whole number", float: "number", str: "text", bool: "true / false"}
    return named.get(annotation) or f"[{annotation.__name__}](#{annotation.__name__.lower()})"


def bounds(field):
    """The limits of a number, such as ``from 0 to 1``."""
    found = {}
    for m in [*field.metadata, *(x for p in typing.get_args(field.annotation) for x in getattr(p, "__metadata__", ()))]:
        for part in [m, *getattr(m, "metadata", [])]:
            found |= {k: getattr(part, k) for k in ("ge", "gt", "le", "lt") if getattr(part, k, None) is not None}
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(f"{words[k]} {v:g}" for k, v in found.items())


def shown(value):
    if isinstance(value, BaseModel):
        changed = value.model_dump(exclude_defaults=True)
        return f"`{changed}`" if changed else "see there"
    text = (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).replace("\n...\n", "").strip()
    )
    return f"`{text}`"


def sections(model=settings.Profile):
    """Every section's class, each once, in the order of a profile."""
    out = [model]
    for f in model.model_fields.values():
        for part in filter(section.is_section, section.parts(f.annotation)):
            out += [s for s in sections(part) if s not in out]
    return list(dict.fromkeys(out))


def page():
    """The page's text.

    Raises:
        ValueError: a field without a description.
    """
    shipped = ["| profile | is |", "| --- | --- |"]
    shipped += [f"| `{n}` | {profile_files.load(n).description} |" for n in profile_files.names()]
    parts = [_HEAD.format(shipped="\n".join(shipped))]
    for part in sections():
        title = part.__name__ if part is not settings.Profile else "The sections"
        parts += [f"## {title}\n\n{(part.__doc__ or '').strip()} {_NOTE.get(part.__name__, '')}".rstrip() + "\n"]
        parts += ["| field | is | default | what |", "| --- | --- | --- | --- |"]
        for name, f in part.model_fields.items():
            inner = kind(f.annotation)
            what = f.description or ("—" if part is settings.Profile or inner.startswith("[") else "")
            if not what:
                raise ValueError(
                    f"{part.__name__}.{name}: no description; give it one in cgd_utils/core/profile_files.py"
                )
            limits = bounds(f)
            default = "needed" if f.is_required() else shown(f.get_default(call_default_factory=True))
            parts.append(
                f"| `{name}` | {inner}{f', {limits}' if limits else ''} | {default} | {what.replace('|', '/')} |"
            )
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def published_page():
    """The text of docs/published.md."""
    parts = []
    for item in published_items.items():
        about = [f"## {item.item[0].upper()}{item.item[1:]}", ""]
        rows = len(published_items.rows_of(item))
        if item.file:
            about.append(f"Printed in `{item.file}`, {rows} row{'s' * (rows != 1)}.")
        if item.shown:
            about.append(f"The kit's numbers: {item.shown}.")
        if item.lacks:
            about.append(f"Still to do: {item.lacks}.")
        if item.obstacle:
            about.append(f"No run gives it: {item.obstacle}.")
        if item.command:
            about += ["", "```bash", f"{item.command}   # needs a GPU", "```"]
        parts.append("\n".join(about))
    return _PUBLISHED_HEAD + "\n\n".join(parts) + "\n"


DEPARTURES = PROJECT / "docs" / "departures.md"
PROTOCOL = PACKAGE / "published" / "protocol.yaml"
_MADE = re.compile(r"(<!-- protocol: [^>]*-->\n).*(<!-- protocol: end -->)", re.DOTALL)


def protocol_settings():
    """The rows of `PROTOCOL`: ``{setting, authors, fields, profile, kit, note}``."""
    defaults = {"fields": [], "profile": "paper-llama", "kit": "", "note": ""}
    return [defaults | row for row in yaml.safe_load(PROTOCOL.read_text(encoding="utf-8"))]


def protocol_table():
    """What the authors' code does beside what the profiles say, under both protocols."""
    lines = [
        "| setting | the authors' code | the kit | `protocol: authors` | to switch |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in protocol_settings():
        kit, theirs = (profile_files.load(row["profile"], {"protocol": p}) for p in ("kit", "authors"))
        values = [(f, shown(kit.get(f)), shown(theirs.get(f))) for f in row["fields"]]
        ours, under = (", ".join(v[i] for v in values) for i in (1, 2))
        switch = ", ".join(f"`{f}`" for f in row["fields"]) or "no switch"
        cells = [row["setting"], row["authors"], ours or row["kit"], "the same" if under == ours else under]
        note = f"; {row['note']}" if row["note"] else ""
        lines.append(f"| {' | '.join(cells)} | {switch}{note} |")
    return "\n".join(lines) + "\n"


def departures_page():
    """The text of docs/departures.md with its table of the protocol made anew."""
    return _MADE.sub(lambda m: m[1] + protocol_table() + m[2], DEPARTURES.read_text(encoding="utf-8"))


if __name__ == "__main__":
    DEPARTURES.write_text(departures_page(), encoding="utf-8")
    PUBLISHED.write_text(published_page(), encoding="utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
