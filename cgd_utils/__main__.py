"""The command line: ``python -m cgd_utils COMMAND``, also installed as ``cgd``.

Exit codes: 0 done, 1 a stage failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from . import __version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cgd", description="Critique-Guided Distillation, from problems to the paper's tables.",
        epilog="examples:\n  cgd check --profile gpu\n  cgd run --profile lab --set training.epochs=2\n  cgd status --profile lab --json\n"
        "  cgd compare outputs/lab:cgd outputs/lab:distilled_sft\n\ncgd COMMAND --help has an example of each. Results for scripts: --json.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, epilog=f"example: {example}")

    def add_run_options(p: argparse.ArgumentParser) -> None:
        p.add_argument("--profile", default="lab", help="a shipped profile or a YAML file (default: lab)")
        p.add_argument("--outputs", default="outputs", help="folder that holds the runs' folders (default: outputs)")
        p.add_argument(
            "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a profile field; repeatable"
        )
        p.add_argument("--json", action="store_true", help="print the result as JSON")

    p = add(
        "run", "run the chain of notebooks; finished ones are skipped", "cgd run --profile lab --set training.epochs=2"
    )
    add_run_options(p)
    p.add_argument("--from", dest="first", metavar="NB", help="first notebook, for example 04")
    p.add_argument("--to", dest="last", metavar="NB", help="last notebook")
    p.add_argument("--only", metavar="NB", help="one notebook")
    p.add_argument(
        "--force", action="append", default=[], metavar="NB", help="run a notebook though it is done; repeatable"
    )
    p.add_argument("--dry-run", action="store_true", help="say what would run")
    p = add("status", "what is done, stale (and why), partial or missing", "cgd status --profile lab")
    p.add_argument("--cells", action="store_true", help="the cells of the ablation grids instead: done, stale or to do")
    add_run_options(p)
    p = add(
        "check",
        "what would fail on this machine, before long work; memory that training needs",
        "cgd check --profile gpu",
    )
    add_run_options(p)
    p.add_argument("--gpu-gib", type=float, default=None, help="memory of the GPU in mind (default: this machine's)")
    p = add(
        "train", "train models of a profile without the notebook; on several GPUs: torchrun --nproc_per_node 2 -m cgd_utils train",
        "cgd train --profile gpu --method cgd",
    )  # fmt: skip
    add_run_options(p)
    p.add_argument("--family", action="append", default=[], help="repeatable (default: all of the profile)")
    p.add_argument("--method", action="append", default=[], help="repeatable (default: training.methods)")
    p.add_argument("--seed", action="append", type=int, default=[], help="repeatable (default: training.seeds)")
    p = add(
        "merge-adapter", "merge a LoRA adapter into its 16-bit base; logits are compared before and after",
        "cgd merge-adapter ADAPTER_FOLDER --out merged",
    )  # fmt: skip
    p.add_argument("adapter", type=Path)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--base", help="'lab:<name>', a folder or a hub id (default: what the adapter names)")
    p.add_argument(
        "--dtype", default="bfloat16", help="of the merged weights: bfloat16, float16, float32 (default: bfloat16)"
    )
    p.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = add(
        "push", "upload a model or adapter to the hub, with its card; needs a login of yours",
        "cgd push ADAPTER_FOLDER me/qwen-cgd --profile gpu",
    )  # fmt: skip
    p.add_argument("folder", type=Path)
    p.add_argument("repository", metavar="OWNER/NAME")
    p.add_argument("--public", action="store_true", help="a new repository is public (default: private)")
    add_run_options(p)
    p = add(
        "grade",
        "grade answers: rows {id, gold, text} in, scores out",
        "cgd grade answers.jsonl --out scores.jsonl --rule math",
    )
    p.add_argument("records", type=Path)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--rule", default="math", help="math, relative or exact (default: math)")
    p.add_argument("--workers", type=int, default=None, help="processes (default: one a core)")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = add("report", "the HTML report and claims.csv of a finished run", "cgd report --profile lab")
    add_run_options(p)
    p = add(
        "generate",
        "answer a file of prompts with a model or a server; goes on where it stopped",
        "cgd generate --model lab:llama --prompts prompts.jsonl --out answers.jsonl",
    )
    p.add_argument("--model", help="'lab:<name>', a folder or a hub id")
    p.add_argument("--adapter", help="a PEFT adapter's folder over the model")
    p.add_argument("--revision", help="commit of a hub model")
    p.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="for --model (default: auto)")
    p.add_argument(
        "--engine",
        choices=["transformers", "vllm", "ray"],
        default="transformers",
        help="for --model (default: transformers)",
    )
    p.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                   help="a field of a profile's generation section, such as tensor_parallel_size=4; repeatable")  # fmt: skip
    p.add_argument("--server", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:8000/v1")
    p.add_argument("--server-model", metavar="NAME", help="the model as the server calls it")
    p.add_argument("--api-key-env", default="OPENAI_API_KEY", help="environment variable that holds the key")
    p.add_argument("--concurrency", type=int, default=32, help="server: requests under way at once (default: 32)")
    p.add_argument("--budget", type=float, default=None, help="server: stop cleanly at this cost (with --price)")
    p.add_argument(
        "--price", type=float, nargs=2, default=(0.0, 0.0), metavar=("PROMPT", "COMPLETION"), help="of a million tokens"
    )
    p.add_argument("--prompts", type=Path, required=True, help="rows {id, prompt} or {id, messages}")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--shard", metavar="I/N", help="every N-th prompt from I, I from 0")
    p.add_argument("--temperature", type=float, default=0.0)
    p.add_argument("--top-p", type=float, default=1.0)
    p.add_argument("--max-new-tokens", type=int, default=512)
    p.add_argument("--n", type=int, default=1, help="samples a prompt")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--batch-size", type=int, default=256, help="model: prompts a batch at most (default: 256)")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = add("merge", "join the shards of cgd generate; missing or double answers are refused",
            "cgd merge part-0.jsonl part-1.jsonl --prompts prompts.jsonl --out answers.jsonl")  # fmt: skip
    p.add_argument("shards", type=Path, nargs="+")
    p.add_argument("--prompts", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = add(
        "ifeval",
        "score recorded answers to IFEval: strict and loose, prompt and instruction, without thoughts and with them",
        "cgd ifeval --data input_data.jsonl --responses responses.jsonl --out scores.jsonl",
    )
    p.add_argument("--data", type=Path, required=True, help="IFEval's input file")
    p.add_argument("--responses", type=Path, required=True, help="rows {prompt, response}")
    p.add_argument("--out", type=Path, required=True, help="rows {key, prompt, strict, loose, …}")
    p.add_argument("--workers", type=int, default=None, help="processes (default: one a core)")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = add(
        "compare",
        "two runs or methods on the same questions, paired; a side is a score file or RUN_FOLDER:METHOD",
        "cgd compare outputs/lab:cgd outputs/lab:distilled_sft",
    )
    p.add_argument("run_a", metavar="RUN_A")
    p.add_argument("run_b", metavar="RUN_B")
    p.add_argument("--level", type=float, default=0.95, help="of the intervals (default: 0.95)")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = add(
        "export",
        "the training rows of a method for TRL or LLaMA-Factory, with a dataset card",
        "cgd export --profile lab --method cgd --format trl --out cgd-rows",
    )
    add_run_options(p)
    p.add_argument("--method", required=True, help="a method, such as cgd or 'cgd_noisy(0.3)'")
    p.add_argument("--format", required=True, choices=["trl", "llama-factory"])
    p.add_argument("--out", type=Path, required=True, help="folder; an earlier export there is replaced")
    p.add_argument("--family", help="whose drafts (default: the profile's first family)")
    p.add_argument("--seed", type=int, help="only the rows that this training seed draws (default: all)")
    p = add("audit", "published averages that do not follow from their published rows", "cgd audit --json")
    p.add_argument("--tables", type=Path, default=None, help="folder of table_*.csv (default: the shipped ones)")
    p.add_argument("--differences", action="store_true", help="published differences against sampling noise instead")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    from .artifacts import GenerationFailed
    from .progress import coloured
    from .runner import StageFailed
    from .trainer import TrainingFailed
    from .workers import WorkerDied

    def told(message: str) -> None:
        print(f"{coloured('error:', 'red', sys.stderr)} {message}", file=sys.stderr)

    try:
        return _COMMANDS[options.command](options)
    except (StageFailed, GenerationFailed, TrainingFailed, WorkerDied) as e:
        told(str(e))
        return 1
    except BrokenPipeError:  # the reader of a pipe has seen enough: cgd audit | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as e:
        told(f"{e}; {_EXTRAS.get((e.name or '').partition('.')[0], 'set the environment up again: make setup')}")
        return 2
    except (
        ValueError,
        OSError,
    ) as e:  # BadInput, ProfileError, graders' input errors; files that cannot be read or written
        told(_told(e))
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


# packages that only some commands need
_EXTRAS = {
    "lm_eval": "pip install 'cgd-kit[eval]'",
    "vllm": "pip install 'cgd-kit[gpu]' (Linux)",
    "ray": "pip install 'cgd-kit[scale]'",
}


def _told(error: Exception) -> str:
    """The message of an error; a validation error of pydantic's without its addresses."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    if not hasattr(error, "errors"):
        return str(error)
    return "; ".join(
        ".".join(map(str, e["loc"])) + ": " * bool(e["loc"]) + e["msg"].removeprefix("Value error, ")
        for e in error.errors()
    )


def _open(options: Any) -> tuple[Any, dict[str, Any]]:
    from . import artifacts, profiles

    overrides = profiles.parse_assignments(options.set)
    return artifacts.open_run(options.profile, options.outputs, overrides), overrides


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    from tabulate import tabulate

    print(tabulate([{k: "" if v is None else v for k, v in r.items()} for r in rows], headers="keys", maxcolwidths=70))


def _run(options: Any) -> int:
    from . import runner

    run, overrides = _open(options)
    first = runner.stage_named(options.only or options.first) if options.only or options.first else 0
    last = runner.stage_named(options.only or options.last) if options.only or options.last else len(runner.STAGES) - 1
    quiet = options.json
    rows = runner.run_chain(
        run, overrides, options.profile if not options.profile.endswith((".yaml", ".yml")) else str(Path(options.profile).resolve()),
        first=first, last=last, force=[runner.stage_named(f) for f in options.force], dry_run=options.dry_run,
        tell=(lambda _: None) if quiet else (lambda line: print(line, flush=True)),
    )  # fmt: skip
    if options.json or options.dry_run:
        _print(rows, options.json)
    elif last == len(runner.STAGES) - 1:
        table = run.tables / "headline.md"
        if table.exists():
            print(f"\n{table.read_text(encoding='utf-8')}\ntables: {run.tables}\nfigures: {run.figures}")
    return 0


_STATES = {"done": "green", "stale": "yellow", "partial": "yellow", "missing": "grey", "to do": "grey"}


def _status(options: Any) -> int:
    from . import runner
    from .progress import coloured

    run, _ = _open(options)
    if options.cells:
        from . import ablations

        rows = ablations.states(run)
    else:
        rows = runner.status(run)
    _print(
        rows if options.json else [{**r, "state": coloured(r["state"], _STATES[r["state"]])} for r in rows],
        options.json,
    )
    return 0


def _check(options: Any) -> int:
    from . import checks

    run, _ = _open(options)
    rows = checks.report(run, options.gpu_gib)
    _print(rows, options.json)
    if not options.json:
        print("\nmemory to train, GiB (estimated from the config):")
        _print(checks.memory_table(run, options.gpu_gib), False)
    return 0 if all(r["ok"] for r in rows) else 2


def _train(options: Any) -> int:
    from . import checks, training
    from .trainer import rank

    run, _ = _open(options)
    t = run.profile.training
    checks.preflight(run)
    made = [
        training.fine_tune(run, f, m, s)
        for f in options.family or run.profile.models.students
        for m in options.method or t.methods
        for s in options.seed or t.seeds
    ]
    if rank() == 0:
        shown = ("rows", "steps", "trained_tokens", "processed_tokens", "final_loss", "tokens_per_second", "processes")
        rows = [{"model": str(a.folder / "model"), **{k: a.manifest["facts"].get(k) for k in shown}} for a in made]
        _print(rows, options.json)
    return 0


def _merge_adapter(options: Any) -> int:
    from . import adapters

    made = adapters.merge(options.adapter, options.out, options.base, options.dtype, options.device)
    if made["saw_4_bit"]:
        print(
            "note: this adapter was trained over 4-bit weights; the merged model holds the 16-bit ones", file=sys.stderr
        )
    _print_or_json(made, [made], options)
    return 0


def _push(options: Any) -> int:
    from . import adapters

    run, _ = _open(options)
    made = adapters.push(options.folder, options.repository, private=not options.public, run=run)
    _print_or_json(made, [made], options)
    return 0


def _grade(options: Any) -> int:
    from .grading import grade_file

    summary = grade_file(options.records, options.out, options.rule, options.workers)
    print(
        json.dumps(summary, ensure_ascii=False) if options.json else "  ".join(f"{k}: {v}" for k, v in summary.items())
    )
    return 0


def _report(options: Any) -> int:
    from . import report

    run, _ = _open(options)
    path = report.write(run)
    print(json.dumps({"report": str(path), "claims": str(run.folder / "claims.csv")}) if options.json else path)
    return 0


def _generate(options: Any) -> int:
    from . import generation, profiles, prompt_files

    if bool(options.model) == bool(options.server):
        raise ValueError("give --model (a model of this machine) or --server (a server's address), one of them")
    sampling = profiles.Sampling(temperature=options.temperature, top_p=options.top_p, max_new_tokens=options.max_new_tokens,
                                 n=options.n, seed=options.seed)  # fmt: skip
    if options.server:
        ref = generation.ModelRef("", options.server_model or "")
        told = {"engine": "openai", "base_url": options.server, "server_model": options.server_model, "budget": options.budget,
                "api_key_env": options.api_key_env, "concurrency": options.concurrency,
                "price_prompt": options.price[0], "price_completion": options.price[1]}  # fmt: skip
    else:
        ref = generation.ModelRef(
            generation.resolve(options.model), options.model, options.adapter, options.revision, device=options.device
        )
        told = {"engine": options.engine, "batch_size": options.batch_size}
        generation.check_adapter(ref) if options.adapter else None
    more = {k.removeprefix("generation."): v for k, v in profiles.parse_assignments(options.set).items()}
    engine = profiles.Engine(**{**told, **more})
    made = prompt_files.generate(options.prompts, options.out, ref, engine, sampling, options.shard)
    _print_or_json(made, [made], options)
    return 0


def _merge(options: Any) -> int:
    from . import prompt_files

    made = prompt_files.merge(options.shards, options.prompts, options.out)
    _print_or_json(made, [made], options)
    return 0


def _ifeval(options: Any) -> int:
    from . import instruction_following

    summary = instruction_following.score_file(options.data, options.responses, options.out, options.workers)
    accuracies = {k: v for k, v in summary.items() if k != "thoughts"}
    _print_or_json(
        summary, [{"accuracy": k, **{f: round(x, 1) for f, x in v.items()}} for k, v in accuracies.items()], options
    )
    told = ", ".join(f"{n} {kind}" for kind, n in summary["thoughts"].items())
    print(f"thoughts in the responses: {told}; an unfinished one leaves no answer", file=sys.stderr)
    return 0


def _compare(options: Any) -> int:
    from . import compare

    if not 0 < options.level < 1:
        raise ValueError(f"--level {options.level}: must lie between 0 and 1, such as 0.95")
    a, b = compare.read_side(options.run_a), compare.read_side(options.run_b)
    rows = compare.compare(a, b, options.level)
    if alone := compare.unshared(a, b):
        print(f"not compared, on one side only: {', '.join(alone)}", file=sys.stderr)
    _print_or_json(rows, [{k: _rounded(k, v) for k, v in r.items()} for r in rows], options)
    return 0


def _export(options: Any) -> int:
    from . import checks, export, methods

    methods.parse(options.method)
    run, _ = _open(options)
    checks.preflight(run)
    made = export.write(run, options.method, options.format, options.out, options.family, options.seed)
    _print_or_json(made, [{**made, "files": ", ".join(made["files"])}], options)
    return 0


def _audit(options: Any) -> int:
    from . import audit

    folder = options.tables or audit.PUBLISHED
    rows = audit.differences(folder) if options.differences else audit.rows(folder)
    _print_or_json(rows, [{k: _rounded(k, v) for k, v in r.items()} for r in rows], options)
    return 0


def _rounded(name: str, value: Any) -> Any:
    return (
        value
        if not isinstance(value, float)
        else f"{value:.4f}"
        if name.startswith("p") and name != "printed"
        else round(value, 2)
    )


def _print_or_json(value: Any, rows: list[dict[str, Any]], options: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1)) if options.json else _print(rows, False)


_COMMANDS = {
    "report": _report,
    "generate": _generate,
    "merge": _merge,
    "ifeval": _ifeval,
    "compare": _compare,
    "export": _export,
    "audit": _audit,
    "run": _run,
    "status": _status,
    "train": _train,
    "merge-adapter": _merge_adapter,
    "push": _push,
    "check": _check,
    "grade": _grade,
}

if __name__ == "__main__":
    sys.exit(main())
