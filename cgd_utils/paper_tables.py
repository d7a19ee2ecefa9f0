"""The published tables rebuilt in their own layout, the kit's numbers beside the printed ones.

A cell of the kit is filled only by the same benchmark asked of a student of the same name; all else is `MISSING`. The lab's
students stand for the paper's families and its benchmarks are its own, so a lab run fills the columns that are named ``lab``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from . import audit, inference, measurements, reporting, statistics
from .artifacts import Run
from .profiles import Profile

Record = dict[str, Any]
MISSING = "not measured"
# benchmark as printed -> as the kit calls it, where the names differ
NAMES = {"math500": "math-500", "gpqa": "gpqa_diamond"}
# hub id -> the student as printed
STUDENTS = {
    "meta-llama/Llama-3.1-8B-Instruct": "LLaMA3.1-8B-Instruct", "simplescaling/s1.1-3B": "S1.1-3B",
    "Qwen/Qwen2.5-Math-7B": "Qwen2.5-Math-7B",
}  # fmt: skip
STUDENT, TEACHER, METHOD = "student", "teacher", "method"


@dataclass(frozen=True)
class Kit:
    """What a run can put into the published tables."""

    profile: Profile
    table: pd.DataFrame
    results: pd.DataFrame
    analyses: pd.DataFrame
    rated: dict[str, list[Record]] = field(default_factory=dict)

    def family(self, student: str) -> str | None:
        """The family whose student is the printed one, or stands for it in the lab."""
        from .lab import students

        for family, model in self.profile.models.students.items():
            lab = students.STUDENTS.get(model.removeprefix("lab:")) if model.startswith("lab:") else None
            if STUDENTS.get(model) == student or (lab and _alike(lab.stands_for, student)):
                return family
        return None

    def cell(self, family: str | None, method: str, benchmark: str) -> str:
        """``mean [low, high] (n, seeds)`` of a method on a benchmark, or `MISSING`."""
        t = self.table
        rows = t[(t["family"] == family) & (t["method"] == method) & (t["benchmark"] == benchmark)]
        if rows.empty:
            return MISSING
        r = rows.iloc[0]
        n = self.questions(benchmark)
        low, high = r["ci_low"], r["ci_high"]
        if pd.isna(low) and r["n_seeds"] == 1 and benchmark != "mean":  # one model: the interval over questions
            own = self.results[(self.results["family"] == family) & (self.results["method"] == method)
                               & (self.results["benchmark"] == benchmark) & self.results["metric"].isin(reporting.QUALITY)].iloc[0]  # fmt: skip
            low, high = own["ci_low"], own["ci_high"]
        interval = "" if pd.isna(low) else f" [{low:.1f}, {high:.1f}]"
        return f"{r['mean']:.1f}{interval} (n={n}, seeds={int(r['n_seeds'])})"

    def questions(self, benchmark: str) -> int:
        """Questions of a benchmark, or of all accuracy benchmarks for ``mean``."""
        rows = self.results[self.results["metric"].isin(reporting.QUALITY)]
        mine = rows[rows["metric"] == "accuracy"] if benchmark == "mean" else rows[rows["benchmark"] == benchmark]
        return int(mine.groupby("benchmark")["n"].max().sum())

    @property
    def lab(self) -> list[str]:
        """The lab's benchmarks in this run, its mean first; none elsewhere."""
        names = [b for b in dict.fromkeys(self.table["benchmark"]) if b.startswith("lab-")]
        return ["mean", *names] if names else []

    def measured(self, analysis: str, **where: str) -> str:
        """A measurement of notebook 06 as ``value [low, high] (n, seeds)``, or `MISSING`."""
        rows = measurements.over_seeds(
            measurements.pick(self.analyses, analysis, **where), self.profile.evaluation.level
        )
        if rows.empty:
            return MISSING
        r = rows.iloc[0]
        interval = "" if pd.isna(r["ci_low"]) else f" [{r['ci_low']:.1f}, {r['ci_high']:.1f}]"
        return f"{r['value']:.1f}{interval} (n={int(r['n'])}, seeds={int(r['seeds'])})"


def _alike(stands_for: str, student: str) -> bool:
    return stands_for.split("-")[0] == student.split("-")[0]


def kit(profile: Profile, results: pd.DataFrame, analyses: pd.DataFrame | None = None) -> Kit:
    """What a run can put into the published tables."""
    table = reporting.headline(results, profile.evaluation.headline, profile.evaluation.level)
    return Kit(profile, table, results, measurements.frame() if analyses is None else analyses)


def _beside(
    have: Kit, table: str, columns: Sequence[str], method_of: Any = None, student_of: Any = None
) -> pd.DataFrame:
    """A table of accuracies: each printed column, then the kit's under the same name, then the lab's."""
    out = []
    for r in audit.read_table(audit.PUBLISHED, table):
        row: Record = {k: r[k] for k in ("condition", STUDENT, TEACHER, METHOD, "critique") if k in r}
        family = have.family(student_of(r) if student_of else r[STUDENT])
        method = method_of(r) if method_of else r[METHOD]
        for c in columns:
            row[f"{c} (printed)"] = r[c]
            row[f"{c} (kit)"] = (
                have.cell(family, method, NAMES.get(c, c))
                if not c.startswith("avg")
                else _average(have, family, method, table, c)
            )
        for b in have.lab:
            row[f"{b} (lab)" if b == "mean" else b] = have.cell(family, method, b)
        out.append(row)
    return pd.DataFrame(out)


def _average(have: Kit, family: str | None, method: str, table: str, column: str) -> str:
    """The mean of the columns that a printed average is of; only where the kit has measured them all."""
    names = [NAMES.get(c, c) for c in audit.AVERAGES[table][column]]
    mine = have.results[(have.results["family"] == family) & (have.results["method"] == method) & have.results["benchmark"].isin(names)
                        & (have.results["metric"] == "accuracy")]  # fmt: skip
    if set(mine["benchmark"]) != set(names):
        return MISSING
    values = mine.groupby("seed", dropna=False)["value"].mean()
    i = statistics.mean_t_interval(values.to_numpy(float), have.profile.evaluation.level)
    n = int(mine.groupby("benchmark")["n"].max().sum())
    return f"{i.estimate:.1f}" + ("" if i.n == 1 else f" [{i.low:.1f}, {i.high:.1f}]") + f" (n={n}, seeds={i.n})"


def webinstruct(have: Kit) -> pd.DataFrame:
    """Main results: math and general averages."""
    web = audit.AVERAGES["table_webinstruct"]
    return _beside(have, "table_webinstruct", [*web["avg_g1"], "avg_g1", *web["avg_g2"], "avg_g2"])


def cross_family(have: Kit) -> pd.DataFrame:
    """Qwen2.5-Math-7B with other teachers."""
    return _beside(have, "table_qwen_cross_family", [*audit.AVERAGES["table_qwen_cross_family"]["avg"], "avg"])


def out_of_domain(have: Kit) -> pd.DataFrame:
    """Instruction following, reasoning and code after training on math."""
    columns = ("ifeval", "musr", "truthfulqa", "bbh", "humaneval")
    return _beside(have, "table_ood", columns, method_of=lambda r: r[METHOD].removesuffix("_gpt4o"))


CONTENT = {"A": "cgd", "B": "cgd_irrelevant", "C": "cgd_generic"}


def critique_content(have: Kit) -> pd.DataFrame:
    """Specific, irrelevant and generic critiques."""
    return _beside(have, "table_critique_content", ("math500", "amc23", "aime24"), method_of=lambda r: CONTENT[r["condition"]],
                   student_of=lambda _: "LLaMA3.1-8B-Instruct")  # fmt: skip


def aime(have: Kit) -> pd.DataFrame:
    """Pass@k and the length of answers, base against CGD; the lab's columns are its longest untrained step count."""
    beyond = inference.hardest(have.profile).get("beyond")
    out = []
    for r in audit.read_table(audit.PUBLISHED, "table_aime24"):
        family = have.family(r[STUDENT])
        row: Record = {STUDENT: r[STUDENT], "metric": r["metric"]}
        for m in ("base", "cgd"):
            sd = f" ± {r[f'{m}_sd']}" if r[f"{m}_sd"] else ""
            row |= {
                f"{m} (printed)": f"{r[m]}{sd}",
                f"{m} (kit, AIME24)": _aime_cell(have, family, m, r["metric"], "aime24"),
            }
            if beyond:
                row[f"{m} (lab, {beyond})"] = _aime_cell(have, family, m, r["metric"], beyond)
        out.append(row)
    return pd.DataFrame(out)


def _aime_cell(have: Kit, family: str | None, method: str, metric: str, benchmark: str) -> str:
    kind = metric.partition(" ")[0]
    if metric.startswith("pass@1"):
        return have.cell(family, method, benchmark)
    if kind.startswith("pass@"):
        return have.measured("pass@k", family=family or "", method=method, condition=benchmark, metric=kind)
    rows = have.results[(have.results["family"] == family) & (have.results["method"] == method) & (have.results["benchmark"] == benchmark)
                        & (have.results["metric"] == ("words" if "words" in metric else "steps"))]  # fmt: skip
    if rows.empty:
        return MISSING
    found = measurements.over_seeds(
        rows.assign(analysis="lengths", condition=benchmark), have.profile.evaluation.level
    ).iloc[0]
    return f"{found['value']:.1f} [{found['ci_low']:.1f}, {found['ci_high']:.1f}] (n={int(found['n'])}, seeds={int(found['seeds'])})"


def stability(have: Kit) -> pd.DataFrame:
    """Averages at two learning rates; the kit's are the profile's rate and three times it, on the mean of its benchmarks."""
    low = f"{have.profile.training.learning_rate:g}"
    out = []
    for r in audit.read_table(audit.PUBLISHED, "table_lr_stability"):
        row: Record = {METHOD: r[METHOD], "average at 1e-6 (printed)": r["avg_lr_1e-6"], "average at 5e-6 (printed)": r["avg_lr_5e-6"],
                       "change (printed)": r["change"]}  # fmt: skip
        for family in have.profile.models.students:
            names = [f"{r[METHOD]} [learning rate ×{x}]" for x in (1, 3)]
            row |= {f"{family}, mean at {low} (kit)": have.cell(family, names[0], "mean"),
                    f"{family}, mean at 3 × {low} (kit)": have.cell(family, names[1], "mean"),
                    f"{family}, change (kit)": _change(have, family, *names)}  # fmt: skip
        out.append(row)
    return pd.DataFrame(out)


def _change(have: Kit, family: str, before: str, after: str) -> str:
    wide = reporting.per_seed(have.results[have.results["family"] == family], have.profile.evaluation.headline)
    wide = wide.set_index(["method", "seed"])["mean"]
    if not {before, after} <= set(wide.index.get_level_values("method")):
        return MISSING
    i = statistics.mean_t_interval(
        (wide.loc[after] - wide.loc[before]).dropna().to_numpy(), have.profile.evaluation.level
    )
    return f"{i.estimate:+.1f} [{i.low:+.1f}, {i.high:+.1f}] (n={have.questions('mean')}, seeds={i.n})"


# metric as printed -> the lab's exact counterpart for wrong drafts
EXACT = {"informativeness": "gives its right value", "specificity": "names the first wrong step"}


def critique_quality(have: Kit) -> pd.DataFrame:
    """Ratings of critiques of wrong and of right drafts; the lab's are exact shares (percent), which exist for wrong drafts."""
    out = []
    for r in audit.read_table(audit.PUBLISHED, "table_critique_quality"):
        row: Record = {"metric": r["metric"]}
        for side in ("wrong_answer", "right_answer"):
            sd = f" ± {r[f'{side}_sd']}" if r[f"{side}_sd"] else ""
            row[f"{side.replace('_', ' ')} (printed)"] = f"{r[f'{side}_mean']}{sd}"
        row |= {"difference (printed)": r["delta"], "effect (printed)": r["effect"]}
        for family in have.profile.models.students:
            for mine in (m for m in have.rated.get(family, ()) if m["metric"] == r["metric"]):
                for side, n in (("wrong_answer", "n_wrong"), ("right_answer", "n_right")):
                    sd = mine[f"{side}_sd"]
                    row[f"{family}, {side.replace('_', ' ')} (kit)"] = (
                        f"{mine[f'{side}_mean']:.2f}" + (f" ± {sd:.2f}" if sd is not None else "") + f" (n={mine[n]})"
                    )
                interval = f" [{mine['low']:.2f}, {mine['high']:.2f}]" if mine["low"] is not None else ""
                row[f"{family}, effect (kit)"] = (
                    MISSING if mine["effect"] is None else f"{mine['effect']:.2f}{interval}"
                )
            if have.profile.data.is_lab:
                exact = EXACT.get(r["metric"].partition(" ")[0])
                row[f"{family}, wrong answer, exact % (lab)"] = (
                    f"{exact}: {have.measured('critique quality', family=family, condition='wrong drafts', metric=exact)}"
                    if exact
                    else MISSING
                )
        out.append(row)
    return pd.DataFrame(out).fillna(MISSING)


TABLES = {
    "webinstruct": webinstruct, "qwen_cross_family": cross_family, "ood": out_of_domain, "critique_content": critique_content,
    "aime24": aime, "lr_stability": stability, "critique_quality": critique_quality,
}  # fmt: skip


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
