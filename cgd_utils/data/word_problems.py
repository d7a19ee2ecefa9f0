"""The source ``word-problems``: the kit's own word problems of one to three steps, each with a worked solution.

The templates lie beside this module in ``word_problems.yaml``. Example::

    question  Mia fills 4 boxes with figs. There are 3 figs in each. How many figs are there in all?
    solution  4 * 3 = 12\\n#### 12
    meta      {"template": "full-boxes", "k": 1, "equations": ["4 * 3 = 12"], "distractor": false, "comparison": false}

Problems are drawn by seed. Whether a question is for training, validation or test is a matter of its text alone
(`split_of`), so no two splits share one, whatever the seeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from zlib import crc32

import yaml

from ..core.errors import BadInput
from ..core.records import Record
from ..core.settings import Templates

NAME = "word-problems"
EXTRA_SHARE = 0.4  # of the problems whose template knows a sentence that does not matter
TRIES = 5_000  # draws for one problem before its template counts as used up
_WORK = re.compile(r"(\w) = (\w+) ([-+*/]) (\w+)")
_PRONOUNS = {"she": {"he": "she", "his": "her", "him": "her"}, "he": {"he": "he", "his": "his", "him": "him"}}


@dataclass(frozen=True)
class Template:
    """A kind of problem: what is told and asked, and the operations of its worked solution."""

    id: str
    tell: str
    ask: str
    work: tuple[tuple[str, ...], ...]  # (result, left, operation, right), e.g. ("t", "a", "+", "b")
    extra: str = ""
    comparison: bool = False
    unseen: bool = False

    @property
    def letters(self) -> list[str]:
        """The numbers that the text tells, as letters."""
        return sorted(set(re.findall(r"\{([a-z])\}", self.tell + self.ask)))


@lru_cache
def _read() -> tuple[Mapping[str, Sequence[str]], tuple[Template, ...]]:
    data = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    templates = []
    for row in data["templates"]:
        work = [found for text in row.pop("work") for found in _WORK.findall(text)]
        templates.append(Template(**row, work=tuple(work)))
    return data["words"], tuple(templates)


def templates(which: Templates = "all") -> list[Template]:
    """The templates that are seen in training, those held out of it, or all."""
    return [t for t in _read()[1] if which == "all" or t.unseen == (which == "unseen")]


def split_of(question: str) -> str:
    """``train``, ``validation`` or ``test``: the only split that a question may be drawn for, by its text."""
    share = crc32(question.encode()) % 10
    return "test" if share < 3 else "validation" if share < 4 else "train"


def step_counts(rows: int, steps: Sequence[int] | Mapping[int, float], seed: int) -> list[int]:
    """The step count of each problem: a list's in turn; a mapping's by shares, to the row, in random order."""
    if not isinstance(steps, Mapping):
        return [steps[i % len(steps)] for i in range(rows)]
    total = sum(steps.values())
    counts, given, due = [], 0, 0.0
    for k, share in steps.items():
        due += rows * share / total
        counts += [k] * (round(due) - given)
        given = round(due)
    Random(f"{NAME}/steps/{seed}").shuffle(counts)
    return counts


def make_problems(
    rows: int,
    steps: Sequence[int] | Mapping[int, float] = (1, 2, 3),
    seed: int = 0,
    split: str = "train",
    which: Templates = "seen",
    numbers: int = 30,
) -> list[Record]:
    """Problems of these step counts, no two with the same question.

    Args:
        rows: how many.
        steps: step counts in turn, or the share of each.
        seed: of everything drawn.
        split: train, validation or test, see `split_of`.
        which: templates seen in training, unseen, or all.
        numbers: the greatest number, told or worked out.

    Raises:
        BadInput: a step count without a template, or too few different problems in the range.
    """
    pools = {k: [t for t in templates(which) if len(t.work) == k] for k in set(steps)}
    if missing := sorted(k for k, pool in pools.items() if not pool):
        raise BadInput(f"data.steps: {NAME} has problems of 1, 2 or 3 steps, not of {', '.join(map(str, missing))}")
    rng = Random(f"{NAME}/{split}/{which}/{seed}")
    seen: set[str] = set()
    problems: list[Record] = []
    for k in step_counts(rows, steps, seed):
        while pools[k]:
            template = rng.choice(pools[k])
            question = _draw(rng, template, numbers, seen, split)
            if question is not None:
                break
            pools[k].remove(template)  # it has no further question in this range
        else:
            raise BadInput(
                f"{NAME}: only {len(problems)} different problems with numbers to {numbers} were found (data.numbers); "
                f"ask for fewer rows or greater numbers"
            )
        seen.add(question["question"])
        problems.append(
            {"id": f"{NAME}-{split}-{seed}-{len(problems):05d}", "source": NAME, "split": split, **question}
        )
    return problems


def _draw(rng: Random, template: Template, numbers: int, seen: set[str], split: str) -> Record | None:
    for _ in range(TRIES):
        made = _fill(rng, template, numbers)
        if made and made["question"] not in seen and split_of(made["question"]) == split:
            return made
    return None


def _fill(rng: Random, template: Template, numbers: int) -> Record | None:
    """One problem, or None if the numbers drawn leave the range or do not divide."""
    values = {letter: rng.randint(2, numbers) for letter in template.letters}
    equations = []
    for result, left, op, right in template.work:
        a, b = (values[x] if x in values else int(x) for x in (left, right))
        if op == "/" and a % b:
            return None
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]
        if not 2 <= value <= numbers:
            return None
        values[result] = value
        equations.append(f"{a} {op} {b} = {value}")
    words, _ = _read()
    gender = rng.choice(("she", "he"))
    slots = {name: rng.choice(choices) for name, choices in words.items() if name not in _PRONOUNS}
    slots["name"] = rng.choice(words[gender])
    slots["other"] = rng.choice([n for g in _PRONOUNS for n in words[g] if n != slots["name"]])
    for slot, word in _PRONOUNS[gender].items():
        slots |= {slot: word, slot.capitalize(): word.capitalize()}
    extra = bool(template.extra) and rng.random() < EXTRA_SHARE
    told = [template.tell, template.extra, template.ask] if extra else [template.tell, template.ask]
    values["d"] = rng.randint(2, numbers)
    answer = str(values[template.work[-1][0]])
    return {
        "question": " ".join(told).format(**slots, **values),
        "answer": answer,
        "solution": "\n".join([*equations, f"#### {answer}"]),
        "meta": {
            "template": template.id,
            "k": len(equations),
            "equations": equations,
            "distractor": extra,
            "comparison": template.comparison,
        },
    }
