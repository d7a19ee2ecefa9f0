"""The methods: what goes in, what is learnt. A new method is a new row of `METHODS`.

A training row: ``{id, method, prompt: [messages], completion: [messages]}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from .core.errors import BadInput
from .core.records import Record
from .prompts import Layout, Message

MASK = "#"


@dataclass(frozen=True)
class Method:
    """A method: its training input and its training target.

    Attributes:
        shows: which parts the input holds: 'x', "x, y'" or "x, y', c".
        target: the record's field that is learnt.
        critique: gives the critique shown (record, all records, layout, random stream, parameter); None = the record's.
        summary: one line for tables.
        parameter: name and default of the method's parameter, if it has one.
        label: what tables and pictures print; '' = the method's name.
        colour: in pictures.
        mixes_plain: whether its parameter is the share of rows that show the question alone.
    """

    shows: str
    target: str
    summary: str
    critique: Callable[[Record, Sequence[Record], Layout, Random, float], str] | None = None
    parameter: tuple[str, float] | None = None
    label: str = ""
    colour: str = "#333333"
    mixes_plain: bool = False


def _irrelevant(record: Record, records: Sequence[Record], _: Layout, rng: Random, __: float) -> str:
    """Another problem's critique; the record's own if there is no other problem."""
    if len(records) <= 64:  # few enough to list, and among few a draw would often hit the record itself
        others = [r for r in records if r["id"] != record["id"]]
        return rng.choice(others or [record])["critique"]
    while (other := records[rng.randrange(len(records))])["id"] == record["id"]:
        pass
    return other["critique"]


def _random(record: Record, records: Sequence[Record], _: Layout, rng: Random, __: float) -> str:
    """As many words as the critique has, drawn from all critiques: its length and vocabulary without its sense."""
    pool = [w for r in rng.sample(list(records), min(16, len(records))) for w in r["critique"].split()]
    return " ".join(rng.choices(pool, k=len(record["critique"].split())))


def _noisy(record: Record, _: Sequence[Record], __: Layout, rng: Random, p: float) -> str:
    return falsify(record["critique"], rng) if rng.random() < p else record["critique"]


def _biased(record: Record, *_: Any) -> str:
    """Always blames the first step and always concludes wrong: one systematic bias."""
    first = re.sub(r"Step \d+", "Step 1", record["critique"])
    return re.sub(r"(Conclusion:\s*)(right|wrong)", r"\1wrong", first)


def _cgd(label: str, colour: str, summary: str, **more: Any) -> Method:
    """CGD itself or with one thing changed: the refined answer is learnt from question, draft and critique."""
    return Method("x, y', c", "refined", summary, label=label, colour=colour, **more)


# colours: Okabe-Ito for the main methods, Tol's muted set for the ablations; colour-blind safe
METHODS: dict[str, Method] = {
    "sft": Method("x", "solution", "the data set's own answer", label="SFT", colour="#E69F00"),
    "distilled_sft": Method("x", "direct", "the teacher's direct answer", label="distilled SFT", colour="#56B4E9"),
    "refined_sft": Method(
        "x", "refined", "the refined answer, from the question alone (control)", label="refined SFT", colour="#009E73"
    ),
    "cft": Method("x, y'", "critique", "critique fine-tuning (arXiv 2501.17703)", label="CFT", colour="#CC79A7"),
    "cgd": _cgd("CGD", "#D55E00", "critique-guided distillation"),
    "cgd_no_critique": Method(
        "x, y'", "refined", "CGD without the critique", label="CGD, no critique", colour="#332288"
    ),
    "cgd_irrelevant": _cgd("CGD, irrelevant", "#999933", "CGD with another problem's critique", critique=_irrelevant),
    "cgd_generic": _cgd(
        "CGD, generic",
        "#44AA99",
        "CGD with one fixed generic critique",
        critique=lambda record, records, layout, *_: layout.generic_critique,
    ),
    "cgd_masked": _cgd(
        "CGD, masked",
        "#882255",
        "CGD with the final answer masked in the critique",
        critique=lambda record, *_: mask_answer(record["critique"], record["answer"]),
    ),
    "cgd_random": _cgd("CGD, random words", "#DDCC77", "CGD with random words of critiques", critique=_random),
    "cgd_biased": _cgd("CGD, biased", "#AA4499", "CGD with critiques that always blame step 1", critique=_biased),
    "cgd_joint": Method(
        "x, y'",
        "critique_and_refined",
        "the critique and the refined answer are both learnt",
        label="CGD, loss on c and ŷ",
        colour="#117733",
    ),
    "cgd_noisy": _cgd(
        "CGD, noisy",
        "#6699CC",
        "CGD with critiques made wrong with probability p",
        critique=_noisy,
        parameter=("p", 0.5),
    ),
    "cgd_replay": _cgd(
        "CGD, replay", "#661100", "CGD with a share r of plain x → ŷ rows", parameter=("r", 0.2), mixes_plain=True
    ),
}
BASE_COLOUR = "#999999"
# the untrained student as it is, told how to answer, and by the majority of several answers: see `evaluation.prompted`
TOLD, VOTED = "base, told to write steps", "self-consistency of the base"
UNTRAINED = {"base": BASE_COLOUR, TOLD: "#444444", VOTED: "#c4a484"}
_NAME = re.compile(r"(?P<method>\w+)(?:\((?P<value>[^)]*)\))?(?: \[(?P<change>.*)\])?")


def display_name(name: str) -> str:
    """A method's or cell's name as tables and pictures print it: ``cgd_noisy(0.5)`` → CGD, noisy (0.5); ``cgd [LoRA r=4]`` →
    CGD [LoRA r=4]; a name that is neither stays as it is.
    """
    found = _NAME.fullmatch(name)
    if not found or found["method"] not in METHODS:
        return name
    label = METHODS[found["method"]].label or found["method"]
    value = f" ({found['value']})" if found["value"] is not None else ""
    change = f" [{found['change']}]" if found["change"] is not None else ""
    return label + value + change


def colour(name: str) -> str:
    """The colour of a method or cell in pictures, by its method."""
    found = _NAME.fullmatch(name)
    if found and found["method"] in METHODS:
        return METHODS[found["method"]].colour
    return UNTRAINED.get(name, Method.colour)


def parse(name: str) -> tuple[Method, float]:
    """A method and its parameter from ``cgd`` or ``cgd_noisy(0.3)``.

    Raises:
        BadInput: unknown method, or a parameter that is not a number in [0, 1].
    """
    base, mark, rest = name.partition("(")
    if base not in METHODS:
        raise BadInput(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    method = METHODS[base]
    value = method.parameter[1] if method.parameter else 0.0
    if mark:
        try:
            value = float(rest.rstrip(")"))
        except ValueError:
            value = -1.0
        if not method.parameter or not 0 <= value <= 1:
            raise BadInput(f"method {name!r}: write {base}" + ("(number from 0 to 1)" if method.parameter else ""))
    return method, value


def rows(name: str, records: Sequence[Record], layout: Layout, seed: int = 0) -> list[Record]:
    """The training rows of a method, one a distillation record and in its order.

    Args:
        name: a method, for example ``cgd`` or ``cgd_noisy(0.3)``.
        records: distillation records.
        layout: the prompt layout.
        seed: of swapped, falsified and replayed rows.

    Raises:
        BadInput: unknown method, or a record without the target (named).
    """
    method, value = parse(name)
    layout = layout.in_training
    out = []
    for r in records:
        rng = Random(f"{name}/{seed}/{r['id']}")
        if method.target == "critique_and_refined" and r.get("critique") and r.get("refined"):
            r = {**r, "critique_and_refined": f"{r['critique']}\n\n{r['refined']}"}
        if not r.get(method.target):
            raise BadInput(f"method {name}: record {r['id']!r} has no {method.target!r}; rerun the synthesis")
        shows = method.shows
        if method.mixes_plain and rng.random() < value:
            shows = "x"
        prompt = _prompt(shows, method, r, records, layout, rng, value)
        completion = [{"role": "assistant", "content": r[method.target]}]
        out.append({"id": r["id"], "method": name, "prompt": prompt, "completion": completion})
    return out


def _prompt(
    shows: str, method: Method, r: Record, records: Sequence[Record], layout: Layout, rng: Random, value: float
) -> list[Message]:
    if shows == "x":
        return layout.ask(r["question"])
    if method.target == "critique":
        return layout.ask_critique(r["question"], r["draft"])
    if shows == "x, y'":
        return layout.ask_refined(r["question"], r["draft"])
    critique = method.critique(r, records, layout, rng, value) if method.critique else r["critique"]
    return layout.ask_refined(r["question"], r["draft"], critique)


def mask_answer(critique: str, answer: str) -> str:
    """The critique with every occurrence of the final answer, as a number or word of its own, replaced by ``#``."""
    if not answer:
        return critique
    return re.sub(rf"(?<![\w.]){re.escape(answer)}(?![\w]|\.\d)", MASK, critique)


def leaks(critique: str, answer: str) -> bool:
    """Whether a critique already holds the final answer."""
    return mask_answer(critique, answer) != critique


def falsify(critique: str, rng: Random) -> str:
    """A misleading critique of the same form: every number is off, the operation named and the conclusion are turned round."""
    wrong = re.sub(r"\d+", lambda m: str(max(0, int(m[0]) + rng.choice((-10, -2, -1, 1, 2, 10)))), critique)
    turned = {"right": "wrong", "wrong": "right", "add": "subtract", "subtract": "add"}
    wrong = re.sub(r"\b(add|subtract)\b", lambda m: turned[m[1]], wrong)
    return re.sub(r"(Conclusion:\s*)(right|wrong)", lambda m: m[1] + turned[m[2]], wrong)
