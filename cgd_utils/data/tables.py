"""Tables of any kind of file as rows, and the text in their cells: numbers, lists, chat messages."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import BadInput
from ..core.files import read_jsonl
from ..core.records import Record

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


def read_table(path: Path) -> list[Record]:
    """Rows of a JSONL, JSON, CSV or Parquet file; see `_read_json` for what a JSON file may be.

    Raises:
        BadInput: missing file, unknown kind, or content that is not of its kind.
    """
    import pandas as pd

    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind == ".jsonl":
        return read_jsonl(path)
    try:
        if kind == ".json":
            return _read_json(path)
        if kind == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
        if kind == ".parquet":
            frame = pd.read_parquet(path)
            narrow = frame.select_dtypes(["float16", "float32"]).columns
            # 0.1, not 0.10000000149011612, which is the same number in 32 bits
            frame[narrow] = frame[narrow].astype(str).astype(float)
            return frame.to_dict("records")
    except BadInput:
        raise
    except Exception as e:
        raise BadInput(f"{path}: cannot be read as {kind[1:].upper()} ({e})") from None
    raise BadInput(f"{path}: unknown kind of file; use one of {', '.join(SUFFIXES)}")


def read_hub(asked: str, hub_id: str, config: str | None, split: str, revision: str | None) -> list[Record]:
    """Rows of a data set on the hub.

    Args:
        asked: what asked for it, as an error begins.
        hub_id, config, split, revision: on the hub.

    Raises:
        BadInput: it cannot be loaded, with the first line of the reason.
    """
    from datasets import load_dataset

    try:
        return list(load_dataset(hub_id, config, split=split, revision=revision))
    except Exception as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise BadInput(
            f"{asked}{hub_id} could not be loaded from the hub ({reason}). "
            "Is there a network, does the id exist, and is access granted?"
        ) from None


def _read_json(path: Path) -> list[Record]:
    """Rows of a .json file: a list of objects, an object that holds one such list (``{"data": […]}``), or JSON Lines."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        found = json.loads(text)
    except ValueError:
        if _first_line_is_an_object(text):
            return read_jsonl(path)
        raise
    if isinstance(found, dict):
        lists = [k for k, v in found.items() if _are_objects(v) and not _messages(v)]
        if len(lists) > 1:
            raise BadInput(
                f"{path}: several lists of objects ({', '.join(lists)}); keep one, as a list or as JSON Lines"
            )
        # JSON Lines of one line are an object without such a list
        found = found[lists[0]] if lists else [found]
    if not isinstance(found, list) or not all(isinstance(r, dict) for r in found):
        raise BadInput(f"{path}: expected a list of objects")
    return found


def _first_line_is_an_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text.strip().partition("\n")[0]), dict)
    except ValueError:
        return False


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(r, dict) for r in value)


# who speaks in a chat message, in the spellings of the layouts {role, content} and {from, value}
_SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "model": "assistant"}


def text_of(value: Any, field: str = "answer") -> str:
    """A cell as text: '' for nothing, lists joined with commas, 27.0 as 27; of chat messages the one that is the field.

    A cell may be a number, text, list, array or message of Python, numpy or pandas, or the text that Python prints for a
    list (``['1', '2']``).

    Args:
        value: the cell.
        field: ``question`` takes the user's message of a chat, the other fields the assistant's last one.

    Raises:
        ValueError: an object that is no chat message, or a question of several turns.
    """
    if isinstance(value, str):
        listed = _printed_list(value)
        return value.strip() if listed is None else text_of(listed, field)
    if isinstance(value, bytes):
        return text_of(value.decode("utf-8"), field)
    if isinstance(value, list | tuple) or getattr(value, "ndim", None):
        items = list(value)
        if (messages := _messages(items)) is not None:
            return _spoken(messages, field)
        return ", ".join(_item(v, field) for v in items)
    if isinstance(value, Mapping):
        if (messages := _messages([value])) is not None:
            return _spoken(messages, field)
        raise ValueError(
            f"{field}: an object ({', '.join(map(str, value))}) is no text; name a column of text or chat messages"
        )
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return ""
    if hasattr(value, "is_integer") and not isinstance(value, bool | int) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _item(value: Any, field: str) -> str:
    """An item of a list; a list inside a list stays together: (1, 2), (3, 4)."""
    text = text_of(value, field)
    return f"({text})" if isinstance(value, list | tuple) or getattr(value, "ndim", None) else text


def _printed_list(text: str) -> list[Any] | None:
    """The list of texts or messages that Python or numpy printed as ``text``; None for anything else.

    ``[2, 5]`` is left alone: it may be an interval.
    """
    if re.fullmatch(r"\[\s*[-+.\de]+(?:\s+[-+.\de]+)+\s*\]", text.strip()):  # numbers as numpy prints them
        return text.strip("[] \n").split()
    if not re.fullmatch(r"\[\s*(?:['\"{].*[\"'}]\s*)?\]", text.strip(), re.DOTALL):
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    spaced = re.sub(r"(['\"}])\s+(?=['\"{])", r"\1, ", text)  # numpy prints no commas
    try:
        found = ast.literal_eval(spaced.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _messages(items: Sequence[Any]) -> list[tuple[str, Any]] | None:
    """Chat messages as pairs of speaker and content; None where an item is no message."""
    out = []
    for item in items:
        if not isinstance(item, Mapping):
            return None
        who = item.get("role", item.get("from"))
        if not isinstance(who, str) or ("content" not in item and "value" not in item):
            return None
        out.append((_SPEAKERS.get(who.lower(), who.lower()), item.get("content", item.get("value"))))
    return out or None


def _spoken(messages: Sequence[tuple[str, Any]], field: str) -> str:
    """What the field's speaker says in a chat; a system message sets the tone and is left out.

    Raises:
        ValueError: a question of several turns.
    """
    who = "user" if field == "question" else "assistant"
    spoken = [content for speaker, content in messages if speaker == who]
    if who == "user" and len(spoken) > 1:
        raise ValueError(f"question: a chat of {len(spoken)} user turns is no single question; give rows of one turn")
    return _content(spoken[-1]) if spoken else ""


def _content(content: Any) -> str:
    """A message's content: text, or parts ``{"type": "text", "text": …}``."""
    if content is None or isinstance(content, str):
        return (content or "").strip()
    parts = [p["text"] for p in content if isinstance(p, Mapping) and isinstance(p.get("text"), str)]
    if len(parts) < len(content):
        raise ValueError("question: a chat message holds something else than text, such as an image")
    return "\n".join(parts).strip()
