"""LoRA adapters: settings by family, what is trained, merging into a 16-bit base, cards, and the push to a hub."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.errors import BadInput
from ..core.files import write_json, write_text
from ..core.records import Record
from ..core.settings import Lora
from ..core.store import Run
from . import adapter_base

# relative difference of logits that rounding explains: the merged weights are rounded to the base's type
_KEEP = "keep the adapter beside its base: cgd generate --model BASE --adapter {adapter}"
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


def lora_config(lora: Lora, model: Any) -> Any:
    """PEFT's config for a profile's ``training.lora`` and a model.

    ``all-linear`` is every linear layer but the output head: attention and MLP of the Llama, Qwen 2, Mistral and OLMo 2
    families. A mixture's experts are plain tensors, not layers: they stay as they are unless ``lora.experts`` is set. The
    router is never trained.

    Raises:
        BadInput: a name that no layer has, or experts where there are none.
    """
    import torch
    from peft import LoraConfig

    from .quantization import expert_weights

    head = model.get_output_embeddings()
    linear = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    leaves = sorted({n.rpartition(".")[2] for n in linear})
    # PEFT would read its own 'all-linear' on a mixture as the router and, where they are not in 4 bits, the experts too
    targets = leaves if lora.target_modules == "all-linear" else lora.target_modules
    if isinstance(targets, list):
        unknown = [t for t in targets if not any(n == t or n.endswith("." + t) for n in linear)]
        if unknown:
            raise BadInput(f"training.lora.target_modules: no layer {unknown[0]!r}; this model has {', '.join(leaves)}")
    experts = None
    if lora.experts:
        experts = sorted({f"experts.{name}" for _, name in expert_weights(model)})
        if not experts:
            raise BadInput("training.lora.experts = true, but this model has no experts; leave it out")
    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets,
        target_parameters=experts, use_rslora=lora.rslora, use_dora=lora.dora, task_type="CAUSAL_LM", bias="none",
    )  # fmt: skip


def trained_parts(model: Any) -> str:
    """What is trained, in words, for example ``LoRA on q_proj, v_proj (64 layers); frozen: embed_tokens, experts, …``."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = Counter(n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, BaseTunerLayer))
    if not layers:
        return "all weights"
    frozen = {
        part
        for n, q in model.named_parameters()
        if not q.requires_grad and "base_layer" not in n and "lora_" not in n
        for part in [n.split(".")[-3] if "parametrizations" in n else n.split(".")[-2]]
        if "norm" not in part
    }
    told = f"LoRA on {', '.join(sorted(layers))} ({sum(layers.values())} layers)"
    return told + (f"; frozen: {', '.join(sorted(frozen))}" if frozen else "")


# ---------------------------------------------------------------- merging
def merge(adapter: Path, out: Path, base: str | None = None, dtype: str = "bfloat16", device: str = "auto") -> Record:
    """Merges a LoRA adapter into its 16-bit base and checks the logits before and after.

    Args:
        adapter: the adapter's folder.
        out: folder of the merged model; must not exist yet.
        base: the base's folder or hub id; None = what the adapter names.
        dtype: of the merged weights.
        device: 'auto', 'cpu' or 'cuda'.

    Returns:
        ``{base, out, relative_difference, same_top_token, saw_4_bit}``: the largest logit difference over the largest logit,
        and the share of positions whose likeliest token is the same, between base + adapter and the saved merged model.

    Raises:
        BadInput: no adapter, another base, a quantised base, or logits that differ by more than rounding explains (nothing
        is kept then).
    """
    import torch

    from . import loading, quantization

    about = adapter_base.config(adapter)
    if out.exists():
        raise BadInput(f"{out} exists already; name another folder with --out")
    if dtype not in TOLERANCE:
        raise BadInput(
            f"--dtype {dtype}: use one of {', '.join(TOLERANCE)}; merging into 4 bits would change the model"
        )
    path = _base_of(about, adapter, base)
    ref = loading.ModelRef(path, Path(path).name, str(adapter), dtype=dtype, device=device)
    quantization.check(ref)
    tok = loading.load_tokenizer(
        loading.ModelRef(str(adapter), "adapter") if (adapter / "tokenizer_config.json").exists() else ref
    )
    probe = _probe(tok)
    model = loading.load_model(ref).eval()
    _refuse_unmergeable(adapter, model)
    with torch.inference_mode():
        before = model(**probe.to(model.device)).logits.float().cpu()
    merged = model.merge_and_unload(safe_merge=True)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    merged.save_pretrained(part)
    tok.save_pretrained(part)
    del model, merged
    saved = loading.load_model(loading.ModelRef(str(part), out.name, dtype=dtype, device=device)).eval()
    with torch.inference_mode():
        after = saved(**probe.to(saved.device)).logits.float().cpu()
    real = probe["attention_mask"].bool().cpu()
    difference = float((after - before)[real].abs().max() / before[real].abs().max())
    same = float((after.argmax(-1) == before.argmax(-1))[real].float().mean())
    if not difference <= TOLERANCE[dtype]:
        shutil.rmtree(part, ignore_errors=True)
        finer = "" if dtype == "float32" else "merge with --dtype float32, or "
        raise BadInput(
            f"adapter {adapter}: merged logits differ by {difference:.3g} of the largest (at most {TOLERANCE[dtype]:g} is "
            f"rounding); {finer}{_KEEP.format(adapter=adapter)}"
        )
    made = {
        "base": ref.name,
        "out": str(out),
        "dtype": dtype,
        "relative_difference": difference,
        "same_top_token": same,
        "saw_4_bit": _mode(adapter) == "qlora",
    }
    part.rename(out)
    if (adapter / "README.md").exists():
        text = (adapter / "README.md").read_text(encoding="utf-8")
        write_text(
            out / "README.md", text + f"\nMerged into {ref.name} in {dtype}; logits differ by {difference:.2g}.\n"
        )
    return made


def _base_of(about: Record, adapter: Path, base: str | None) -> str:
    from . import loading

    named = about.get("base_model_name_or_path") or ""
    try:
        return loading.resolve(base or named)
    except BadInput as e:
        if base:
            raise
        raise BadInput(
            f"adapter {adapter}: its base {named!r} is not here ({e}); name a copy of it with --base"
        ) from None


def _refuse_unmergeable(adapter: Path, model: Any) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not hasattr(model, "merge_and_unload"):
        kind = model.active_peft_config.peft_type
        raise BadInput(f"adapter {adapter}: {kind} has no weights to merge; {_KEEP.format(adapter=adapter)}")
    base = model.get_base_model()
    if not base.config.get_text_config().tie_word_embeddings:
        return
    for name, end in (("input embeddings", base.get_input_embeddings()), ("output head", base.get_output_embeddings())):
        if isinstance(end, BaseTunerLayer):
            raise BadInput(
                f"adapter {adapter}: it adapts the {name}, whose weight this base also uses at its other end (tied "
                f"embeddings), so merging would change both; {_KEEP.format(adapter=adapter)}, or train one without it"
            )


def _mode(adapter: Path) -> str | None:
    card = adapter / "cgd.json"
    return json.loads(card.read_text(encoding="utf-8"))["mode"] if card.exists() else None


def _probe(tok: Any) -> Any:
    asked = ["What is 12 + 30?", "Ann has 3 apples and gets 4 more. How many are there now?", "Name a prime number."]
    texts = [tok.apply_chat_template([{"role": "user", "content": q}, {"role": "assistant", "content": "Answer: 7"}],
                                     tokenize=False) for q in asked]  # fmt: skip
    return tok(texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False)


# ---------------------------------------------------------------- cards and hubs
def write_card(folder: Path, card: Record, results: Sequence[Record] = ()) -> None:
    """Writes ``README.md`` and ``cgd.json`` beside a model: settings, data hash, and results if there are any.

    Args:
        folder: of the adapter or model.
        card: ``{base, method, family, seed, mode, data_key, facts, settings, versions}``.
        results: result records, see `evaluation`.
    """
    facts, settings = card["facts"], card["settings"]
    lines = [
        "---", f"base_model: {card['base']}", "library_name: " + ("transformers" if card["mode"] == "full" else "peft"),
        "tags: [critique-guided-distillation, cgd-kit]", "---", "",
        f"# {card['family']} · {card['method']} · seed {card['seed']}", "",
        f"Trained with the CGD kit (Critique-Guided Distillation, arXiv 2505.11628): mode {card['mode']}, {facts['trained']}.",
        "The paper fine-tuned all weights; an adapter is a departure from it." if card["mode"] != "full" else "", "",
        "| what | value |", "| --- | --- |",
        f"| training data (content key) | `{card['data_key']}` |",
        *(f"| {k} | {facts[k]} |" for k in ("rows", "steps", "trained_tokens", "processed_tokens", "trainable_parameters", "final_loss")),
        *(f"| {k} | {settings[k]} |" for k in ("learning_rate", "lr_scheduler", "epochs", "batch_size", "max_length", "lora") if k in settings),
        *(f"| {k} | {v} |" for k, v in sorted(card["versions"].items()) if k in ("torch", "transformers", "trl", "peft", "bitsandbytes")),
        "", "## Results", "",
    ]  # fmt: skip
    if results:
        lines += ["| benchmark | metric | value | n | 95% interval |", "| --- | --- | --- | --- | --- |"]
        lines += [f"| {r['benchmark']} | {r['metric']} | {r['value']:.1f} | {r['n']} | {r['ci_low']:.1f} to {r['ci_high']:.1f} |"
                  for r in results]  # fmt: skip
    else:
        lines.append("Not evaluated when this card was written.")
    write_text(folder / "README.md", "\n".join(lines) + "\n")
    write_json(folder / "cgd.json", card)


def results_of(run: Run, card: Record) -> list[Record]:
    """The rows of a run's ``results.csv`` about one trained model; none where it was not evaluated."""
    import pandas as pd

    if not run.results_csv.exists():
        return []
    frame = pd.read_csv(run.results_csv, dtype={"seed": "Int64"})
    mine = frame[
        (frame["family"] == card["family"]) & (frame["method"] == card["method"]) & (frame["seed"] == card["seed"])
    ]
    return mine.dropna(subset=["value"]).to_dict("records")


def push(folder: Path, repo: str, *, private: bool = True, run: Run | None = None) -> Record:
    """Uploads a model or adapter folder to a hub, with its card; only ever called by ``cgd push``.

    Args:
        folder: with ``adapter_config.json`` or ``config.json``.
        repo: ``owner/name``.
        private: whether a new repository is private.
        run: fills in the card's results.

    Raises:
        BadInput: not a model's folder, or not a repository's name.
    """
    import tempfile

    from huggingface_hub import HfApi

    if not (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise BadInput(f"{folder}: neither adapter_config.json nor config.json lies there, so it is no model")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise BadInput(f"repository {repo!r}: write it as owner/name")
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "model"
        staged.mkdir()
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix in (".json", ".safetensors", ".jinja", ".md", ".model", ".txt"):
                shutil.copy(path, staged)
        card = staged / "cgd.json"
        if card.exists():
            about = json.loads(card.read_text(encoding="utf-8"))
            write_card(staged, about, results_of(run, about) if run else ())
            _without_local_paths(staged, about["base"])
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=str(staged), commit_message="Upload with cgd push")
        return {"repository": repo, "private": private, "files": sorted(p.name for p in staged.iterdir())}


def _without_local_paths(folder: Path, base: str) -> None:
    path = folder / "adapter_config.json"
    if path.exists():
        about = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, about | {"base_model_name_or_path": base})
