"""The openai engine and cgd generate against a server that misbehaves in every way."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from cgd_utils.__main__ import main
from cgd_utils.core.errors import BadInput, GenerationFailed
from cgd_utils.core.files import read_jsonl, write_jsonl
from cgd_utils.core.settings import Engine, Sampling
from cgd_utils.engines import prompt_files, request_log, server
from cgd_utils.engines.request_log import Request
from cgd_utils.models.loading import ModelRef

GREEDY = Sampling(temperature=0, max_new_tokens=8)


def completion(text="four", reason="stop", **message):
    said = {"role": "assistant", "content": text, **message}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2,
            "total_tokens": 5}, "choices": [{"index": 0, "message": said, "finish_reason": reason}]}  # fmt: skip


CALL = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
BUSY = {"id": "c", "error": {"message": "upstream is busy", "code": 503}}
# the prompt says how the server behaves; a number before it is how many times it fails first
BEHAVIOUR = {
    "fine": (200, completion()), "limit": (429, {}), "broken": (500, {}), "unavailable": (503, {}), "cut": (200, "cut"),
    "nonsense": (200, "<html>"), "list": (200, []), "no choice": (200, {**completion(), "choices": []}), "drop": (0, ""),
    "tool": (200, completion(None, "tool_calls", tool_calls=CALL)), "truncated": (200, completion("fo", "length")),
    "refused": (200, completion(None, "stop", refusal="no")), "filtered": (200, completion("", "content_filter")),
    "empty": (200, completion("")), "long": (400, {"error": {"message": "maximum context length is 8 tokens"}}), "slow": (200, "slow"),
    "busy": (200, BUSY), "no choices": (200, {"choices": None, "error": {"code": 429, "message": "later"}}), "broke off": (200, completion("fo", "error")),
    "parts": (200, completion([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "four"}], "eos")),
    "thought": (200, completion("four", None, reasoning_content="hm")), "cut off": (200, completion("fo", "max_tokens")),
    "half a letter": (200, completion("four \ud83d")),
    "blocked": (400, {"error": {"message": "filtered", "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    "many tokens": (400, [{"error": {"code": 400, "message": "The input token count (700) exceeds the maximum number of tokens (512)."}}]),
    "role": (400, {"error": {"message": "Invalid role in this context: 'tutor'", "code": "invalid_value", "param": "messages[0].role"}}),
    "quota": (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter] = Counter()
    bodies: ClassVar[list] = []
    lock = threading.Lock()
    refuses: ClassVar[dict] = {}  # field of a request -> the server's error
    headers_sent: ClassVar[dict] = {}

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.seen[prompt] += 1
            self.bodies.append(body)
            tries = self.seen[prompt]
        if body["model"] != "m":
            return self.answer(404, {"error": {"message": "no such model"}})
        for field, error in self.refuses.items():
            if field in body:
                return self.answer(422 if "detail" in error else 400, error)
        first, _, what = prompt.rpartition(":")
        how = what if not first or tries <= int(first) else "fine"
        status, reply = BEHAVIOUR[how.split("#")[0]]
        if reply == "slow":
            time.sleep(1.0)
            reply = completion()
        if status == 0:
            self.close_connection = True
            return self.connection.close()
        if reply == "cut":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"id": "c", "choi')
            self.close_connection = True
            return None
        return self.answer(status, reply)

    def answer(self, status, reply):
        body = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    Handler.seen, Handler.bodies, Handler.refuses, Handler.headers_sent = Counter(), [], {}, {}
    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_address[1]}/v1"
    service.shutdown()
    service.server_close()


def engine(url, **more):
    return Engine(
        **{
            "engine": "openai",
            "base_url": url,
            "server_model": "m",
            "retries": 2,
            "backoff_s": 0.01,
            "timeout_s": 5,
            **more,
        }
    )


def ask(url, prompts, log, **more):
    requests = [Request(str(i), [{"role": "user", "content": p}]) for i, p in enumerate(prompts)]
    return request_log.generate(server.ServerGenerator(engine(url, **more), "m"), requests, GREEDY, log)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [("fine", "stop"), ("truncated", "length"), ("refused", "refused"), ("filtered", "refused"), ("tool", "tool_call"),
     ("no choice", "empty"), ("empty", "empty"), ("long", "too_long"), ("parts", "stop"), ("thought", "stop"), ("cut off", "length"),
     ("half a letter", "stop"), ("blocked", "refused"), ("many tokens", "too_long")],
)  # fmt: skip
def test_every_end_of_an_answer_is_recorded(url, tmp_path, prompt, reason):
    (row,) = ask(url, [prompt], tmp_path / "log")
    assert row["finish_reason"] == reason
    assert Handler.seen[prompt] == 1


@pytest.mark.parametrize(
    "trouble", ["limit", "broken", "unavailable", "cut", "nonsense", "list", "drop", "busy", "no choices", "broke off"]
)
def test_passing_trouble_is_tried_again(url, tmp_path, trouble):
    (row,) = ask(url, [f"2:{trouble}"], tmp_path / "log")
    assert (row["text"], row["finish_reason"]) == ("four", "stop")
    assert Handler.seen[f"2:{trouble}"] == 3


@pytest.mark.parametrize("trouble", ["limit", "broken", "cut", "nonsense", "drop", "busy"])
def test_lasting_trouble_is_told_and_the_rest_is_kept(url, tmp_path, trouble):
    prompts = ["fine#1", trouble, "fine#2"]
    with pytest.raises(GenerationFailed, match="1 of 3 texts could not be had"):
        ask(url, prompts, tmp_path / "log")
    assert {r["id"] for r in read_jsonl(tmp_path / "log")} == {"0", "2"}
    BEHAVIOUR["mended"] = BEHAVIOUR["fine"]
    before = Handler.seen["fine#1"]
    with pytest.raises(GenerationFailed):
        ask(url, prompts, tmp_path / "log")
    assert Handler.seen["fine#1"] == before, "a finished answer was asked for again"


def test_a_timeout_is_tried_again_and_bounded(url, tmp_path):
    with pytest.raises(GenerationFailed, match="Timeout"):
        ask(url, ["slow"], tmp_path / "log", timeout_s=0.2, retries=1)
    assert Handler.seen["slow"] == 2


def test_one_refused_prompt_is_its_rows_and_no_answer_is_lost(url, tmp_path):
    prompts = ["fine#1", "blocked", "parts", "many tokens", "half a letter", "fine#2"]
    rows = ask(url, prompts, tmp_path / "log", concurrency=1)
    assert [r["finish_reason"] for r in rows] == ["stop", "refused", "stop", "too_long", "stop", "stop"]
    assert [r["text"] for r in rows] == ["four", "", "four", "", "four \ufffd", "four"]
    assert read_jsonl(tmp_path / "log") == rows


@pytest.mark.parametrize(
    ("prompt", "words"), [("role", "Invalid role .* for|refuses the request for '0'"), ("quota", "credit is spent")]
)
def test_what_every_prompt_would_meet_ends_at_once(url, tmp_path, prompt, words):
    with pytest.raises(BadInput, match=words):
        ask(url, [prompt], tmp_path / "log")
    assert sum(Handler.seen.values()) == 1


NAMED = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "code": "unsupported_parameter",
                   "param": "max_tokens"}}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "error", "setting"),
    [
        ("max_tokens", NAMED, {"max_tokens_field": "max_completion_tokens"}),
        ("seed", {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
         {"omit_fields": ["seed"]}),
        ("top_p", {"error": {"message": "`temperature` and `top_p` cannot both be specified"}}, {"omit_fields": ["top_p"]}),
        ("temperature", {"error": {"message": "Unsupported value", "param": "temperature"}}, {"omit_fields": ["temperature"]}),
    ],
)  # fmt: skip
def test_a_field_that_a_server_refuses_is_named_with_its_setting_which_helps(url, tmp_path, field, error, setting):
    Handler.refuses = {field: error}
    ((name, value),) = setting.items()
    with pytest.raises(BadInput) as told:
        ask(url, ["fine"], tmp_path / "log")
    assert f"generation.{name}: {value if isinstance(value, str) else f'[{value[0]}]'}" in str(told.value)
    (row,) = ask(url, ["fine"], tmp_path / "log", **setting)
    assert row["text"] == "four"
    assert field not in Handler.bodies[-1]
    assert Handler.bodies[-1].get("max_completion_tokens", Handler.bodies[-1].get("max_tokens")) == 8


def test_a_second_field_is_named_beside_the_first(url, tmp_path):
    Handler.refuses = {"top_p": {"error": {"message": "Unsupported", "param": "top_p"}}}
    with pytest.raises(BadInput, match=r"omit_fields: \[seed, top_p\]"):
        ask(url, ["fine"], tmp_path / "log", omit_fields=["seed"])


def test_more_fields_are_sent_and_make_other_work(url, tmp_path):
    ask(url, ["fine"], tmp_path / "log")
    for _ in range(2):
        ask(url, ["fine"], tmp_path / "log", extra_body={"reasoning_effort": "low", "top_k": 5})
    assert [(b.get("reasoning_effort"), b.get("top_k")) for b in Handler.bodies] == [(None, None), ("low", 5)]


def test_the_server_says_how_long_to_wait(url, tmp_path):
    Handler.headers_sent = {"Retry-After": "1"}
    started = time.monotonic()
    ask(url, ["1:limit"], tmp_path / "log")
    assert time.monotonic() - started >= 1


def test_failed_tries_are_paid_too_and_the_budget_ends_them(url, tmp_path):
    BEHAVIOUR["paid"] = (200, {**completion("fo", "error")})  # 5 a request
    with pytest.raises(BadInput, match="budget = 7 is spent"):
        ask(url, ["paid"], tmp_path / "log", budget=7, price_prompt=1e6, price_completion=1e6, retries=9)
    assert Handler.seen["paid"] == 2


def test_a_prompt_with_half_a_letter_is_asked_and_kept(url, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"id": "a", "prompt": "fine#\\ud83d"}\n{"id": "b", "prompt": "fine"}\n')
    for _ in range(2):
        made = prompt_files.generate(path, tmp_path / "out.jsonl", ModelRef("", "m"), engine(url), GREEDY)
    assert made["rows"] == made["stop"] == 2
    assert sum(Handler.seen.values()) == 2


def test_a_wrong_model_ends_at_once(url, tmp_path):
    with pytest.raises(BadInput, match="refuses model 'other'"):
        ask(url, ["fine"] * 1, tmp_path / "log", server_model="other")
    assert sum(Handler.seen.values()) == 1


def test_no_row_is_lost_or_doubled_at_any_concurrency(url, tmp_path):
    prompts = [f"fine#{i}" if i % 3 else f"1:broken#{i}" for i in range(60)]
    rows = ask(url, prompts, tmp_path / "log", concurrency=16)
    assert [r["id"] for r in rows] == [str(i) for i in range(60)]
    assert len(read_jsonl(tmp_path / "log")) == 60


def test_the_budget_stops_cleanly(url, tmp_path):
    prices = {"price_prompt": 1e6, "price_completion": 1e6, "concurrency": 1}  # 5 a request
    with pytest.raises(BadInput, match="budget = 12 is spent"):
        ask(url, [f"fine#{i}" for i in range(9)], tmp_path / "log", budget=12, **prices)
    assert len(read_jsonl(tmp_path / "log")) == 3


def test_every_sampling_field_and_a_seed_of_its_own_are_sent(url, tmp_path):
    requests = [Request("a", [{"role": "user", "content": "fine"}])]
    sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=8, n=2, seed=3)
    request_log.generate(server.ServerGenerator(engine(url), "m"), requests, sampling, tmp_path / "log")
    assert {(b["temperature"], b["top_p"], b["max_tokens"], b["n"]) for b in Handler.bodies} == {(0.7, 0.9, 8, 1)}
    assert len({b["seed"] for b in Handler.bodies}) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "localhost:8000"}, "give the server's address"),
        ({"base_url": None}, "give the server's address"),
        ({"base_url": "http://user:secret@localhost/v1"}, "keys come from the environment"),
        ({"server_model": None}, "server_model is not set"),
        ({"base_url": "https://api.example.com/v1", "api_key_env": "CGD_NO_SUCH_KEY"}, "CGD_NO_SUCH_KEY"),
    ],
)
def test_bad_settings_are_named_before_any_request(settings, message):
    with pytest.raises(BadInput, match=message) as told:
        server.ServerGenerator(engine("http://localhost:1/v1", **settings), "m")
    assert "secret" not in str(told.value)


# ---------------------------------------------------------------- cgd generate, cgd merge
@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"id": str(i), "prompt": f"fine#{i}"} for i in range(5)])
    return path


def test_shards_are_generated_apart_and_merged(url, prompts, tmp_path, capsys):
    parts = [str(tmp_path / f"part-{i}.jsonl") for i in range(2)]
    for i, part in enumerate(parts):
        command = ["generate", "--server", url, "--server-model", "m", "--prompts", str(prompts), "--out", part]
        assert main([*command, "--shard", f"{i}/2"]) == 0
    asked = sum(Handler.seen.values())
    assert main([*command, "--shard", "1/2", "--json"]) == 0, "a second run"
    assert sum(Handler.seen.values()) == asked
    out = tmp_path / "all.jsonl"
    assert main(["merge", *parts, "--prompts", str(prompts), "--out", str(out)]) == 0
    assert [r["id"] for r in read_jsonl(out)] == ["0", "1", "2", "3", "4"]
    assert main(["merge", parts[0], "--prompts", str(prompts), "--out", str(out)]) == 2
    assert main(["merge", *parts, parts[0], "--prompts", str(prompts), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "2 answers are missing" in told
    assert "is in another shard" in told


def test_a_torn_line_is_asked_for_again(url, prompts, tmp_path):
    out = tmp_path / "out.jsonl"
    command = ["generate", "--server", url, "--server-model", "m", "--prompts", str(prompts), "--out", str(out)]
    assert main(command) == 0
    whole = out.read_bytes()
    out.write_bytes(whole[:-20])
    assert main(command) == 0
    assert out.read_bytes() == whole
    assert sum(Handler.seen.values()) == 6


def test_a_lab_student_answers_a_file(tmp_path, capsys):
    path = tmp_path / "prompts.jsonl"
    write_jsonl(
        path,
        [{"id": "a", "prompt": "Mia has 3 cups. Mia buys 2 more. How many cups does Mia have now? Answer in steps."}],
    )
    out = tmp_path / "out.jsonl"
    assert main(["generate", "--model", "lab:qwen", "--prompts", str(path), "--out", str(out), "--json"]) == 0
    assert "3+2=" in read_jsonl(out)[0]["text"]
    assert json.loads(capsys.readouterr().out)["rows"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--shard", "2/2"], "--shard '2/2'"),
        (["--n", "2"], "greedy samples are all the same"),
        (["--temperature", "-1"], "temperature: "),
        (["--set", "tensor_paralel_size=2"], "tensor_paralel_size"),
        (["--set", "batch_size=0"], "batch_size: "),
        (["--max-new-tokens", "1000000"], "leaves no room for a prompt"),
        (["--server", "http://localhost:1/v1"], "one of them"),
        (["--adapter", "/no/such"], "adapter_config.json"),
        (["--prompts", "/no/such.jsonl"], "/no/such.jsonl"),
    ],
)
def test_bad_commands_end_with_code_2(prompts, tmp_path, capsys, more, message):
    command = ["generate", "--model", "lab:llama", "--prompts", str(prompts), "--out", str(tmp_path / "o.jsonl"), *more]
    assert main(command) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [({"base_model_name_or_path": "lab/qwen"}, "no peft_type"), ({"peft_type": "LORA"}, "no adapter_model weights")],
)
def test_a_folder_that_is_no_whole_adapter_is_refused(prompts, tmp_path, capsys, config, message):
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    command = [
        "generate",
        "--model",
        "lab:llama",
        "--adapter",
        str(tmp_path),
        "--prompts",
        str(prompts),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(command) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "no prompts"), ([{"prompt": "x"}], "needs id"), ([{"id": 1, "messages": ["x"]}], "messages must be objects"),
     ([{"id": 1, "prompt": "x"}] * 2, "occurs twice")],
)  # fmt: skip
def test_bad_prompt_files_are_named(tmp_path, rows, message):
    write_jsonl(tmp_path / "p.jsonl", rows)
    with pytest.raises(BadInput, match=message):
        prompt_files.read_prompts(tmp_path / "p.jsonl")


def test_answers_of_other_settings_are_not_mixed(url, prompts, tmp_path):
    out = tmp_path / "o.jsonl"
    prompt_files.generate(prompts, out, ModelRef("", "m"), engine(url), GREEDY)
    with pytest.raises(BadInput, match="other settings"):
        prompt_files.generate(prompts, out, ModelRef("", "m"), engine(url), GREEDY.model_copy(update={"seed": 1}))
