"""General benchmarks through lm-eval, offline, with a lab student behind its model interface."""

import json

import pytest

from cgd_utils.core.errors import BadInput
from cgd_utils.core.settings import Evaluation, Sampling
from cgd_utils.data import general_benchmarks
from cgd_utils.engines import generation
from cgd_utils.evaluation import lm_eval_tasks
from cgd_utils.models import loading

pytest.importorskip("lm_eval")


class Fixed:
    """An engine that answers every prompt with the text that a function gives."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def batches(self, requests):
        return [list(requests)]

    def generate(self, batch, sampling):
        self.asked += [r.messages[-1]["content"] for r, _ in batch]
        return [{"id": r.id, "sample": s, "prompt": "", "text": self.answer(r.messages[-1]["content"]), "finish_reason": "stop",
                 "n_tokens": 1, "model": "fixed"} for r, s in batch]  # fmt: skip


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


MMLU = [{"question_id": i, "question": f"What is {i}+{i}?", "options": [str(2 * i), "99"], "answer": "A", "answer_index": 0,
         "cot_content": f"A: Let's think step by step. It is {2 * i}. The answer is (A).", "category": "math", "src": "x"}
        for i in range(6)]  # fmt: skip


def test_mmlu_pro_runs_on_local_rows_with_its_shots(tmp_path):
    write(tmp_path / "mmlu_pro_math.jsonl", MMLU[5:])
    write(tmp_path / "mmlu_pro_math.fewshot.jsonl", MMLU[:5])
    engine = Fixed(lambda _: "I think the answer is (A).")
    rows, answers = lm_eval_tasks.evaluate(
        engine, ["mmlu_pro"], Evaluation(benchmark_dir=str(tmp_path)), tmp_path / "log.jsonl"
    )
    assert [(r["metric"], r["value"], r["n"]) for r in rows] == [("accuracy", 100, 1)]
    assert "expected 12032" in rows[0]["note"]
    assert engine.asked[0].count("Question:") == 6  # five examples and the question
    assert answers[0]["scores"] == {"exact_match": 1.0}


def test_under_the_authors_rule_an_answer_that_cannot_be_read_is_a_seeded_draw(tmp_path):
    write(tmp_path / "mmlu_pro_math.jsonl", [{**MMLU[0], "question": f"{MMLU[0]['question']} {i}"} for i in range(200)])
    theirs = Evaluation(benchmark_dir=str(tmp_path), rule="authors", also_grade=["own"])

    def accuracies(answer, log):
        rows, _ = lm_eval_tasks.evaluate(Fixed(lambda _: answer), ["mmlu_pro"], theirs, tmp_path / log)
        return {r["metric"]: r["value"] for r in rows}

    drawn, options = accuracies("I cannot tell.", "a"), len(MMLU[0]["options"])
    assert drawn["accuracy_own"] == 0 and abs(drawn["accuracy"] - 100 / options) < 12  # 3.5 standard errors
    assert accuracies("I cannot tell.", "b") == drawn
    read = accuracies("the answer is (A)", "c")
    assert read["accuracy"] == read["accuracy_own"]


GPQA = {
    "Question": "What is 1+1?",
    "Correct Answer": "2",
    "Incorrect Answer 1": "3",
    "Incorrect Answer 2": "4",
    "Incorrect Answer 3": "5",
}
SNARK = {"input": "Which statement is sarcastic?\nOptions:\n(A) Great.\n(B) Fine.", "target": "(A)"}


def test_gpqa_shuffles_its_choices_and_reads_the_letter(tmp_path):
    write(tmp_path / "gpqa_diamond.jsonl", [{**GPQA, "Question": f"What is {i}+{i}?"} for i in range(8)])

    def right(prompt):
        last = prompt.rpartition("Question:")[2]
        return next(f"The answer is {line[:3]}." for line in last.splitlines() if line.endswith(") 2"))

    rows, _ = lm_eval_tasks.evaluate(
        Fixed(right), ["gpqa_diamond"], Evaluation(benchmark_dir=str(tmp_path)), tmp_path / "log"
    )
    assert [(r["value"], r["n"]) for r in rows] == [(100, 8)]
    assert rows[0]["ci_low"] < 100


def test_only_the_bbh_subjects_with_a_file_are_asked(tmp_path):
    write(tmp_path / "bbh_cot_fewshot_snarks.jsonl", [SNARK, {**SNARK, "target": "(B)"}])
    engine = Fixed(lambda _: "So the answer is (A).")
    rows, answers = lm_eval_tasks.evaluate(engine, ["bbh"], Evaluation(benchmark_dir=str(tmp_path)), tmp_path / "log")
    assert [(r["value"], r["n"]) for r in rows] == [(50, 2)]
    assert {a["task"] for a in answers} == {"bbh_cot_fewshot_snarks"}


def test_musr_compares_choices(tmp_path):
    row = {
        "narrative": "Mia has it.",
        "question": "Who has it?",
        "choices": "['Mia', 'Ben']",
        "answer_index": 0,
        "answer_choice": "Mia",
    }
    write(tmp_path / "leaderboard_musr_team_allocation.jsonl", [row] * 3)
    ref = loading.ModelRef(loading.resolve("lab:llama-weak"), "weak", dtype="float32", device="cpu")
    engine = generation.TransformersGenerator(ref)
    (made,), _ = lm_eval_tasks.evaluate(engine, ["musr"], Evaluation(benchmark_dir=str(tmp_path)), tmp_path / "log")
    assert made["value"] in (0, 100)
    assert made["n"] == 3


def test_a_run_asks_them_beside_its_own(tmp_path):
    from cgd_utils.core import store
    from cgd_utils.evaluation import results

    write(tmp_path / "mmlu_pro_math.jsonl", MMLU)
    chosen = {
        "evaluation.benchmarks": ["lab-k2", "mmlu_pro"],
        "evaluation.benchmark_dir": str(tmp_path),
        "evaluation.lab_rows": 2,
    }
    run = store.open_run("smoke", tmp_path, chosen)
    rows = results.evaluate(run, "llama", "base")
    assert {r["benchmark"] for r in rows} == {"lab-k2", "mmlu_pro"}
    assert [r["n"] for r in rows if r["benchmark"] == "mmlu_pro"] == [6]


def test_answers_in_the_log_are_not_asked_again(tmp_path):
    write(tmp_path / "mmlu_pro_math.jsonl", MMLU)
    settings, log = Evaluation(benchmark_dir=str(tmp_path)), tmp_path / "log.jsonl"
    first = lm_eval_tasks.evaluate(Fixed(lambda _: "the answer is (B)"), ["mmlu_pro"], settings, log)
    again = Fixed(lambda _: "the answer is (A)")
    assert lm_eval_tasks.evaluate(again, ["mmlu_pro"], settings, log) == first
    assert again.asked == []
    assert first[0][0]["value"] == 0


def test_ifeval_gives_its_four_accuracies(tmp_path):
    try:
        general_benchmarks.check("ifeval", "transformers")
    except BadInput as e:
        pytest.skip(str(e))
    rows = [{"key": 1, "prompt": "Say it. No commas.", "instruction_id_list": ["punctuation:no_comma", "change_case:english_lowercase"],
             "kwargs": [{"n": None}, {"n": None}]}]  # fmt: skip
    write(tmp_path / "ifeval.jsonl", rows)
    made, _ = lm_eval_tasks.evaluate(
        Fixed(lambda _: "No Commas"), ["ifeval"], Evaluation(benchmark_dir=str(tmp_path)), tmp_path / "log"
    )
    assert {r["metric"]: r["value"] for r in made} == {
        "instruction_following": 0, "instruction_strict": 50, "prompt_loose": 0, "instruction_loose": 50}  # fmt: skip
    assert {r["metric"]: r["n"] for r in made} == {
        "instruction_following": 1, "instruction_strict": 2, "prompt_loose": 1, "instruction_loose": 2}  # fmt: skip


def test_choices_are_scored_by_a_lab_students_likelihoods(tmp_path):
    row = {"question": "Mia has 2 cups. How many?", "mc1_targets": {"choices": ["2", "9"], "labels": [1, 0]},
           "mc2_targets": {"choices": ["2", "9"], "labels": [1, 0]}}  # fmt: skip
    write(tmp_path / "truthfulqa_mc2.jsonl", [row])
    ref = loading.ModelRef(loading.resolve("lab:llama-weak"), "weak", dtype="float32", device="cpu")
    engine = generation.TransformersGenerator(ref)
    (made,), _ = lm_eval_tasks.evaluate(
        engine, ["truthfulqa"], Evaluation(benchmark_dir=str(tmp_path)), tmp_path / "log"
    )
    assert 0 < made["value"] < 100
    assert made["n"] == 1


def test_a_stop_word_ends_the_answer(tmp_path):
    class Asked:
        args = ("Which one?", {"until": ["Question:", "\n"], "max_gen_toks": 9})

    engine = Fixed(lambda _: "A. Question: B")
    model = lm_eval_tasks._model(engine, Sampling(), tmp_path / "log.jsonl")
    assert model.generate_until([Asked()]) == ["A. "]


def test_likelihoods_are_refused_where_an_engine_gives_none():
    with pytest.raises(BadInput, match="log-likelihoods"):
        general_benchmarks.check("musr", "openai")


def test_every_task_is_one_of_lm_evals():
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    known = {*manager.all_tasks, *manager.all_groups, *manager.all_tags}
    assert {g.task for g in general_benchmarks.GENERAL.values()} <= known


def test_a_task_gets_texts_without_thoughts(tmp_path):
    from cgd_utils.evaluation.lm_eval_tasks import _model

    class Asked:
        args = ("Which one?", {"until": [], "max_gen_toks": 9})

    engine = Fixed(lambda _: "<think>The answer is (B)?</think>\nThe answer is (A).")
    assert _model(engine, Sampling(), tmp_path / "log.jsonl").generate_until([Asked()]) == ["The answer is (A)."]
    assert "(B)" in (tmp_path / "log.jsonl").read_text()
