"""The template of docs/own-data: from its files through a served teacher to a trained student and its scores."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cgd_utils.core import files, profile_files, store
from cgd_utils.core.provenance import PROJECT
from cgd_utils.evaluation.results import evaluate
from cgd_utils.synthesis import teaching
from cgd_utils.training import export, fine_tune

TEMPLATE = PROJECT / "docs" / "own-data"
ANSWERS = {r["question"]: r["answer"] for r in files.read_jsonl(TEMPLATE / "problems.jsonl")}


class Teacher(BaseHTTPRequestHandler):
    """Knows the template's answers: critiques a draft by its final answer, answers in a box."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        answer = next(a for q, a in ANSWERS.items() if q in prompt)
        right = f"\\boxed{{{answer}}}" in prompt
        text = f"Working it out gives \\boxed{{{answer}}}."
        if "Conclusion: right" in prompt and "Do not write a new answer" in prompt:
            text = "The draft's number does not follow from the question.\nConclusion: " + (
                "right" if right else "wrong"
            )
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"],
                 "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                 "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}  # fmt: skip
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def served():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Teacher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture(scope="module")
def run(served, tmp_path_factory):
    """The copied template with the marked lines filled in: a shipped student, the served teacher, short texts."""
    mine = tmp_path_factory.mktemp("my däta") / "own-data"
    shutil.copytree(TEMPLATE, mine)
    text = (mine / "own-data.yaml").read_text(encoding="utf-8")
    for old, new in {
        "Qwen/Qwen2.5-0.5B-Instruct": '"lab:llama"',
        "http://localhost:8000/v1": served,
        "max_new_tokens: 512": "max_new_tokens: 24",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (mine / "own-data.yaml").write_text(text, encoding="utf-8")
    return store.open_run(str(mine / "own-data.yaml"), tmp_path_factory.mktemp("outputs"))


def test_the_template_leads_to_critiques_rows_a_student_and_scores(run, monkeypatch, tmp_path):
    from cgd_utils.app import preflight

    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    preflight.preflight(run)
    records = teaching.records(run, "mine")
    rows = records.rows()
    assert len(rows) == len(ANSWERS) and all(r["refined_correct"] and r["direct_correct"] for r in rows)
    assert {r["teacher"] for r in rows} == {"my-teacher"}
    exported = export.write(run, "cgd", "trl", tmp_path / "rows")
    assert exported["rows"] == len(rows)
    card = (tmp_path / "rows" / "README.md").read_text(encoding="utf-8")
    assert "`my-teacher`" in card and "`problems.jsonl`" in card and "license:" not in card and "licences" in card
    assert "127.0.0.1" not in card
    model = fine_tune.fine_tune(run, "mine", "cgd", 0)
    assert (model.folder / "model" / "adapter_config.json").exists()
    results = evaluate(run, "mine", "cgd", 0, model)
    assert {r["benchmark"] for r in results} == {"held-out"}


def test_held_out_questions_are_not_in_the_training_file():
    assert not {r["question"] for r in files.read_jsonl(TEMPLATE / "held-out.jsonl")} & set(ANSWERS)


def test_paths_are_taken_from_the_profiles_folder(tmp_path, monkeypatch):
    shutil.copytree(TEMPLATE, tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    loaded = profile_files.load("there/own-data.yaml")
    assert loaded.data.source == str(tmp_path / "there" / "problems.jsonl")
    assert loaded.evaluation.benchmarks[0].path == str(tmp_path / "there" / "held-out.jsonl")
    assert profile_files.load("lab").data.source == "lab"
