"""Looking into students: spans, likelihood, attention and drift against values known by hand."""

import math

import numpy as np
import pytest
import torch

from cgd_utils import prompts
from cgd_utils.analysis import internals
from cgd_utils.core.errors import BadInput
from cgd_utils.evaluation import trained_models
from cgd_utils.lab import students
from cgd_utils.reporting import summaries

RECORD = {
    "id": "a", "question": "Mia has 12 apples. How many? {draft}", "draft": "12+5=18\nAnswer: 18",
    "critique": "Step 1 is wrong: 12+5 is 17, not 18. Conclusion: wrong", "refined": "12+5=17\nAnswer: 17", "answer": "17",
}  # fmt: skip
SHORT = {**RECORD, "id": "b", "question": "2+2?", "draft": "5", "refined": "Answer: 4"}


@pytest.fixture(scope="module")
def tok():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(students.FOLDER / "llama")


@pytest.fixture
def model(tok):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tok), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=2, max_position_embeddings=512)  # fmt: skip
    return LlamaForCausalLM(config).eval()


def encoded(tok, layout="lab", condition="x, y', c", records=(RECORD, SHORT)):
    return [internals.encode(tok, prompts.layout(layout), r, condition, "It is so. Conclusion: right") for r in records]


def text_of(tok, e, part):
    return tok.decode([i for i, p in zip(e.ids, e.parts, strict=True) if p == part])


@pytest.mark.parametrize("layout", ["lab", "standard"])
def test_every_token_belongs_to_its_part(tok, layout):
    for r, e in zip((RECORD, SHORT), encoded(tok, layout), strict=True):
        assert text_of(tok, e, "x").strip() == r["question"]
        assert text_of(tok, e, "y'").strip() == r["draft"]
        assert text_of(tok, e, "c").strip() == r["critique"]
        assert text_of(tok, e, "ŷ") == r["refined"] + tok.eos_token
        assert e.parts[e.start - 1 : e.start + 1] == ["template", "ŷ"]


@pytest.mark.parametrize(
    ("condition", "parts"), [("x", {"x"}), ("x, y'", {"x", "y'"}), ("x, y', another c", {"x", "y'", "c"})]
)
def test_a_condition_shows_what_it_says(tok, condition, parts):
    (e, _) = encoded(tok, condition=condition)
    assert set(e.parts) - {"template", "ŷ"} == parts
    if "another" in condition:
        assert text_of(tok, e, "c").strip() == "It is so. Conclusion: right"


def test_a_template_that_changes_the_turn_is_refused(tok):
    import copy

    other = copy.deepcopy(tok)
    other.chat_template = tok.chat_template.replace("message['content'] | trim", "message['content'] | upper")
    with pytest.raises(BadInput, match="changes the user's turn"):
        encoded(other)


def test_a_uniform_model_is_as_uncertain_as_can_be(tok, model):
    torch.nn.init.zeros_(model.lm_head.weight)
    for nll, entropy in internals.uncertainty(model, encoded(tok), 2, tok.pad_token_id):
        assert nll == pytest.approx(math.log(len(tok)), rel=1e-5)
        assert entropy == pytest.approx(math.log(len(tok)), rel=1e-5)


def test_likelihood_is_that_of_the_row_alone(tok, model):
    rows = encoded(tok)
    together = internals.uncertainty(model, rows, 2, tok.pad_token_id)
    for e, (nll, entropy) in zip(rows, together, strict=True):
        with torch.inference_mode():
            logp = model(torch.tensor([e.ids])).logits[0, e.start - 1 : -1].log_softmax(-1)
        assert nll == pytest.approx(-np.mean([logp[j, t].item() for j, t in enumerate(e.ids[e.start :])]), rel=1e-4)
        assert entropy == pytest.approx(-(logp.exp() * logp).sum(-1).mean().item(), rel=1e-4)


def test_even_attention_falls_on_parts_by_their_tokens(tok, model):
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.q_proj.weight)
    rows = encoded(tok)
    for e, layers in zip(rows, internals.attention(model, rows, 2, tok.pad_token_id), strict=True):
        by_hand = {
            p: np.mean([e.parts[: t + 1].count(p) / (t + 1) for t in range(e.start, len(e.ids))])
            for p in internals.PARTS
        }
        assert len(layers) == 2
        for mass in layers:
            assert mass == pytest.approx(by_hand, abs=1e-5)


def test_attention_sums_to_one_and_its_hooks_are_gone(tok, model):
    rows = encoded(tok)
    for layers in internals.attention(model, rows, 1, tok.pad_token_id):
        assert [sum(m.values()) for m in layers] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert not any(m._forward_hooks for m in model.modules())


def test_pooled_states_begin_with_the_mean_embedding(tok, model):
    rows = encoded(tok, condition="x")
    found = internals.pooled(model, rows, 2, tok.pad_token_id)
    assert found.shape == (2, 3, 32)
    for e, vectors in zip(rows, found, strict=True):
        mean = model.model.embed_tokens.weight[torch.tensor(e.ids[: e.start])].mean(0).detach().numpy()
        assert vectors[0] == pytest.approx(mean, abs=1e-5)


def test_cosine():
    assert internals.cosine(np.array([[1.0, 0], [2, 2]]), np.array([[0.0, 3], [1, 1]])) == pytest.approx([0.0, 1.0])


def test_the_analyses_of_a_run_are_loaded_the_second_time(smoke_run):
    made = sorted((smoke_run.folder / "artifacts").glob("internals/*/manifest.json"))
    times = [p.stat().st_mtime_ns for p in made]
    rows = summaries.frame(internals.look_inside(smoke_run, "llama"))
    assert [p.stat().st_mtime_ns for p in made] == times
    # the base on the pilot seed's records (gate 1) and on all seeds'; two methods' models of each seed
    assert len(made) == 2 + len(trained_models.seeds(smoke_run)) * 2
    kept = summaries.read(smoke_run)
    for name in ("uncertainty", "attention", "drift"):
        mine, theirs = summaries.pick(rows, name), summaries.pick(kept, name)
        assert mine["value"].to_numpy(float) == pytest.approx(theirs["value"].to_numpy(float), rel=1e-4)
    shares = summaries.pick(rows, "attention")
    shares = (
        shares[shares["condition"].str.startswith("layer")]
        .groupby(["method", "seed", "condition"], dropna=False)["value"]
        .sum()
    )
    assert shares.to_numpy(float) == pytest.approx(1.0, abs=1e-3)


def test_records_are_ones_that_the_seed_did_not_train_on(smoke_run):
    from cgd_utils.synthesis import teaching
    from cgd_utils.training import fine_tune

    for seed in trained_models.seeds(smoke_run):
        rows, unseen = trained_models.looked_at(smoke_run, "llama", seed)
        drawn = fine_tune.draw(teaching.records(smoke_run, "llama").rows(), smoke_run.profile.training.rows, seed)
        assert unseen
        assert not {r["id"] for r in rows} & {r["id"] for r in drawn}


def test_a_mean_over_seeds_and_one_over_items():
    about = {"analysis": "a", "family": "f", "condition": "x", "metric": "m"}
    rows = [summaries.mean([v - 1, v + 1], **about, method="cgd", seed=s) for s, v in enumerate((1.0, 2.0, 3.0))]
    rows.append(summaries.share([True, False], **about, method="base", seed=None))
    trained, base = summaries.over_seeds(summaries.frame(rows)).to_dict("records")
    assert (trained["value"], trained["seeds"], trained["n"], trained["over"]) == (2.0, 3, 2, "seeds and questions")
    records = 1.0 - rows[0]["ci_low"]
    assert trained["ci_low"] == pytest.approx(2 - (4.302653**2 / 3 + records**2) ** 0.5, abs=1e-4)
    assert (base["value"], base["seeds"], base["over"]) == (50.0, 1, "questions")
    shown = summaries.table(summaries.frame(rows))
    assert shown.loc[1, "x"] == f"50.00 [{base['ci_low']:.2f}, {base['ci_high']:.2f}]"
