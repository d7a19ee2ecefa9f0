"""Tokenisation checks, draws, and QLoRA on the CPU."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils import methods, prompts
from cgd_utils.core import store
from cgd_utils.core.errors import BadInput
from cgd_utils.engines import generation, request_log
from cgd_utils.evaluation import results
from cgd_utils.models import loading
from cgd_utils.training import fine_tune, tokenization

RECORD = {
    "id": "a", "question": "q?", "answer": "14", "solution": "Answer: 14", "draft": "Answer: 15", "critique": "14 not 15. Conclusion: wrong",
    "refined": "12+2=14\nAnswer: 14", "direct": "12+2=14\nAnswer: 14",
}  # fmt: skip
RECORDS = [{**RECORD, "id": str(i), "critique": f"critique {i}. Conclusion: wrong"} for i in range(5)]


@pytest.fixture(scope="module")
def tok():
    return loading.load_tokenizer(loading.ModelRef(loading.resolve("lab:llama"), "llama"))


@pytest.mark.parametrize("method", methods.METHODS)
def test_the_loss_is_on_the_completion_and_its_end_only(method, tok):
    row = methods.rows(method, [RECORD], prompts.layout("lab"))[0]
    [out], too_long = tokenization.tokenize([row], tok, 1024)
    learnt = [t for t, label in zip(out["input_ids"], out["labels"], strict=True) if label != tokenization.IGNORED]
    assert tok.decode(learnt) == row["completion"][0]["content"] + tok.eos_token
    assert out["labels"][-1] == tok.eos_token_id
    assert not too_long


def test_long_rows_are_listed_not_cut(tok):
    rows = methods.rows("cgd", [RECORD, {**RECORD, "id": "long", "question": "many " * 300}], prompts.layout("lab"))
    kept, left_out = tokenization.tokenize(rows, tok, 200)
    assert [r["id"] for r in kept] == ["a"]
    assert left_out[0]["id"] == "long"


def test_an_empty_completion_is_refused(tok):
    row = {
        "id": "x",
        "method": "sft",
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": " "}],
    }
    with pytest.raises(BadInput, match="'x'.*empty"):  # noqa: RUF043
        tokenization.tokenize([row], tok, 100)


def test_each_critique_method_shows_its_critique():
    layout = prompts.layout("lab")

    def shown(name, i=0):
        return methods.rows(name, RECORDS, layout)[i]["prompt"][0]["content"]

    assert "critique 0." in shown("cgd")
    assert "critique 0." not in shown("cgd_irrelevant") and "critique" in shown("cgd_irrelevant")
    assert layout.generic_critique in shown("cgd_generic")
    assert "Critique:" not in shown("cgd_no_critique")
    assert "Conclusion: right" in shown("cgd_noisy(1.0)")
    assert shown("cgd_noisy(0.0)") == shown("cgd")
    assert shown("cgd_replay(1.0)") == shown("refined_sft")


@given(st.integers(0, 999))
def test_a_masked_critique_does_not_hold_the_answer(n):
    critique = f"Step 1 is wrong: 1{n} is {n}, not {n}. The answer is {n}. Conclusion: wrong"
    assert methods.leaks(critique, str(n))
    assert not methods.leaks(methods.mask_answer(critique, str(n)), str(n))
    assert f"1{n} is" in methods.mask_answer(critique, str(n))


@given(st.text(), st.text(), st.text())
def test_prompts_hold_their_parts_unchanged(question, draft, critique):
    content = prompts.layout("lab").ask_refined(question, draft, critique)[0]["content"]
    assert content == f"{question}\nDraft: {draft}\nCritique: {critique}\nWrite the improved answer."


def test_a_seed_draws_the_same_questions_for_every_method():
    assert fine_tune.draw(RECORDS, 3, 1) == fine_tune.draw(RECORDS, 3, 1)
    assert fine_tune.draw(RECORDS, 5, 1) != fine_tune.draw(RECORDS, 5, 2)
    with pytest.raises(BadInput, match=r"training\.rows = 9"):
        fine_tune.draw(RECORDS, 9, 0)


@pytest.mark.parametrize("mode", ["lora", "qlora"])
def test_adapters_train_save_and_generate_on_the_cpu(mode, tmp_path):
    run = store.open_run("smoke", tmp_path, {"training.mode": mode, "training.learning_rate": 1e-3, "data.rows": 40})
    model = fine_tune.fine_tune(run, "llama", "cgd", 0)
    assert (model.folder / "model" / "adapter_config.json").exists()
    from safetensors.torch import load_file

    weights = load_file(model.folder / "model" / "adapter_model.safetensors")
    assert all(w.abs().sum() > 0 for k, w in weights.items() if "lora_B" in k), "an adapter did not learn"
    history = model.rows("history.jsonl")
    assert history[-1]["loss"] == history[-1]["loss"]
    ref = fine_tune.trained_ref(run, "llama", model, "tuned")
    engine = generation.TransformersGenerator(ref)
    rows = engine.generate(
        [(request_log.Request("a", [{"role": "user", "content": "q"}]), 0)], run.profile.evaluation.sampling
    )
    assert rows[0]["n_tokens"] > 0


def test_a_question_too_long_for_one_method_is_left_out_of_all(tok, tmp_path):
    chosen = {
        "training.methods": ["sft", "cgd"],
        "training.rows": 0,
        "training.validation_rows": 0,
        "training.validation_steps": 0,
        "training.max_length": 200,
    }
    run = store.open_run("smoke", tmp_path, chosen)
    records = [*RECORDS, {**RECORD, "id": "long", "critique": "many " * 300}]
    for method in ("sft", "cgd"):
        rows, left_out = fine_tune.training_rows(run, records, method, 0, tok)
        assert sorted(r["id"] for r in rows) == [r["id"] for r in RECORDS]
        assert [(r["id"], r["method"]) for r in left_out] == [("long", "cgd")]


SMALL = {"data.rows": 40, "training.rows": 24, "training.validation_rows": 0, "training.validation_steps": 0, "training.batch_size": 4,
         "training.micro_batch_size": 4}  # fmt: skip


def test_methods_can_have_equal_steps_or_equal_trained_tokens(tmp_path):
    facts = {}
    for equal in ("steps", "tokens"):
        run = store.open_run("smoke", tmp_path, {**SMALL, "training.equal": equal})
        for method in ("sft", "cgd"):
            facts[equal, method] = fine_tune.fine_tune(run, "llama", method, 0).manifest["facts"]
    assert facts["steps", "sft"]["steps"] == facts["steps", "cgd"]["steps"]
    assert facts["steps", "sft"]["trained_tokens"] < facts["steps", "cgd"]["trained_tokens"] / 2
    sft, cgd = facts["tokens", "sft"], facts["tokens", "cgd"]
    assert cgd["steps"] == facts["steps", "cgd"]["steps"] < sft["steps"]
    assert abs(sft["trained_tokens"] - cgd["trained_tokens"]) <= sft["trained_tokens"] / sft["steps"]


def test_one_more_method_in_the_profile_trains_no_other_again(tmp_path):
    first, second = (
        store.open_run("smoke", tmp_path, {**SMALL, "training.methods": m}) for m in (["sft"], ["sft", "cgd"])
    )
    assert fine_tune.fine_tune(first, "llama", "sft", 0).key == fine_tune.fine_tune(second, "llama", "sft", 0).key


def test_a_trained_student_is_saved_as_its_base_was_and_generates(tmp_path):
    lab = ("mixtral", "olmo")
    run = store.open_run("smoke", tmp_path, {"models.students": {f: f"lab:{f}" for f in lab}, "models.weaker": {}})
    for family in lab:
        model = fine_tune.fine_tune(run, family, "sft", 0)
        before, after = (
            json.loads((folder / "config.json").read_text())
            for folder in (Path(loading.resolve(f"lab:{family}")), model.folder / "model")
        )
        written = {"dtype", "torch_dtype", "transformers_version", "use_cache", "_name_or_path"}
        assert {k: v for k, v in after.items() if k not in written} == {
            k: v for k, v in before.items() if k not in written
        }
        assert results.evaluate(run, family, "sft", 0, model)


def test_a_mix_by_conclusion_takes_the_critique_s_word_for_the_truth():
    """Where the critique errs, the two mixes differ; both have as many rows as the scarcer kind gives."""
    truth = [i % 4 == 0 for i in range(40)]
    said = [i % 5 == 0 for i in range(40)]
    records = [
        {"id": str(i), "draft_correct": t, "conclusion": "right" if s else "wrong"}
        for i, (t, s) in enumerate(zip(truth, said, strict=True))
    ]
    by_truth = fine_tune.draw(records, 0, 1, 1.0)
    by_word = fine_tune.draw(records, 0, 1, 1.0, share_by="conclusion")
    assert len(by_truth) == 10 and all(r["draft_correct"] for r in by_truth)
    assert len(by_word) == 8 and all(r["conclusion"] == "right" for r in by_word)
    assert not any(r["conclusion"] == "right" for r in fine_tune.draw(records, 0, 1, 0.0, share_by="conclusion"))
