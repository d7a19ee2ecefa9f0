"""The command line: ``python -m cgd_utils COMMAND``, also installed as ``cgd``.

Exit codes: 0 done, 1 a stage failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from . import __version__
from .app.console import (
    Device,
    Name,
    Out,
    Outputs,
    Profile,
    Result,
    Settings,
    Workers,
    app,
    command,
    explain,
    fail,
    hint,
    one,
    open_run,
    opt,
    show,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    group = typer.main.get_command(app)
    try:
        with group.make_context("cgd", list(words) or ["--help"]) as context:
            code = group.invoke(context)
        sys.stdout.flush()
        return code or 0
    except typer.Exit as e:
        return e.exit_code if words else 2
    except typer.TyperException as e:  # what was typed is no command of ours
        return fail(f"{e.format_message().replace('Value error, ', '')}{hint(e, words)}", 2)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except Exception as e:
        return explain(e)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(version: Annotated[bool, opt("print it", "--version", is_eager=True, callback=_version)] = False) -> None:
    pass


@command("cgd run --profile lab --set training.epochs=2")
def run(
    as_json: bool,
    profile: Profile = None,
    name: Name = None,
    outputs: Outputs = None,
    settings: Settings = None,
    first: Annotated[str | None, opt("first notebook, for example 4", "--from", metavar="NB")] = None,
    last: Annotated[str | None, opt("last notebook", "--to", metavar="NB")] = None,
    only: Annotated[str | None, opt("one notebook", metavar="NB")] = None,
    force: Annotated[list[str] | None, opt("run a notebook though it is done; repeatable", metavar="NB")] = None,
    dry_run: Annotated[bool, opt("say what would run", "--dry-run")] = False,
) -> Result:
    """Run the chain of notebooks; finished ones are skipped."""
    from .app import chain, probes

    this, profile, overrides = open_run(profile, name, outputs, settings)
    with probes.offline_where_away(bool(probes.repositories(this))):
        rows = chain.run_chain(
            this,
            overrides,
            profile,
            first=chain.stage_named(only or first or chain.NAMES[0]),
            last=chain.stage_named(only or last or chain.NAMES[-1]),
            force=[chain.stage_named(f) for f in force or ()],
            dry_run=dry_run,
            tell=(lambda _: None) if as_json else (lambda line: print(line, flush=True)),
        )
    table = this.tables / "headline.md"
    if dry_run or rows[-1]["stage"] != chain.NAMES[-1] or not table.exists():
        return Result(rows)
    return Result(rows, note=f"{table.read_text('utf-8')}\ntables: {this.tables}\nfigures: {this.figures}")


@command("cgd status --profile lab")
def status(this: Any, cells: Annotated[bool, opt("the cells of the ablation grids", "--cells")] = False) -> Result:
    """What is done, stale (and why), partial or missing."""
    from .ablations import cell_runs
    from .app import chain

    rows: Sequence[Any] = cell_runs.states(this) if cells else chain.status(this)
    done = all(r["state"] == "done" for r in rows)
    note = "" if done else f"what is not done is made by: {this.command()}"
    return Result(rows, note=note, legend={"wall_seconds": "seconds that the notebook ran"})


@command("cgd check --profile gpu")
def check(
    this: Any,
    as_json: bool,
    gpu_gib: Annotated[float | None, opt("memory of the GPU in mind (default: this machine's)")] = None,
) -> Result:
    """What would fail on this machine, before long work: servers, hub, disk, memory; and how long it takes."""
    from .app import preflight, room

    if not as_json:
        print("memory to train, GiB (estimated from the config):")
        legend = {"total": "with 0.9 GiB of CUDA context and a twentieth lost to fragments"}
        legend |= {"fits": "in 95% of the GPU's memory, or in the free main memory; empty: no GPU is known"}
        show(Result(room.memory_table(this, gpu_gib), legend=legend), False)
    rows = preflight.report(this, gpu_gib)
    return Result(rows, code=0 if all(r["ok"] for r in rows) else 2)


@command("cgd train --profile gpu --method cgd")
def train(
    this: Any,
    opened: Any,
    family: Annotated[list[str] | None, opt("repeatable (default: all of the profile)")] = None,
    method: Annotated[list[str] | None, opt("repeatable (default: training.methods)")] = None,
    seed: Annotated[list[int] | None, opt("repeatable (default: training.seeds)")] = None,
) -> Result:
    """Train models without the notebook; on several GPUs: torchrun --nproc_per_node 2 -m cgd_utils train."""
    from .app import preflight
    from .core import variants
    from .training import fine_tune
    from .training.torchrun import rank

    t = this.profile.training
    preflight.preflight(this)
    variants.note(this, *opened)
    trained = [
        fine_tune.fine_tune(this, f, m, s)
        for f in family or this.profile.models.students
        for m in method or t.methods
        for s in seed or t.seeds
    ]
    if rank() > 0:
        return Result()
    shown = ("rows", "steps", "trained_tokens", "processed_tokens", "final_loss", "tokens_per_second", "processes")
    rows = [{"model": str(a.folder / "model"), **{k: a.manifest["facts"].get(k) for k in shown}} for a in trained]
    legend = {"trained_tokens": "tokens with loss", "processed_tokens": "with their prompts and padding"}
    return Result(rows, legend={**legend, "final_loss": "nats a trained token"})


@command("cgd merge-adapter ADAPTER_FOLDER --out merged")
def merge_adapter(
    adapter: Path,
    out: Annotated[Path, opt("folder to write")],
    base: Annotated[str | None, opt("'lab:<name>', a folder or a hub id (default: what the adapter names)")] = None,
    dtype: Annotated[str, opt("of the merged weights: bfloat16, float16, float32")] = "bfloat16",
    device: Device = "auto",
) -> Result:
    """Merge a LoRA adapter into its 16-bit base; logits are compared before and after."""
    from .models import adapters

    merged = dict(adapters.merge(adapter, out, base, dtype, device))
    if merged["saw_4_bit"]:
        note = "note: this adapter was trained over 4-bit weights; the merged model holds the 16-bit ones"
        print(note, file=sys.stderr)
    return one(merged)


@command("cgd grade answers.jsonl --out scores.jsonl --rule math")
def grade(
    records: Path,
    out: Out,
    rule: Annotated[str, opt("math, relative, exact or authors")] = "math",
    workers: Workers = None,
) -> Result:
    """Grade answers: rows {id, gold, text} in, scores out."""
    from .grading.records import grade_file

    return one(grade_file(records, out, rule, workers))


@command("cgd report --profile lab")
def report(this: Any) -> Result:
    """What the executed notebook 07 shows, as one HTML page."""
    from .app import chain, report

    written = {"report": str(report.write(this)), "claims": str(this.folder / "claims.csv")}
    last = chain.status(this)[-1]
    note = f"made of an older {last['stage']} ({last['why']}); anew: {this.command()}" if last["why"] else ""
    return one(written, note)


@command("cgd generate --model lab:llama --prompts prompts.jsonl --out answers.jsonl")
def generate(
    prompts: Annotated[Path, opt("rows {id, prompt} or {id, messages}")],
    out: Out,
    model: Annotated[str | None, opt("'lab:<name>', a folder or a hub id")] = None,
    adapter: Annotated[str | None, opt("a PEFT adapter's folder over the model")] = None,
    revision: Annotated[str | None, opt("commit of a hub model")] = None,
    device: Device = "auto",
    engine: Annotated[Literal["transformers", "vllm", "ray"], opt("for --model")] = "transformers",
    fields: Annotated[list[str] | None, opt("a field of a profile's generation section", "--set")] = None,
    server: Annotated[str | None, opt("an OpenAI-compatible server, such as http://localhost:8000/v1")] = None,
    server_model: Annotated[str | None, opt("the model as the server calls it")] = None,
    api_key_env: Annotated[str, opt("environment variable that holds the key")] = "OPENAI_API_KEY",
    concurrency: Annotated[int, opt("server: requests under way at once")] = 32,
    budget: Annotated[float | None, opt("server: stop cleanly at this cost (with --price)")] = None,
    price: Annotated[tuple[float, float], opt("of a million tokens, in prompts and answers")] = (0.0, 0.0),
    shard: Annotated[str | None, opt("every N-th prompt from I, I from 0", metavar="I/N")] = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_new_tokens: int = 512,
    n: Annotated[int, opt("samples a prompt")] = 1,
    seed: int = 0,
    batch_size: Annotated[int, opt("model: prompts a batch at most")] = 256,
) -> Result:
    """Answer a file of prompts with a model or a server; goes on where it stopped."""
    from .app import probes
    from .core import profile_files, settings
    from .engines import prompt_files
    from .models import adapter_base, loading

    if bool(model) == bool(server):
        raise ValueError("give --model (a model of this machine) or --server (a server's address), one of them")
    sampling = settings.Sampling(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, n=n, seed=seed)
    fields_of_engine: dict[str, Any]
    if server:
        ref = loading.ModelRef("", server_model or "")
        fields_of_engine = {"engine": "openai", "base_url": server, "server_model": server_model}
        fields_of_engine |= {"api_key_env": api_key_env, "concurrency": concurrency, "budget": budget}
        fields_of_engine |= {"price_prompt": price[0], "price_completion": price[1]}
    else:
        ref = loading.ModelRef(loading.resolve(model or ""), model or "", adapter, revision, device=device)
        fields_of_engine = {"engine": engine, "batch_size": batch_size}
        if adapter:
            adapter_base.check(ref)
    for name, value in profile_files.parse_assignments(fields or []).items():
        fields_of_engine[name.removeprefix("generation.")] = value
    chosen = settings.Engine(**fields_of_engine)
    prompt_files.read_prompts(prompts)  # a wrong file is told before anybody is asked
    if server:
        probes.require(server)
    with probes.offline_where_away(not server and not Path(ref.path).is_dir()):
        return one(prompt_files.generate(prompts, out, ref, chosen, sampling, shard))


@command("cgd merge part-0.jsonl part-1.jsonl --prompts prompts.jsonl --out answers.jsonl")
def merge(shards: list[Path], prompts: Annotated[Path, opt("the prompts of all")], out: Out) -> Result:
    """Join the shards of cgd generate; missing or double answers are refused."""
    from .engines import prompt_files

    return one(prompt_files.merge(shards, prompts, out))


@command("cgd ifeval --data input_data.jsonl --responses responses.jsonl --out scores.jsonl")
def ifeval(
    data: Annotated[Path, opt("IFEval's input file")],
    responses: Annotated[Path, opt("rows {prompt, response}")],
    out: Annotated[Path, opt("rows {key, prompt, strict, loose, …}")],
    workers: Workers = None,
) -> Result:
    """Score recorded answers to IFEval: strict and loose, prompt and instruction, without thoughts and with them."""
    from .grading import ifeval

    summary = ifeval.score_file(data, responses, out, workers)
    rows = [{"accuracy": k, **v} for k, v in summary.items() if k != "thoughts"]
    counts = ", ".join(f"{n} {kind}" for kind, n in summary["thoughts"].items())
    return Result(rows, summary, note=f"thoughts in the responses: {counts}; an unfinished one leaves no answer")


@command("cgd compare outputs/lab:cgd outputs/lab:distilled_sft")
def compare(
    run_a: str,
    run_b: str,
    name: Annotated[str | None, opt("of a variant: a side without a folder is a method of its")] = None,
    outputs: Outputs = None,
    level: Annotated[float, opt("of the intervals")] = 0.95,
) -> Result:
    """Two runs or methods on the same questions, paired; a side is a score file or RUN_FOLDER:METHOD."""
    from .core import store
    from .evaluation import compare

    if not 0 < level < 1:
        raise ValueError(f"--level {level}: must lie between 0 and 1, such as 0.95")
    folder = store.outputs_folder(outputs and outputs.expanduser().absolute()) / name if name else None
    # a side that names no folder is a method of the variant
    whole = [folder is None or ":" in side or Path(side).is_file() for side in (run_a, run_b)]
    sides = [side if w else f"{folder}:{side}" for side, w in zip((run_a, run_b), whole, strict=True)]
    a, b = map(compare.read_side, sides)
    rows = compare.compare(a, b, level)
    if alone := compare.unshared(a, b):
        print(f"not compared, on one side only: {', '.join(alone)}", file=sys.stderr)
    legend = {"n": "questions", "a": f"percent right of {run_a}", "b": f"percent right of {run_b}"}
    legend |= {"difference": f"a - b in points, with its {100 * level:g}% interval from low to high"}
    legend |= {"p": "over seeds and questions (one seed: bootstrap); p_holm is corrected for the number of benchmarks"}
    legend |= {"boot_low": "and boot_high: the interval by resampling seeds and questions, as a check"}
    legend |= {"p_mcnemar": "exact, for one seed and sample; p_seeds: paired t-test over seeds"}
    return Result(rows, legend=legend)


@command("cgd audit --json")
def audit(
    tables: Annotated[Path | None, opt("folder of table_*.csv (default: the shipped ones)")] = None,
    differences: Annotated[bool, opt("published differences against sampling noise instead", "--differences")] = False,
) -> Result:
    """Published averages that do not follow from their published rows."""
    from .paper import audit

    folder = tables or audit.PUBLISHED
    legend = {"printed": "as published", "recomputed": "the mean of the row's published cells, in percent"}
    legend |= {"claims": "what the cell is used for: rows of claims.csv"}
    legend |= {"difference": "published, CGD - baseline in points, with its 95% interval from low to high"}
    legend |= {"questions": "the difference in questions", "p": "score test; p_holm is corrected within a table"}
    return Result(audit.differences(folder) if differences else audit.rows(folder), legend=legend)


# its commands come last in the help
from .app import exchange as exchange  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
