"""Training rows as tokens: chat templates, labels and their checks, over-long rows, batches of one optimizer step.

A tokenised row: ``{id, input_ids, labels}``, lists of equal length; a label is -100 where nothing is learnt, for example
``{"id": "lab-7", "input_ids": [1, 5, 9, 2], "labels": [-100, -100, 9, 2]}``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..core.errors import BadInput
from ..core.records import Record
from ..models import chat_templates

IGNORED = -100


def tokenize(rows: Sequence[Record], tok: Any, max_length: int) -> tuple[list[Record], list[Record]]:
    """Token ids and labels of training rows; the loss is on the completion and its end-of-turn token only.

    Args:
        rows: training rows, see `methods.rows`.
        tok: a tokenizer as `models.loading.load_tokenizer` gives it.
        max_length: tokens; longer rows are left out, never cut.

    Returns:
        ``(tokenised, too_long)``: ``{id, input_ids, labels}`` (equal lengths, -100 where nothing is learnt), and
        ``{id, length}`` of the rows left out.

    Raises:
        BadInput: see `split`, or a tokenizer without a pad token of its own.
    """
    if tok.pad_token_id is None or tok.pad_token_id == tok.eos_token_id:
        raise BadInput("tokenizer: its pad token is missing or is its end-of-turn token; set another pad_token")
    tokenised, too_long = [], []
    for row, (head, tail) in zip(rows, split(rows, tok), strict=True):
        if len(head) + len(tail) > max_length:
            too_long.append({"id": row["id"], "length": len(head) + len(tail)})
            continue
        tokenised.append({"id": row["id"], "input_ids": head + tail, "labels": [IGNORED] * len(head) + tail})
    return tokenised, too_long


def split(rows: Sequence[Record], tok: Any) -> list[tuple[list[int], list[int]]]:
    """Each row's token ids of the prompt, and those that are learnt: the completion and one end of turn.

    Raises:
        BadInput: a row without a completion, a completion that holds a special token, or a chat template that breaks
            one of the checks; the row is named.
    """
    turn = chat_templates.turn(tok)
    prompts, tails = [], []
    for row in rows:
        if not row["completion"] or not row["completion"][0]["content"].strip():
            raise BadInput(f"training row {row['id']!r} ({row['method']}): its completion is empty")
        prompt = chat_templates.text(tok, row["prompt"], open_turn=True)
        whole = chat_templates.text(tok, row["prompt"] + row["completion"])
        if not whole.startswith(prompt):
            raise BadInput(
                f"training row {row['id']!r}: the chat template's prompt is not a prefix of prompt + completion"
            )
        tail = whole[len(prompt) :]
        # templates may trim an answer or lay it out anew; what is not white space must all be there
        if not _squeezed(tail).endswith(_squeezed(row["completion"][0]["content"] + turn.closing)):
            raise BadInput(
                f"training row {row['id']!r}: the chat template drops or changes a part of the completion; it writes "
                f"{tail[:60]!r} …; take that part (often a <think> block) out of the answers, or use a template "
                "that keeps it"
            )
        prompts.append(prompt)
        tails.append(tail)
    heads = chat_templates.encode(tok, prompts)
    wholes = chat_templates.encode(tok, [p + t for p, t in zip(prompts, tails, strict=True)])
    special = chat_templates.special_ids(tok)
    framing = [i for i in chat_templates.encode(tok, [turn.opening + turn.closing])[0] if i in special]
    out = []
    for row, tail, head, ids in zip(rows, tails, heads, wholes, strict=True):
        if _starts_twice(head, tok):
            raise BadInput(
                f"training row {row['id']!r}: the beginning-of-text token occurs more than once at the start"
            )
        # inference ends its prompt at the boundary: a token that spans it would never be seen there
        learnt = ids[len(head) :] if ids[: len(head)] == head else chat_templates.encode(tok, [tail])[0]
        out.append((head, _to_end_of_turn(learnt, tok, row, special, framing)))
    return out


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _to_end_of_turn(tail: list[int], tok: Any, row: Record, special: set[int], framing: list[int]) -> list[int]:
    """The completion up to its end of turn; what a template writes after it (Phi's second end) is not learnt.

    ``framing``: the special tokens that the template writes around every completion; any other is the completion's own.
    """
    if tok.eos_token_id not in framing:
        raise BadInput(
            f"training row {row['id']!r}: the completion does not end in the end-of-turn token {tok.eos_token!r}; "
            "its chat template and its tokenizer do not fit together"
        )
    extra = Counter(i for i in tail if i in special) - Counter(framing)
    if tok.unk_token is not None and tok.unk_token not in row["completion"][0]["content"]:
        extra.pop(tok.unk_token_id, None)  # it stands for a character that the tokenizer does not know
    if extra:
        token = tok.convert_ids_to_tokens(next(iter(extra)))
        raise BadInput(
            f"training row {row['id']!r}: its completion holds the special token {token!r}, which to the model is no "
            "text but the frame of a turn; take it out of the answer"
        )
    return tail[: tail.index(tok.eos_token_id) + 1]


def _starts_twice(head: list[int], tok: Any) -> bool:
    # later ones are the template's: SmolLM2 opens every turn with it, OLMo 2 and Granite end every turn with it
    return tok.bos_token_id is not None and head[:2] == [tok.bos_token_id] * 2


def may_be_too_long(rows: Sequence[Record], tok: Any, max_length: int) -> bool:
    """Whether a row could exceed ``max_length`` tokens; a token holds at least a byte, so short texts need no counting."""
    frame = len(chat_templates.prompt_ids(tok, [rows[0]["prompt"]])[0])
    longest = max(sum(len(m["content"].encode()) for m in (*r["prompt"], *r["completion"])) for r in rows)
    return longest + frame + 16 > max_length


def lengths(rows: Sequence[Record]) -> tuple[int, int]:
    """Tokens that are read and tokens that are learnt, over tokenised rows."""
    return sum(len(r["labels"]) for r in rows), sum(x != IGNORED for r in rows for x in r["labels"])


# ---------------------------------------------------------------- batches
def batches(
    rows: Sequence[Record],
    batch_size: int,
    micro_batch_size: int,
    processes: int = 1,
    packed: int | None = None,
    count_packs: bool = False,
) -> list[list[list[int]]]:
    """Which rows every forward pass of every optimizer step reads.

    A step's rows are fixed by their order, ``batch_size`` at a time, whatever the micro-batches are: only inside a step
    are rows sorted by length, so that rows of a forward pass are about equally long. The loss is divided by the learnt
    tokens of the whole step, so sorting gives no row more weight.

    Args:
        rows: tokenised rows, in training order.
        batch_size: rows a step, over all processes.
        micro_batch_size: rows a forward pass (not used when packed).
        processes: forward passes of a step are a multiple of it; an empty one pads the last step.
        packed: tokens of a packed forward pass; None = rows side by side with padding.
        count_packs: ``batch_size`` counts packs: a step's rows are those that fill as many when put in by their order.

    Returns:
        Steps of forward passes of row indices. Every step has equally many forward passes when packed.

    Raises:
        BadInput: ``batch_size`` is not a multiple of ``micro_batch_size`` × ``processes``, or a row is longer than ``packed``.
    """
    sizes = [len(r["input_ids"]) for r in rows]
    steps = [list(range(i, min(i + batch_size, len(rows)))) for i in range(0, len(rows), batch_size)]
    if count_packs and packed is not None:
        steps = _filled(sizes, batch_size, packed)
    longest_first = [sorted(s, key=lambda i: (-sizes[i], i)) for s in steps]
    if packed is None:
        if batch_size % (micro_batch_size * processes):
            raise BadInput(
                f"training.batch_size = {batch_size} is not a multiple of micro_batch_size × processes = "
                f"{micro_batch_size} × {processes}"
            )
        out = [[s[i : i + micro_batch_size] for i in range(0, len(s), micro_batch_size)] for s in longest_first]
        return [s + [[]] * (-len(s) % processes) for s in out]
    if max(sizes) > packed:
        raise BadInput(
            f"row {rows[sizes.index(max(sizes))]['id']!r} has {max(sizes)} tokens, more than a packed pass of {packed}"
        )
    most = max(math.ceil(sum(sizes[i] for i in s) / packed) for s in steps)
    bins = most + (-most % processes)
    while True:
        dealt = [_bins(s, sizes, bins, packed) for s in longest_first]
        whole = [step for step in dealt if step is not None]
        if len(whole) == len(dealt):
            return whole
        bins += processes


def _filled(sizes: Sequence[int], packs: int, limit: int) -> list[list[int]]:
    """Rows of each step, in their order: a row that no longer fits opens the next pack, and past the last one the next step."""
    steps: list[list[int]] = [[]]
    pack, room = 1, limit
    for i, size in enumerate(sizes):
        if size > room:
            if pack == packs:
                steps.append([])
                pack = 0
            pack, room = pack + 1, limit
        steps[-1].append(i)
        room -= size
    return steps


def _bins(longest_first: list[int], sizes: list[int], bins: int, limit: int) -> list[list[int]] | None:
    """Rows dealt to the emptiest bin, longest first: bins of about equal length; None if one is over the limit."""
    out: list[list[int]] = [[] for _ in range(bins)]
    filled = [0] * bins
    for i in longest_first:
        at = filled.index(min(filled))
        out[at].append(i)
        filled[at] += sizes[i]
    return out if max(filled) <= limit else None


class Collator:
    """Tensors of one forward pass: rows side by side with right padding, or packed in one row without any.

    Packed rows restart their ``position_ids``; no attention mask is given, so that the model builds a block-diagonal one
    (or FlashAttention's sequence bounds) from them and no row sees its neighbour.
    """

    def __init__(self, rows: Sequence[Record], pad_token_id: int, packed: bool, bounds: bool = False) -> None:
        """``rows``: all tokenised rows; ``bounds``: FlashAttention's sequence bounds too, which saves a wait in every layer."""
        self.rows, self.pad_token_id, self.packed, self.bounds = rows, pad_token_id, packed, bounds

    def __call__(self, passes: Sequence[Record]) -> dict[str, Any]:
        """``passes``: one item ``{numbers: [indices of its rows]}``; it may name no row."""
        import torch

        [item] = passes
        # an empty forward pass (the last step of several processes): two tokens, nothing learnt
        rows = [self.rows[i] for i in item["numbers"]] or [
            {"input_ids": [self.pad_token_id] * 2, "labels": [IGNORED] * 2}
        ]
        sizes = [len(r["input_ids"]) for r in rows]
        if self.packed:
            labels = [x for r in rows for x in (IGNORED, *r["labels"][1:])]
            ends = torch.tensor([0, *sizes], dtype=torch.int32).cumsum(0, dtype=torch.int32)
            return {
                **(
                    {
                        "cu_seq_lens_q": ends,
                        "cu_seq_lens_k": ends,
                        "max_length_q": max(sizes),
                        "max_length_k": max(sizes),
                    }
                    if self.bounds
                    else {}
                ),
                "input_ids": torch.tensor([[x for r in rows for x in r["input_ids"]]]),
                "labels": torch.tensor([labels]),
                "position_ids": torch.tensor([[x for n in sizes for x in range(n)]]),
                "numbers": torch.tensor(item["numbers"], dtype=torch.long),
            }
        width = max(sizes)
        ids = torch.full((len(rows), width), self.pad_token_id)
        targets = torch.full((len(rows), width), IGNORED)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for i, r in enumerate(rows):
            ids[i, : sizes[i]] = torch.tensor(r["input_ids"])
            targets[i, : sizes[i]] = torch.tensor(r["labels"])
            mask[i, : sizes[i]] = 1
        numbers = torch.tensor(item["numbers"], dtype=torch.long)
        return {"input_ids": ids, "labels": targets, "attention_mask": mask, "numbers": numbers}
