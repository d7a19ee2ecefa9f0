"""The training loop: batches, packing, resume after a kill, a full disk, bad losses, several processes, 4 bits."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import families
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils import methods, prompts
from cgd_utils.core import errors, files, profile_files
from cgd_utils.core.errors import BadInput
from cgd_utils.core.settings import Training
from cgd_utils.models import loading
from cgd_utils.training import checkpoints, safe_trainer, tokenization, trainer

TESTS = Path(__file__).parent


def ref(family="llama", **more):
    return loading.ModelRef(str(families.stand_in(family)), family, dtype="float32", device="cpu", **more)


def rows_of(n=6, family="llama", words=12):
    tok = loading.load_tokenizer(ref(family))
    return tok, tokenization.tokenize(
        methods.rows("cgd", families.records(n, words), prompts.layout("lab")), tok, 8192
    )[0]


def settings(**changes):
    about = {
        "mode": "lora",
        "lora": {"r": 4},
        "learning_rate": 1e-2,
        "batch_size": 2,
        "micro_batch_size": 1,
        "max_length": 512,
        **changes,
    }
    return Training(**about)


def train(folder, t, n=6, family="llama", base=None, **more):
    tok, rows = rows_of(n, family)
    return trainer.train(base or ref(family), tok, rows, t, 0, Path(folder), **more)


def history(folder):
    return files.read_jsonl(Path(folder) / "history.jsonl")


def weights(folder):
    from safetensors.torch import load_file

    return load_file(Path(folder) / "model" / "adapter_model.safetensors")


# ---------------------------------------------------------------- batches
sizes = st.lists(st.integers(2, 60), min_size=1, max_size=40)


@given(sizes, st.integers(1, 4), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.booleans())
def test_every_row_is_read_once_in_the_step_of_its_place(lengths, groups, micro, processes, packed):
    rows = [{"input_ids": [0] * n} for n in lengths]
    batch = groups * micro * processes
    steps = tokenization.batches(rows, batch, micro, processes, 64 if packed else None)
    for i, step in enumerate(steps):
        assert sorted(x for one in step for x in one) == list(range(i * batch, min((i + 1) * batch, len(rows))))
        assert len(step) % processes == 0
        if packed:
            assert all(sum(lengths[x] for x in one) <= 64 for one in step)
            assert len(step) == len(steps[0])
        else:
            assert all(len(one) <= micro for one in step)


@given(sizes, st.integers(1, 4), st.sampled_from([1, 2]))
def test_a_step_of_packs_takes_the_rows_that_fill_them(lengths, packs, processes):
    """Every row once and in its order; no step could have taken the next row as well."""
    rows = [{"input_ids": [0] * n} for n in lengths]
    steps = tokenization.batches(rows, packs, 1, processes, 64, count_packs=True)
    taken = [sorted(x for one in step for x in one) for step in steps]
    assert [x for step in taken for x in step] == list(range(len(rows)))
    assert all(sum(lengths[x] for x in one) <= 64 for step in steps for one in step)
    for step in taken[:-1]:
        bins, room = 1, 64
        for n in [lengths[x] for x in [*step, step[-1] + 1]]:
            bins, room = (bins, room - n) if n <= room else (bins + 1, 64 - n)
        assert bins == packs + 1


def test_a_batch_that_the_processes_cannot_share_is_refused():
    with pytest.raises(BadInput, match="not a multiple of micro_batch_size × processes = 4 × 2"):
        tokenization.batches([{"input_ids": [1]}], 4, 4, 2)
    with pytest.raises(BadInput, match="'a' has 9 tokens"):
        tokenization.batches([{"id": "a", "input_ids": [1] * 9}], 4, 1, packed=8)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "qwen", "mixtral", "olmo"])
def test_packed_rows_do_not_see_each_other(family, attention):
    import torch

    tok, rows = rows_of(4, family)
    model = loading.load_model(ref(family)).eval()
    model.set_attn_implementation(attention)
    packed = tokenization.Collator(rows, tok.pad_token_id, True)([{"numbers": [2, 0, 3, 1]}])
    with torch.no_grad():
        together = model(input_ids=packed["input_ids"], position_ids=packed["position_ids"], use_cache=False).logits[0]
        start = 0
        for i in (2, 0, 3, 1):
            alone = model(input_ids=torch.tensor([rows[i]["input_ids"]])).logits[0]
            assert torch.allclose(together[start : start + len(alone)], alone, atol=2e-5)
            start += len(alone)
    assert (packed["labels"] != tokenization.IGNORED).sum() == tokenization.lengths(rows)[1]


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_update_does_not_depend_on_how_a_step_is_cut(mode, tmp_path):
    """Micro-batches of one, all rows at once, packed: the same loss and, to rounding, the same gradient."""
    ways = {
        "ones": {"micro_batch_size": 1},
        "whole": {"micro_batch_size": 4},
        "packed": {"packing": True},
        "kept": {"gradient_checkpointing": True},
    }
    runs = {}
    for name, way in ways.items():
        train(tmp_path / name, settings(mode=mode, learning_rate=1e-3, batch_size=4, max_length=1024, **way))
        runs[name] = history(tmp_path / name)
    for name, rows in runs.items():
        assert len(rows) == 2
        for mine, first in zip(rows, runs["ones"], strict=True):
            assert mine["loss"] == pytest.approx(first["loss"], rel=1e-4), name
            assert mine["grad_norm"] == pytest.approx(first["grad_norm"], rel=1e-3), name


# ---------------------------------------------------------------- records
def test_every_step_and_validation_is_recorded(tmp_path):
    _, held = rows_of(3)
    seen = []
    facts = train(tmp_path, settings(validation_rows=3, validation_steps=2), validation=held, watch=seen.append)
    rows = history(tmp_path)
    assert seen == rows and [r["step"] for r in rows] == [1, 2, 3]
    wanted = {
        "loss",
        "token_accuracy",
        "learning_rate",
        "grad_norm",
        "tokens_per_second",
        "memory_gib",
        "seconds",
        "trained_tokens",
    }
    assert all(wanted <= set(r) and all(math.isfinite(r[k]) for k in wanted) for r in rows)
    assert sum(r["trained_tokens"] for r in rows) == facts["trained_tokens"] == tokenization.lengths(rows_of()[1])[1]
    checked = files.read_jsonl(tmp_path / "validation.jsonl")
    assert [v["step"] for v in checked] == [2, 3] and all(v["loss"] > 0 for v in checked)
    assert {p.name for p in (tmp_path / "model").iterdir()} >= {"adapter_model.safetensors", "tokenizer.json"}
    assert not (tmp_path / "checkpoints").exists()


def test_validation_changes_nothing_that_is_learnt(tmp_path):
    train(tmp_path / "a", settings())
    train(tmp_path / "b", settings(validation_rows=2, validation_steps=1), validation=rows_of(2)[1])
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all((a[k] == b[k]).all() for k in a)


# ---------------------------------------------------------------- kills, full disks, bad losses
SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
import families, test_trainer as t
families.stand_in = lambda family: {base!r}
t.train({folder!r}, t.settings(**{changes!r}), n={n})
"""


def spawn(folder, changes, n=10, launcher=(sys.executable,), **env):
    script = Path(folder).with_suffix(".py")
    script.write_text(
        SCRIPT.format(tests=str(TESTS), base=str(families.stand_in("llama")), folder=str(folder), changes=changes, n=n)
    )
    return subprocess.Popen([*launcher, str(script)], env={**os.environ, "PYTHONPATH": str(TESTS.parent), **env},
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", [1, 3])
def test_a_killed_training_ends_in_the_same_adapter_bit_for_bit(kill_after, tmp_path):
    import torch

    changes = {"save_steps": 1, "epochs": 2.0, "lora": {"r": 4, "dropout": 0.1}}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(tmp_path / "whole", settings(**changes), n=10)
    torch.set_num_threads(threads)
    process = spawn(tmp_path / "killed", changes)
    log = tmp_path / "killed" / "history.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= kill_after):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model").exists(), "it was done before it was killed"
    again = spawn(tmp_path / "killed", changes)
    assert again.wait() == 0, again.stderr.read()[-2000:]
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert whole.keys() == killed.keys() and all((whole[k] == killed[k]).all() for k in whole)
    kept = ("step", "loss", "learning_rate", "grad_norm", "token_accuracy")
    assert [[r[k] for k in kept] for r in history(tmp_path / "whole")] == [
        [r[k] for k in kept] for r in history(tmp_path / "killed")
    ]


def test_a_checkpoint_that_is_not_whole_is_not_resumed_from(tmp_path):
    for step, size in ((1, 3), (2, 4)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights").write_text("abc")
        files.write_jsonl(folder / checkpoints.COMPLETE, [{"weights": size}])
    (tmp_path / "checkpoint-10").mkdir()
    assert checkpoints.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1"]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    import resource

    t = settings(save_steps=1)
    real = safe_trainer.trainer_class()._save_optimizer_and_scheduler
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def full(self, folder):
        if self.state.global_step == 2:  # from here on no file may grow over 4 KiB: writing fails as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        return real(self, folder)

    from trl import SFTTrainer

    try:
        with monkeypatch.context() as patched:
            patched.setattr(SFTTrainer, "_save_optimizer_and_scheduler", full)
            with pytest.raises(
                checkpoints.TrainingFailed, match=r"step 2 could not be saved.*goes on from checkpoint-1"
            ):
                train(tmp_path / "full", t)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert [p.name for p in (tmp_path / "full" / "checkpoints").iterdir()] == ["checkpoint-1"]
    train(tmp_path / "full", t)
    train(tmp_path / "free", t)
    a, b = weights(tmp_path / "full"), weights(tmp_path / "free")
    assert all((a[k] == b[k]).all() for k in a)


def test_a_loss_that_is_no_number_names_its_rows_and_keeps_the_checkpoint(tmp_path):
    from safetensors.torch import load_file, save_file

    base = families.build("llama", tmp_path / "base")
    tok, rows = rows_of(6)
    poison = next(
        i
        for i in range(len(tok))
        if i not in {x for r in rows for x in r["input_ids"]} and i not in tok.all_special_ids
    )
    state = load_file(base / "model.safetensors")
    state["model.embed_tokens.weight"][poison] = float("nan")
    save_file(state, base / "model.safetensors", metadata={"format": "pt"})
    rows[4] = {**rows[4], "input_ids": [rows[4]["input_ids"][0], poison, *rows[4]["input_ids"][2:]]}
    where = loading.ModelRef(str(base), "llama", dtype="float32", device="cpu")
    with pytest.raises(
        checkpoints.TrainingFailed,
        match=r"the loss is not a number at step 3; rows of that forward pass: 'r4'.*checkpoint-2",
    ):
        trainer.train(where, tok, rows, settings(save_steps=1), 0, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-2" / checkpoints.COMPLETE).exists()
    assert not (tmp_path / "run" / "model").exists()


# ---------------------------------------------------------------- several processes
@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Also in the last step, where one process has no row left."""
    changes = {"batch_size": 4, "micro_batch_size": 1, "mode": "full", "learning_rate": 1e-3}
    train(tmp_path / "one", settings(**changes), n=9)
    torchrun = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        "0",
        "--standalone",
    )
    process = spawn(tmp_path / "two", changes, n=9, launcher=torchrun)
    _, error = process.communicate()
    assert process.returncode == 0, error[-3000:]
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4) and a["grad_norm"] == pytest.approx(
            b["grad_norm"], rel=1e-3
        )


# ---------------------------------------------------------------- 4 bits
@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_a_qlora_adapter_saves_and_loads_to_the_same_logits(family, tmp_path, monkeypatch):
    import torch

    ids = torch.arange(3, 43).reshape(2, 20)
    kept = {}
    real = trainer._save

    def save(made, tok, folder):
        with torch.no_grad():
            kept["logits"] = made.model.eval()(input_ids=ids).logits
        real(made, tok, folder)

    monkeypatch.setattr(trainer, "_save", save)
    train(tmp_path, settings(mode="qlora"), family=family)
    assert all(w.abs().sum() > 0 and w.dtype == torch.float32 for k, w in weights(tmp_path).items() if "lora_B" in k)
    loaded = loading.load_model(ref(family, adapter=str(tmp_path / "model"), quantize=True)).eval()
    with torch.no_grad():
        assert torch.allclose(loaded(input_ids=ids).logits, kept["logits"], atol=1e-5)
    with loaded.disable_adapter(), torch.no_grad():
        assert not torch.allclose(loaded(input_ids=ids).logits, kept["logits"], atol=1e-3), (
            "the adapter changes something"
        )


# ---------------------------------------------------------------- bad input
BAD = {
    "flash attention on a CPU": ({"attention": "flash_attention_2"}, "needs a CUDA GPU"),
    "liger without liger": ({"liger": True}, "liger-kernel is not installed"),
    "a tracker that is not there": ({"track": ["trackio"]}, "'trackio' is not installed"),
    "no such layer": ({"lora": {"target_modules": ["query"]}}, "no layer 'query'"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_what_this_machine_lacks_is_told_before_training(changes, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        train(tmp_path, settings(**changes))
    assert not (tmp_path / "history.jsonl").exists()


def test_a_quantised_model_is_not_quantised_again(tmp_path):
    base = families.build("llama", tmp_path / "base")
    about = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(about | {"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    with pytest.raises(BadInput, match=r"quantised already \(gptq\)"):
        train(tmp_path / "run", settings(mode="qlora"), base=loading.ModelRef(str(base), "llama", device="cpu"))


REFUSED = {
    "DoRA for vLLM": ({"training.lora.dora": True, "training.mode": "qlora", "generation.engine": "vllm"}, "vLLM cannot serve DoRA"),
    "shards of an adapter": ({"training.fsdp": True, "training.mode": "lora"}, "fsdp shards the weights of mode 'full'"),
    "4-bit experts": ({"training.lora.experts": True, "training.mode": "qlora"}, "use mode 'lora'"),
    "an absurd rate": ({"training.learning_rate": 0.5}, "training.learning_rate"),
    "no rate": ({"training.learning_rate": 0}, "training.learning_rate"),
    "validation without rows": ({"training.validation_rows": 0, "training.validation_steps": 5}, "hold some rows out"),
    "tokens of no method": ({"training.equal_to": "cdg"}, "did you mean 'cgd'"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_be_are_refused_by_the_profile(changes, message):
    with pytest.raises(errors.ProfileError, match=message):
        profile_files.load("smoke", changes)
