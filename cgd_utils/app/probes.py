"""What a run needs beyond this machine, asked within seconds: its servers, and its models and data sets on the hub."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..core.engine_settings import ServerEngine
from ..core.errors import BadInput
from ..core.store import Run
from ..data import benchmarks, problem_sources
from ..models import loading

GIB = 2**30
HUB_S = 4.0  # for all repositories together, they are asked side by side
REACH_S = 3.0  # for a connection alone
SERVER_S = 10.0  # for the first token of a server that may be busy
# what transformers reads of a model's repository: files at its top
_READ = (".safetensors", ".json", ".jinja", ".model", ".txt")


def together(asked: Mapping[Any, Callable[[], Any]], seconds: float) -> dict[Any, Any]:
    """Calls everything side by side; each gives its result, its exception, or a TimeoutError if it takes longer.

    What takes longer is left alone in its daemon thread: a name server that is away holds a call for a minute, and no
    library's time-out covers that.
    """
    answers: dict[Any, Any] = {}

    def ask(name: Any) -> None:
        try:
            answers[name] = asked[name]()
        except Exception as e:
            answers[name] = e

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in asked]
    for t in threads:
        t.start()
    until = time.monotonic() + seconds
    for t in threads:
        t.join(max(0.0, until - time.monotonic()))
    return {name: answers.get(name, TimeoutError(f"no answer within {seconds:g} s")) for name in asked}


def away(url: str, seconds: float = REACH_S) -> str:
    """Why nothing listens at an address, or an empty text; where a proxy stands between, that is not asked."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return ""
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    answer = together({url: lambda: socket.create_connection((host, port), seconds).close()}, seconds)[url]
    return str(answer) if isinstance(answer, Exception) else ""


# ---------------------------------------------------------------- servers
def require(url: str) -> None:
    """Refuses a server's address where nothing listens, before retries are spent on it.

    Raises:
        BadInput: with the reason.
    """
    if reason := away(url):
        raise BadInput(f"{url}: no connection ({reason}); start the server, or mend its address")


@dataclass(frozen=True)
class Server:
    """A server that a run asks.

    Attributes:
        of: who answers there: ``teacher`` or ``judge``.
        engine: its settings.
    """

    of: str
    engine: ServerEngine


def servers(run: Run) -> list[Server]:
    """The servers that a run asks, each once."""
    teacher = run.profile.synthesis.teacher
    asked = [("teacher", teacher.generation)] if teacher.kind == "model" else []
    asked += [("judge", judge.generation) for judge in run.profile.analyses.judges]
    found: list[Server] = []
    for of, engine in asked:
        if isinstance(engine, ServerEngine) and engine not in [s.engine for s in found]:
            found.append(Server(of, engine))
    return found


def ask_servers(run: Run, seconds: float = SERVER_S) -> list[tuple[Server, str | Exception]]:
    """What each server of a run says to a request for one token: its text, or what is wrong with address or answer."""
    found = servers(run)
    if not found:
        return []
    import openai  # noqa: F401 - its second of import is not the server's

    # a moment more than the request itself has, so that its own words are heard
    answers = together({i: partial(_ask_server, server.engine, seconds) for i, server in enumerate(found)}, seconds + 1)
    out = []
    for i, server in enumerate(found):
        late = isinstance(answers[i], TimeoutError)
        out.append((server, TimeoutError(f"{server.engine.base_url}: {answers[i]}") if late else answers[i]))
    return out


def _ask_server(engine: ServerEngine, seconds: float) -> str:
    from ..engines.server import ServerGenerator

    return ServerGenerator(engine, engine.served_as).probe(seconds)


# ---------------------------------------------------------------- the hub
@dataclass(frozen=True)
class Repository:
    """A model or data set that a run reads from the hub.

    Attributes:
        kind: ``model`` or ``dataset``.
        revision: commit, tag or branch; None = the main branch.
    """

    kind: str
    name: str
    revision: str | None = None


@dataclass(frozen=True)
class Found:
    """What is known of a repository.

    Attributes:
        told: in words.
        usable: it is in the cache, or the hub gives it.
        download_gib: what is still to be downloaded; None = not known.
    """

    told: str
    usable: bool
    download_gib: float | None


def repositories(run: Run) -> list[Repository]:
    """Everything that a run reads from the hub, each once; empty for a run that needs no network."""
    p = run.profile
    models = [(m, p.models.revision) for m in (*p.models.students.values(), *p.models.weaker.values())]
    teacher = p.synthesis.teacher
    if teacher.model and not (teacher.generation and teacher.generation.engine == "openai"):
        models.append((teacher.model, teacher.revision or p.models.revision))
    models += [(j.model, j.revision or p.models.revision) for j in p.analyses.judges if j.model]
    found = [Repository("model", m, revision) for m, revision in models if _on_hub(m)]
    if not p.data.is_drawn and not problem_sources.is_file(p.data.source):
        known = problem_sources.SOURCES.get(p.data.source)
        found.append(Repository("dataset", known.hub_id if known else p.data.source, p.data.revision))
    for name in p.evaluation.benchmarks:
        if isinstance(name, str) and name in benchmarks.NAMED and not benchmarks.local_file(name, p.evaluation):
            about = benchmarks.NAMED[name]
            found.append(Repository("dataset", about.hub_id, about.revision))
    # "main" is what None means: the same data set may be asked for both ways
    return list(dict.fromkeys(replace(r, revision=None) if r.revision == "main" else r for r in found))


def _on_hub(model: str) -> bool:
    with contextlib.suppress(ValueError):  # no such model: `app.preflight.preflight` says so
        return not Path(loading.resolve(model)).is_dir()
    return False


def look_up(run: Run, seconds: float = HUB_S) -> dict[Repository, Found]:
    """Asks the hub for every repository of a run, without a retry; where it is away, looks into the cache."""
    wanted = repositories(run)
    if not wanted:
        return {}
    import huggingface_hub  # noqa: F401 - its second of import is not the hub's

    answers = together({r: partial(_ask_hub, r, seconds) for r in wanted}, seconds)
    return {r: _from_cache(r, a) if isinstance(a, Exception) else a for r, a in answers.items()}


def _ask_hub(r: Repository, seconds: float) -> Found:
    """One request; ``snapshot_download(dry_run=True)`` would send one for each file."""
    from huggingface_hub import HfApi

    api = HfApi()
    ask = api.model_info if r.kind == "model" else api.dataset_info
    info = ask(r.name, revision=r.revision, timeout=seconds, files_metadata=True)
    if info.gated:  # its list of files is open to everybody, its files are not
        api.auth_check(r.name, repo_type=r.kind)
    sizes = {f.rfilename: f.size or 0 for f in info.siblings or []}
    if r.kind == "model":
        top = {n: size for n, size in sizes.items() if "/" not in n}
        weights = _READ if any(n.endswith(".safetensors") for n in top) else (*_READ, ".bin")
        sizes = {n: size for n, size in top.items() if n.endswith(weights)}
    there = _snapshot(Repository(r.kind, r.name, info.sha))
    missing = sum(size for n, size in sizes.items() if there is None or not (there / n).exists()) / GIB
    return Found(f"there, {missing:.1f} GiB to download" if missing else "in the cache", True, missing)


def _from_cache(r: Repository, error: Exception) -> Found:
    if _is_cached(r):
        return Found("in the cache; the hub was not asked", True, 0.0)
    return Found(_reason(r, error), False, None)


def _reason(r: Repository, error: Exception) -> str:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return f"gated: agree to its terms at {constants.ENDPOINT}/{r.name} and log in (hf auth login)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {r.revision!r}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository, or a private one: check the name, or log in (hf auth login)"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "not in the cache, and HF_HUB_OFFLINE forbids to ask the hub"
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return f"not in the cache, and the hub ({constants.ENDPOINT}) does not give it: {reason}"


def _snapshot(r: Repository) -> Path | None:
    """The folder of a repository's files in the cache; asks no network."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(r.name, repo_type=r.kind, revision=r.revision, local_files_only=True))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError, OSError, ValueError):
        return None


def _is_cached(r: Repository) -> bool:
    """Whether the cache holds all of a model's weights, or something of a data set."""
    there = _snapshot(r)
    if there is None or r.kind == "dataset":
        return there is not None
    index = there / "model.safetensors.index.json"
    parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.is_file() else ()
    return (there / "config.json").is_file() and all((there / n).is_file() for n in parts or ["model.safetensors"])


@contextlib.contextmanager
def without_hub() -> Iterator[None]:
    """Inside the block the libraries know that the hub is away: they use the cache and try nothing again."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def offline_where_away(wanted: bool = True) -> Iterator[None]:
    """Inside the block, and in processes started there, the hub is left alone if it is wanted and cannot be reached.

    Libraries try it again for a minute before they say the same.
    """
    from huggingface_hub import constants

    reason = away(constants.ENDPOINT) if wanted and not constants.HF_HUB_OFFLINE else ""
    if not reason:
        yield
        return
    print(f"{constants.ENDPOINT} cannot be reached ({reason}): only what its cache holds can be used", file=sys.stderr)
    with without_hub(), mock.patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"}):
        yield
