"""Engine ``openai``: any OpenAI-compatible server (vLLM, SGLang, transformers serve, hosted APIs) through the official client."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..core.engine_settings import ServerEngine
from ..core.errors import BadInput
from ..core.records import Record
from ..core.settings import Sampling
from . import server_replies
from .request_log import Request, row_seed

Wanted = Sequence[tuple[Any, int]]
# answers are handed on in portions: each goes to disk and competes with the client's loop for Python's lock
GATHER_S = 0.05
LONGEST_WAIT_S = 60


class ServerGenerator:
    """Asks a server with bounded concurrency; every answer is a row, however it ended.

    ``finish_reason`` is ``stop``, ``length``, ``refused`` (the server's filter, or a refusal), ``tool_call`` (a call instead of
    text), ``empty`` (no choice, or no text), ``too_long`` (the prompt does not fit), or ``error`` (given up after the retries; such
    rows are not kept in the log, so a new run asks again). `server_replies` says which reply is which. `counts` tells requests,
    retries, tokens and cost.

    The tries are counted here, not by the client: its back-off is fixed, it takes an error under HTTP 200 for an answer,
    and it would spend past the budget unseen.

    Raises:
        BadInput: no base URL or a malformed one, no model, no key in the named environment variable.
    """

    def __init__(self, settings: ServerEngine, name: str) -> None:
        from urllib.parse import urlparse

        url = urlparse(settings.base_url or "")
        if url.scheme not in ("http", "https") or not url.netloc:
            raise BadInput(
                f"generation.base_url {settings.base_url!r}: give the server's address, such as http://localhost:8000/v1"
            )
        if url.username or url.password or url.query:
            raise BadInput("generation.base_url: holds a user, password or query; keys come from the environment only")
        if not settings.server_model:
            raise BadInput("generation.server_model is not set: name the model as the server calls it")
        key = os.environ.get(settings.api_key_env)
        if not key and url.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise BadInput(
                f"generation: {url.hostname} wants a key: put it into the environment variable {settings.api_key_env}"
            )
        self._key = key or "none"
        self.settings, self.name = settings, name
        self.counts: Counter[str] = Counter()
        self.cost = 0.0

    @property
    def identity(self) -> Any:
        """The model's name as `models.loading.ModelRef.identity` has it, and changed requests: what the server holds, the server knows."""
        changes = self.settings.request_changes()
        return [self.name, None, False, [], *([changes] if changes else [])]

    def close(self) -> None:
        """Nothing to give back: the server has the model."""

    def stream(self, wanted: Wanted, sampling: Sampling) -> Iterator[list[Record]]:
        """Rows as they finish, in the order they finish.

        The client's loop runs in a thread of its own, since a notebook has a running loop already.

        Raises:
            BadInput: the server refuses every request of this kind (unknown model, wrong key, wrong URL), or the budget is
                spent; rows that were finished before are with the caller.
        """
        done: queue.Queue[Any] = queue.Queue()
        stop = threading.Event()

        def work() -> None:
            try:
                asyncio.run(self._ask_all(list(wanted), sampling, done, stop))
                done.put(None)
            except BaseException as e:
                done.put(e)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while (item := done.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                time.sleep(GATHER_S)
                rows = [item]
                while not done.empty() and isinstance(done.queue[0], dict):
                    rows.append(done.get())
                yield rows
        finally:
            stop.set()
            thread.join(timeout=self.settings.timeout_s)

    async def _ask_all(
        self, wanted: list[Any], sampling: Sampling, done: queue.Queue[Any], stop: threading.Event
    ) -> None:
        from openai import AsyncOpenAI

        s, todo = self.settings, iter(wanted)
        client = AsyncOpenAI(base_url=s.base_url, api_key=self._key, timeout=s.timeout_s, max_retries=0)

        async def worker() -> None:
            for request, sample in todo:
                if stop.is_set():
                    return
                done.put(await self._ask(client, request, sample, sampling))

        workers = [asyncio.create_task(worker()) for _ in range(min(s.concurrency, len(wanted)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for w in workers:
                w.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await client.close()

    async def _ask(self, client: Any, request: Any, sample: int, sampling: Sampling) -> Record:
        row = {
            "id": request.id,
            "sample": sample,
            "prompt": request.messages[-1]["content"],
            "text": "",
            "n_tokens": 0,
            "model": self.name,
        }
        fields = self._fields(request, sample, sampling)
        wait = 0.0
        for attempt in range(self.settings.retries + 1):
            if attempt:
                self.counts["retries"] += 1
                backoff = self.settings.backoff_s * 2 ** (attempt - 1)
                await asyncio.sleep(min(max(backoff, wait), LONGEST_WAIT_S))
            status, reply, wait = await self._reply(client, fields)
            if status == 200:
                self._count(reply)
                failed = server_replies.trouble(reply)
                if failed is None:
                    return {**row, **server_replies.read(reply, sampling.max_new_tokens)}
                reply = failed
            verdict = server_replies.judge(status, reply)
            if verdict == "fault":
                raise BadInput(self._fault(status, server_replies.told(reply), request.id))
            if verdict != "again":
                return {**row, "finish_reason": verdict}
            last = server_replies.told(reply).message
        self.counts["errors"] += 1
        return {
            **row,
            "finish_reason": "error",
            "error": f"{self.settings.base_url}: {f'HTTP {status}: ' if status else ''}{last}",
        }

    def _fields(self, request: Any, sample: int, sampling: Sampling) -> Record:
        """The fields of a request, as the server wants them."""
        s = self.settings
        sampled = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "n": 1,
            "seed": row_seed(sampling.seed, request.id, sample) % 2**31,
        }
        kept = {s.max_tokens_field if f == "max_tokens" else f: v for f, v in sampled.items() if f not in s.omit_fields}
        messages = [{**m, "content": server_replies.whole(m["content"])} for m in request.messages]
        return {"model": s.server_model, "messages": messages, **kept, "extra_body": s.extra_body or None}

    async def _reply(self, client: Any, fields: Record) -> tuple[int, Any, float]:
        """One request: HTTP status, body, and the seconds that the server asks to wait.

        A connection that is lost or times out has status 0; what is not JSON is told as a text.
        """
        import openai

        s = self.settings
        if s.budget is not None and self.cost >= s.budget:
            raise BadInput(
                f"generation.budget = {s.budget:g} is spent ({self.cost:.4f}); finished answers are kept: raise it and run again"
            )
        self.counts["requests"] += 1
        try:
            response = (await client.chat.completions.with_raw_response.create(**fields)).http_response
        except openai.APIStatusError as e:
            response = e.response
        except openai.APIConnectionError as e:
            return 0, f"{type(e).__name__}: {e.__cause__ or e}", 0.0
        try:
            body = json.loads(response.content)
        except ValueError:
            body = f"the server's answer is no JSON: {response.text[:100]!r}"
        asked = response.headers.get("retry-after", "")
        return response.status_code, body, float(asked) if asked.isdecimal() else 0.0

    def _count(self, answer: Any) -> None:
        prompt, said = server_replies.usage(answer)
        self.counts.update(prompt_tokens=prompt, completion_tokens=said)
        self.cost += (prompt * self.settings.price_prompt + said * self.settings.price_completion) / 1e6

    def _fault(self, status: int, error: server_replies.Told, asked: str) -> str:
        """What the server refuses for every prompt, and the setting to change."""
        s = self.settings
        if status in (401, 403, 404):
            return (
                f"generation: {s.base_url} refuses model {s.server_model!r} (HTTP {status}: {error.message}); "
                f"check generation.base_url, server_model and {s.api_key_env}"
            )
        limit = s.max_tokens_field
        other = "max_completion_tokens" if limit == "max_tokens" else "max_tokens"
        if status == 402 or "insufficient_quota" in error.codes:
            way = "the account's credit is spent"
        elif limit in error.fields and other in " ".join([*error.words, *error.params]):
            way = f"set generation.max_tokens_field: {other}"
        elif limit in error.fields:
            way = f"lower max_new_tokens, or set generation.max_tokens_field: {other} or omit_fields: [max_tokens]"
        elif error.fields:
            way = f"set generation.omit_fields: [{', '.join(dict.fromkeys([*s.omit_fields, error.fields[-1]]))}]"
        else:
            way = "fields of a request are changed by generation.max_tokens_field, omit_fields and extra_body"
        return f"generation: {s.base_url} refuses the request for {asked!r} (HTTP {status}): {error.message}; {way}"

    def probe(self, timeout_s: float) -> str:
        """The server's text to a request for one token, asked once: whether it would answer a run.

        Raises:
            BadInput: it cannot be reached, or gives anything but a chat completion; names the address and what came back.
        """
        import openai

        s = self.settings
        client = openai.OpenAI(base_url=s.base_url, api_key=self._key, timeout=timeout_s, max_retries=0)
        try:
            answer = client.chat.completions.with_raw_response.create(
                **self._fields(
                    Request("probe", [{"role": "user", "content": "Say: yes"}]), 0, Sampling(max_new_tokens=1)
                )
            ).http_response
        except openai.APIStatusError as e:
            told = f"{s.base_url} refuses model {s.server_model!r}: HTTP {e.status_code}, {e.response.text[:200]!r}"
            raise BadInput(told) from None
        except openai.APITimeoutError:
            raise BadInput(f"{s.base_url}: no answer within {timeout_s:g} s") from None
        except openai.APIConnectionError as e:
            raise BadInput(f"{s.base_url}: no connection ({e.__cause__ or e})") from None
        finally:
            client.close()
        try:
            return str(answer.json()["choices"][0]["message"]["content"] or "")
        except (ValueError, LookupError, TypeError):
            told = f"{s.base_url}: its answer is no chat completion: HTTP {answer.status_code}, {answer.text[:200]!r}"
            raise BadInput(told) from None
