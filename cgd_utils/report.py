"""The HTML report of a run: one self-contained page, no network, all model text escaped."""

from __future__ import annotations

import base64
import json
from typing import Any

import pandas as pd
import yaml

from . import audit, claims, explorer, reporting, runner, synthesis
from .artifacts import BadInput, Run, write_text

Record = dict[str, Any]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>CGD: {{ run.profile.name }}</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1rem;color:#222}
h1,h2{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;font-size:.85rem}th,td{padding:.25rem .6rem;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}
.scroll{overflow-x:auto}img{max-width:100%}pre{white-space:pre-wrap;font:0.85rem/1.45 ui-monospace,monospace;background:#f6f6f6;padding:.6rem}
.muted{color:#666}
@media print{h2{break-after:avoid}figure,table,.cgd-example{break-inside:avoid}}
</style>{{ style }}</head><body>
<h1>Critique-Guided Distillation: {{ run.profile.name }}</h1>
<p>{{ run.profile.description }}</p>
<nav><a href="#headline">Headline</a> · <a href="#claims">Claims</a> · <a href="#figures">Figures</a> · <a href="#tables">Tables</a> ·
<a href="#examples">Examples</a> · <a href="#audit">Published tables</a> · <a href="#settings">Settings</a></nav>
<h2 id="headline">Headline</h2><p>Mean over seeds ± half of the 95% t interval, percent.</p><div class="scroll">{{ headline }}</div>
<h2 id="claims">Claims</h2><p>{{ rules }}</p><div class="scroll">{{ claims }}</div>
<h2 id="figures">Figures</h2>
{% for f in figures %}<figure><img alt="{{ f.name }}: its numbers are in figures/{{ f.name }}.csv" src="data:image/png;base64,{{ f.data }}">
<figcaption class="muted">{{ f.name }}</figcaption></figure>{% endfor %}
<h2 id="tables">Tables</h2>
{% for t in tables %}<details><summary>{{ t.name }}</summary><div class="scroll">{{ t.html }}</div></details>{% endfor %}
<h2 id="examples">Examples</h2>
{% for family, training, outcomes in examples %}<h3>{{ family }}: training problems</h3>{{ training }}
<h3>{{ family }}: benchmark questions by outcome</h3>{{ outcomes }}{% endfor %}
<h2 id="audit">Published tables</h2><p>Printed averages that do not follow from their printed rows.</p><div class="scroll">{{ audit }}</div>
<h2 id="settings">Settings and provenance</h2><pre>{{ settings }}</pre><pre>{{ provenance }}</pre>
</body></html>
"""


def write(run: Run, examples: int = 6) -> Any:
    """Writes ``report.html`` and ``claims.csv`` into the run's folder; returns the path of the page.

    Raises:
        BadInput: the run has no results yet.
    """
    import jinja2
    from markupsafe import Markup

    results = reporting.read_results(run)
    made = claims.claims(results, run.profile.name, run.profile.evaluation.level)
    reporting.save_csv(made, run.folder / "claims.csv")
    if not (run.tables / "headline.csv").exists():
        raise BadInput(f"{run.tables}: no headline table; run 07_tables_and_figures first")
    page = jinja2.Environment(autoescape=True).from_string(_PAGE).render(
        run=run, rules=" ".join((claims.__doc__ or "").split("\n\n", 1)[1].replace("``", "").split()),
        headline=Markup(_html(pd.read_csv(run.tables / "headline.csv", keep_default_na=False))),
        claims=Markup(_html(made.round(2).astype(object).where(made.notna(), ""))),
        figures=[{"name": p.stem, "data": base64.b64encode(p.read_bytes()).decode()} for p in sorted(run.figures.glob("*.png"))],
        tables=[{"name": p.stem, "html": Markup(_html(pd.read_csv(p, keep_default_na=False)))} for p in sorted(run.tables.glob("*.csv"))],
        examples=_examples(run, examples), style=Markup(explorer.STYLE),
        audit=Markup(_html(pd.DataFrame(audit.rows()))),
        settings=yaml.safe_dump(run.profile.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        provenance=_provenance(run),
    )  # fmt: skip
    path = run.folder / "report.html"
    write_text(path, page)
    return path


def _html(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, escape=True, border=0, na_rep="")


def _examples(run: Run, n: int) -> list[tuple[str, Any, Any]]:
    """Family, training examples, and benchmark questions by outcome."""
    return [
        (
            f,
            explorer.training_page(synthesis.records(run, f).rows(), n),
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
        {"wall_seconds": times, "environment": kept[-1]["environment"] if kept else {}, "stages": list(runner.NAMES)},
        indent=1,
    )
