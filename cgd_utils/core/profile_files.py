"""Profiles in files: found, merged over their base, overridden field by field, their faults told in words."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from . import settings_read, yaml_words
from .engine_settings import ENGINES
from .errors import ProfileError
from .section import is_section, parts
from .settings import RATE_FORMS, Benchmark, Profile, nearest

AUTHORS = "authors"  # a protocol; the section of a profile with what it changes for that profile's student


def folder() -> Path:
    """Where the shipped profiles lie: ``notebooks/profiles`` of the checkout."""
    return Path(__file__).parents[2] / "notebooks" / "profiles"


def names() -> list[str]:
    """Names of the shipped profiles."""
    return sorted(p.stem for p in folder().glob("*.yaml"))


def find(name: str | os.PathLike[str]) -> Path:
    """The file of a profile: a shipped name, or a path to a YAML file.

    Raises:
        ProfileError: there is none; the nearest name is suggested.
    """
    shipped = folder() / f"{name}.yaml"
    if shipped.exists():
        return shipped
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise ProfileError(f"profile file {path}: no such file")
    raise ProfileError(
        f"unknown profile {str(name)!r}{nearest(str(name), names())}; known: {', '.join(names())}, or a .yaml file"
    )


def load(name: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Profile:
    """Loads and validates a profile.

    Args:
        name: a shipped profile's name or a YAML file.
        overrides: dotted field -> value, applied last.

    Raises:
        ProfileError: unknown profile or field, wrong type, value out of range; one line a fault.
    """
    fields, settings = dict(overrides or {}), _read(find(name), ())
    if (protocol := fields.get("protocol", settings.get("protocol"))) != settings.get("protocol"):
        settings = _under(settings, protocol)
    settings.pop(AUTHORS, None)
    return _validated(settings, fields, settings.get("name", name))


def _under(settings: dict[str, Any], protocol: Any) -> dict[str, Any]:
    """Settings with a protocol's laid over them: those of its file, then those that the profile has for it.

    Raises:
        ProfileError: the settings are under another protocol already.
    """
    if settings.get("protocol") == AUTHORS:
        raise ProfileError(f"protocol = {_short(protocol)}: the profile's file says {AUTHORS!r}; take it out there")
    if protocol != AUTHORS:  # the kit's own changes nothing; any other word is refused as a field's value
        return {**settings, "protocol": protocol}
    common = yaml_words.load((folder() / "protocols" / f"{AUTHORS}.yaml").read_text(encoding="utf-8"))
    own = settings.get(AUTHORS) or {}
    return {**_merge(_merge(settings, common), own), "protocol": AUTHORS}


def changed(profile: Profile, fields: Mapping[str, Any]) -> Profile:
    """A copy of a profile with dotted fields changed, validated.

    Raises:
        ProfileError: as `load`.
    """
    with settings_read.unwatched():
        settings = profile.model_dump(mode="json")
    return _validated(settings, fields, profile.name)


def _validated(settings: dict[str, Any], fields: Mapping[str, Any], name: Any) -> Profile:
    # whole sections first, then engines, so that the order in which fields are given does not matter
    for dotted, value in sorted(fields.items(), key=lambda f: (f[0].count("."), not f[0].endswith(".engine"))):
        _set(settings, dotted, value)
    try:
        return Profile.model_validate(settings)
    except ValidationError as e:
        raise ProfileError("\n".join(_explain(name, e))) from None


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    try:
        own = yaml_words.load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as e:
        raise ProfileError(f"profile file {path}: not UTF-8 text (byte {e.start}); save it as UTF-8") from None
    except yaml.YAMLError as e:
        raise ProfileError(f"profile file {path} is not valid YAML: {' '.join(str(e).split())}") from None
    if not isinstance(own, dict):
        raise ProfileError(f"profile file {path}: expected 'field: value' lines, found {_short(own)}")
    if path.resolve() in seen:
        raise ProfileError(f"profile file {path} is its own base")
    base = own.pop("base", None)
    own = {field: value for field, value in own.items() if value is not None}  # a section without a line says nothing
    own.setdefault("name", path.stem)
    _anchor(own, path.parent)
    if base is None:
        return _merge(_under(own, own["protocol"]), own) if own.get("protocol") == AUTHORS else own
    if isinstance(base, dict | list):
        raise ProfileError(f"profile file {path}: base = {_short(base)}: name one profile or YAML file")
    beside = path.parent / str(base)
    own_file = beside.is_file() and beside.suffix in (".yaml", ".yml")
    merged = _read(beside if own_file else find(str(base)), (*seen, path.resolve()))
    merged.pop("description", None)
    if own.get("protocol", merged.get("protocol")) != merged.get("protocol"):
        merged = _under(merged, own["protocol"])
    return _merge(merged, own)


def _anchor(settings: Mapping[str, Any], folder: Path) -> None:
    """Makes relative paths absolute, in place: notebooks run elsewhere than where the profile lies."""

    def absolute(value: Any) -> Any:
        looks_it = isinstance(value, str) and (value.startswith(("./", "../")) or (folder / value).is_file())
        return str((folder / value).resolve()) if looks_it else value

    data, models, evaluation = (settings.get(s) or {} for s in ("data", "models", "evaluation"))
    if isinstance(data, dict) and "source" in data:
        data["source"] = absolute(data["source"])
    if isinstance(models, dict) and str(models.get("layout", "")).endswith((".yaml", ".yml")):
        models["layout"] = absolute(models["layout"])
    for family in ("students", "weaker"):
        named = models.get(family) if isinstance(models, dict) else None
        if isinstance(named, dict):
            named.update({k: absolute(v) for k, v in named.items()})
    if isinstance(evaluation, dict):
        if "benchmark_dir" in evaluation:
            evaluation["benchmark_dir"] = absolute(evaluation["benchmark_dir"])
        for b in evaluation.get("benchmarks") or []:
            if isinstance(b, dict) and "path" in b:
                b["path"] = absolute(b["path"])


# fields whose value is one mapping, replaced as a whole
_WHOLE = {"fields", "students", "weaker", "extra_body"}


def _of_engine(section: Mapping[str, Any], engine: Any) -> dict[str, Any]:
    """An inherited section as another engine takes it over: without the fields that this engine lacks."""
    kind = ENGINES.get(engine) if isinstance(engine, str) else None
    return {name: value for name, value in section.items() if kind is None or name in kind.model_fields}


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    out = _of_engine(base, own["engine"]) if "engine" in own else dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict) and key not in _WHOLE
        out[key] = _merge(out[key], value) if both else value
    return out


def _set(settings: dict[str, Any], dotted: str, value: Any) -> None:
    known = dotted_fields()
    if dotted not in known and not any(dotted.startswith(f"{k}.") and k.split(".")[-1] in _WHOLE for k in known):
        raise ProfileError(f"unknown field {dotted!r}{nearest(dotted, known)}")
    *parents, last = dotted.split(".")
    section = settings
    for part in parents:
        # an optional section that is not set stands for the run's section of its name, and so begins as a copy of it
        child = section.get(part) or (settings.get(part) if section is not settings else None)
        section[part] = dict(child) if isinstance(child, dict) else {}
        section = section[part]
    if last == "engine":
        for gone in section.keys() - _of_engine(section, value):
            del section[gone]
    section[last] = value


def parse_assignments(pairs: list[str]) -> dict[str, Any]:
    """``["training.epochs=2", …]`` as a mapping; values are read as YAML.

    Raises:
        ProfileError: a pair without '='.
    """
    out = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name.strip():
            raise ProfileError(f"setting {pair!r}: write it as field=value, for example training.epochs=2")
        try:
            out[name.strip()] = yaml_words.load(value)
        except yaml.YAMLError as e:
            told = " ".join(str(e).split())
            raise ProfileError(
                f"setting {pair!r}: {value!r} is not valid YAML ({told}); put quotes around it"
            ) from None
        if name.strip() in ("data.source", "evaluation.benchmark_dir", "models.layout") and Path(value).exists():
            out[name.strip()] = str(Path(value).resolve())  # a notebook's working directory is another
    return out


def dotted_fields(model: type[BaseModel] = Profile, prefix: str = "") -> list[str]:
    """Every field of a profile by its dotted name."""
    out = []
    for name, f in model.model_fields.items():
        out.append(prefix + name)
        for part in parts(f.annotation):  # of an optional section, of every engine; a benchmark may be a plain name
            if is_section(part) and part is not Benchmark:
                out += dotted_fields(part, f"{prefix}{name}.")
    return list(dict.fromkeys(out))


def held(settings: Mapping[str, Any]) -> int:
    """How many single settings a whole profile holds, as a manifest keeps it; a mapping such as ``models.students`` is one."""
    return sum(held(v) if isinstance(v, Mapping) and k not in _WHOLE else 1 for k, v in settings.items())


def _short(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:100]


def _explain(name: Any, error: ValidationError) -> list[str]:
    out = []
    for e in error.errors():
        # pydantic names the kind of engine after its section, and the form of a learning rate after its field
        loc = [
            str(x)
            for x, before in zip(e["loc"], ("", *e["loc"]), strict=False)
            if not (before == "generation" and x in ENGINES) and not ("learning_rate" in e["loc"] and x in RATE_FORMS)
        ]
        where = ".".join(loc)
        if e["type"] == "extra_forbidden":
            engines = [kind for kind, fields in ENGINES.items() if loc[-1] in fields.model_fields]
            if engines and len(loc) < len(e["loc"]):
                section = ".".join(loc[:-1])
                out.append(
                    f"profile {str(name)!r}: {where} = {_short(e['input'])} is for {section}.engine = "
                    f"{' or '.join(map(repr, engines))}, and it is {e['loc'][-2]!r}: leave it out or set {section}.engine"
                )
                continue
            out.append(f"profile {str(name)!r}: unknown field {where!r}{nearest(where, dotted_fields())}")
            continue
        message = e["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        value = json.dumps(e["input"], default=str, ensure_ascii=False)
        shown = f" = {value}" if where and len(value) < 100 else ""
        out.append(f"profile {str(name)!r}: {where}{shown}{' – ' if where else ''}{message}")
    return out
