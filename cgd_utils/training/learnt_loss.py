"""The loss from the logits of learnt tokens alone: on a CPU the head is a fifth of a small model's work.

TRL's fused head leaves out what carries no loss on GPUs only; elsewhere it computes every position.
"""

from __future__ import annotations

from typing import Any

from .tokenization import IGNORED

# below it the head is cheap, and TRL's own loss is kept
LARGE_VOCABULARY = 4096
# positions whose logits are held in 32 bits at a time
BLOCK = 256


def pays(model: Any) -> bool:
    """Whether the head should compute learnt positions only: on a CPU, for a large vocabulary.

    A mixture of experts needs TRL's own loss, which adds the balance of its routers.
    """
    config = model.config.get_text_config()
    routed = hasattr(config, "output_router_logits")
    return model.device.type == "cpu" and config.vocab_size >= LARGE_VOCABULARY and not routed


def learnt_loss(model: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """Sum of the negative log-likelihoods of the learnt tokens, and how many of them are the model's first choice.

    Args:
        model: a causal language model, maybe with an adapter.
        inputs: of its forward pass, with ``labels`` of shape (rows, tokens), -100 where nothing is learnt.

    Returns:
        ``(loss, right)``: two scalars; the loss can be differentiated, also where nothing is learnt.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    labels = inputs["labels"][:, 1:]
    learnt = labels != IGNORED
    others = {name: value for name, value in inputs.items() if name != "labels"}
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, hidden: (hidden[0][:, :-1][learnt],))
    try:
        logits = model(**others).logits  # (learnt tokens, vocabulary)
    finally:
        hook.remove()

    def block_loss(block: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(block.float(), targets, reduction="sum")

    targets = labels[learnt]
    loss = logits.sum() * 0.0
    for block, wanted in zip(logits.split(BLOCK), targets.split(BLOCK), strict=True):
        # recomputed in the backward pass, so that no block stays in 32 bits
        loss = loss + checkpoint(block_loss, block, wanted, use_reentrant=False)
    return loss, (logits.detach().argmax(-1) == targets).sum()
