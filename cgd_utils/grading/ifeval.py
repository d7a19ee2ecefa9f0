"""IFEval on recorded answers: the checks are lm-eval's own (Zhou et al. 2023, arXiv 2311.07911), called, not copied.

An answer is scored without what its model thought before it (`thoughts`), and once more as it stands.

Example rows of the two files (IFEval's own formats)::

    {"key": 1000, "prompt": "…", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    {"prompt": "…", "response": "…"}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from ..core import statistics
from ..core.errors import BadInput
from ..core.files import read_jsonl, write_jsonl
from ..core.records import Record
from . import thoughts

AS_IT_STANDS = "_with_thought"  # ending of the names of verdicts and accuracies of the whole text
HOW = ("strict", "loose", f"strict{AS_IT_STANDS}", f"loose{AS_IT_STANDS}")


def score_file(data: Path, responses: Path, out: Path, workers: int | None = None) -> Record:
    """Scores recorded answers and writes one row a prompt, as of `score`, in the order of ``data``.

    Returns:
        The summary of `summary`.

    Raises:
        BadInput: see `pairs` and `require_library`.
    """
    if out.resolve() in (data.resolve(), responses.resolve()):
        raise BadInput(f"{out}: is an input too; choose another name for the scores")
    rows = score(pairs(read_jsonl(data), read_jsonl(responses), data, responses), workers)
    write_jsonl(out, rows)
    return summary(rows)


def pairs(
    examples: Sequence[Record], responses: Sequence[Record], data: Any = "data", answers: Any = "responses"
) -> list:
    """Joins examples with responses by prompt, in the order of the examples; a missing text (null) counts as empty.

    Raises:
        BadInput: a missing field, an unknown prompt, a prompt twice or without a response.
    """
    if not examples:
        raise BadInput(f"{data}: no rows")
    _require_fields(data, "IFEval", examples, ("key", "prompt", "instruction_id_list", "kwargs"))
    _require_fields(answers, "response", responses, ("prompt", "response"))
    for i, e in enumerate(examples, 1):
        if not len(e["instruction_id_list"] or []) == len(e["kwargs"] or []) > 0:
            raise BadInput(f"{data}, row {i}: instruction_id_list and kwargs must have the same length, at least 1")
    for i, r in enumerate(responses, 1):
        if not isinstance(r["response"], str | None):
            raise BadInput(f"{answers}, row {i}: response is {type(r['response']).__name__}, not text")
    for name, rows, field in ((data, examples, "key"), (data, examples, "prompt"), (answers, responses, "prompt")):
        twice = [v for v, n in Counter(r[field] for r in rows).items() if n > 1]
        if twice:
            raise BadInput(f"{name}: {field} {_short(twice[0])} occurs more than once")
    texts = {r["prompt"]: r["response"] or "" for r in responses}
    asked = {e["prompt"]: e for e in examples}
    for what, gone, where in (
        ("has no response", asked.keys() - texts, answers),
        ("is not among the prompts", texts.keys() - asked, data),
    ):
        if gone:
            raise BadInput(f"prompt {_short(min(gone))} {what} in {where} ({len(gone)} such prompts)")
    return [(e, texts[e["prompt"]]) for e in examples]


def _require_fields(where: Any, kind: str, rows: Sequence[Record], fields: Sequence[str]) -> None:
    for i, row in enumerate(rows, 1):
        if missing := [f for f in fields if f not in row]:
            raise BadInput(f"{where}, row {i}: no field {missing[0]!r}; {kind} rows have {', '.join(fields)}")


def score(joined: Sequence[tuple[Record, str]], workers: int | None = None) -> list[Record]:
    """Strict and loose verdict of every instruction, in parallel processes.

    Returns:
        Rows ``{key, prompt, strict, loose, strict_with_thought, loose_with_thought, thought}``: a verdict an
        instruction on the answer without its thought, and on the whole text; ``thought`` is ``none``, ``finished`` or
        ``unfinished`` (then there is no answer, and nothing is followed).

    Raises:
        BadInput: an instruction id that IFEval does not have, or kwargs that its check refuses; see `require_library` too.
    """
    require_library()
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    for example, _ in joined:
        unknown = [i for i in example["instruction_id_list"] if i not in INSTRUCTION_DICT]
        if unknown:
            raise BadInput(
                f"key {example['key']}: unknown instruction {unknown[0]!r}; IFEval has {', '.join(INSTRUCTION_DICT)}"
            )
    if workers == 1 or len(joined) < 32:
        return [_verdicts(pair) for pair in joined]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(_verdicts, joined, chunksize=8))


def _verdicts(pair: tuple[Record, str]) -> Record:
    import langdetect
    from lm_eval.tasks.ifeval import utils

    example, text = pair
    langdetect.DetectorFactory.seed = 0
    parts = thoughts.split(text)
    kwargs = [k or {} for k in example["kwargs"]]
    task = utils.InputExample(example["key"], example["instruction_id_list"], example["prompt"], kwargs)
    try:
        verdicts = _checked(task, parts.answer, "") | _checked(task, text, AS_IT_STANDS)
    except (TypeError, ValueError, KeyError) as e:
        raise BadInput(f"key {example['key']}: its check refuses the kwargs {example['kwargs']}: {e}") from None
    kind = "none" if parts.answer == text else "finished" if parts.finished else "unfinished"
    return {"key": example["key"], "prompt": example["prompt"], **verdicts, "thought": kind}


def _checked(task: Any, text: str, ending: str) -> dict[str, list[bool]]:
    """Strict and loose verdicts on one text, under names with that ending."""
    from lm_eval.tasks.ifeval import instructions_registry, utils

    instructions_registry.INSTRUCTION_DICT["keywords:letter_frequency"] = _sign_counter()
    strict = utils.test_instruction_following_strict(task, text).follow_instruction_list
    loose = utils.test_instruction_following_loose(task, text).follow_instruction_list
    return {f"strict{ending}": list(map(bool, strict)), f"loose{ending}": list(map(bool, loose))}


@cache
def _sign_counter() -> type:
    """lm-eval's check of a letter's frequency, that counts a sign where one is asked for.

    Its own draws a letter by chance in its place: the prompt that wants six exclamation marks changes its verdict from
    run to run.
    """
    from lm_eval.tasks.ifeval.instructions import LetterFrequencyChecker

    class SignCounter(LetterFrequencyChecker):  # type: ignore[misc]
        _letter: str

        def build_description(self, *, letter: str | None = None, **more: Any) -> str:
            description: str = super().build_description(letter=letter, **more)
            self._letter = (letter or "").strip().lower() or self._letter
            return description

    return SignCounter


def summary(rows: Sequence[Record], level: float = 0.95) -> Record:
    """The four accuracies of IFEval, in percent with n and Wilson intervals, without thoughts and with them.

    ``{prompt_strict, instruction_strict, prompt_loose, instruction_loose}`` and the same names with the ending
    ``_with_thought``, each ``{value, ci_low, ci_high, n}``; ``thoughts``: how many responses have none, a finished or
    an unfinished one. Instructions of one prompt are not independent, so the intervals over instructions are a little
    too narrow.
    """
    out: Record = {}
    for how in HOW:
        units = {"prompt": [all(r[how]) for r in rows], "instruction": [v for r in rows for v in r[how]]}
        for unit, right in units.items():
            share = statistics.wilson(sum(right), len(right), level)
            ends = {"value": share.estimate, "ci_low": share.low, "ci_high": share.high}
            out[f"{unit}_{how}"] = {name: 100 * end for name, end in ends.items()} | {"n": len(right)}
    kinds = Counter(r["thought"] for r in rows)
    return {**out, "thoughts": {kind: kinds[kind] for kind in ("none", "finished", "unfinished")}}


def require_library() -> None:
    """Checks that lm-eval and NLTK's sentence splitter are there; nothing is fetched.

    Raises:
        BadInput: one is missing, with the command that gets it.
    """
    try:
        import nltk

        nltk.data.find("tokenizers/punkt_tab/english")  # before lm-eval's module, which would fetch it
        import lm_eval.tasks.ifeval.utils  # noqa: F401
    except ImportError as e:
        raise BadInput(f"IFEval needs {e.name}: pip install 'cgd-kit[eval]'") from None
    except LookupError:
        raise BadInput(
            "IFEval needs NLTK's punkt_tab data, which is not here: run `python -m nltk.downloader punkt_tab`, or set "
            "NLTK_DATA to a folder that holds tokenizers/punkt_tab"
        ) from None


def _short(text: Any) -> str:
    text = repr(text)
    return text if len(text) <= 60 else text[:57] + "…'"
