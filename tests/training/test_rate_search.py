"""A rate for each method: chosen on held-out questions of a pilot seed, reported with all its points."""

import pytest

from cgd_utils.core import profile_files, store
from cgd_utils.core.errors import ProfileError
from cgd_utils.training import fine_tune, rate_search

SEARCH = {"training.select": "validation", "training.methods": ["distilled_sft", "cgd"], "training.seeds": [0]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rates = {"training.learning_rate": {"distilled_sft": [1e-7, 1e-3], "cgd": 2e-4}}
    return store.open_run("smoke", tmp_path_factory.mktemp("out"), {**SEARCH, **rates, "training.epochs": 3})


def test_the_rate_that_answers_most_is_taken_and_every_point_is_kept(run):
    points = rate_search.search(run, "llama", "distilled_sft").rows()
    assert [p["learning_rate"] for p in points] == [1e-7, 1e-3]
    assert all(p["n"] == run.profile.training.validation_rows for p in points)
    best = max(points, key=lambda p: (p["accuracy"], -p["loss"]))
    assert [p["chosen"] for p in points] == [p is best for p in points]
    assert best["at_edge"], "both rates lie at an edge of a list of two"
    model = fine_tune.fine_tune(run, "llama", "distilled_sft", 0)
    assert f"| learning_rate | {best['learning_rate']} |" in (model.folder / "model" / "README.md").read_text()


def test_the_pilot_trains_on_a_seed_of_its_own(run):
    pilot = run.profile.training.pilot_seed
    assert pilot not in run.profile.training.seeds
    trained = {p.name for p in (run.folder / "artifacts" / "models").glob("*")}
    assert any(f"s{pilot}" in name for name in trained)


def test_a_method_with_one_rate_is_not_searched(run):
    assert rate_search.settled(run, "llama", "cgd").profile.training.learning_rate == 2e-4
    assert not list((run.folder / "artifacts").glob("rates/llama-cgd-*"))


def test_one_rate_for_all_keeps_the_keys_that_it_had(tmp_path):
    plain = store.open_run("smoke", tmp_path / "a")
    named = store.open_run("smoke", tmp_path / "b", {"training.select": "validation", "training.pilot_seed": 7})
    assert rate_search.settled(plain, "llama", "cgd") is plain
    dumps = [r.profile.training.model_dump(exclude={"select", "pilot_seed"}) for r in (plain, named)]
    assert dumps[0] == dumps[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training.learning_rate": [1e-4, 1e-3]}, "set select: validation"),
        ({"training.learning_rate": [1e-4, 1e-3], "training.select": "validation", "training.validation_rows": 0,
          "training.validation_steps": 0}, "validation_rows = 0"),
        ({"training.learning_rate": [1e-4, 1e-3], "training.select": "validation", "training.pilot_seed": 0}, "pilot_seed = 0 is one of seeds"),
        ({"training.learning_rate": {"cgd": 1e-4}}, "names no rate for sft"),
        ({"training.learning_rate": [1e-4, 1e-4], "training.select": "validation"}, "distinct rates"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(change, words):
    with pytest.raises(ProfileError, match=words):
        profile_files.load("smoke", change)


def test_the_common_rate_is_the_middle_one():
    t = profile_files.load("smoke", {**SEARCH, "training.learning_rate": [1e-4, 1e-3, 3e-4]}).training
    assert t.common_rate == 3e-4
    assert t.rates("cgd") == [1e-4, 3e-4, 1e-3]
