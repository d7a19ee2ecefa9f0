"""Keys of artifacts."""

from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.artifacts import content_key, open_run
from cgd_utils.profiles import changed

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
