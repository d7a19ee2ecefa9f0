"""The example explorer: one problem at a time, as widgets in a notebook and as plain HTML where no kernel runs.

Two sets of problems, so two views. A *training problem* has a draft, a critique and a refined answer, and no method is asked
it again. A *benchmark question* has the answers of every method, and neither draft nor critique. All model text is escaped;
the pieces of HTML are the macros of ``explorer.html.j2``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ..core import files, store
from ..core.errors import BadInput
from ..core.records import Record
from ..core.store import Run
from ..data import benchmarks
from ..evaluation import compare
from ..lab import teacher, world
from ..methods import display_name

ANY = "any"
KINDS = {
    "arithmetic": "the arithmetic of step {step} is wrong; it must be {expected}",
    "operation": "step {step} takes the wrong operation; it must be {expected}",
    "operand": "step {step} takes a wrong number; it must be {expected}",
    "missing": "step {step} is missing: {expected}",
    "extra": "step {step} is not in the problem",
    "answer": "the steps are right, the answer is not their last value",
    "no_steps": "no step is shown and the answer is wrong; step 1 is {expected}",
    "no_answer": "no answer is given",
}
ABOUT_TRAINING = "Training problems. No method is asked them again; how the methods answer the benchmarks' questions is shown in 06_analyses."
ABOUT_OUTCOMES = (
    "Benchmark questions, with every method's answers over seeds; none was a training problem, so none has a draft or a critique. "
    "Right and wrong mean: in more than half of a method's answers."
)


def _verdict(correct: bool | None) -> str:
    return "not graded" if correct is None else "right" if correct else "wrong"


_environment = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(Path(__file__).parent))
_environment.filters["verdict"] = _verdict
_html: Any = _environment.get_template("explorer.html.j2").module
STYLE = str(_html.style())


# ---------------------------------------------------------------- texts as HTML
def changes(before: str, after: str) -> Markup:
    """``after`` as safe HTML, what is new in ``<ins>`` and what is gone in ``<del>``, word by word."""
    a, b = (re.findall(r"\s+|[^\s]+", text) for text in (before, after))
    out = Markup("")
    for kind, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind != "equal" and i < j:
            out += Markup("<del>") + escape("".join(a[i:j])) + Markup("</del>")
        if k < m:
            new = escape("".join(b[k:m]))
            out += new if kind == "equal" else Markup("<ins>") + new + Markup("</ins>")
    return out


def first_wrong(text: str, meta: Mapping[str, Any]) -> tuple[int | None, str]:
    """Where an answer to a lab problem first goes wrong: the index of its line (None: no line is to blame), and why.

    ``(None, "")`` for a right answer, and for problems whose steps are not known: real data, and instructed questions.
    """
    if "steps" not in meta or "instruction" in meta:
        return None, ""
    found = teacher.diagnose(text, dict(meta))
    if found.kind == "right":
        return None, ""
    lines = text.splitlines()
    why = KINDS[found.kind].format(step=found.step, expected=found.expected)
    if found.written:
        steps = [i for i, line in enumerate(lines) if world.read(line).steps]
        return steps[found.step - 1], why
    if found.kind in ("answer", "no_steps"):
        last = max(i for i, line in enumerate(lines) if line.strip())
        return max((i for i, line in enumerate(lines) if "Answer:" in line), default=last), why
    return None, why


def marked(text: str, meta: Mapping[str, Any]) -> tuple[Markup, str]:
    """A text as safe HTML with its first wrong line in ``<mark>``, and what is wrong with it ('' if nothing is known)."""
    where, why = first_wrong(text, meta)
    if where is None:
        return escape(text), why
    lines = [escape(line) for line in text.splitlines()]
    lines[where] = Markup("<mark>{}</mark>").format(lines[where])
    return Markup("\n").join(lines), why


# ---------------------------------------------------------------- examples as HTML
def training_example(record: Record) -> Markup:
    """A distillation record as HTML: question, draft with its first wrong step, critique, refined answer with its changes."""
    draft, why = marked(record["draft"], record.get("meta") or {})
    return _html.training_example(record, draft, why, changes(record["draft"], record["refined"]))


def training_page(records: Sequence[Record], n: int = 6) -> Markup:
    """``n`` records spread over all, those with a wrong draft first: the critique has something to say there."""
    rows = sorted(records, key=lambda r: bool(r["draft_correct"]))
    return Markup("").join(training_example(r) for r in _spread(rows, n))


def benchmark_question(question: Record, limit: int = 0) -> Markup:
    """A row of `outcomes` as HTML: how often each method is right, and its answers, equal ones once.

    Args:
        question: a row of `outcomes`.
        limit: characters of an answer that are shown; 0 = all.
    """
    methods = []
    for method in question["answers"]:
        right, n = tally(question, method)
        answers = _different_answers(question, method, limit)
        methods.append({"name": display_name(method), "right": right, "n": n, "answers": answers})
    return _html.benchmark_question(question, methods)


def _different_answers(question: Record, method: str, limit: int) -> list[Record]:
    """A method's answers to a question, equal texts together: ``{correct, status, seeds, text (HTML), why}``."""
    alike: dict[str, list[Record]] = {}
    for answer in question["answers"][method]:
        alike.setdefault(answer["text"], []).append(answer)
    out = []
    for text, same in alike.items():
        first = same[0]
        html, why = marked(text, {} if first["correct"] else question["meta"])
        if limit and len(text) > limit:
            html = Markup("{} … ({:,} more characters)").format(text[:limit], len(text) - limit)
        seeds = sorted({a["seed"] for a in same if a["seed"] is not None})
        out.append({"correct": first["correct"], "status": first["status"], "seeds": seeds, "text": html, "why": why})
    return out


def outcome_page(questions: Sequence[Record], n: int = 3, limit: int = 4000) -> Markup:
    """For each contrast with CGD its count, and up to ``n`` of its questions to unfold; answers cut at ``limit`` characters."""
    shown = [
        {
            "right": display_name(c["right"]),
            "wrong": display_name(c["wrong"]),
            "found": len(c["questions"]),
            "shown": [benchmark_question(q, limit) for q in _spread(c["questions"], n)],
        }
        for c in contrasts(questions)
    ]
    return _html.outcome_page(ABOUT_OUTCOMES, shown, len(questions))


def _spread(rows: Sequence[Record], n: int) -> Sequence[Record]:
    """``n`` rows at equal steps."""
    return rows[:: max(1, len(rows) // n)][:n]


# ---------------------------------------------------------------- outcomes
def outcomes(run: Run, family: str, methods: Sequence[str] = ()) -> list[Record]:
    """Every benchmark question with the answers that the methods of a family gave.

    Args:
        run: a run whose 04_evaluate is done.
        family: a family of the profile.
        methods: names, cells of ablations too; none = the base and the profile's ``training.methods``, as far as evaluated.

    Returns:
        Rows ``{benchmark, id, question, gold, meta, answers: {method: [{seed, sample, text, extracted, correct, status}]}}``
        in the order of the benchmarks. Answers to an earlier version of a benchmark are left out.

    Raises:
        BadInput: nothing is evaluated yet, or not this method.
    """
    entries = compare.index(run.folder, family)
    known = list(dict.fromkeys(e["method"] for e in entries))
    methods = list(methods) or [m for m in ("base", *run.profile.training.methods) if m in known]
    if not known or (unknown := [m for m in methods if m not in known]):
        raise BadInput(
            f"{run.folder}: no scores of {unknown[0] if known else family!r}; run 04_evaluate first"
            + (f", or choose from {', '.join(known)}" if known else "")
        )
    loaded = benchmarks.benchmarks(run)
    wanted = {b.name: b.version for b in loaded}
    rows = {
        (b.name, q["id"]): {
            "benchmark": b.name,
            "id": q["id"],
            "question": q["question"],
            "gold": "" if b.rule in (None, "code") else q["answer"],
            "meta": q.get("meta") or {},
            "answers": {m: [] for m in methods},
        }
        for b in loaded
        for q in b.problems
    }
    for e in sorted(entries, key=lambda e: -1 if e["seed"] is None else e["seed"]):
        for s, text in _scored(run, e) if e["method"] in methods else ():
            if e["questions"].get(s["benchmark"]) == wanted.get(s["benchmark"], ""):
                kept = {f: s[f] for f in ("sample", "extracted", "correct", "status")}
                answers = rows[s["benchmark"], s["id"]]["answers"][e["method"]]
                answers.append({"seed": e["seed"], "text": text, **kept})
    return list(rows.values())


def _scored(run: Run, entry: Record) -> list[tuple[Record, str]]:
    """The scores of an entry of the index, each with the text that was graded."""
    path = run.folder / entry["rows"]
    graded = store.load(path.parent)
    if graded is None:
        raise BadInput(f"{path.parent}: its scores are not whole; run 04_evaluate again")
    made = run.folder / "artifacts" / "generations" / f"{graded.manifest['label']}-{graded.manifest['inputs'][0][:10]}"
    texts = {(r["benchmark"], r["id"], r["sample"]): r["text"] for r in files.read_jsonl(made / "rows.jsonl")}
    return [(s, texts[s["benchmark"], s["id"], s["sample"]]) for s in graded.rows()]


def tally(question: Record, method: str) -> tuple[int, int]:
    """How many of a method's answers to a question are right, and how many there are (seeds x samples)."""
    answers = question["answers"][method]
    return sum(bool(a["correct"]) for a in answers), len(answers)


def select(questions: Sequence[Record], right: str = ANY, wrong: str = ANY, benchmark: str = ANY) -> list[Record]:
    """The questions that method ``right`` gets right and method ``wrong`` wrong, each in more than half of its answers."""

    def mostly(q: Record, method: str, sign: int) -> bool:
        k, n = tally(q, method) if method != ANY else (1, 1)
        return sign * (2 * k - n) > 0 or method == ANY

    asked = [q for q in questions if benchmark in (ANY, q["benchmark"])]
    return [q for q in asked if mostly(q, right, 1) and mostly(q, wrong, -1)]


def contrasts(questions: Sequence[Record], reference: str = "cgd") -> list[Record]:
    """For each other method, the questions that only one of the two gets right: rows ``{right, wrong, questions}``."""
    names = list(questions[0]["answers"]) if questions else []
    others = [m for m in names if m != reference and reference in names]
    pairs = [pair for m in others for pair in ((reference, m), (m, reference))]
    return [{"right": a, "wrong": b, "questions": select(questions, a, b)} for a, b in pairs]


# ---------------------------------------------------------------- widgets
def browse_training(records: Sequence[Record]) -> None:
    """Shows records one at a time in a notebook, to be filtered by draft and by conclusion."""

    def found(draft: str, conclusion: str) -> list[Record]:
        drafted = [r for r in records if draft in (ANY, _verdict(r["draft_correct"]))]
        return [r for r in drafted if conclusion in (ANY, r["conclusion"] or "none")]

    filters = {
        "draft": ("draft", _options("right", "wrong", "not graded"), "wrong"),
        "conclusion": ("critique says", _options("right", "wrong", "none"), ANY),
    }
    _browse(ABOUT_TRAINING, filters, found, training_example, training_page(records, 3))


def _options(*values: str) -> dict[str, str]:
    return {ANY: ANY} | {v: v for v in values}


def browse_outcomes(questions: Sequence[Record]) -> None:
    """Shows rows of `outcomes` one at a time in a notebook, to be filtered by who is right and who is wrong."""
    if not questions:
        print(
            "no benchmark question: the profile names only lm-eval's benchmarks, whose answers the kit does not index"
        )
        return
    methods = list(questions[0]["answers"])
    names = {ANY: ANY} | {display_name(m): m for m in methods}
    filters = {
        "right": ("right", names, "cgd" if "cgd" in methods else ANY),
        "wrong": ("wrong", names, "sft" if "sft" in methods else ANY),
        "benchmark": ("benchmark", _options(*(q["benchmark"] for q in questions)), ANY),
    }

    def found(**chosen: str) -> list[Record]:
        return select(questions, **chosen)

    _browse(ABOUT_OUTCOMES, filters, found, benchmark_question, outcome_page(questions))


def _browse(
    about: str,
    filters: Mapping[str, tuple[str, Mapping[str, str], str]],
    find: Callable[..., list[Record]],
    show: Callable[[Record], Markup],
    plain: Markup,
) -> None:
    """Widgets over ``find`` and ``show``, and beneath them, folded, what can be read where no widget runs."""
    from IPython.display import HTML, display

    try:
        import ipywidgets as w
    except ImportError:
        display(HTML(_html.without_widgets(plain, open=True)))
        return
    look = {"description_width": "initial"}
    chosen = {
        name: w.Dropdown(description=label, options=list(options.items()), value=start, style=look)
        for name, (label, options, start) in filters.items()
    }
    at = w.IntSlider(value=1, min=1, max=1, description="example", continuous_update=False)
    count, page = w.Label(), w.HTML()
    found: list[Record] = []

    def draw(_: Any = None) -> None:
        nothing = Markup("<p>No example is like that: loosen a filter.</p>")
        page.value = STYLE + (show(found[at.value - 1]) if found else nothing)

    def refilter(_: Any = None) -> None:
        found[:] = find(**{name: box.value for name, box in chosen.items()})
        count.value = f"{len(found)} found"
        at.max, at.value = max(1, len(found)), 1
        draw()

    for box in chosen.values():
        box.observe(refilter, "value")
    at.observe(draw, "value")
    refilter()
    row_of_filters = w.HBox(list(chosen.values()), layout={"flex_flow": "row wrap"})
    display(w.VBox([w.HTML(about), row_of_filters, w.HBox([at, count]), page]))
    display(HTML(_html.without_widgets(plain, open=False)))
