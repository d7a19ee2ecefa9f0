"""Drafts, teacher texts, training and evaluation in a row, under every template shape and once with a real model."""

import families
import pytest

from cgd_utils.app import preflight
from cgd_utils.core import files, store
from cgd_utils.core.errors import BadInput
from cgd_utils.engines import generation, request_log
from cgd_utils.evaluation.results import evaluate
from cgd_utils.models import index_models, loading, named
from cgd_utils.synthesis import teaching
from cgd_utils.training import fine_tune, tokenization

PROBLEMS = [
    ("Tom has 3 pens and buys 4 more. How many pens has he?", "7"),
    ("A box holds 6 eggs. How many eggs are in 2 boxes?", "12"),
    ("Mia had 9 nuts and ate 5. How many are left?", "4"),
    ("A rope of 8 m is cut into 2 equal parts. How long is each?", "4"),
    ("Ben reads 5 pages a day. How many in 3 days?", "15"),
    ("There are 10 birds and 7 fly away. How many stay?", "3"),
]


def write_problems(folder):
    folder.mkdir(exist_ok=True)
    rows = [
        {"id": f"p{i}", "question": q, "answer": a, "solution": f"The answer is {a}."}
        for i, (q, a) in enumerate(PROBLEMS)
    ]
    files.write_jsonl(folder / "problems.jsonl", rows)
    return str(folder / "problems.jsonl")


def chain(folder, student, new_tokens, **more):
    """Every stage of a run with one student that is its own teacher; the records, the trained model and its results."""
    source = write_problems(folder / "data")
    run = store.open_run(
        "smoke",
        folder / "outputs",
        {
            "data.source": source,
            "data.rows": len(PROBLEMS),
            "models.students": {"mine": student},
            "models.weaker": {},
            "models.device": "cpu",
            "models.layout": "standard",
            "synthesis.teacher.kind": "model",
            "synthesis.teacher.model": student,
            "synthesis.draft.max_new_tokens": new_tokens,
            "synthesis.teacher.sampling.max_new_tokens": new_tokens,
            "evaluation.sampling.max_new_tokens": new_tokens,
            "evaluation.benchmarks": [{"name": "own", "path": source}],
            "training.mode": "lora",
            "training.lora.r": 4,
            "training.methods": ["cgd"],
            "training.rows": 0,
            "training.validation_rows": 0,
            "training.validation_steps": 0,
            "training.batch_size": 2,
            "training.micro_batch_size": 2,
            "training.max_length": 4096,
            "training.learning_rate": 1e-3,
            **more,
        },
    )
    preflight.preflight(run)
    records = teaching.records(run, "mine").rows()
    model = fine_tune.fine_tune(run, "mine", "cgd", 0)
    return run, records, model, evaluate(run, "mine", "cgd", 0, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", families.SHAPES)
@pytest.mark.filterwarnings("ignore")
def test_a_template_shape_passes_the_chain(name, tmp_path):
    warm = {"temperature": 1.0}
    sampling = {f"synthesis.{s}.{k}": v for s in ("draft", "teacher.sampling") for k, v in warm.items()}
    run, records, model, results = chain(tmp_path, str(families.stand_in(name)), 8, **sampling)
    facts = model.manifest["facts"]
    assert records and facts["rows"] == len(records) and facts["too_long"] == 0
    assert all(h["grad_norm"] > 0 for h in model.rows("history.jsonl"))
    assert {r["benchmark"] for r in results} == {"own"}
    # what was trained is what is evaluated: the saved tokenizer writes the same prompt as the student's
    asked = [[{"role": "user", "content": "What is 1 + 1?"}]]
    before = loading.load_tokenizer(named.student_ref(run, "mine"))
    after = loading.load_tokenizer(loading.ModelRef(str(model.folder / "model"), "trained"))
    requests = [request_log.Request("a", asked[0])]
    assert generation.prompt_ids(before, requests) == generation.prompt_ids(after, requests)


@pytest.fixture(scope="module")
def smollm2():
    """SmolLM2-135M-Instruct of the package index, its weights dequantised from Q4_1; skips where it cannot be had."""
    try:
        return index_models.path("smollm2-135m-instruct")
    except BadInput as e:
        pytest.skip(f"no real language model: {e}")


@pytest.mark.slow
def test_a_real_language_model_passes_the_chain(smollm2, tmp_path):
    """SmolLM2's beginning-of-text token opens every turn; its pad token was its end of turn."""
    run, records, model, results = chain(tmp_path, "index:smollm2-135m-instruct", 64)
    tok = loading.load_tokenizer(named.student_ref(run, "mine"))
    assert (tok.pad_token, tok.eos_token, tok.bos_token) == ("<|endoftext|>", "<|im_end|>", "<|im_start|>")
    rows, left_out = fine_tune.training_rows(run, records, "cgd", 0, tok)
    assert not left_out and len(rows) == len(records) >= 4
    for row in rows:
        learnt = [t for t in row["labels"] if t != tokenization.IGNORED]
        assert learnt.count(tok.eos_token_id) == 1 and learnt[-1] == tok.eos_token_id
        assert tok.pad_token_id not in row["input_ids"]
    history = model.rows("history.jsonl")
    assert history[0]["loss"] < 3, "a language model reads its own kind of text; chance is 10.8 nats a token"
    assert {(r["benchmark"], r["n"]) for r in results if r["metric"] == "accuracy"} == {("own", len(PROBLEMS))}
