"""TRL's trainer with the loss over learnt tokens alone, errors that name rows, and checkpoints that are whole or gone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.files import write_jsonl
from ..core.records import Record
from ..models.loading import ModelRef
from . import learnt_loss, tokenization
from .checkpoints import COMPLETE, TrainingFailed, first_line, kept


def trainer_class() -> Any:
    """The class; a function, since TRL takes seconds to import."""
    import torch
    from trl import SFTTrainer

    class Trainer(SFTTrainer):
        """SFTTrainer that names the rows of a bad loss and marks checkpoints that are whole."""

        names: Sequence[str] = ()
        base: ModelRef | None = None
        learnt_only = False

        def compute_loss(
            self, model: Any, inputs: Record, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            numbers = inputs.pop("numbers")
            if self.learnt_only and not return_outputs:
                loss = self._learnt_loss(model, inputs, num_items_in_batch)
            else:
                loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            if model.training and not torch.isfinite(loss if torch.is_tensor(loss) else loss[0]):
                self.fail("the loss", numbers.tolist())
            return loss

        def _learnt_loss(self, model: Any, inputs: Record, learnt: Any) -> Any:
            """As TRL's, divided by the learnt tokens of the whole step, with its measure of accuracy."""
            summed, right = learnt_loss.learnt_loss(model, {**inputs, "use_cache": False})
            own = max(1, int((inputs["labels"][:, 1:] != tokenization.IGNORED).sum()))
            mode = "train" if model.training else "eval"
            self._metrics[mode]["mean_token_accuracy"].append(right.item() / own)
            loss = summed / (own if learnt is None else torch.as_tensor(learnt).clamp(min=1))
            return loss if learnt is None else loss * self.accelerator.num_processes

        def fail(self, what: str, numbers: Sequence[int]) -> None:
            rows = ", ".join(repr(self.names[i]) for i in numbers)
            raise TrainingFailed(
                f"training: {what} is not a number at step {self.state.global_step + 1}; rows of that forward pass: {rows}. "
                f"Lower training.learning_rate (now {self.args.learning_rate:g}) or look at these rows; "
                + kept(Path(str(self.args.output_dir)))
            )

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            target = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            try:
                super()._save_checkpoint(model, trial)
                if self.args.should_save:
                    sizes = {
                        p.relative_to(target).as_posix(): p.stat().st_size for p in target.rglob("*") if p.is_file()
                    }
                    write_jsonl(target / COMPLETE, [sizes])  # last: a checkpoint without it is unfinished
            except Exception as e:  # safetensors and torch wrap the system's error, each in its own
                shutil.rmtree(target, ignore_errors=True)
                raise TrainingFailed(
                    f"training: the checkpoint of step {self.state.global_step} could not be saved ({first_line(e)}); "
                    f"free disk space and run again: {kept(Path(str(self.args.output_dir)))}"
                ) from e

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """The card is written once, at the end, with the run's facts (`adapters.card`)."""

    return Trainer
