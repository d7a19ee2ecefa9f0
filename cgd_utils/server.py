"""Engine ``openai``: any OpenAI-compatible server (vLLM, SGLang, transformers serve, hosted APIs) through the official client."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from .artifacts import BadInput
from .profiles import Engine, Sampling
from .seeds import row_seed

Record = dict[str, Any]
Wanted = Sequence[tuple[Any, int]]
# answers are handed on in portions: each goes to disk and competes with the client's loop for Python's lock
GATHER_S = 0.05
REASONS = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
}


class ServerGenerator:
    """Asks a server with bounded concurrency; every answer is a row, however it ended.

    ``finish_reason`` is ``stop``, ``length``, ``refused`` (the server's filter, or a refusal), ``tool_call`` (a call instead of
    text), ``empty`` (no choice, or no text), ``too_long`` (the prompt does not fit), or ``error`` (given up after the retries; such
    rows are not kept in the log, so a new run asks again). `counts` tells requests, retries, tokens and cost.

    Raises:
        BadInput: no base URL or a malformed one, no model, no key in the named environment variable.
    """

    def __init__(self, settings: Engine, name: str) -> None:
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
        """The model's name alone, as `generation.ModelRef.identity` has it: what the server holds, the server knows."""
        return [self.name, None, False, []]

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
                if s.budget is not None and self.cost >= s.budget:
                    raise BadInput(
                        f"generation.budget = {s.budget:g} is spent ({self.cost:.4f}); finished answers are kept: raise it and run again"
                    )
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
        import openai

        row = {"id": request.id, "sample": sample, "prompt": request.messages[-1]["content"], "text": "", "n_tokens": 0,
               "model": self.name}  # fmt: skip
        for attempt in range(self.settings.retries + 1):
            if attempt:
                self.counts["retries"] += 1
                await asyncio.sleep(min(self.settings.backoff_s * 2 ** (attempt - 1), 60))
            self.counts["requests"] += 1
            try:
                answer = await client.chat.completions.create(
                    model=self.settings.server_model, messages=request.messages, temperature=sampling.temperature,
                    top_p=sampling.top_p, max_tokens=sampling.max_new_tokens, n=1,
                    seed=row_seed(sampling.seed, request.id, sample) % 2**31,
                )  # fmt: skip
                return {**row, **self._read(answer)}
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as e:
                raise BadInput(f"generation: {self.settings.base_url} refuses model {self.settings.server_model!r} "
                               f"(HTTP {e.status_code}); check generation.base_url, server_model and {self.settings.api_key_env}") from None  # fmt: skip
            except (openai.BadRequestError, openai.UnprocessableEntityError) as e:
                if "context" in str(e).lower() or "too long" in str(e).lower():
                    return {**row, "finish_reason": "too_long"}
                raise BadInput(
                    f"generation: {self.settings.base_url} refuses the request (HTTP {e.status_code}): {str(e)[:300]}"
                ) from None
            except (
                openai.APIConnectionError,
                openai.APIStatusError,
                openai.APIResponseValidationError,
                ValueError,
                AttributeError,
                TypeError,
            ) as e:
                last = f"{type(e).__name__}: {str(e)[:200]}"
        self.counts["errors"] += 1
        return {**row, "finish_reason": "error", "error": last}

    def _read(self, answer: Any) -> Record:
        """A row's text and end from a server's answer; what is no chat completion raises, so that it is asked again."""
        if not hasattr(answer, "choices"):
            raise ValueError("the server's answer is no chat completion")
        usage = getattr(answer, "usage", None)
        prompt, said = (getattr(usage, f, None) or 0 for f in ("prompt_tokens", "completion_tokens"))
        self.counts.update(prompt_tokens=prompt, completion_tokens=said)
        self.cost += (prompt * self.settings.price_prompt + said * self.settings.price_completion) / 1e6
        if not answer.choices:
            return {"finish_reason": "empty", "n_tokens": said}
        choice = answer.choices[0]
        text = choice.message.content or ""
        reason = REASONS.get(choice.finish_reason, str(choice.finish_reason))
        if getattr(choice.message, "refusal", None):
            reason = "refused"
        elif not text and getattr(choice.message, "tool_calls", None):
            reason = "tool_call"
        elif not text and reason == "stop":
            reason = "empty"
        return {"text": text, "finish_reason": reason, "n_tokens": said}

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
                model=s.server_model or "", messages=[{"role": "user", "content": "Say: yes"}], max_tokens=1
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
