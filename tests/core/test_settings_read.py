"""Which fields a piece of work reads is found by watching it."""

import pickle

import pytest

from cgd_utils.core import profile_files, settings_read


@pytest.fixture
def profile():
    return profile_files.load("lab")


def test_a_field_is_known_by_its_place_not_by_its_type(profile):
    with settings_read.watch() as seen:
        assert profile.synthesis.draft.temperature is not None
        assert profile.evaluation.sampling.max_new_tokens
    assert seen == {"synthesis.draft.temperature", "evaluation.sampling.max_new_tokens"}


def test_a_dump_reads_all_but_what_it_leaves_out(profile):
    with settings_read.watch() as seen:
        profile.training.lora.model_dump(exclude={"r"})
    assert {"training.lora.alpha", "training.lora.dora"} <= seen
    assert "training.lora.r" not in seen


def test_a_changed_or_pickled_profile_is_watched_as_well(profile):
    with settings_read.watch() as seen:
        changed = profile_files.changed(profile, {"training.epochs": 2})
        assert not seen
        assert pickle.loads(pickle.dumps(changed)).training.epochs == 2
    assert seen == {"training.epochs"}


def test_what_a_manifest_keeps_is_not_read(profile):
    with settings_read.watch() as seen, settings_read.unwatched():
        profile.model_dump()
    assert not seen


def test_an_optional_section_that_is_set_later_is_noticed(profile):
    with settings_read.watch() as seen:
        assert profile.synthesis.teacher.generation is None
    later = profile_files.changed(profile, {"synthesis.teacher.generation": {"engine": "openai"}})
    assert settings_read.values(profile, seen) != settings_read.values(later, seen)


def test_a_mapping_that_is_empty_now_is_noticed_when_it_fills(profile):
    with settings_read.watch() as seen:
        profile.models.model_dump()
    later = profile_files.changed(profile, {"models.weaker": {"llama": "lab:llama-weak"}})
    empty = profile_files.changed(profile, {"models.weaker": {}})
    assert settings_read.values(empty, seen) != settings_read.values(later, seen)


def test_a_kernel_and_its_processes_tell_by_a_file(profile, tmp_path, monkeypatch):
    monkeypatch.setenv(settings_read.FILE, str(tmp_path / "fields"))
    monkeypatch.setattr(settings_read, "_in_file", set())
    for _ in range(3):
        assert profile.training.epochs
        assert profile.data.rows
    assert (tmp_path / "fields").read_text().split() == ["training.epochs", "data.rows"]


def test_names_and_speed_decide_nothing(profile):
    with settings_read.watch() as seen:
        assert profile.name and profile.processes
    assert not seen
