"""Overlap of training questions with benchmarks."""

from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core import files, store
from cgd_utils.data import benchmarks, decontamination, problem_sources

word = st.text("abcdefghij", min_size=1, max_size=4)
sentence = st.lists(word, min_size=8, max_size=30)


@given(sentence, sentence, st.data())
def test_a_planted_run_of_eight_words_is_found(question, text, draw):
    start = draw.draw(st.integers(0, len(question) - 8))
    at = draw.draw(st.integers(0, len(text)))
    planted = [*text[:at], *question[start : start + 8], *text[at:]]
    shown = draw.draw(st.sampled_from([str.upper, str.lower, str.title]))(", ".join(planted)) + "?!"
    found = decontamination.Index({"b": [" ".join(question)]}).find(shown)
    assert found
    assert found[0] == "b"


@given(sentence, sentence)
def test_what_shares_no_eight_words_is_not_found(question, text):
    grams = {tuple(question[i : i + 8]) for i in range(len(question) - 7)}
    shares = any(tuple(text[i : i + 8]) in grams for i in range(len(text) - 7))
    assert bool(decontamination.Index({"b": [" ".join(question)]}).find(" ".join(text))) == shares


def test_a_short_question_counts_only_as_a_whole():
    index = decontamination.Index({"b": ["What is 2 + 2?"]})
    assert index.find("what is 2+2")[2] == "exact"
    assert index.find("What is 2 + 2, and why is it so, dear reader of this?") is None


def test_general_benchmarks_are_looked_at_where_their_files_are_here(tmp_path):
    shared = "How many of the nine planets have no moon at all, would you say?"
    files.write_jsonl(tmp_path / "ifeval.jsonl", [{"key": 1, "prompt": shared}])
    chosen = {"evaluation.benchmarks": ["ifeval", "mmlu_pro"], "evaluation.benchmark_dir": str(tmp_path)}
    run = store.open_run("smoke", tmp_path, chosen)
    rows = {r["benchmark"]: r for r in decontamination.report(run, [{"id": "1", "question": shared}])}
    assert (rows["ifeval"]["questions"], rows["ifeval"]["exact"]) == (1, 1)
    assert rows["mmlu_pro"]["questions"] == 0  # on the hub alone


def test_overlapping_problems_are_removed_from_a_run(tmp_path):
    first = problem_sources.load_problems(store.open_run("smoke", tmp_path).profile.data)[0][:5]
    own = tmp_path / "own.jsonl"
    files.write_jsonl(own, [{"question": p["question"], "answer": p["answer"]} for p in first])
    chosen = {"data.decontaminate": "remove", "evaluation.benchmarks": [{"name": "own", "path": str(own)}]}
    run = store.open_run("smoke", tmp_path, chosen)
    made = decontamination.training_problems(run)
    facts = made.manifest["facts"]
    assert (facts["rows"], facts["removed"]) == (43, 5)
    assert not {p["question"] for p in first} & {r["question"] for r in made.rows()}
    (row,) = decontamination.report(run, problem_sources.problems(run).rows())
    assert (row["exact"], row["of"]) == (5, 48)
    assert benchmarks.benchmarks(run)[0].name == "own"
