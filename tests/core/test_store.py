"""Artifacts: their keys, the folder they go to, and runs that only read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core.errors import BadInput
from cgd_utils.core.files import require_space
from cgd_utils.core.profile_files import changed
from cgd_utils.core.provenance import PROJECT
from cgd_utils.core.store import content_key, open_run

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def floats(value):
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, list):
        return [floats(v) for v in value]
    return {k: floats(v) for k, v in value.items()} if isinstance(value, dict) else value


@given(plain)
def test_a_whole_number_has_one_key_however_it_is_written(value):
    assert content_key(value) == content_key(floats(value))


def test_the_order_of_fields_does_not_matter_and_their_values_do():
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1}) != content_key({"a": 2, "b": 1})
    assert content_key(0.5) != content_key(0)


def test_a_profile_changed_by_nothing_keeps_its_keys(tmp_path):
    profile = open_run("lab-full", tmp_path).profile
    same = changed(profile, {"training.epochs": profile.training.epochs})
    assert content_key(same.model_dump()) == content_key(profile.model_dump())


def test_a_relative_outputs_folder_is_the_callers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_run("smoke", "mine").folder == tmp_path / "mine" / "smoke"
    assert open_run("smoke").folder == PROJECT / "outputs" / "smoke"
    assert open_run("smoke", "outputs").folder == PROJECT / "outputs" / "smoke", "the notebooks' own default"
    for opened in ("notebooks", "notebooks/lab"):
        monkeypatch.chdir(PROJECT / opened)
        assert open_run("smoke", "mine").folder == PROJECT / "mine" / "smoke"


def test_opening_a_run_makes_no_folder(tmp_path):
    run = open_run("smoke", tmp_path / "a" / "b", {"training.epochs": 2})
    assert not list(tmp_path.iterdir())
    assert run.command("--to", "02") == (
        f"cgd run --profile smoke --outputs {tmp_path / 'a' / 'b'} --set training.epochs=2 --to 02"
    )


def test_a_run_that_only_reads_makes_nothing(tmp_path):
    run = replace(open_run("smoke", tmp_path), only_reads=True)
    with pytest.raises(BadInput, match=r"no texts \(llama\).*cgd run --profile smoke"):
        run.make("texts", "llama", lambda folder: None)
    assert not list(tmp_path.iterdir())
    made = open_run("smoke", tmp_path).make("texts", "llama", lambda folder: None)
    assert run.make("texts", "llama", lambda folder: None) == made


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    run = open_run("smoke", tmp_path / "file")
    with pytest.raises(BadInput, match="is a file"):
        run.make("texts", "llama", lambda folder: None)
    with pytest.raises(BadInput, match="is a file"):
        require_space(run.folder, 0)
