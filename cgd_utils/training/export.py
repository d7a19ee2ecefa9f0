"""Training rows of a method for other trainers: TRL or LLaMA-Factory, with a dataset card.

``trl``            ``train.jsonl``, rows ``{id, prompt: [messages], completion: [messages]}``: TRL's conversational prompt-completion.
``llama-factory``  ``<name>.json``, rows ``{messages: [user, assistant]}``, and the ``dataset_info.json`` that describes them.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import methods, prompts
from ..core import files, provenance, store, variants
from ..core.errors import BadInput
from ..core.files import file_hash, write_json, write_text
from ..core.records import Record
from ..core.store import Run
from ..models import chat_templates, loading, named, sharing
from ..synthesis import teaching
from ..synthesis.drafts import of_seed
from . import fine_tune

FORMATS = ("trl", "llama-factory")
# LLaMA-Factory's data/README.md: sharegpt formatting with the roles of the OpenAI format
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}

_LOCAL = re.compile(r"(?<![\w/:.])/(?:[\w.~-]+/)+([\w.-]+)")  # an absolute path, its last name kept
_ROOM = 64  # tokens beyond the longest row, for what another template may add

_CARD = """---
{front}---
# {title}

Training rows of the method `{method}` ({summary}), made by the [CGD kit](https://arxiv.org/abs/2505.11628).
Each row holds one user turn ({shows}) and one assistant turn ({target}). **The loss belongs on the assistant turn alone**,
and at inference the model sees the question alone.

## Rows

| | |
| --- | --- |
| rows | {rows} |
| problems | {source}{revision}; overlap with benchmarks: `{decontaminate}` |
| drafts by | {drafter} ({right} of {known} graded drafts right) |
| critiques and refined answers by | {teacher} |
| critiques that hold the final answer | {leaks} of {rows} |
| mean characters of prompt, completion | {prompt_chars}, {completion_chars} |
| prompt layout | `{layout}` |

The first row:

```json
{example}
```

## Use

```{language}
{use}
```

The longest row has {longest} tokens with the tokenizer and chat template of `{student}`; {length} leaves room for a
system prompt or date that another template adds. A model with another tokenizer may need more.

## Limits

The critiques and answers were written by a program and may be wrong; {unchecked} {licence}
Made by `{command}` from commit `{commit}`; `manifest.json` holds the settings and the files' hashes.
"""

_TARGETS = {
    "solution": "the data set's solution",
    "direct": "the teacher's direct answer",
    "refined": "the refined answer",
    "critique": "the critique",
    "critique_and_refined": "the critique and the refined answer",
}
_USE = {
    "trl": (
        "python",
        """from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

rows = load_dataset("json", data_files="{out}/train.jsonl", split="train")
# loss on the completion: TRL's default here. max_length: its default of 1024 tokens would cut or drop longer rows
config = SFTConfig(output_dir="trained", max_length={length})
SFTTrainer("MODEL", args=config, train_dataset=rows).train()""",
    ),
    "llama-factory": (
        "yaml",
        """dataset_dir: {out}
dataset: {name}
cutoff_len: {length}  # its default would cut longer rows
train_on_prompt: false  # LLaMA-Factory's default: loss on the assistant turn""",
    ),
}


def write(run: Run, method: str, form: str, out: Path, family: str | None = None, seed: int | None = None) -> Record:
    """Writes a method's training rows to a new folder; drafts and critiques are read, never made.

    Args:
        run: the run whose records are used.
        method: for example ``cgd`` or ``cgd_noisy(0.3)``.
        form: one of `FORMATS`.
        out: the folder; an earlier export there is replaced.
        family: whose drafts; None = the profile's first family.
        seed: the rows, order and random parts that this training seed sees; None = all records, in their order.

    Returns:
        ``{folder, format, method, family, rows, files}``.

    Raises:
        BadInput: unknown format, method or family, a folder that holds something else, or no records of these settings.
    """
    if form not in FORMATS:
        raise BadInput(f"--format {form!r}: use one of {', '.join(FORMATS)}")
    about, _ = methods.parse(method)
    family = family or next(iter(run.profile.models.students))
    named.student(run, family)
    _refuse_foreign(out)
    reading = replace(run, only_reads=True)
    records = teaching.records(reading if seed is None else of_seed(reading, seed), family)
    used = records.rows()
    if seed is not None:
        t = run.profile.training
        used = fine_tune.draw(used, t.rows, seed, t.right_share, t.validation_rows, t.share_by)
    rows = methods.rows(method, used, prompts.layout(run.profile.models.layout), seed or 0)
    longest = _longest(run, family, rows)
    name = re.sub(r"\W+", "_", f"{method}_{run.profile.name}_{family}").strip("_")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        files = _write_trl(part, rows) if form == "trl" else _write_llama_factory(part, rows, name)
        seen = "" if seed is None else f" --seed {seed}"
        command = (
            f"cgd export {variants.option(run)} --method {shlex.quote(method)} --format {form} --family {family}{seen}"
        )
        write_text(
            part / "README.md", _card(run, about, method, form, name, rows, used, out.name, command, family, longest)
        )
        write_json(
            part / store.MANIFEST,
            {
                "kind": "export",
                "format": form,
                "method": method,
                "family": family,
                "seed": seed,
                "rows": len(rows),
                "inputs": [records.key],
                "command": command,
                "environment": provenance.environment(),
                "profile": run.profile.model_dump(mode="json"),
                "outputs": {f: file_hash(part / f) for f in [*files, "README.md"]},
            },
        )
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return {"folder": str(out), "format": form, "method": method, "family": family, "rows": len(rows), "files": files}


def is_export(folder: Path) -> bool:
    """Whether `write` made a folder."""
    try:
        return bool(json.loads((folder / store.MANIFEST).read_text(encoding="utf-8")).get("kind") == "export")
    except (OSError, ValueError):
        return False


def push(folder: Path, repo: str, *, private: bool = True) -> Record:
    """Uploads an export as a data set; its card may have been edited, its rows not.

    Raises:
        BadInput: the rows are not those that were exported, or ``repo`` is no repository's name.
    """
    hashes = json.loads((folder / store.MANIFEST).read_text(encoding="utf-8"))["outputs"]
    for name, known in hashes.items():
        path = folder / name
        if name != "README.md" and (not path.is_file() or file_hash(path) != known):
            raise BadInput(f"{path}: is not as it was exported; export again, or upload what you made of it yourself")
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        for path in folder.iterdir():
            if path.name in hashes or path.name == store.MANIFEST:
                shutil.copy(path, staged)
        for name in ("README.md", store.MANIFEST):  # a file's name may be told, where it lies on this machine not
            write_text(staged / name, _LOCAL.sub(r"\1", (staged / name).read_text(encoding="utf-8")))
        return sharing.upload(staged, repo, private, "dataset")


def _longest(run: Run, family: str, rows: Sequence[Record]) -> int:
    """Tokens of the longest row as the family's student reads it, with all that its chat template writes."""
    tok = loading.load_tokenizer(named.model_ref(run, named.student(run, family), family))
    texts = [chat_templates.text(tok, r["prompt"] + r["completion"]) for r in rows]
    return max(len(ids) for ids in chat_templates.encode(tok, texts))


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out}: it is a file; name a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not is_export(out):
        raise BadInput(f"--out {out}: the folder holds something else than an export; name a new one")


def _write_trl(folder: Path, rows: Sequence[Record]) -> list[str]:
    files.write_jsonl(folder / "train.jsonl", [{k: r[k] for k in ("id", "prompt", "completion")} for r in rows])
    return ["train.jsonl"]


def _write_llama_factory(folder: Path, rows: Sequence[Record], name: str) -> list[str]:
    messages = [{"messages": r["prompt"] + r["completion"]} for r in rows]
    files.write_text(folder / f"{name}.json", json.dumps(messages, ensure_ascii=False, indent=1) + "\n")
    described = {
        name: {
            "file_name": f"{name}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": _TAGS,
        }
    }
    files.write_json(folder / "dataset_info.json", described)
    return [f"{name}.json", "dataset_info.json"]


def _card(
    run: Run,
    about: methods.Method,
    method: str,
    form: str,
    name: str,
    rows: Sequence[Record],
    used: Sequence[Record],
    out: str,
    command: str,
    family: str,
    longest: int,
) -> str:
    import yaml

    p, environment = run.profile, provenance.environment()
    lab = p.data.is_lab
    front: Record = {
        "pretty_name": f"{method} rows of {p.name}",
        "tags": ["cgd-kit", "critique", "distillation"],
        "task_categories": ["text-generation"],
        "size_categories": [_size(len(rows))],
    }
    if lab:
        front["license"] = "mit"
    data = "train.jsonl" if form == "trl" else f"{name}.json"
    front["configs"] = [
        {"config_name": "default", "data_files": [{"split": "train", "path": data}]}
    ]  # the hub's viewer
    language, use = _USE[form]
    length = 64 * math.ceil((longest + _ROOM) / 64)
    graded = [r["draft_correct"] for r in used if r["draft_correct"] is not None]
    known_teachers = {
        "exact": "the lab's exact teacher",
        "prose": "the kit's exact teacher for prose",
        "data": "texts that came with the data",
    }
    teacher = known_teachers.get(p.synthesis.teacher.kind, f"`{used[0].get('teacher')}`")
    return _CARD.format(
        front=yaml.safe_dump(front, sort_keys=False),
        title=front["pretty_name"],
        method=method,
        summary=about.summary,
        shows={"x": "the question", "x, y'": "question and draft", "x, y', c": "question, draft and critique"}[
            about.shows
        ],
        target=_TARGETS.get(about.target, about.target),
        rows=len(rows),
        source="the lab world" if lab else f"`{Path(p.data.source).name}`",
        revision=f" at `{p.data.revision}`" if p.data.revision else "",
        decontaminate=p.data.decontaminate,
        drafter=f"`{used[0]['draft_model']}`",
        right=sum(graded),
        known=len(graded),
        teacher=teacher,
        leaks=sum(methods.leaks(r["critique"], r["answer"]) for r in used),
        prompt_chars=round(sum(len(m["content"]) for r in rows for m in r["prompt"]) / len(rows)),
        completion_chars=round(sum(len(r["completion"][0]["content"]) for r in rows) / len(rows)),
        layout=p.models.layout,
        example=json.dumps({k: rows[0][k] for k in ("prompt", "completion")}, ensure_ascii=False, indent=1),
        language=language,
        use=use.format(out=out, name=name, length=length),
        length=length,
        longest=longest,
        student=named.student(run, family),
        unchecked=f"{sum(bool(r['refined_correct']) for r in used)} of {len(used)} refined answers were graded right.",
        licence=""
        if lab
        else "The rows are under whatever licences their problems and models have; look them up before you publish.",
        command=command,
        commit=environment["git_commit"] or "unknown",
    )


def _size(n: int) -> str:
    """The hub's size category."""
    for limit, name in ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if n < limit:
            return name
    return "1M<n<10M"
