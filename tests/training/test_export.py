"""cgd export: what other trainers read back is what the kit would train on."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import families
import pytest
from datasets import load_dataset

from cgd_utils import methods, prompts
from cgd_utils.__main__ import main
from cgd_utils.core import files, store
from cgd_utils.engines import generation
from cgd_utils.models import loading, named
from cgd_utils.synthesis import drafts, teaching
from cgd_utils.training import export

# the description of a data set as LLaMA-Factory's data/README.md documents it
DOCUMENTED = {
    "top": {"hf_hub_url", "ms_hub_url", "script_url", "file_name", "formatting", "ranking", "subset", "split", "folder",
            "num_samples", "columns", "tags"},
    "columns": {"prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios", "chosen",
                "rejected", "kto_tag"},
    "tags": {"role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"},
}  # fmt: skip


SMALL = {
    "data.rows": 10,
    "training.rows": 8,
    "training.validation_rows": 2,
    "training.batch_size": 8,
    "training.micro_batch_size": 8,
}


def _command(run):
    settings = [x for k, v in SMALL.items() for x in ("--set", f"{k}={v}")]
    return ["export", "--profile", "smoke", "--outputs", str(run.folder.parent), *settings]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose drafts and critiques are made, and nothing else."""
    run = store.open_run("smoke", tmp_path_factory.mktemp("runs é"), SMALL)
    teaching.records(run, "llama")
    return run


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports é")

    def make(form, method="cgd", *options):
        out = folder / f"{form}-{method}"
        assert main([*_command(run), "--method", method, "--format", form, "--out", str(out), *options]) == 0
        return out

    return make


@pytest.fixture(scope="module")
def expected(run):
    def rows(method):
        records = teaching.records(run, "llama").rows()
        return methods.rows(method, records, prompts.layout("lab"))

    return rows


@pytest.mark.parametrize("method", ["sft", "cft", "cgd", "cgd_noisy(0.5)"])
def test_datasets_reads_the_rows_back(exported, expected, method):
    out = exported("trl", method)
    rows = load_dataset(str(out), split="train", cache_dir=str(out.parent / "cache")).to_list()
    assert [r["prompt"] for r in rows] == [r["prompt"] for r in expected(method)]
    assert [r["completion"] for r in rows] == [r["completion"] for r in expected(method)]


def test_trl_trains_on_the_same_tokens_as_the_kit(exported, expected, run, tmp_path):
    """TRL's own preparation of the exported rows gives the kit's ids and loss positions."""
    from trl import SFTConfig, SFTTrainer

    from cgd_utils.training import tokenization

    base = named.model_ref(run, "lab:llama", "llama")
    tok = loading.load_tokenizer(base)
    rows = load_dataset("json", data_files=str(exported("trl") / "train.jsonl"), split="train", cache_dir=str(tmp_path))
    config = SFTConfig(output_dir=str(tmp_path / "out"), max_length=None, use_cpu=True, bf16=False, report_to="none", max_steps=1,
                       per_device_train_batch_size=4)  # fmt: skip
    trainer = SFTTrainer(model=loading.load_model(base), args=config, train_dataset=rows, processing_class=tok)
    ours, _ = tokenization.tokenize(expected("cgd"), tok, 1024)
    assert len(trainer.train_dataset) == len(ours)
    for theirs, mine in zip(trainer.train_dataset, ours, strict=True):
        assert [x for x in theirs["input_ids"] if tok.decode([x]).strip()] == [
            x for x in mine["input_ids"] if tok.decode([x]).strip()
        ]
    batch = trainer.data_collator([trainer.train_dataset[0]])
    learnt = tok.decode([x for x in batch["labels"][0].tolist() if x != tokenization.IGNORED])
    assert learnt.strip() == tok.decode([x for x in ours[0]["labels"] if x != tokenization.IGNORED]).strip()
    assert trainer.train().global_step == 1


@pytest.fixture
def long_run(tmp_path, monkeypatch):
    """A run whose second row is longer than TRL's default length, with a student of a family's own template."""
    records = families.records(2)
    records[1]["question"] += " The train is late." * 500
    for r in records:
        r.update(draft_model="mine", teacher="someone", refined_correct=True)
    made = SimpleNamespace(key="k", rows=lambda: records)
    monkeypatch.setattr(teaching, "records", lambda run, family: made)
    student = families.build("smollm2", tmp_path / "student")
    return store.open_run("smoke", tmp_path / "outputs", {"models.students": {"mine": str(student)}})


@pytest.mark.parametrize("method", ["sft", "distilled_sft"])
def test_the_card_s_recipe_learns_every_row_to_its_end(long_run, method, tmp_path):
    from trl import SFTConfig, SFTTrainer

    out = tmp_path / "rows"
    made = export.write(long_run, method, "trl", out)
    length = int(re.search(r"max_length=(\d+)", (out / "README.md").read_text())[1])
    ref = named.model_ref(long_run, long_run.profile.models.students["mine"], "mine")
    tok = loading.load_tokenizer(ref)
    rows = load_dataset("json", data_files=str(out / "train.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    config = SFTConfig(output_dir=str(tmp_path / "out"), max_length=length, use_cpu=True, bf16=False, report_to="none")
    trainer = SFTTrainer(model=loading.load_model(ref), args=config, train_dataset=rows, processing_class=tok)
    assert len(trainer.train_dataset) == made["rows"] == 2
    sizes = []
    for i in range(2):
        batch = trainer.data_collator([trainer.train_dataset[i]])
        learnt = [x for x in batch["labels"][0].tolist() if x != -100]
        assert tok.decode(learnt).strip().endswith(tok.eos_token)
        sizes.append(batch["labels"].shape[1])
    assert 1024 < max(sizes) <= length < max(sizes) + 128

    factory = tmp_path / "factory"
    export.write(long_run, method, "llama-factory", factory)
    assert f"\ncutoff_len: {length} " in (factory / "README.md").read_text()


def test_llama_factory_description_follows_its_documentation(exported, expected):
    out = exported("llama-factory")
    info = json.loads((out / "dataset_info.json").read_text())
    ((name, about),) = info.items()
    assert set(about) <= DOCUMENTED["top"]
    assert set(about["columns"]) <= DOCUMENTED["columns"] and set(about["tags"]) <= DOCUMENTED["tags"]
    assert about["formatting"] == "sharegpt"
    rows = json.loads((out / about["file_name"]).read_text())
    tags = about["tags"]
    for row, want in zip(rows, expected("cgd"), strict=True):
        turns = row[about["columns"]["messages"]]
        assert [t[tags["role_tag"]] for t in turns] == [tags["user_tag"], tags["assistant_tag"]]
        assert [t[tags["content_tag"]] for t in turns] == [m["content"] for m in want["prompt"] + want["completion"]]
    assert name in (out / "README.md").read_text()


def test_the_card_tells_where_the_rows_are_from(exported):
    from huggingface_hub import DatasetCard

    out = exported("trl")
    card = DatasetCard.load(out / "README.md")
    manifest = json.loads((out / "manifest.json").read_text())
    assert card.data.to_dict()["license"] == "mit"
    assert f"| rows | {manifest['rows']} |" in card.text
    assert "exact teacher" in card.text and "lab world" in card.text
    for name, digest in manifest["outputs"].items():
        assert files.file_hash(out / name) == digest
    assert "{" not in card.text.split("```json")[0], "a field of the card was not filled"


def test_a_seed_exports_what_that_seed_trains_on(exported, run):
    from cgd_utils.training import fine_tune

    out = exported("trl", "sft", "--seed", "1")
    records = teaching.records(run, "llama").rows()
    drawn = fine_tune.draw(records, 0, 1, held_out=run.profile.training.validation_rows)
    assert len(drawn) == run.profile.training.rows
    assert [r["id"] for r in files.read_jsonl(out / "train.jsonl")] == [r["id"] for r in drawn]


def test_bad_input(exported, run, tmp_path, capsys):
    command = [*_command(run), "--format", "trl"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    assert main([*command, "--method", "cgd", "--out", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"
    assert main([*command, "--method", "cdg", "--out", str(tmp_path / "x")]) == 2
    assert main([*command, "--method", "cgd", "--family", "qwen", "--out", str(tmp_path / "x")]) == 2
    errors = capsys.readouterr().err
    assert "something else" in errors and "'cdg'" in errors and "'qwen'" in errors
    assert not Path(tmp_path / "x").exists()


@pytest.mark.parametrize("made", ["nothing", "drafts"])
def test_what_is_missing_is_told_and_never_made(run, tmp_path, monkeypatch, capsys, made):
    """From another folder, as a relative path, and with some of the work done: no model is loaded, no request sent."""
    there = store.open_run("smoke", tmp_path / "elsewhere", {**SMALL, "synthesis.draft.seed": 5})
    if made == "drafts":
        drafts.drafts(there, "llama")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generation, "open_generator", lambda *_: pytest.fail("a text was generated"))
    settings = [x for k, v in {**SMALL, "synthesis.draft.seed": 5}.items() for x in ("--set", f"{k}={v}")]
    command = ["export", "--profile", "smoke", "--outputs", "elsewhere", *settings]
    assert main([*command, "--method", "cgd", "--format", "trl", "--out", "rows"]) == 2
    error = capsys.readouterr().err
    assert "cgd run --profile smoke --outputs" in error and "--set synthesis.draft.seed=5" in error
    assert ("no records" if made == "drafts" else "no problems") in error
    assert sorted(tmp_path.rglob("*")) == before


def test_sizes_are_the_hubs():
    assert [export._size(n) for n in (1, 1000, 99_999, 100_000)] == ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M"]
