"""Merging with its check of logits, cards, the push to a hub (never a real one), plain PEFT."""

import json

import families
import pytest
import test_trainer as t

from cgd_utils.__main__ import main
from cgd_utils.core.errors import BadInput
from cgd_utils.models import adapters, loading

CARD = {"base": "owner/base", "family": "llama", "method": "cgd", "seed": 0, "mode": "lora", "data_key": "abc",
        "settings": {"learning_rate": 1e-4}, "versions": {"torch": "1", "pandas": "2"}}  # fmt: skip


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    facts = t.train(folder, t.settings(lora={"r": 4, "rslora": True}))
    adapters.write_card(folder / "model", {**CARD, "facts": {"rows": 6, **facts}})
    return folder / "model"


def logits(folder, **more):
    import torch

    model = loading.load_model(loading.ModelRef(str(folder), "m", dtype="float32", device="cpu", **more)).eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 43).reshape(2, 20)).logits


def foreign(base, folder, config=None, resize=0, **lora):
    """An adapter that plain PEFT saved: it records no base but its path."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    if resize:
        model.resize_token_embeddings(resize)
    tuned = get_peft_model(
        model, config or LoraConfig(r=4, task_type="CAUSAL_LM", **{"target_modules": ["q_proj"], **lora})
    )
    torch.manual_seed(1)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name or "lora_embedding_B" in name:
            weight.data = torch.randn_like(weight)
    tuned.save_pretrained(folder)
    return folder


def test_a_merged_model_answers_as_base_and_adapter(adapter, tmp_path, capsys):
    import torch

    assert (
        main(
            [
                "merge-adapter",
                str(adapter),
                "--out",
                str(tmp_path / "merged"),
                "--dtype",
                "float32",
                "--device",
                "cpu",
                "--json",
            ]
        )
        == 0
    )
    made = json.loads(capsys.readouterr().out)
    assert made["relative_difference"] < 1e-4 and made["same_top_token"] == 1.0
    both = logits(families.stand_in("llama"), adapter=str(adapter))
    assert torch.allclose(logits(tmp_path / "merged"), both, atol=1e-4)
    assert not torch.allclose(logits(families.stand_in("llama")), both, atol=1e-3)
    assert "Merged into" in (tmp_path / "merged" / "README.md").read_text()
    loading.load_tokenizer(loading.ModelRef(str(tmp_path / "merged"), "m"))


def test_16_bit_weights_differ_by_rounding_only(adapter, tmp_path):
    made = adapters.merge(adapter, tmp_path / "merged", dtype="bfloat16", device="cpu")
    assert 0 < made["relative_difference"] <= adapters.TOLERANCE["bfloat16"]


def test_plain_peft_loads_the_adapter(adapter):
    import torch
    from peft import AutoPeftModelForCausalLM

    model = AutoPeftModelForCausalLM.from_pretrained(adapter, dtype=torch.float32).eval()
    with torch.no_grad():
        plain = model(input_ids=torch.arange(3, 43).reshape(2, 20)).logits
    assert torch.allclose(plain, logits(families.stand_in("llama"), adapter=str(adapter)), atol=1e-5)


def test_a_merge_that_would_change_the_model_is_refused(adapter, tmp_path, monkeypatch):
    monkeypatch.setitem(adapters.TOLERANCE, "bfloat16", 1e-9)
    with pytest.raises(BadInput, match="merged logits differ"):
        adapters.merge(adapter, tmp_path / "merged", dtype="bfloat16", device="cpu")
    assert not list(tmp_path.iterdir())


def test_bad_merges(adapter, tmp_path):
    with pytest.raises(BadInput, match="was trained on"):
        adapters.merge(adapter, tmp_path / "m", base=str(families.stand_in("qwen")), device="cpu")
    with pytest.raises(BadInput, match="exists already"):
        adapters.merge(adapter, tmp_path, device="cpu")
    with pytest.raises(BadInput, match="int4"):
        adapters.merge(adapter, tmp_path / "m", dtype="int4")
    with pytest.raises(BadInput, match=r"no adapter_config\.json"):
        adapters.merge(tmp_path, tmp_path / "m")


def test_an_adapter_over_tied_embeddings_is_refused_with_what_to_do(tmp_path):
    """Float32 does not help where merging would change the weight at both ends."""
    base = families.build("llama", tmp_path / "base", tie_word_embeddings=True)
    adapter = foreign(base, tmp_path / "adapter", target_modules=["q_proj", "lm_head"])
    with pytest.raises(BadInput, match=r"output head.*tied embeddings.*cgd generate --model BASE --adapter") as told:
        adapters.merge(adapter, tmp_path / "merged", dtype="float32", device="cpu")
    assert "float32" not in str(told.value) and not (tmp_path / "merged").exists()


def test_an_adapter_without_weights_to_merge_is_refused(tmp_path):
    from peft import PromptTuningConfig

    base = families.stand_in("llama")
    adapter = foreign(base, tmp_path / "adapter", PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    with pytest.raises(BadInput, match="no weights to merge"):
        adapters.merge(adapter, tmp_path / "merged", dtype="float32", device="cpu")


def test_the_card_holds_settings_data_and_results(adapter, tmp_path):
    results = [
        {"benchmark": "math-500", "metric": "accuracy", "value": 41.2, "n": 500, "ci_low": 37.0, "ci_high": 45.5}
    ]
    adapters.write_card(tmp_path, {**json.loads((adapter / "cgd.json").read_text())}, results)
    text = (tmp_path / "README.md").read_text()
    for part in ("base_model: owner/base", "`abc`", "| steps | 3 |", "| math-500 | accuracy | 41.2 | 500 |", "LoRA on"):
        assert part in text
    assert "Not evaluated" in (adapter / "README.md").read_text()


def test_a_push_uploads_the_model_alone_and_no_local_path(adapter, tmp_path, monkeypatch, capsys):
    sent = {}

    class Hub:
        def create_repo(self, repo, repo_type, private, exist_ok):
            sent["private"] = private

        def upload_folder(self, repo_id, repo_type, folder_path, commit_message):
            from pathlib import Path

            sent["files"] = {p.name: p.read_bytes() for p in Path(folder_path).iterdir()}

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert main(["push", str(adapter), "me/it", "--profile", "smoke", "--outputs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["repository"] == "me/it" and sent["private"]
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md"} <= set(sent["files"])
    assert json.loads(sent["files"]["adapter_config.json"])["base_model_name_or_path"] == "owner/base"
    assert str(families.stand_in("llama")).encode() not in sent["files"]["adapter_config.json"]
    with pytest.raises(BadInput, match="owner/name"):
        adapters.push(adapter, "it")
    with pytest.raises(BadInput, match="it is no model"):
        adapters.push(tmp_path, "me/it")
