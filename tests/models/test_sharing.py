"""What is shared: data sets with a card, GGUF files; no real hub and no real llama.cpp."""

import json
from pathlib import Path

import pytest

from cgd_utils.__main__ import main
from cgd_utils.core import files
from cgd_utils.core.errors import BadInput
from cgd_utils.models import sharing
from cgd_utils.training import export

SOURCE = "/private/folder/of/mine.jsonl"
CONVERTER = """
import sys
out = sys.argv[sys.argv.index("--outfile") + 1]
open(out, "wb").write(b"GGUF" + sys.argv[-1].encode())
"""


@pytest.fixture
def exported(tmp_path):
    folder = tmp_path / "rows"
    files.write_jsonl(folder / "train.jsonl", [{"id": "a", "prompt": [], "completion": []}])
    files.write_text(folder / "README.md", "---\nconfigs: []\n---\n")
    outputs = {name: files.file_hash(folder / name) for name in ("train.jsonl", "README.md")}
    files.write_json(folder / "manifest.json", {"kind": "export", "outputs": outputs, "profile": {"source": SOURCE}})
    return folder


@pytest.fixture
def hub(monkeypatch):
    sent = {}

    class Hub:
        def create_repo(self, repo, **about):
            sent["made"] = (repo, about)

        def upload_folder(self, **about):
            sent["uploaded"] = about
            sent["files"] = {p.name: p.read_text() for p in Path(about["folder_path"]).iterdir()}

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    return sent


def test_an_export_is_pushed_as_a_data_set(exported, hub, tmp_path, capsys):
    (exported / "README.md").write_text(f"a card that its owner has edited, of {SOURCE}, asked at http://host:1/v1/x")
    (exported / "notes.txt").write_text("not of the export")
    words = ["push", str(exported), "me/rows", "--profile", "smoke", "--outputs", str(tmp_path), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "dataset" and told["files"] == ["README.md", "manifest.json", "train.jsonl"]
    assert hub["made"] == ("me/rows", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert hub["uploaded"]["repo_type"] == "dataset"
    assert hub["files"]["README.md"] == "a card that its owner has edited, of mine.jsonl, asked at http://host:1/v1/x"
    assert "/private" not in hub["files"]["manifest.json"]


def test_changed_rows_are_not_pushed(exported, hub):
    (exported / "train.jsonl").write_text("{}")
    with pytest.raises(BadInput, match=r"train\.jsonl: is not as it was exported"):
        export.push(exported, "me/rows")
    assert not hub


def test_a_repository_has_an_owner(exported, hub):
    with pytest.raises(BadInput, match="owner/name"):
        export.push(exported, "rows")
    assert not hub


@pytest.fixture
def merged(tmp_path):
    folder = tmp_path / "merged"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def converter(tmp_path, monkeypatch, text):
    (tmp_path / sharing.CONVERTER).write_text(text)
    monkeypatch.setenv("CGD_LLAMA_CPP", str(tmp_path))


def test_a_merged_model_becomes_a_file_for_llama_cpp(merged, tmp_path, monkeypatch, capsys):
    converter(tmp_path, monkeypatch, CONVERTER)
    out = tmp_path / "student.gguf"
    assert main(["gguf", str(merged), "--out", str(out), "--type", "f16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == str(out)
    assert out.read_bytes() == b"GGUFf16"
    with pytest.raises(BadInput, match="exists already"):
        sharing.gguf(merged, out)


def test_without_llama_cpp_the_way_to_it_is_told(merged, tmp_path, monkeypatch):
    monkeypatch.delenv("CGD_LLAMA_CPP", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match=r"not on the PATH: git clone .*llama\.cpp and set CGD_LLAMA_CPP"):
        sharing.gguf(merged, tmp_path / "x.gguf")


def test_a_failed_conversion_leaves_nothing(merged, tmp_path, monkeypatch):
    converter(tmp_path, monkeypatch, CONVERTER + "sys.exit('no such architecture')")
    with pytest.raises(BadInput, match="no such architecture"):
        sharing.gguf(merged, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_an_adapter_is_merged_first(merged, tmp_path):
    (merged / "adapter_config.json").write_text("{}")
    with pytest.raises(BadInput, match="cgd merge-adapter"):
        sharing.gguf(merged, tmp_path / "x.gguf")
