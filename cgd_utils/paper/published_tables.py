"""The published tables rebuilt in their own layout, the kit's numbers beside the printed ones.

A cell of the kit is filled only by the same student, teacher, method and data, asked the same benchmark; else it says what is
not the same. What the lab's students reached stands in rows of their own below: they stand for the paper's families, and
neither their teacher nor their benchmarks are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from ..ablations.grids import GRIDS, rate_pair, scaled_rate
from ..analysis import inference_time
from ..core import statistics
from ..core.records import Record
from ..core.store import Run
from ..reporting import result_rows, summaries
from . import audit
from .comparable import MISSING, WEBINSTRUCT_CFT, Kit, Missing, Printed, is_missing, kit

STUDENT, TEACHER, METHOD = "student", "teacher", "method"
# of the tables that name no teacher
MAIN_TEACHER = "LLaMA3.3-70B-Instruct"
MAIN_STUDENT = "LLaMA3.1-8B-Instruct"


def _beside(
    have: Kit, table: str, columns: Mapping[str, Sequence[str]], about: Callable[[Record], Printed]
) -> pd.DataFrame:
    """A table of accuracies: the printed rows, each column with the kit's beside it; then a row a lab student and method.

    Args:
        have: the run.
        table: the published table's file name.
        columns: printed column → the benchmarks that it is the average of; one: that benchmark.
        about: what a printed row is about.
    """
    printed = audit.read_table(audit.PUBLISHED, table)
    rows = [about(r) for r in printed]
    out = []
    for r, p in zip(printed, rows, strict=True):
        row: Record = {"condition": r["condition"]} if "condition" in r else {}
        row |= {STUDENT: p.student, TEACHER: p.teacher, METHOD: p.method, "data": p.data}
        for c, parts in columns.items():
            row[f"{c} (printed)"] = r[c]
            row[f"{c} (kit)"] = have.cell(p, parts)
        out.append(row)
    methods = list(dict.fromkeys(p.method for p in rows))
    for family, student in have.stand_ins([p.student for p in rows]).items():
        for m in methods:
            row = {STUDENT: f"lab:{family}, for {student}", TEACHER: have.teacher, METHOD: m, "data": have.data}
            out.append(row | have.lab(family, m))
    return pd.DataFrame(out, dtype=object).fillna("")


def _each(names: Sequence[str]) -> dict[str, tuple[str]]:
    return {c: (c,) for c in names}


def _by_columns(r: Record) -> Printed:
    """A row of a table that names student and teacher; GPT-4o's is the CFT paper's own data set."""
    if r[TEACHER] in ("GPT-4o", "GPT-4o (50K WebInstruct-CFT)"):
        return Printed(r[STUDENT], "GPT-4o", r[METHOD], WEBINSTRUCT_CFT)
    return Printed(r[STUDENT], r[TEACHER], r[METHOD])


def webinstruct(have: Kit) -> pd.DataFrame:
    """Main results: math and general averages."""
    web = audit.AVERAGES["table_webinstruct"]
    columns = {**_each(web["avg_g1"]), "avg_g1": web["avg_g1"], **_each(web["avg_g2"]), "avg_g2": web["avg_g2"]}
    return _beside(have, "table_webinstruct", columns, _by_columns)


def cross_family(have: Kit) -> pd.DataFrame:
    """Qwen2.5-Math-7B with other teachers."""
    parts = audit.AVERAGES["table_qwen_cross_family"]["avg"]
    return _beside(have, "table_qwen_cross_family", {**_each(parts), "avg": parts}, _by_columns)


def out_of_domain(have: Kit) -> pd.DataFrame:
    """Instruction following, reasoning and code after training on math."""

    def about(r: Record) -> Printed:
        if r[METHOD] == "cft_gpt4o":
            return Printed(r[STUDENT], "GPT-4o", "cft", WEBINSTRUCT_CFT)
        return Printed(r[STUDENT], MAIN_TEACHER, r[METHOD])

    return _beside(have, "table_ood", _each(("ifeval", "musr", "truthfulqa", "bbh", "humaneval")), about)


CONTENT = {"A": "cgd", "B": "cgd_irrelevant", "C": "cgd_generic"}


def critique_content(have: Kit) -> pd.DataFrame:
    """Specific, irrelevant and generic critiques."""

    def about(r: Record) -> Printed:
        return Printed(MAIN_STUDENT, MAIN_TEACHER, CONTENT[r["condition"]])

    return _beside(have, "table_critique_content", _each(("math500", "amc23", "aime24")), about)


# metric as printed -> as the kit calls it
AIME = {"pass@1 greedy (%)": "accuracy", "pass@8 (%)": "pass@8", "pass@16 (%)": "pass@16",
        "reasoning length (words)": "words", "reasoning steps": "steps"}  # fmt: skip


def aime(have: Kit) -> pd.DataFrame:
    """Pass@k and the length of answers, base against CGD; a lab student's are on its longest untrained step count."""
    beyond = inference_time.hardest(have.profile).get("beyond") or ""
    printed = audit.read_table(audit.PUBLISHED, "table_aime24")
    out = []
    for r in printed:
        row: Record = {STUDENT: r[STUDENT], "metric": r["metric"]}
        for m in ("base", "cgd"):
            about = Printed(r[STUDENT], MAIN_TEACHER, m)
            row[f"{m} (printed)"] = _spread(r[m], r[f"{m}_sd"])
            row[f"{m} (kit, AIME24)"] = have.lacks(about) or _aime_cell(
                have, have.family(about.student), m, r["metric"], "aime24"
            )
        out.append(row)
    for family, student in have.stand_ins([r[STUDENT] for r in printed]).items() if beyond else ():
        for metric in AIME:
            cells = {f"{m} (lab, {beyond})": _aime_cell(have, family, m, metric, beyond) for m in ("base", "cgd")}
            out.append({STUDENT: f"lab:{family}, for {student}", "metric": metric, **cells})
    return pd.DataFrame(out, dtype=object).fillna("")


def _aime_cell(have: Kit, family: str | None, method: str, metric: str, benchmark: str) -> str:
    name = AIME[metric]
    if name == "accuracy" and have.profile.evaluation.sampling.temperature > 0:
        return Missing(f"{MISSING}: the run's answers are sampled, not greedy")
    found = have.figure(family, method, [benchmark], [name])
    if is_missing(found) and summaries.samples_of(name):
        return have.measured("pass@k", family=family or "", method=method, condition=benchmark, metric=name)
    return found


def _spread(mean: str, sd: str) -> str:
    """A printed mean with its printed standard deviation, where it has one."""
    return f"{mean} ± {sd}" if sd else mean


def stability(have: Kit) -> pd.DataFrame:
    """Averages at two learning rates; the kit's and the lab's are the profile's two of that ratio, on the mean of its benchmarks.

    The table names neither student nor benchmarks, so nothing of a run is the same; each family has columns of its own, named
    by its rates.
    """
    pair = rate_pair(have.profile)
    rates = [scaled_rate(have.profile, factor) for factor in pair]
    whose = "lab" if have.profile.data.is_lab else "kit"
    averaged = result_rows.averaged(have.results, have.profile.evaluation.headline)
    out = []
    for r in audit.read_table(audit.PUBLISHED, "table_lr_stability"):
        row: Record = {METHOD: r[METHOD], "average at 1e-6 (printed)": r["avg_lr_1e-6"], "average at 5e-6 (printed)": r["avg_lr_5e-6"],
                       "change (printed)": r["change"]}  # fmt: skip
        for family in have.profile.models.students:
            low, high = (GRIDS["learning_rate"].cell(r[METHOD], factor).name for factor in pair)
            for rate, name in zip(rates, (low, high), strict=True):
                row[f"{family}, mean at {rate:g} ({whose})"] = have.figure(family, name, averaged, ["accuracy"])
            row[f"{family}, change ({whose})"] = have.change(family, low, high)
        out.append(row)
    return pd.DataFrame(out, dtype=object)


# metric as printed -> the lab's exact counterpart for wrong drafts
EXACT = {"informativeness (1-5)": "gives its right value", "specificity (1-5)": "names the first wrong step"}


def critique_quality(have: Kit) -> pd.DataFrame:
    """Ratings of critiques of wrong and of right drafts; the lab's are exact shares (percent), which exist for wrong drafts."""
    out = []
    for r in audit.read_table(audit.PUBLISHED, "table_critique_quality"):
        row: Record = {"metric": r["metric"]}
        for side in ("wrong_answer", "right_answer"):
            row[f"{side.replace('_', ' ')} (printed)"] = _spread(r[f"{side}_mean"], r[f"{side}_sd"])
        row |= {"difference (printed)": r["delta"], "effect (printed)": r["effect"]}
        for family in have.profile.models.students:
            for mine in (m for m in have.rated.get(family, ()) if m["metric"] == r["metric"]):
                for side, n in (("wrong_answer", "n_wrong"), ("right_answer", "n_right")):
                    sd = mine[f"{side}_sd"]
                    told = _spread(f"{mine[f'{side}_mean']:.2f}", "" if sd is None else f"{sd:.2f}")
                    row[f"{family}, {side.replace('_', ' ')} (kit)"] = f"{told} (n={mine[n]})"
                effect, low, high = (math.nan if mine[c] is None else mine[c] for c in ("effect", "low", "high"))
                row[f"{family}, effect (kit)"] = statistics.told(effect, low, high, ".2f") or MISSING
            if have.profile.data.is_lab:
                exact = EXACT.get(r["metric"])
                cell: str = MISSING
                if exact:
                    told = have.measured("critique quality", family=family, condition="wrong drafts", metric=exact)
                    cell = f"{exact}: {told}"
                row[f"{family}, wrong answer, exact % (lab)"] = cell
        out.append(row)
    return pd.DataFrame(out, dtype=object).fillna(MISSING)


TABLES = {
    "webinstruct": webinstruct, "qwen_cross_family": cross_family, "ood": out_of_domain, "critique_content": critique_content,
    "aime24": aime, "lr_stability": stability, "critique_quality": critique_quality,
}  # fmt: skip
# the names under which notebook 07 keeps them
FILES = {f"published_{name}": name for name in TABLES}


def rebuilt(run: Run, results: pd.DataFrame, analyses: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    """Every published table with the run's numbers beside the printed ones: name → frame."""
    have = kit(run.profile, results, analyses)
    have.rated.update(_rated(run))
    return {name: build(have) for name, build in TABLES.items()}


def _rated(run: Run) -> dict[str, list[Record]]:
    """What the first judge found, family by family, from the tables of notebook 06; nothing where none was named."""
    out = {}
    for family in run.profile.models.students:
        path = run.tables / f"analysis_rated_critiques_{family}.csv"
        if path.exists():
            table = pd.read_csv(path)
            first = table[table["judge"] == table["judge"].iloc[0]]
            out[family] = first.astype(object).where(first.notna(), None).to_dict("records")
    return out
