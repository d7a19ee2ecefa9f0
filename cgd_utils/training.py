"""Training: any method, full fine-tuning, LoRA or QLoRA, through TRL's trainer on rows tokenised and checked here."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from . import generation, methods, prompts, synthesis
from .artifacts import Artifact, BadInput, Run, write_jsonl
from .generation import ModelRef

Record = dict[str, Any]
CODE = ("training", "methods", "prompts", "generation")
IGNORED = -100


def tokenize(rows: Sequence[Record], tok: Any, max_length: int) -> tuple[list[Record], list[Record]]:
    """Token ids and labels of training rows; the loss is on the completion and its end-of-turn token only.

    Args:
        rows: training rows, see `methods.rows`.
        tok: a tokenizer with a chat template.
        max_length: tokens; longer rows are left out, never cut.

    Returns:
        ``(tokenised, too_long)``: ``{id, input_ids, labels}`` (equal lengths, -100 where nothing is learnt), and
        ``{id, length}`` of the rows left out.

    Raises:
        BadInput: a row without a completion, or a chat template that breaks one of the checks.
    """
    if tok.pad_token_id is None or tok.pad_token_id == tok.eos_token_id:
        raise BadInput("tokenizer: its pad token is missing or is its end-of-turn token; set another pad_token")
    tokenised, too_long = [], []
    for row in rows:
        if not row["completion"] or not row["completion"][0]["content"].strip():
            raise BadInput(f"training row {row['id']!r} ({row['method']}): its completion is empty")
        prompt = tok.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
        whole = tok.apply_chat_template(row["prompt"] + row["completion"], tokenize=False)
        if not whole.startswith(prompt):
            raise BadInput(
                f"training row {row['id']!r}: the chat template's prompt is not a prefix of prompt + completion"
            )
        # encoded apart, so that no token spans the boundary: inference ends its prompt there too
        head = tok(prompt, add_special_tokens=False)["input_ids"]
        tail = tok(whole[len(prompt) :].rstrip("\n"), add_special_tokens=False)["input_ids"]
        if not tail or tail[-1] != tok.eos_token_id:
            raise BadInput(f"training row {row['id']!r}: the last token of the completion is not the end-of-turn token")
        if tok.bos_token_id is not None and tok.bos_token_id != tok.eos_token_id and head.count(tok.bos_token_id) > 1:
            raise BadInput(f"training row {row['id']!r}: the beginning-of-text token occurs more than once")
        if len(head) + len(tail) > max_length:
            too_long.append({"id": row["id"], "length": len(head) + len(tail)})
            continue
        tokenised.append({"id": row["id"], "input_ids": head + tail, "labels": [IGNORED] * len(head) + tail})
    return tokenised, too_long


def draw(records: Sequence[Record], rows: int, seed: int, right_share: float | None = None) -> list[Record]:
    """The records that a seed trains on, in its order: the same for every method.

    With ``right_share`` a mix of right and wrong drafts; its size is the same for every share: what the scarcer kind gives.

    Raises:
        BadInput: more rows asked for than there are.
    """
    if rows > len(records):
        raise BadInput(
            f"training.rows = {rows} but the synthesis left only {len(records)} records; lower it or use 0 (all)"
        )
    order = list(range(len(records)))
    Random(f"order/{seed}").shuffle(order)
    if right_share is not None:
        kinds = [[i for i in order if bool(records[i]["draft_correct"]) is right] for right in (True, False)]
        size = min(len(kinds[0]), len(kinds[1]), rows or len(records))
        n = round(size * right_share)
        chosen = {*kinds[0][:n], *kinds[1][: size - n]}
        if not chosen:
            raise BadInput("training.right_share: all drafts are right or all are wrong, so no mix can be drawn")
        return [records[i] for i in order if i in chosen]
    return [records[i] for i in order[: rows or None]]


def fine_tune(run: Run, family: str, method: str, seed: int, records: Artifact | None = None) -> Artifact:
    """Trains one student with one method and seed, or loads it; the model or adapter lies in ``<artifact>/model``."""
    p = run.profile
    records = records or synthesis.records(run, family)
    base = synthesis.model_ref(run, synthesis.student(run, family), family)
    t = p.training
    settings = {
        "training": t.model_dump(exclude={"methods", "seeds"}), "method": method, "seed": seed,
        "models": p.models.model_dump(exclude={"students", "weaker"}), "base": synthesis.model_key(base.path),
    }  # fmt: skip

    def build(folder: Path) -> Record:
        drawn = draw(records.rows(), t.rows, seed, t.right_share)
        rows = methods.rows(method, drawn, prompts.layout(p.models.layout), seed)
        tok = generation.load_tokenizer(base)
        tokenised, too_long = tokenize(rows, tok, t.max_length)
        if not tokenised:
            raise BadInput(f"training.max_length = {t.max_length}: all {len(rows)} rows are longer; raise it")
        if too_long:
            write_jsonl(folder / "too_long.jsonl", too_long)
        facts = _train(base, tok, tokenised, t, seed, folder)
        return {"rows": len(tokenised), "too_long": len(too_long),
                "trained_tokens": sum(x != IGNORED for r in tokenised for x in r["labels"]),
                "processed_tokens": sum(len(r["labels"]) for r in tokenised), **facts}  # fmt: skip

    label = f"{family}-{method.replace('(', '-').rstrip(')')}-s{seed}"
    return run.make("models", label, build, settings=settings, inputs=[records.key], code=CODE)


def trained_ref(run: Run, family: str, model: Artifact, name: str) -> ModelRef:
    """How to load a trained model: a whole model, or an adapter over the family's base."""
    folder = model.folder / "model"
    if (folder / "adapter_config.json").exists():
        return synthesis.model_ref(run, synthesis.student(run, family), name, adapter=str(folder))
    return synthesis.model_ref(run, str(folder), name)


def whole(run: Run, family: str, model: Artifact, label: str) -> Path:
    """The folder of a trained model that can be loaded by itself; an adapter is merged into its base (16 or 32 bits)."""
    ref = trained_ref(run, family, model, label)
    if ref.adapter is None:
        return Path(ref.path)

    def build(folder: Path) -> None:
        from dataclasses import replace

        generation.load_model(replace(ref, quantize=False)).merge_and_unload().save_pretrained(folder / "model")
        generation.load_tokenizer(ref).save_pretrained(folder / "model")

    return run.make("merged", label, build, inputs=[model.key], code=("generation",)).folder / "model"


def _train(base: ModelRef, tok: Any, rows: list[Record], t: Any, seed: int, folder: Path) -> Record:
    import torch
    from datasets import Dataset, disable_progress_bars
    from transformers import DataCollatorForSeq2Seq
    from transformers.trainer_utils import get_last_checkpoint
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    quantize = t.mode == "qlora"
    ref = ModelRef(base.path, base.name, None, base.revision, base.dtype, base.device, base.trust_remote_code, quantize)
    torch.manual_seed(seed)
    model = generation.load_model(ref)
    on_cpu = model.device.type == "cpu"
    config = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        per_device_train_batch_size=t.micro_batch_size,
        gradient_accumulation_steps=max(
            1, t.batch_size // t.micro_batch_size // int(os.environ.get("WORLD_SIZE", "1"))
        ),
        num_train_epochs=t.epochs,
        learning_rate=t.learning_rate,
        lr_scheduler_type=t.lr_scheduler,
        warmup_steps=t.warmup,
        weight_decay=t.weight_decay,
        max_grad_norm=t.max_grad_norm,
        gradient_checkpointing=t.gradient_checkpointing,
        optim="paged_adamw_8bit" if quantize and not on_cpu else "adamw_torch",
        bf16=not on_cpu,
        use_cpu=on_cpu,
        seed=seed,
        data_seed=seed,
        train_sampling_strategy="sequential",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if t.save_steps else "no",
        save_steps=t.save_steps or 500,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list([{"input_ids": r["input_ids"], "labels": r["labels"]} for r in rows]),
        processing_class=tok,
        data_collator=DataCollatorForSeq2Seq(tok, padding=True, label_pad_token_id=IGNORED),
        peft_config=None if t.mode == "full" else lora_config(t.lora),
        callbacks=[_quiet()],
    )
    trainer.remove_callback(_printer())
    if not sum(q.numel() for q in trainer.model.parameters() if q.requires_grad):
        raise BadInput("training: no parameter is trainable; check training.lora.target_modules")
    last = get_last_checkpoint(str(folder / "checkpoints")) if (folder / "checkpoints").is_dir() else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(resume_from_checkpoint=last)
    history = [h for h in trainer.state.log_history if "loss" in h]
    write_jsonl(folder / "history.jsonl", [_step(h) for h in history])
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / "model.part")
    trainer.model.save_pretrained(folder / "model.part")
    tok.save_pretrained(folder / "model.part")
    shutil.rmtree(folder / "model", ignore_errors=True)
    (folder / "model.part").rename(folder / "model")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return {"steps": trainer.state.global_step, "final_loss": history[-1]["loss"] if history else None,
            "trainable_parameters": sum(q.numel() for q in trainer.model.parameters() if q.requires_grad)}  # fmt: skip


def _step(h: Record) -> Record:
    return {
        "step": h["step"],
        **{k: h[k] for k in ("loss", "learning_rate", "grad_norm", "mean_token_accuracy") if k in h},
    }


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _quiet() -> Any:
    from transformers import TrainerCallback

    class StopOnNaN(TrainerCallback):
        """A loss that is not a number ends the run at once: nothing after it could be used."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Record | None = None, **_: Any) -> None:
            loss = (logs or {}).get("loss")
            if loss is not None and loss != loss:
                raise RuntimeError(
                    f"training: the loss is not a number at step {state.global_step}; lower training.learning_rate "
                    f"(now {args.learning_rate})"
                )

    return StopOnNaN()


def lora_config(lora: Any) -> Any:
    """PEFT's LoRA config for a profile's ``training.lora``."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules,
        task_type="CAUSAL_LM", bias="none",
    )  # fmt: skip
