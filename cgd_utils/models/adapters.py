"""LoRA adapters: settings by family, what is trained, merging into a 16-bit base, cards, and the push to a hub."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from ..core.errors import BadInput
from ..core.files import write_json
from ..core.records import Record
from ..core.settings import Lora
from ..core.store import Run
from . import adapter_base, sharing

# relative difference of logits that rounding explains: the merged weights are rounded to the base's type
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
    experts = sorted({f"experts.{name}" for _, name in expert_weights(model)}) if lora.experts else None
    if lora.experts and not experts:
        raise BadInput("training.lora.experts = true, but this model has no experts; leave it out")
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        target_parameters=experts,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        task_type="CAUSAL_LM",
        bias="none",
    )


def trained_parts(model: Any) -> str:
    """What is trained, in words, for example ``LoRA on q_proj, v_proj (64 layers); frozen: embed_tokens, experts, …``."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = Counter(n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, BaseTunerLayer))
    if not layers:
        return "all weights"
    frozen = set()
    for name, weight in model.named_parameters():
        if not weight.requires_grad and "base_layer" not in name and "lora_" not in name:
            part = name.split(".")[-3 if "parametrizations" in name else -2]
            if "norm" not in part:
                frozen.add(part)
    trained = f"LoRA on {', '.join(sorted(layers))} ({sum(layers.values())} layers)"
    return trained + (f"; frozen: {', '.join(sorted(frozen))}" if frozen else "")


# ---------------------------------------------------------------- merging
class Merged(TypedDict):
    """A merge and what it changed.

    ``relative_difference`` is the largest logit difference between base + adapter and the saved merged model over the
    largest logit, ``same_top_token`` the share of positions whose likeliest token is the same, ``saw_4_bit`` whether the
    adapter was trained over 4-bit weights.
    """

    base: str
    out: str
    dtype: str
    relative_difference: float
    same_top_token: float
    saw_4_bit: bool


def merge(adapter: Path, out: Path, base: str | None = None, dtype: str = "bfloat16", device: str = "auto") -> Merged:
    """Merges a LoRA adapter into its 16-bit base and checks the logits before and after.

    Args:
        adapter: the adapter's folder.
        out: folder of the merged model; must not exist yet.
        base: the base's folder or hub id; None = what the adapter names.
        dtype: of the merged weights.
        device: 'auto', 'cpu' or 'cuda'.

    Raises:
        BadInput: no adapter, another base, a quantised base, or logits that differ by more than rounding explains (nothing
        is kept then).
    """
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
    own_tokenizer = (adapter / "tokenizer_config.json").exists()
    tok = loading.load_tokenizer(loading.ModelRef(str(adapter), "adapter") if own_tokenizer else ref)
    model = loading.load_model(ref).eval()
    _refuse_unmergeable(adapter, model)
    before = _logits(model, tok)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merge-") as temporary:
        part = Path(temporary) / "model"
        model.merge_and_unload(safe_merge=True).save_pretrained(part)
        tok.save_pretrained(part)
        del model
        after = _logits(loading.load_model(loading.ModelRef(str(part), out.name, dtype=dtype, device=device)), tok)
        difference = float((after - before).abs().max() / before.abs().max())
        if not difference <= TOLERANCE[dtype]:
            finer = "" if dtype == "float32" else "merge with --dtype float32, or "
            raise BadInput(
                f"adapter {adapter}: merged logits differ by {difference:.3g} of the largest (at most {TOLERANCE[dtype]:g} is "
                f"rounding); {finer}{_keep(adapter)}"
            )
        if (adapter / "README.md").exists():
            card = (adapter / "README.md").read_text(encoding="utf-8")
            merged_into = f"\nMerged into {ref.name} in {dtype}; logits differ by {difference:.2g}.\n"
            (part / "README.md").write_text(card + merged_into, encoding="utf-8")
        part.rename(out)
    cgd = adapter / "cgd.json"
    return Merged(
        base=ref.name,
        out=str(out),
        dtype=dtype,
        relative_difference=difference,
        same_top_token=float((after.argmax(-1) == before.argmax(-1)).float().mean()),
        saw_4_bit=cgd.exists() and json.loads(cgd.read_text(encoding="utf-8"))["mode"] == "qlora",
    )


def _keep(adapter: Path) -> str:
    return f"keep the adapter beside its base: cgd generate --model BASE --adapter {adapter}"


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
        raise BadInput(f"adapter {adapter}: {kind} has no weights to merge; {_keep(adapter)}")
    base = model.get_base_model()
    if not base.config.get_text_config().tie_word_embeddings:
        return
    for name, end in (("input embeddings", base.get_input_embeddings()), ("output head", base.get_output_embeddings())):
        if isinstance(end, BaseTunerLayer):
            raise BadInput(
                f"adapter {adapter}: it adapts the {name}, whose weight this base also uses at its other end (tied "
                f"embeddings), so merging would change both; {_keep(adapter)}, or train one without it"
            )


def _logits(model: Any, tok: Any) -> Any:
    """A model's logits on three short conversations: (tokens, vocabulary), 32 bits, on the CPU."""
    import torch

    questions = (
        "What is 12 + 30?",
        "Ann has 3 apples and gets 4 more. How many are there now?",
        "Name a prime number.",
    )
    answer = {"role": "assistant", "content": "Answer: 7"}
    texts = [tok.apply_chat_template([{"role": "user", "content": q}, answer], tokenize=False) for q in questions]
    probe = tok(texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False)
    probe = probe.to(model.device)
    with torch.inference_mode():
        return model.eval()(**probe).logits[probe["attention_mask"].bool()].float().cpu()


# ---------------------------------------------------------------- cards and hubs
class Card(TypedDict):
    """What a trained model's card tells: ``facts`` are the trainer's, ``settings`` the profile's ``training``."""

    base: str
    method: str
    family: str
    seed: int
    mode: str
    data_key: str
    facts: Record
    settings: Any
    versions: dict[str, str]


def write_card(folder: Path, card: Card, results: Sequence[Record] = ()) -> None:
    """Writes ``README.md`` and ``cgd.json`` beside a model: settings, data hash, and results if there are any.

    Args:
        folder: of the adapter or model.
        card: what it tells.
        results: result records, see `evaluation`.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    measured = [
        EvalResult(
            task_type="text-generation",
            dataset_type=r["benchmark"],
            dataset_name=r["benchmark"],
            metric_type=r["metric"],
            metric_value=round(r["value"], 2),
        )
        for r in results
    ]
    about = ModelCardData(
        model_name=f"{card['family']} · {card['method']} · seed {card['seed']}",
        eval_results=measured or None,
        base_model=card["base"],
        library_name="transformers" if card["mode"] == "full" else "peft",
        tags=["critique-guided-distillation", "cgd-kit"],
    )
    template = str(Path(__file__).with_name("card.md.jinja"))
    ModelCard.from_template(about, template, card=card, results=results).save(folder / "README.md")
    write_json(folder / "cgd.json", card)


def results_of(run: Run, card: Card) -> list[Record]:
    """The rows of a run's ``results.csv`` about one trained model; none where it was not evaluated."""
    import pandas as pd

    if not run.results_csv.exists():
        return []
    frame = pd.read_csv(run.results_csv, dtype={"seed": "Int64"})
    of_model = [frame[field] == card[field] for field in ("family", "method", "seed")]
    return frame[pd.concat(of_model, axis=1).all(axis=1)].dropna(subset=["value"]).to_dict("records")


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
    if not (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise BadInput(f"{folder}: neither adapter_config.json nor config.json lies there, so it is no model")
    sharing.check_name(repo)
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        for path in folder.iterdir():
            if path.is_file() and path.suffix in (".json", ".safetensors", ".jinja", ".md", ".model", ".txt"):
                shutil.copy(path, staged)
        if (staged / "cgd.json").exists():
            card = json.loads((staged / "cgd.json").read_text(encoding="utf-8"))
            write_card(staged, card, results_of(run, card) if run else ())
            config = staged / "adapter_config.json"
            if config.exists():  # PEFT's names a folder of this machine
                about = json.loads(config.read_text(encoding="utf-8"))
                write_json(config, about | {"base_model_name_or_path": card["base"]})
        return sharing.upload(staged, repo, private, "model")
