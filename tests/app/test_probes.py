"""Servers and the hub, asked within seconds: stand-ins that are there, refuse, talk nonsense, or never answer."""

import json
import os
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from cgd_utils.__main__ import main
from cgd_utils.app import probes
from cgd_utils.core import store
from cgd_utils.core.errors import BadInput
from cgd_utils.core.settings import Engine
from cgd_utils.engines.server import ServerGenerator

GIB = 2**30
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "length"},
    ],
}


@pytest.fixture
def site():
    """A web site: ``site.pages`` maps a path to (status, headers, body); a path without a page is 404, "hang" never ends."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            site.asked.append(self.path)
            page = site.pages.get(self.path.partition("?")[0], (404, {"X-Error-Code": "RepoNotFound"}, {}))
            if page == "hang":
                site.released.wait(30)
                return
            status, headers, body = page
            text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for k, v in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
                self.send_header(k, v)
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer()

        do_GET = answer

        def log_message(self, *args):
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.pages, site.asked, site.released = {}, [], threading.Event()
    site.url = f"http://127.0.0.1:{site.server_address[1]}"
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield site
    site.released.set()
    site.shutdown()
    site.server_close()


def test_what_takes_too_long_is_left_alone():
    never = threading.Event()
    done = probes.together({"quick": lambda: 1, "slow": never.wait, "bad": lambda: 1 / 0}, 0.3)
    assert done["quick"] == 1
    assert isinstance(done["slow"], TimeoutError) and isinstance(done["bad"], ZeroDivisionError)


# ---------------------------------------------------------------- servers
CHAT = "/v1/chat/completions"
ANSWERS = {
    "no such model": ((404, {}, {"error": {"message": "model m is not loaded"}}), "HTTP 404.*model m is not loaded"),
    "wrong key": ((401, {}, {"error": {"message": "bad key"}}), "HTTP 401.*bad key"),
    "broken": ((500, {}, {"error": "out of memory"}), "HTTP 500.*out of memory"),
    "busy": ((503, {}, "loading"), "HTTP 503.*loading"),
    "a web page": ((200, {"Content-Type": "text/html"}, "<html>welcome"), "no chat completion.*<html>welcome"),
    "another service": ((200, {}, {"status": "up"}), "no chat completion.*status"),
    "no choice": ((200, {}, {**COMPLETION, "choices": []}), "no chat completion"),
    "never": ("hang", "no answer within 0.5 s"),
}


def server(url):
    return ServerGenerator(Engine(engine="openai", base_url=url, server_model="m", retries=6), "m")


@pytest.mark.parametrize("how", ANSWERS)
def test_a_server_that_would_not_answer_a_run_is_named(site, how):
    site.pages[CHAT], told = ANSWERS[how]
    with pytest.raises(BadInput, match=told) as error:
        server(f"{site.url}/v1").probe(0.5)
    assert f"{site.url}/v1" in str(error.value)
    assert site.asked == [CHAT], "asked once, without a retry"


def test_a_server_that_answers_is_asked_for_one_token(site):
    site.pages[CHAT] = (200, {}, COMPLETION)
    assert server(f"{site.url}/v1").probe(5) == "yes"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"])
def test_no_connection_is_told(address, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with pytest.raises(BadInput, match=r"no connection|no answer") as error:
        server(address).probe(3)
    assert address in str(error.value)


def test_the_servers_of_a_run_are_the_teachers_and_the_judges(tmp_path):
    def engine(name):
        return {"engine": "openai", "base_url": "http://localhost:8000/v1", "server_model": name}

    fields = {
        "synthesis.teacher": {"kind": "model", "generation": engine("big")},
        "analyses.judges": [{"generation": engine("big")}, {"generation": engine("judge")}, {"model": "lab:llama"}],
    }
    found = probes.servers(store.open_run("smoke", tmp_path, fields))
    assert {s.engine.server_model: s.of for s in found} == {"big": "teacher", "judge": "judge"}
    assert probes.servers(store.open_run("lab", tmp_path)) == []


# ---------------------------------------------------------------- the hub
@pytest.fixture
def hub(site, tmp_path, monkeypatch):
    """A hub at the site, with an empty cache."""
    monkeypatch.setattr(constants, "ENDPOINT", site.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return site


def run(tmp_path, **fields):
    chosen = {"models.students": {"mine": "me/student"}, "models.weaker": {}}
    return store.open_run("smoke", tmp_path, {**chosen, **fields})


def files(**sizes):
    listed = [{"rfilename": n.replace("__", "."), "size": round(size * GIB)} for n, size in sizes.items()]
    return {"id": "me/student", "sha": "a" * 40, "gated": False, "siblings": listed}


def only(found):
    ((repository, answer),) = found.items()
    assert repository.name == "me/student"
    return answer


def test_the_files_that_would_be_loaded_are_counted(hub, tmp_path):
    listed = files(config__json=0, model__safetensors=2.5, pytorch_model__bin=2.5)
    listed["siblings"].append({"rfilename": "original/consolidated.00.pth", "size": 9 * GIB})
    hub.pages["/api/models/me/student"] = (200, {}, listed)
    answer = only(probes.look_up(run(tmp_path)))
    assert answer.usable and answer.download_gib == pytest.approx(2.5)
    hub.pages["/api/models/me/student"] = (200, {}, files(config__json=0, pytorch_model__bin=1.5))
    assert only(probes.look_up(run(tmp_path))).download_gib == pytest.approx(1.5)


def cache(tmp_path, revision="a" * 40, names=("config.json", "model.safetensors")):
    there = tmp_path / "cache" / "models--me--student"
    (there / "snapshots" / revision).mkdir(parents=True)
    (there / "refs").mkdir()
    (there / "refs" / "main").write_text(revision)
    for name in names:
        (there / "snapshots" / revision / name).write_text("{}")


def test_what_is_in_the_cache_is_not_downloaded(hub, tmp_path):
    cache(tmp_path)
    hub.pages["/api/models/me/student"] = (200, {}, files(config__json=0, model__safetensors=2.5))
    assert only(probes.look_up(run(tmp_path))).download_gib == 0


REFUSED = {
    "no such name": ((404, {"X-Error-Code": "RepoNotFound"}, {}), "no such repository"),
    "no such revision": ((404, {"X-Error-Code": "RevisionNotFound"}, {}), "no revision 'old'"),
    "in trouble": ((500, {}, {}), "does not give it.*500"),
    "silent": ("hang", "does not give it.*(no answer|timed out)"),
}


@pytest.mark.parametrize("how", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_the_hub_refuses_is_told_within_seconds(hub, tmp_path, how):
    page, told = REFUSED[how]
    hub.pages["/api/models/me/student/revision/old"] = page
    answer = only(probes.look_up(run(tmp_path, **{"models.revision": "old"}), seconds=1))
    assert not answer.usable and re.search(told, answer.told)
    assert len(hub.asked) == 1, "asked once, without a retry"


def test_a_gated_model_is_red_though_its_files_are_listed(hub, tmp_path):
    hub.pages["/api/models/me/student"] = (200, {}, {**files(model__safetensors=1), "gated": "manual"})
    hub.pages["/api/models/me/student/auth-check"] = (403, {"X-Error-Code": "GatedRepo"}, {})
    answer = only(probes.look_up(run(tmp_path)))
    assert not answer.usable and "agree to its terms" in answer.told
    hub.pages["/api/models/me/student/auth-check"] = (200, {}, {})
    assert only(probes.look_up(run(tmp_path))).usable


def test_offline_the_cache_decides(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    answer = only(probes.look_up(run(tmp_path)))
    assert not answer.usable and answer.download_gib is None and "HF_HUB_OFFLINE" in answer.told
    cache(tmp_path)
    assert only(probes.look_up(run(tmp_path))).usable
    (tmp_path / "cache/models--me--student/snapshots" / ("a" * 40) / "model.safetensors").unlink()
    assert not only(probes.look_up(run(tmp_path))).usable, "the weights are not there"
    assert hub.asked == []


def test_every_repository_that_a_run_reads_is_asked_for_once(tmp_path):
    fields = {
        "data.source": "gsm8k",
        "evaluation.benchmarks": ["gsm8k", "aime25"],
        "synthesis.teacher": {"kind": "model", "model": "me/teacher", "revision": "v1"},
        "analyses.judges": [{"model": "me/student"}],
        "evaluation.benchmark_dir": str(tmp_path),
        "ablations.grids": [],
    }
    (tmp_path / "aime25.jsonl").write_text("")
    names = [(r.kind, r.name, r.revision) for r in probes.repositories(run(tmp_path, **fields))]
    assert names == [
        ("model", "me/student", None),
        ("model", "me/teacher", "v1"),
        ("dataset", "openai/gsm8k", None),
    ]
    assert probes.repositories(store.open_run("lab", tmp_path)) == []


@pytest.mark.filterwarnings("ignore")
def test_a_hub_that_is_away_is_not_tried_again(hub):
    import datasets
    from transformers import AutoConfig

    with probes.without_hub():
        with pytest.raises(OSError):
            AutoConfig.from_pretrained("me/nothing")
        with pytest.raises(ConnectionError):
            datasets.load_dataset("me/nothing", split="test")
    assert hub.asked == []
    assert not constants.HF_HUB_OFFLINE


# ---------------------------------------------------------------- away, told at once
def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_server_that_is_not_there_is_told_in_seconds(tmp_path, capsys):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "a", "prompt": "hi"}\n')
    url = f"http://127.0.0.1:{closed_port()}/v1"
    started = time.monotonic()
    words = ["generate", "--server", url, "--server-model", "m", "--prompts", str(prompts)]
    assert main([*words, "--out", str(tmp_path / "out.jsonl")]) == 2
    assert time.monotonic() - started < 5
    error = capsys.readouterr().err
    assert f"{url}: no connection" in error and "start the server" in error and "refused" in error


def test_a_hub_that_is_away_is_told_once_and_not_tried_again(monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    with probes.offline_where_away():
        assert constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
    assert not constants.HF_HUB_OFFLINE and "HF_HUB_OFFLINE" not in os.environ
    assert capsys.readouterr().err.count("cannot be reached") == 1
    with probes.offline_where_away(wanted=False):
        assert not constants.HF_HUB_OFFLINE


def test_a_proxy_is_not_passed_by(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert probes.away("http://hub.invalid") == ""
