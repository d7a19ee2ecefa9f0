"""YAML as a user means it: a word stays a word.

PyYAML reads YAML 1.1, where ``off``, ``no``, ``on`` and ``yes`` are booleans, ``2024-05-01`` is a date, ``010`` is eight and
``1e-4`` is text. Here YAML 1.2's core schema holds (https://yaml.org/spec/1.2.2/#103-core-schema): booleans are ``true`` and
``false``, numbers are decimal, and nothing else is converted. A number remembers how it was written, since only the
field knows whether a word was meant. Keys are words, and a key that is
given twice is refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class WrittenInt(int):
    """A whole number that remembers its text."""

    text: str


class WrittenFloat(float):
    """A number that remembers its text."""

    text: str


def plain(value: Any, *, as_words: bool, mappings: bool = True) -> Any:
    """The value with plain numbers in place of written ones.

    Args:
        value: of `load`, or any other.
        as_words: take the numbers' texts.
        mappings: also inside of mappings.
    """
    if isinstance(value, WrittenInt | WrittenFloat):
        if as_words:
            return value.text
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, list):
        return [plain(v, as_words=as_words, mappings=mappings) for v in value]
    if isinstance(value, dict) and mappings:
        return {k: plain(v, as_words=as_words) for k, v in value.items()}
    return value


def load(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: it is none, or a mapping has a key twice; the message names the line.
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's table, emptied of YAML 1.1's rules

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # here, since a mapping's own keys are no longer told from merged ones (<<) when it is constructed
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            key.tag = "tag:yaml.org,2002:str"
            if key.value in lines:
                told = f"{key.value!r} is given twice, first in line {lines[key.value]}: keep one"
                raise yaml.constructor.ConstructorError(None, None, told, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node


def _written(kind: type, read: Any) -> Any:
    def construct(loader: _Loader, node: yaml.ScalarNode) -> Any:
        value = kind(read(node.value))
        value.text = node.value
        return value

    return construct


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+(_[0-9]+)*|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
     list("-+0123456789.")),
    ("merge", r"<<", ["<"]),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor(
    "tag:yaml.org,2002:int",
    _written(WrittenInt, lambda text: int(text, 16 if text.startswith("0x") else 10)),
)
_Loader.add_constructor("tag:yaml.org,2002:float", _written(WrittenFloat, _float))
