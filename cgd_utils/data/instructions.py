"""The benchmark ``instructions``: short tasks with demands that IFEval's own checks can tell, so that keeping and losing them can be
measured without a download.

The prompts are the kit's (``instructions.yaml``), the kinds of demands and their checks are IFEval's (Zhou et al. 2023, arXiv
2311.07911; `grading.ifeval`). They are shorter and simpler than IFEval's, so figures of the two must not be compared. Example row::

    {"id": "instructions-00003", "source": "instructions", "split": "test", "question": "Say how to make tea. Do not use any commas.",
     "answer": "", "solution": "", "meta": {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}}
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from ..core.records import Record

NAME = "instructions"
ALONE = 9  # prompts of each kind with one demand
TOGETHER = 4  # prompts of each pair


@cache
def _read() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("instructions.yaml").read_text(encoding="utf-8"))
    return found


def problems() -> list[Record]:
    """All prompts, always the same; any first part of them holds the kinds in equal shares, pairs last."""
    pairs = [pair for _ in range(TOGETHER) for pair in _read()["pairs"]]
    wanted = [[kind] for _ in range(ALONE) for kind in _read()["kinds"]] + pairs
    rng = Random(NAME)
    seen: set[str] = set()
    out: list[Record] = []
    for kinds in wanted:
        row = next(r for r in (_prompt(rng, kinds) for _ in range(1000)) if r["question"] not in seen)
        seen.add(row["question"])
        out.append({"id": f"{NAME}-{len(out):05d}", "source": NAME, "split": "test", **row})
    return out


def _prompt(rng: Random, kinds: list[str]) -> Record:
    """One prompt with a demand of each kind."""
    asked = _read()["kinds"][kinds[0]].get("about", "tasks")
    task = rng.choice(_read()[asked])
    said, arguments = [task], []
    for kind in kinds:
        about = _read()["kinds"][kind]
        choices = {name: values for name, values in about.items() if name not in ("say", "about")}
        chosen = {name: _filled(rng.choice(values), task) for name, values in choices.items()}
        shown = {name: _listed(value) for name, value in chosen.items()}
        shown["shown"] = _read()["languages"].get(chosen.get("language"), "")
        said.append(rng.choice(about["say"]).format(**shown))
        arguments.append(chosen)
    meta = {"instruction_id_list": kinds, "kwargs": arguments}
    return {"question": " ".join(said), "answer": "", "solution": "", "meta": meta}


def _filled(value: Any, task: str) -> Any:
    return value.replace("{task}", task) if isinstance(value, str) else value


def _listed(value: Any) -> str:
    return " and ".join(f"'{word}'" for word in value) if isinstance(value, list) else str(value)
