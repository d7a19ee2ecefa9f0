"""The HTML report of a run: one self-contained page, no network, all model text escaped."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pandas as pd
import yaml

from ..core import statistics
from ..core.errors import BadInput
from ..core.files import write_text
from ..core.provenance import PROJECT
from ..core.records import Record
from ..core.store import Run
from ..methods import display_name
from ..paper import audit, claims, published_tables, verdicts
from ..reporting import explorer, plots, result_rows, summaries, tables
from ..synthesis import teaching
from . import chain

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>CGD: {{ run.profile.name }}</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1rem;color:#222;overflow-wrap:anywhere}
h1,h2{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;font-size:.85rem;overflow-wrap:normal}th,td{padding:.25rem .6rem;text-align:left;border-bottom:1px solid #ddd;vertical-align:top;min-width:3rem}
.scroll{overflow-x:auto}img{max-width:100%;height:auto}figure{margin:1.5rem 0}pre{white-space:pre-wrap;font:0.85rem/1.45 ui-monospace,monospace;background:#f6f6f6;padding:.6rem}
.muted{color:#666}summary{cursor:pointer;padding:.2rem 0}
.supported{color:#117733;font-weight:600}.contradicted{color:#882255;font-weight:600}
#departures h1,#departures h2,#departures h3{font-size:1rem;border:0;margin-top:1rem}
@media(max-width:600px){body{padding:.7rem;font-size:15px}h1{font-size:1.5rem}h2{font-size:1.2rem}th,td{padding:.2rem .4rem}}
@page{margin:14mm}@page wide{size:landscape;margin:12mm}
@media print{.wide{page:wide}.wide table{font-size:5.5pt}details .cgd-example~.cgd-example{display:none}body{max-width:none;font-size:10pt}nav{display:none}table{font-size:6.5pt}th,td{padding:.1rem .25rem;min-width:0}
details::details-content{content-visibility:visible;block-size:auto}.scroll{overflow:visible}h2,h3{break-after:avoid}figure,tr,.cgd-example{break-inside:avoid}img{max-height:14cm}}
</style>{{ style }}</head><body>
<h1>Critique-Guided Distillation: {{ run.profile.name }}</h1>
<p>{{ run.profile.description }}</p>
<nav><a href="#summary">Summary</a> · <a href="#headline">Headline</a> · <a href="#claims">Claims</a> · <a href="#published">Published tables</a> ·
<a href="#figures">Figures</a> · <a href="#tables">Tables</a> · <a href="#examples">Examples</a> · <a href="#audit">Audit</a> ·
<a href="#departures">Departures</a> · <a href="#settings">Settings</a></nav>
<h2 id="summary">Summary</h2><ul>{% for s in summary %}<li>{{ s }}</li>{% endfor %}</ul>
<h2 id="headline">Headline</h2><p>Mean over seeds with its {{ "%g" | format(100 * run.profile.evaluation.level) }}% interval, percent; differences in points, paired over seeds. {{ sizes }}</p>
<div class="scroll">{{ headline }}</div>
<h2 id="claims">Claims</h2><p>{{ rules }}</p><ul>{% for w in ways %}<li>{{ w }}</li>{% endfor %}</ul><div class="scroll">{{ verdicts }}</div>
<h3>What each verdict rests on</h3>
{% for c in claims %}<details><summary>{{ c.id }}: {{ c.statement }}</summary><p class="muted">Rule: {{ c.rule }}.{% if c.published %} Published: {{ c.published }}.{% endif %}
{% if c.audit %} It rests on printed averages that do not follow from their rows: {{ c.audit }}.{% endif %}</p><div class="scroll">{{ c.html }}</div>
{% if c.command %}<p class="muted">Made by <code>{{ c.command }}</code></p>{% endif %}</details>{% endfor %}
<section class="wide"><h2 id="published">The published tables, with this run beside them</h2>
<p>Columns of the kit in which this run measured nothing are left out; <code>tables/published_*</code> holds them.</p>
{% for t in published %}<details><summary>{{ t.name }}</summary><div class="scroll">{{ t.html }}</div></details>{% endfor %}</section>
<h2 id="figures">Figures</h2>
{% for f in figures %}<figure><img alt="{{ f.caption }}" src="data:image/png;base64,{{ f.data }}">
<figcaption class="muted">{{ f.caption }} <small>(numbers: figures/{{ f.name }}.csv)</small></figcaption></figure>{% endfor %}
<section class="wide"><h2 id="tables">Tables</h2>
{% for t in tables %}<details><summary>{{ t.name }}</summary><div class="scroll">{{ t.html }}</div></details>{% endfor %}</section>
<h2 id="examples">Examples</h2>
{% for family, training, outcomes in examples %}<h3>{{ family }}: training problems</h3>{{ training }}
<h3>{{ family }}: benchmark questions by outcome</h3>{{ outcomes }}{% endfor %}
<h2 id="audit">Audit of the published tables</h2><p>Printed averages that do not follow from their printed rows, and the claims that rest on them.</p>
<div class="scroll">{{ audit }}</div>
<h2 id="departures">Departures from the paper</h2>{{ departures }}
<h2 id="settings">Settings and provenance</h2><pre>{{ settings }}</pre><pre>{{ provenance }}</pre>
</body></html>
"""


def write(run: Run, examples: int = 6) -> Any:
    """Writes ``report.html`` and ``claims.csv`` into the run's folder; returns the path of the page.

    Raises:
        BadInput: the run has no results yet, or no records of these settings; none are made.
    """
    import jinja2
    from markupsafe import Markup

    run = replace(run, only_reads=True)
    results, measured = result_rows.read_results(run), summaries.read(run)
    made = claims.claims(results, run.profile, measured)
    summaries.save_csv(made, run.folder / "claims.csv")
    if not (run.tables / "headline.csv").exists():
        raise BadInput(f"{run.tables}: no headline table; make it with: {run.command()}")
    table = result_rows.headline(results, run.profile.evaluation.headline, run.profile.evaluation.level)
    page = jinja2.Environment(autoescape=True).from_string(_PAGE).render(
        run=run, rules=_plain((claims.__doc__ or "").split("\n\n", 1)[1]), ways=_ways(),
        summary=summary(run, results, table, made), sizes=plots.sizes(table),
        headline=Markup(_html(pd.read_csv(run.tables / "headline.csv", keep_default_na=False))),
        verdicts=Markup(_coloured(claims.summary(made))), claims=_claims(made),
        published=[{"name": n, "html": Markup(_html(_measured(t)))} for n, t in published_tables.rebuilt(run, results, measured).items()],
        figures=[{"name": p.stem, "caption": plots.caption_of(p), "data": base64.b64encode(p.read_bytes()).decode()}
                 for p in sorted(run.figures.glob("*.png"))],
        tables=[{"name": p.stem, "html": Markup(_html(pd.read_csv(p, keep_default_na=False)))} for p in sorted(run.tables.glob("*.csv"))
                if p.stem not in published_tables.FILES],
        examples=_examples(run, examples), style=Markup(explorer.STYLE),
        audit=Markup(_html(pd.DataFrame(audit.rows()))), departures=Markup(_departures()),
        settings=yaml.safe_dump(run.profile.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        provenance=_provenance(run),
    )  # fmt: skip
    path = run.folder / "report.html"
    write_text(path, page)
    return path


def summary(run: Run, results: pd.DataFrame, table: pd.DataFrame, made: pd.DataFrame) -> list[str]:
    """The run in sentences, all made from its frames: what was asked, the headline of each family, the count of verdicts."""
    about = claims.audience(run.profile)
    graded = results[results["metric"] == "accuracy"].groupby("benchmark")["n"].max()
    out = [
        f"Asked: {int(graded.sum())} questions of {len(graded)} accuracy benchmarks a model; every figure below is about {about}."
    ]
    out += [
        s
        for family in dict.fromkeys(table["family"])
        for s in _family(table[table["family"] == family], family, run.profile)
    ]
    for ids, what in (
        (claims.OF_THE_PAPER, "claims of the paper"),
        (claims.OF_REVIEWERS, "questions of its reviewers"),
    ):
        mine = made[made["id"].isin(ids)]
        each = mine.groupby("id", sort=False)["verdict"].agg(
            lambda v: verdicts.joint(dict.fromkeys(v)) if verdicts.NOT_MEASURED not in set(v) else verdicts.NOT_MEASURED
        )
        told = [f"{len(same)} {v} ({', '.join(same)})" for v, same in each.groupby(each, sort=False).groups.items()]
        out.append(f"Of the {len(each)} {what}: {'; '.join(told)}. They are about {about}.")
    return out


def _family(table: pd.DataFrame, family: str, profile: Any) -> list[str]:
    mine = table[(table["benchmark"] == "mean") & table["method"].isin(["base", *profile.training.methods])].set_index(
        "method"
    )
    if "cgd" not in mine.index:
        return []
    c = mine.loc["cgd"]
    reached, seeds = statistics.told(c["mean"], c["ci_low"], c["ci_high"]), int(c["n_seeds"])
    told = f"{family}: CGD reaches {reached}% on the mean of the accuracy benchmarks ({seeds} seed{'s' if seeds != 1 else ''})"
    known = mine.dropna(subset=["difference"])
    parts = [f"{tables.difference_told(r)} against {display_name(m)}" for m, r in known.iterrows()]
    return [told + (": " + ", ".join(parts) + " points." if parts else ".")]


def _plain(text: str) -> str:
    """A docstring's paragraph without its marks, its constants filled in."""
    return " ".join(text.replace("`MARGIN`", f"{verdicts.MARGIN:g} points").replace("`", "").replace("*", "").split())


def _ways() -> list[str]:
    """The ways of judging an interval, as `verdicts` states them."""
    return [_plain(line[2:]) for line in (verdicts.__doc__ or "").splitlines() if line.startswith("- ")]


def _claims(made: pd.DataFrame) -> list[Record]:
    """One entry a claim, with the table of its measurements."""
    from markupsafe import Markup

    told = claims.readable(made)
    return [
        {**rows.iloc[0][["id", "statement", "rule", "published", "audit", "command"]],
         "html": Markup(_coloured(told[told["id"] == name].drop(columns="id"))) if (told["id"] == name).any() else verdicts.NOT_MEASURED}
        for name, rows in made.groupby("id", sort=False)
    ]  # fmt: skip


def _coloured(frame: pd.DataFrame) -> str:
    """A table whose verdicts carry a class."""
    page = _html(frame)
    for verdict in (verdicts.SUPPORTED, verdicts.CONTRADICTED):
        page = page.replace(f"<td>{verdict}</td>", f'<td class="{verdict}">{verdict}</td>')
    return page


def _departures() -> str:
    """``docs/departures.md`` as HTML, its own HTML escaped; a word instead where the checkout has no docs."""
    import mistune

    path = PROJECT / "docs" / "departures.md"
    text = (
        path.read_text(encoding="utf-8")
        if path.exists()
        else "They are told in `docs/departures.md` of the kit's repository."
    )
    page = mistune.create_markdown(escape=True, plugins=["table"])(text)
    return str(page).replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")


def _html(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, escape=True, border=0, na_rep="")


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """A published table without the kit's columns in which nothing was measured."""
    return table[
        [c for c in table if not (c.endswith("(kit)") and all(published_tables.is_missing(x) for x in table[c]))]
    ]


def _examples(run: Run, n: int) -> list[tuple[str, Any, Any]]:
    """Family, training examples, and benchmark questions by outcome."""
    return [
        (
            f,
            explorer.training_page(teaching.records(run, f).rows(), n),
            explorer.outcome_page(explorer.outcomes(run, f)),
        )
        for f in run.profile.models.students
    ]


def _provenance(run: Run) -> str:
    kept = [
        json.loads(p.read_text(encoding="utf-8")) for p in sorted((run.folder / "notebooks").glob("*.manifest.json"))
    ]
    times = {m["stage"]: m["wall_seconds"] for m in kept}
    return json.dumps(
        {"wall_seconds": times, "environment": kept[-1]["environment"] if kept else {}, "stages": list(chain.NAMES)},
        indent=1,
    )
