"""The training loop: TRL's SFTTrainer over batches planned here, with safe checkpoints and a record of every step."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import BadInput
from ..core.files import read_jsonl
from ..core.records import Record
from ..core.settings import Training
from ..models import adapter_base, adapters, loading, number_format, quantization
from ..models.loading import ModelRef
from . import learnt_loss, tokenization
from .checkpoints import TrainingFailed, first_line, kept, last_checkpoint
from .kept_models import keeper, kept_steps
from .safe_trainer import trainer_class
from .step_record import recorder
from .torchrun import processes


def train(
    base: ModelRef,
    tok: Any,
    rows: Sequence[Record],
    t: Training,
    seed: int,
    folder: Path,
    validation: Sequence[Record] = (),
    steps: int | None = None,
    watch: Callable[[Record], None] | None = None,
) -> Record:
    """Trains a model on tokenised rows, going on from the last whole checkpoint in ``folder``.

    Args:
        base: what is trained; loaded in 4 bits for mode qlora.
        tok: its tokenizer.
        rows: tokenised rows, in training order.
        t: the profile's ``training``.
        seed: of adapters' initial weights and dropout.
        folder: gets ``model/`` (a whole model or an adapter), ``history.jsonl`` (a row a step) and ``validation.jsonl``.
        validation: held-out tokenised rows.
        steps: optimizer steps; None = ``t.epochs`` passes over the rows.
        watch: called with each row of the history as it is written.

    Returns:
        Facts: steps, tokens, losses, parameters, what is trained.

    Raises:
        BadInput: nothing trainable, or a setting that this machine lacks. TrainingFailed: the loss is not a number, or
        the disk is full.
    """
    model = _load(base, t, seed)
    plan = _plan(rows, t, steps)
    text_config = model.config.get_text_config()
    routers = getattr(text_config, "output_router_logits", None)
    trainer = _trainer(base, model, tok, rows, validation, t, seed, folder, plan, watch)
    trainer.base = base
    trainable = sum(q.numel() for q in trainer.model.parameters() if q.requires_grad)
    if not trainable:
        raise BadInput("training: no parameter is trainable; check training.lora.target_modules")
    trained = adapters.trained_parts(trainer.model)

    def keep(target: Path) -> None:
        during = getattr(text_config, "output_router_logits", None)
        if routers is not None:
            text_config.output_router_logits = routers
        _write(trainer, tok, target)
        if routers is not None:
            text_config.output_router_logits = during

    trainer.add_callback(keeper(keep, folder, kept_steps(plan.steps, t.keep)))
    _run(trainer, bool(validation))
    # TRL turns it on for a mixture's balancing loss; a model that is saved so cannot generate with a cache
    if routers is not None:
        text_config.output_router_logits = routers
    history = read_jsonl(folder / "history.jsonl") if trainer.is_world_process_zero() else []
    _save(trainer, tok, folder)
    return {**_facts(plan, history, model), "trainable_parameters": trainable, "trained": trained}


@dataclass(frozen=True)
class _Plan:
    """What every optimizer step reads.

    Attributes:
        passes: steps of forward passes of row numbers, see `training.tokenization.batches`.
        sizes: of each step, the tokens read and the tokens learnt.
        steps: optimizer steps; they go round ``passes``.
        packed: tokens of a packed forward pass; None = not packed.
    """

    passes: list[list[list[int]]]
    sizes: list[tuple[int, int]]
    steps: int
    packed: int | None


def _plan(rows: Sequence[Record], t: Training, steps: int | None) -> _Plan:
    packed = t.max_length if t.packing else None
    passes = tokenization.batches(
        rows, t.batch_size, t.micro_batch_size, processes(), packed, count_packs=t.batch_of == "packs"
    )
    sizes = [tokenization.lengths([rows[i] for one in step for i in one]) for step in passes]
    return _Plan(passes, sizes, steps or math.ceil(t.epochs * len(passes)), packed)


def _trainer(
    base: ModelRef,
    model: Any,
    tok: Any,
    rows: Sequence[Record],
    validation: Sequence[Record],
    t: Training,
    seed: int,
    folder: Path,
    plan: _Plan,
    watch: Callable[[Record], None] | None,
) -> Any:
    """TRL's trainer over the planned batches, with its adapter and its record of every step."""
    import torch

    on_cpu = model.device.type == "cpu" and not torch.cuda.is_available()
    half = not on_cpu or number_format.resolve(base.path, base.dtype, "cpu") == "bfloat16"
    accumulate = len(plan.passes[0]) // processes()
    flash = "flash" in (model.config._attn_implementation or "")
    held = _passes(_alone(validation, t, plan.packed), len(rows)) if validation else None
    trainer = trainer_class()(
        model=model,
        args=_config(t, seed, folder / "checkpoints", on_cpu, half, accumulate, plan.steps),
        train_dataset=_passes(plan.passes),
        eval_dataset=held,
        processing_class=tok,
        data_collator=tokenization.Collator([*rows, *validation], tok.pad_token_id, t.packing, flash),
        peft_config=None if t.mode == "full" else adapters.lora_config(t.lora, model),
        callbacks=[recorder(folder, plan.sizes, watch)],
    )
    trainer.names = [r["id"] for r in rows]
    trainer.learnt_only = learnt_loss.pays(model)
    trainer.remove_callback(_printer())
    if processes() > 1:
        trainer.accelerator.even_batches = False
    if t.mode == "qlora":
        # TRL rounds adapters over 4-bit weights to bfloat16, in which steps of 1e-5 are lost: back to 32 bits
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
    return trainer


def _run(trainer: Any, validate: bool) -> None:
    """Trains from the last whole checkpoint to the end, and validates after the last step if that was not done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(resume_from_checkpoint=last_checkpoint(Path(trainer.args.output_dir)))
        last = trainer.state.global_step
        validated = any("eval_loss" in h and h["step"] == last for h in trainer.state.log_history)
        if validate and not validated:
            trainer.evaluate()


def _facts(plan: _Plan, history: Sequence[Record], model: Any) -> Record:
    import torch

    done = [plan.sizes[i % len(plan.sizes)] for i in range(plan.steps)]
    read = sum(x for x, _ in done)
    seconds = sum(h["seconds"] for h in history)
    return {
        "steps": plan.steps,
        "final_loss": history[-1]["loss"] if history else None,
        "trained_tokens": sum(x for _, x in done),
        "processed_tokens": read,
        "processes": processes(),
        "tokens_per_second": round(read / seconds, 1) if seconds else None,
        "attention": model.config._attn_implementation,
        "threads": torch.get_num_threads(),
    }


def _load(base: ModelRef, t: Training, seed: int) -> Any:
    import logging

    import torch

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports its use otherwise
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an optional kernel that no profile needs
    quantize = t.mode == "qlora"
    if quantize:
        quantization.check(base)
    torch.manual_seed(seed)
    model = loading.load_model(replace(base, adapter=None, quantize=quantize))
    _set_attention(model, t)
    if t.mode == "full" and model.dtype != torch.float32:
        # updates of 1e-6 are lost in 16-bit weights: master weights are kept in 32 bits, computed with in 16
        model = model.float()
    return model


def _set_attention(model: Any, t: Training) -> None:
    """The profile's ``training.attention``; auto is FlashAttention where packing gains by it, else the model's own."""
    on_gpu = model.device.type == "cuda"
    wanted = t.attention
    if wanted == "auto":
        if not (on_gpu and t.packing and importlib.util.find_spec("flash_attn")):
            return  # transformers chose sdpa, or eager for a model that has no other (gpt-oss)
        wanted = "flash_attention_2"
    elif wanted.startswith("flash"):
        package = "flash_attn" if wanted.endswith("2") else "flash_attn_interface"
        if not on_gpu or importlib.util.find_spec(package) is None:
            raise BadInput(f"training.attention = {wanted!r} needs a CUDA GPU and the package {package}; use sdpa")
    try:
        model.set_attn_implementation(wanted)
    except ValueError:
        name = type(model).__name__
        raise BadInput(f"training.attention = {wanted!r}: {name} does not support it; use auto") from None


def _config(t: Training, seed: int, checkpoints: Path, on_cpu: bool, half: bool, accumulate: int, steps: int) -> Any:
    from trl import SFTConfig

    for name in t.track:
        if (
            importlib.util.find_spec({"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}[name])
            is None
        ):
            raise BadInput(f"training.track: {name!r} is not installed; pip install {name}, or leave it out")
    liger = importlib.util.find_spec("liger_kernel") is not None
    if t.liger is True and not liger:
        raise BadInput("training.liger = true: liger-kernel is not installed; pip install liger-kernel, or use auto")
    full, cadence = t.mode == "full", "steps" if t.validation_steps else "no"
    return SFTConfig(
        output_dir=str(checkpoints),
        max_length=None,
        packing=False,  # packed by `training.tokenization.batches`, which never cuts a row
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        per_device_train_batch_size=1,  # an item is a whole forward pass
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=accumulate,
        max_steps=steps,
        learning_rate=t.common_rate,
        lr_scheduler_type=t.lr_scheduler,
        warmup_steps=t.warmup,
        weight_decay=t.weight_decay,
        max_grad_norm=t.max_grad_norm,
        gradient_checkpointing=t.gradient_checkpointing and not t.fsdp,
        optim="paged_adamw_8bit" if t.mode == "qlora" and not on_cpu else "adamw_torch_fused",
        bf16=half,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and processes() > 1 else None,
        ddp_find_unused_parameters=False if processes() > 1 else None,
        fsdp=t.fsdp and full and processes() > 1,  # type: ignore[arg-type]  # transformers takes True as full_shard
        fsdp_config={"activation_checkpointing": t.gradient_checkpointing} if t.fsdp and processes() > 1 else None,
        seed=seed,
        data_seed=seed,
        train_sampling_strategy="sequential",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy=cadence,
        eval_steps=t.validation_steps or None,
        prediction_loss_only=True,
        save_strategy="steps" if t.save_steps else "no",
        save_steps=t.save_steps or 500,
        save_total_limit=2,
        use_liger_kernel=liger and not on_cpu if t.liger == "auto" else bool(t.liger),
        torch_compile=t.compile,
        report_to=list(t.track) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
    )


def _passes(planned: Sequence[Sequence[Sequence[int]]], first: int = 0) -> Any:
    """A data set of forward passes: the numbers of their rows; the rows stay with the collator."""
    from datasets import Dataset

    return Dataset.from_list([{"numbers": [first + i for i in one]} for s in planned for one in s])


def _alone(rows: Sequence[Record], t: Training, packed: int | None) -> list[list[list[int]]]:
    size = t.micro_batch_size * processes()
    return tokenization.batches(rows, size, t.micro_batch_size, processes(), packed)


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _save(trainer: Any, tok: Any, folder: Path) -> None:
    """Writes ``model/``; checkpoints go when it is there."""
    _write(trainer, tok, folder / "model")
    if trainer.is_world_process_zero():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _write(trainer: Any, tok: Any, target: Path) -> None:
    """Writes the model as it is now to a folder, at once or not at all."""
    folder, part = Path(trainer.args.output_dir).parent, target.with_name(f"{target.name}.part")
    if trainer.is_world_process_zero():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(part)
    try:
        trainer.save_model(str(part))  # gathers shards where there are several processes
    except Exception as e:
        raise TrainingFailed(
            f"training: the model could not be saved ({first_line(e)}); free disk space and run again: "
            + kept(folder / "checkpoints")
        ) from e
    if trainer.is_world_process_zero():
        for name in ("training_args.bin", "README.md"):
            (part / name).unlink(missing_ok=True)
        tok.save_pretrained(part)
        if (part / "adapter_config.json").exists():
            adapter_base.record(part, trainer.base)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
