"""The rehearsal before long work: what would fail in training is told by `cgd check`."""

import json
import shutil

import families
import pytest

from cgd_utils.__main__ import main
from cgd_utils.app import preflight
from cgd_utils.core import store
from cgd_utils.core.errors import BadInput
from cgd_utils.training import rehearsal


def open_run(folder, students, methods=("sft", "cft", "cgd")):
    return store.open_run("smoke", folder, {"models.students": students, "training.methods": list(methods)})


def test_every_student_and_method_is_tried_under_its_own_template(tmp_path):
    students = {name: str(families.stand_in(name)) for name in families.ALL}
    tried = rehearsal.rehearse(open_run(tmp_path, students))
    assert [(r["family"], r["method"]) for r in tried] == [(f, m) for f in students for m in ("sft", "cft", "cgd")]
    told = {r["family"]: r["learnt"].strip() for r in tried if r["method"] == "cgd"}
    assert told["smollm2"].endswith("Answer: 5<|im_end|>") and told["phi3"].endswith("Answer: 5<|end|>")


@pytest.mark.parametrize("name", families.ALL)
def test_every_architecture_has_a_toy(name):
    import torch

    from cgd_utils.models import loading

    before = torch.random.get_rng_state()
    toy = rehearsal._toy(rehearsal._config(loading.ModelRef(str(families.stand_in(name)), name)))
    assert sum(q.numel() for q in toy.parameters()) < 1_000_000
    assert (torch.random.get_rng_state() == before).all(), "a run's random numbers must not depend on the check"


def broken(folder, family="qwen", **tokenizer):
    """A stand-in's copy with another chat template, or another size of its config."""
    shutil.copytree(families.stand_in(family), folder)
    if "template" in tokenizer:
        (folder / "chat_template.jinja").write_text(tokenizer["template"])
    if "vocab_size" in tokenizer:
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**about, "vocab_size": tokenizer["vocab_size"]}))
    return folder


BROKEN = {
    "no end of turn": ({"template": "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"}, "end-of-turn token"),
    "a template that cuts": (
        {"template": families.QWEN.replace("message['content'] +", "message['content'][:30] +")},
        "drops or changes",
    ),
    "two beginnings": ({"family": "llama", "template": "{{ bos_token }}" + families.LLAMA3}, "more than once"),
    "too small a vocabulary": ({"vocab_size": 200}, "the model knows 200 tokens"),
}


@pytest.mark.parametrize(("how", "message"), BROKEN.values(), ids=BROKEN)
def test_what_training_would_refuse_is_told_before_it(how, message, tmp_path, capsys):
    folder = broken(tmp_path / "student", **how)
    with pytest.raises(BadInput, match=rf"models\.students: mine = .*{message}"):
        preflight.preflight(open_run(tmp_path, {"mine": str(folder)}))
    setting = f"models.students={{mine: {folder}}}"
    assert main(["check", "--profile", "smoke", "--outputs", str(tmp_path), "--set", setting, "--json"]) == 2
    assert message in capsys.readouterr().out


def test_a_student_of_a_hub_that_is_not_reached_is_left_out(tmp_path):
    run = open_run(tmp_path, {"away": "nobody/nothing", "llama": "lab:llama"}, ["sft"])
    assert [r["family"] for r in rehearsal.rehearse(run)] == ["llama"]
