"""What an OpenAI-compatible server's reply means: an answer, one prompt's fault, the request's fault, or passing trouble.

Servers share the shape of an answer, not that of an error. A reply is judged by its status and its codes first; only where
these say nothing ("invalid_request_error") is the wording looked at, and never an echo of the prompt. Shapes that were
looked at: OpenAI, Azure, Anthropic, Gemini (errors in a list), Mistral, Groq, OpenRouter (errors under HTTP 200), vLLM, SGLang,
llama.cpp, Ollama, TGI.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from ..core.records import Record

Verdict = Literal["refused", "too_long", "again", "fault"]

# ---------------------------------------------------------------- answers
_ENDS = {
    "stop": (
        "",
        "stop",
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "stop_token",
        "complete",
        "completed",
        "finished",
    ),
    "length": (
        "length",
        "max_tokens",
        "max_output_tokens",
        "max_new_tokens",
        "max_length",
        "model_length",
        "limit",
        "token_limit",
        "model_context_window_exceeded",
    ),
    "refused": (
        "content_filter",
        "content_filtered",
        "refusal",
        "safety",
        "recitation",
        "prohibited_content",
        "blocklist",
        "spii",
        "guardrail_intervened",
        "sensitive",
        "error_toxic",
    ),
    "tool_call": ("tool_calls", "tool_call", "tool_use", "function_call"),
    "again": ("error", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource"),
}
_MEANING = {word: end for end, words in _ENDS.items() for word in words}


def whole(text: str) -> str:
    """The text as valid Unicode: half a surrogate pair, which no file can hold, becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def usage(answer: Any) -> tuple[int, int]:
    """Tokens of the prompt and of the text as the server counts them; 0 where it does not."""
    told = answer.get("usage") if isinstance(answer, dict) else None
    counts = [told.get(f"{what}_tokens") if isinstance(told, dict) else None for what in ("prompt", "completion")]
    prompt, said = (int(n) if isinstance(n, int | float) and float(n).is_integer() else 0 for n in counts)
    return prompt, said


def trouble(answer: Any) -> Any:
    """What a reply under HTTP 200 says in place of an answer; None if it is one.

    An empty list of choices is an answer: nothing was said.
    """
    if not isinstance(answer, dict) or answer.get("error") or not isinstance(answer.get("choices"), list):
        return answer or "an empty reply"
    if not answer["choices"]:
        return None
    choice = answer["choices"][0]
    if not isinstance(choice, dict) or choice.get("error"):
        return choice["error"] if isinstance(choice, dict) else "a choice that is none"
    if _end(choice) == "again":
        return f"the server ended the answer early (finish_reason {choice['finish_reason']!r})"
    return None


def read(answer: Record, max_new_tokens: int) -> Record:
    """The row's ``{text, finish_reason, n_tokens}`` of an answer without `trouble`.

    Reasoning that comes beside the text (``reasoning_content``, parts of type thinking) is no part of it.
    """
    said = usage(answer)[1]
    if not answer["choices"]:
        return {"text": "", "finish_reason": "empty", "n_tokens": said}
    choice = answer["choices"][0]
    message = choice.get("message") if isinstance(choice.get("message"), dict) else {}
    text = whole(_text(message.get("content")))
    end = _end(choice)
    if message.get("refusal"):
        end = "refused"
    elif not choice.get("finish_reason") and said >= max_new_tokens:
        end = "length"  # the server does not say why it ended, and the limit is reached
    elif not text and message.get("tool_calls"):
        end = "tool_call"
    elif not text and end == "stop":
        end = "empty"
    return {"text": text, "finish_reason": end, "n_tokens": said}


def _end(choice: Record) -> str:
    """Why an answer ended, in the kit's words; a reason that is not known stays as it is."""
    reason = str(choice.get("finish_reason") or "").lower()
    return _MEANING.get(reason, reason)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_text, content))
    if isinstance(content, dict) and content.get("type") not in ("thinking", "reasoning", "redacted_thinking"):
        return _text(content.get("text"))
    return ""


# ---------------------------------------------------------------- errors
@dataclass
class Told:
    """What an error says: its codes, its words, and the fields of the request that it names."""

    codes: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        return whole("; ".join(dict.fromkeys(self.words)))[:300] or ", ".join(self.codes)[:300] or "no reason given"

    @property
    def fields(self) -> list[str]:
        """The request's fields that are named: by the error's own list, else in its words."""
        named = [p for p in self.params if p in (*_SAMPLED, *_LIMITS)]
        return named or re.findall(rf"\b({'|'.join((*_SAMPLED[:-1], *_LIMITS))})\b", " ".join(self.words))


_SAMPLED = ("temperature", "top_p", "seed", "n")
_LIMITS = ("max_completion_tokens", "max_tokens")
_REFUSED_CODE = re.compile(
    r"content_?filter|content_?policy|policy_?violation|moderation|safety|inspection_?failed|prohibited|invalid_prompt|"
    r"(prompt|content)_?blocked|blocklist|flagged|sensitive"
)
_REFUSED_WORDS = re.compile(
    r"content[ _-]?(management|filter|policy|policies|moderation|exists risk)|usage polic|\bflagged\b|moderation|"
    r"safety (system|filter|setting|polic|reason)|(sensitive|inappropriate|harmful|unsafe|prohibited) (content|words?|material)|"
    r"violat\w* (\w+ ){0,4}(polic|terms|guideline)|(prompt|input|content|request) (was|is|has been) (blocked|rejected)"
)
_ACCOUNT = re.compile(r"\baccount\b|organi[sz]ation|\bkey\b")
_TOO_LONG_CODE = re.compile(
    r"context_?(length|size|window|limit)|exceeds?_context|too_many_(input_)?tokens|"
    r"(prompt|input|token|string|text|message|request|payload)\w*_?too_?(long|large|big)|"
    r"(prompt|input|token|string|text)s?_(\w+_)?(limit|above_max|exceed)"
)
_FAULT_CODE = re.compile(
    r"unsupported|unknown_(parameter|field)|forbidden|missing|invalid_(type|value|role|enum)|literal_error"
)
_RATE = re.compile(
    r"per (second|minute|min|hour|day)\b|rate.?limit|quota|credit|balance|billing|budget|time.?(out|limit)|seconds"
)
_TOKENS = re.compile(
    r"(?<!completion )(?<!output )(?<!new )(?<!generated )\btokens?\b|context[ _-](length|window|size|limit)|\bn_ctx\b"
)
_EXCESS = re.compile(
    r"exceed|surpass|too (many|long|large|big)|longer|larger|greater|bigger|more than|\b(over|above|beyond)\b|at most|up to|\bmax(imum)?\b|"
    r"limit|(less|fewer) than|must (be|have) (less|fewer|at most)|reduce|overflow|\bonly (takes|supports|accepts|allows|has)|\bfit|[<>≤]"
)
_LONG_PROMPT = re.compile(
    r"\b(prompt|inputs?|messages?|conversation|text|sequence|body|payload|content|request)\b\W+(\w+\W+){0,4}?"
    r"(too (long|large|big)|(longer|larger|bigger) than|(over|above|beyond|more than) (the |its )?(limit|max|\d))|"
    r"\b(prompt|inputs?|messages?|conversation|text|sequence)\b\W+(\w+\W+){0,4}?exceed|(prompt|input|sequence) length|"
    r"\bcontext\b\W+(\w+\W+){0,4}?(exceed|overflow|too|full)|exceed\w*\W+(\w+\W+){0,3}?context"
)
_PROMPT = re.compile(r"\b(prompt|inputs?|messages?|request(ed)?)\b")


def told(body: Any) -> Told:
    """What an error's body says, whatever its shape; an echo of the prompt (``input``) is not looked at."""
    out = Told()

    def look(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                look(inner, str(key).lower().rpartition("_")[2])
        elif name == "loc" and isinstance(value, list | tuple):
            out.params.extend(map(str, value))
        elif isinstance(value, list):
            for inner in value:
                look(inner, name)
        elif name in ("code", "type", "status") and value is not None:
            out.codes.append(str(value).lower())
        elif name == "param" and isinstance(value, str):
            out.params.append(value)
        elif name in ("message", "msg", "detail", "error", "raw", "reason", "reasons", "title") and isinstance(
            value, str
        ):
            nested = _parsed(value)
            if isinstance(nested, dict):
                look(nested, name)
            else:
                out.words.append(value)

    look(body, "error")
    return out


def _parsed(text: str) -> Any:
    """The JSON that a gateway passes on as a text; None if it is none."""
    try:
        return json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:
        return None


def judge(status: int, body: Any) -> Verdict:
    """What to do after a reply that holds no answer.

    Args:
        status: HTTP; 200 where the error came in place of an answer, 0 where nothing came.
        body: the parsed JSON, or text.

    Returns:
        ``refused``, ``too_long``: this prompt's; the row ends with it. ``again``: passing. ``fault``: the request's, so
        every other prompt would meet it too.
    """
    error = told(body)
    words = " ".join(error.words).lower()
    codes = " ".join(error.codes)
    if status in (200, 400, 403, 413, 422, 451, 500):
        if (
            status == 451
            or _REFUSED_CODE.search(codes)
            or (_REFUSED_WORDS.search(words) and not _ACCOUNT.search(words))
        ):
            return "refused"
        if status == 413 or _TOO_LONG_CODE.search(codes) or (status != 403 and _says_too_long(error, words, codes)):
            return "too_long"
    if "insufficient_quota" in codes:
        return "fault"
    return "again" if status in (0, 200, 408, 409, 425, 429) or status >= 500 else "fault"


def _says_too_long(error: Told, words: str, codes: str) -> bool:
    if _FAULT_CODE.search(codes) or _RATE.search(words) or any(f in _SAMPLED for f in error.fields):
        return False
    if error.fields and not _PROMPT.search(words):
        return False  # max_tokens itself is more than the model ever gives
    return bool((_TOKENS.search(words) and _EXCESS.search(words)) or _LONG_PROMPT.search(words))
