"""The resume log: what was asked is known by its content, whoever asks and however often it is killed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core.errors import BadInput, GenerationFailed
from cgd_utils.core.files import read_jsonl
from cgd_utils.core.settings import Sampling
from cgd_utils.engines.request_log import Request, generate, keys

GREEDY = Sampling(max_new_tokens=8)


class Fake:
    """An engine that answers at once, in portions, and may die after some of them."""

    identity = ("fake", None)

    def __init__(self, name="fake", portion=3, dies_after=None, portions_lost=()):
        self.name, self.portion, self.dies_after, self.lost = name, portion, dies_after, set(portions_lost)
        self.asked = []

    def stream(self, missing, sampling):
        for at, start in enumerate(range(0, len(missing), self.portion)):
            if self.dies_after is not None and at >= self.dies_after:
                raise KeyboardInterrupt
            part = missing[start : start + self.portion]
            self.asked += [(r.id, s) for r, s in part]
            reason = "error" if at in self.lost else "stop"
            yield [{"id": r.id, "sample": s, "prompt": r.messages[-1]["content"], "text": f"{self.name}: {r.messages[-1]['content']}",
                    "finish_reason": reason, "n_tokens": 1, "model": "m"} for r, s in part]  # fmt: skip


def ask(*texts):
    return [Request(str(i), [{"role": "user", "content": t}]) for i, t in enumerate(texts)]


@given(st.lists(st.text(max_size=5), max_size=12), st.lists(st.integers(0, 3), max_size=4), st.integers(1, 4))
def test_any_kills_give_the_rows_of_an_undisturbed_run(tmp_path_factory, texts, kills, portion):
    folder = tmp_path_factory.mktemp("log")
    for after in kills:
        try:
            generate(Fake(portion=portion, dies_after=after), ask(*texts), GREEDY, folder / "a.jsonl")
        except KeyboardInterrupt:
            pass
    rows = generate(Fake(portion=portion), ask(*texts), GREEDY, folder / "a.jsonl")
    assert rows == generate(Fake(), ask(*texts), GREEDY, folder / "b.jsonl")
    assert [r["id"] for r in rows] == [str(i) for i in range(len(texts))]
    logged = [r["key"] for r in read_jsonl(folder / "a.jsonl")] if texts else []
    assert len(logged) == len(set(logged)) == len(set(texts))


def test_two_engines_fill_the_same_set(tmp_path):
    log = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate(Fake("one", dies_after=1), ask(*"abcdef"), GREEDY, log)
    rows = generate(second := Fake("two"), ask(*"abcdef"), GREEDY, log)
    assert [r["text"][:3] for r in rows] == ["one"] * 3 + ["two"] * 3
    assert [i for i, _ in second.asked] == ["3", "4", "5"]


def test_a_changed_prompt_under_an_old_id_is_not_taken_for_done(tmp_path):
    log = tmp_path / "log.jsonl"
    generate(Fake(), ask("a", "b"), GREEDY, log)
    rows = generate(engine := Fake(), ask("a", "new"), GREEDY, log)
    assert engine.asked == [("1", 0)]
    assert rows[1]["text"] == "fake: new"
    assert generate(engine := Fake(), ask("b", "a"), GREEDY, log)[0]["text"] == "fake: b"
    assert engine.asked == [], "the same prompts under other ids"


@pytest.mark.parametrize("change", [{"max_new_tokens": 9}, {"temperature": 0.5}, {"top_p": 0.5}])
def test_other_sampling_is_other_work(tmp_path, change):
    generate(Fake(), ask("a"), GREEDY, tmp_path / "log")
    generate(engine := Fake(), ask("a"), Sampling(**{"max_new_tokens": 8, **change}), tmp_path / "log")
    assert engine.asked == [("0", 0)]


def test_another_model_is_other_work(tmp_path):
    generate(Fake(), ask("a"), GREEDY, tmp_path / "log")
    engine = Fake()
    engine.identity = ("other", None)
    generate(engine, ask("a"), GREEDY, tmp_path / "log")
    assert engine.asked == [("0", 0)]


def test_samples_hang_on_their_ids_and_more_samples_keep_the_old(tmp_path):
    few, many = (Sampling(temperature=1, n=n, max_new_tokens=8) for n in (2, 4))
    rows = generate(Fake(), ask("a", "a"), few, tmp_path / "log")
    assert len({r["key"] for r in rows}) == 4, "equal prompts are drawn apart"
    generate(engine := Fake(), ask("a", "a"), many, tmp_path / "log")
    assert engine.asked == [("0", 2), ("0", 3), ("1", 2), ("1", 3)]


def test_equal_greedy_requests_are_asked_once(tmp_path):
    rows = generate(engine := Fake(), ask("a", "a", "b"), GREEDY, tmp_path / "log")
    assert engine.asked == [("0", 0), ("2", 0)]
    assert [r["id"] for r in rows] == ["0", "1", "2"]


def test_lost_texts_are_told_and_asked_for_again(tmp_path):
    with pytest.raises(GenerationFailed, match="3 of 6 texts could not be had"):
        generate(Fake(portions_lost=[0]), ask(*"abcdef"), GREEDY, tmp_path / "log")
    generate(engine := Fake(), ask(*"abcdef"), GREEDY, tmp_path / "log")
    assert [i for i, _ in engine.asked] == ["0", "1", "2"]


class Bounded(Fake):
    """An engine whose context holds a number of letters."""

    def __init__(self, max_model_len):
        super().__init__()
        self.max_model_len = max_model_len

    def stream(self, missing, sampling):
        for rows in super().stream(missing, sampling):
            yield [
                {**r, "finish_reason": "too_long", "text": ""} if len(r["prompt"]) > self.max_model_len else r
                for r in rows
            ]


def test_a_prompt_that_was_too_long_is_asked_again_when_the_context_grows(tmp_path):
    prompts = ask("a", "bbb", "ccccc")
    for limit, asked, texts in [(2, ["0", "1", "2"], 1), (2, [], 1), (4, ["1", "2"], 2), (9, ["2"], 3), (9, [], 3)]:
        rows = generate(engine := Bounded(limit), prompts, GREEDY, tmp_path / "log")
        assert [i for i, _ in engine.asked] == asked
        assert sum(bool(r["text"]) for r in rows) == texts
    assert {r["finish_reason"] for r in rows} == {"stop"}


def test_a_server_whose_context_is_not_known_is_asked_again_for_what_was_too_long(tmp_path):
    engine = Bounded(2)
    del engine.max_model_len
    engine.stream = Bounded(2).stream
    first = generate(engine, ask("a", "bbb"), GREEDY, tmp_path / "log")
    engine.stream = Bounded(9).stream
    assert [r["finish_reason"] for r in first] == ["stop", "too_long"]
    assert [r["finish_reason"] for r in generate(engine, ask("a", "bbb"), GREEDY, tmp_path / "log")] == ["stop", "stop"]


def test_equal_ids_are_refused(tmp_path):
    with pytest.raises(BadInput, match="id 'x' occurs twice"):
        generate(Fake(), [Request("x", []), Request("x", [])], GREEDY, tmp_path / "log")


def test_a_hundred_thousand_prompts_go_on_where_they_were_killed(tmp_path):
    """The times are printed by tests/benchmarks/bench_resume_log.py; here that nothing is asked twice at this size."""
    requests = ask(*(f"question {i}" for i in range(100_000)))
    log = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate(Fake(portion=1000, dies_after=60), requests, GREEDY, log)
    with log.open("a") as f:
        f.write('{"id": "60000", "torn')
    rows = generate(engine := Fake(portion=1000), requests, GREEDY, log)
    assert len(rows) == 100_000
    assert len(engine.asked) == 40_000
    assert [json.loads(line)["id"] for line in log.read_text().splitlines()[::10_000]] == [
        str(i) for i in range(0, 100_000, 10_000)
    ]


def test_keys_do_not_depend_on_the_order_of_fields():
    one, other = (
        [(Request("a", [m]), 0)] for m in ({"role": "user", "content": "x"}, {"content": "x", "role": "user"})
    )
    assert keys("m", one, GREEDY) == keys("m", other, GREEDY)
