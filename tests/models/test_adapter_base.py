"""An adapter and its base: told by content, not by the name of a folder."""

import json
import shutil

import families
import pytest
import test_trainer as t
from test_adapters import foreign, logits

from cgd_utils.core.errors import BadInput
from cgd_utils.models import adapter_base, adapters, loading


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return families.build("llama", tmp_path_factory.mktemp("first") / "final", seed=3)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another model of the same shapes in a folder of the same name."""
    return families.build("llama", tmp_path_factory.mktemp("second") / "final", seed=4)


@pytest.fixture(scope="module", params=["trained here", "by plain PEFT"])
def adapter(request, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    if request.param == "by plain PEFT":
        return foreign(base, folder / "model")
    ref = loading.ModelRef(str(base), "llama", dtype="float32", device="cpu")
    t.train(folder, t.settings(), base=ref)
    return folder / "model"


def renamed(adapter, folder, base):
    """A copy of an adapter whose config names a folder that is not here."""
    shutil.copytree(adapter, folder)
    about = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**about, "base_model_name_or_path": base}))
    return folder


def ref(base, adapter):
    return loading.ModelRef(str(base), "m", str(adapter), dtype="float32", device="cpu")


def test_a_renamed_copy_is_the_same_base(base, adapter, tmp_path):
    import torch

    copy = shutil.copytree(base, tmp_path / "another-name")
    made = adapters.merge(adapter, tmp_path / "merged", base=str(copy), dtype="float32", device="cpu")
    assert made["relative_difference"] < 1e-4
    assert torch.allclose(logits(tmp_path / "merged"), logits(base, adapter=str(adapter)), atol=1e-4)


def test_another_model_in_a_folder_of_the_same_name_is_refused(base, other, adapter, tmp_path):
    assert base.name == other.name
    with pytest.raises(BadInput, match=r"was trained on .*fingerprint"):
        adapters.merge(adapter, tmp_path / "merged", base=str(other), dtype="float32", device="cpu")
    with pytest.raises(BadInput, match="was trained on"):
        loading.load_model(ref(other, adapter))
    assert not list(tmp_path.iterdir())


def test_a_base_whose_path_is_of_another_machine(base, other, adapter, tmp_path):
    moved = renamed(adapter, tmp_path / "moved", "/scratch/someone/checkpoint-70")
    with pytest.raises(BadInput, match="name a copy of it with --base"):
        adapters.merge(moved, tmp_path / "m", dtype="float32", device="cpu")
    adapters.merge(moved, tmp_path / "merged", base=str(base), dtype="float32", device="cpu")
    if (moved / "base.json").exists():  # plain PEFT left nothing that could tell models of one shape apart
        with pytest.raises(BadInput, match="was trained on"):
            adapters.merge(moved, tmp_path / "m", base=str(other), dtype="float32", device="cpu")


def test_a_fingerprint_is_of_the_weights_alone(base, other, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    whole = adapter_base.fingerprint(str(base))
    model = AutoModelForCausalLM.from_pretrained(base)
    model.save_pretrained(tmp_path / "cut", max_shard_size="200KB")
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > 1
    assert adapter_base.fingerprint(str(tmp_path / "cut")) == adapter_base.fingerprint(str(tmp_path / "half")) == whole
    assert whole != adapter_base.fingerprint(str(other))
    assert adapter_base.fingerprint("nobody/nothing") is None and adapter_base.fingerprint(str(tmp_path)) is None


def test_one_changed_layer_is_another_base(base, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(base, tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    state["model.layers.1.mlp.up_proj.weight"] += torch.tensor(0.01)
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    assert adapter_base.fingerprint(str(copy)) != adapter_base.fingerprint(str(base))


def test_an_adapter_of_other_shapes_is_refused(base, adapter, tmp_path):
    wide = families.build("llama", tmp_path / "wide", hidden_size=256)
    moved = renamed(foreign(wide, tmp_path / "adapter"), tmp_path / "moved", "owner/wide")
    with pytest.raises(BadInput, match=r"q_proj has shape .*trained on another base") as told:
        loading.load_model(ref(base, moved))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "lora", [{"modules_to_save": ["embed_tokens"]}, {"target_modules": ["q_proj", "embed_tokens"]}]
)
def test_an_adapter_with_resized_embeddings_is_told_in_one_line(base, lora, tmp_path):
    size = len(families.tokenizer("llama"))
    moved = renamed(foreign(base, tmp_path / "adapter", resize=size + 8, **lora), tmp_path / "moved", "owner/resized")
    with pytest.raises(BadInput, match=rf"{size + 8}.*{size}.*resized embeddings") as told:
        loading.load_model(ref(base, moved))
    assert "\n" not in str(told.value)


def test_a_folder_without_an_adapter_is_refused(base, tmp_path):
    with pytest.raises(BadInput, match=r"no adapter_config\.json"):
        adapter_base.check(ref(base, tmp_path))
