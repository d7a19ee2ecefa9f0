"""YAML in which a word stays a word, and a number remembers how it was written."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.core import yaml_words


@pytest.mark.parametrize(
    "word", ["off", "on", "yes", "No", "y", "2025-11-30", "12:45", "1e", "v1.2", "nan", "inf", "1_", "--", "a1e5"]
)
def test_words_stay_words(word):
    assert yaml_words.load(f"field: {word}") == {"field": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("2E3", 2000.0), ("-7", -7), ("010", 10), ("20_000", 20_000), ("0x1f", 31), (".5", 0.5),
     ("-.inf", float("-inf")), ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'5'", "5")],
)  # fmt: skip
def test_what_yaml_1_2_calls_a_value_is_one(text, value):
    read = yaml_words.load(text)
    assert read == value
    assert type(yaml_words.plain(read, as_words=False)) is type(value)


@given(st.from_regex(r"[0-9]{1,40}|[0-9]{1,6}e[0-9]{1,3}", fullmatch=True))
def test_a_number_is_the_word_that_was_written_where_a_word_is_meant(text):
    assert yaml_words.plain(yaml_words.load(f"[{text}, {{a: {text}}}]"), as_words=True) == [text, {"a": text}]


def test_keys_are_words():
    assert yaml_words.load("{on: 1, 7: 2, null: 3, 2025-01-02: 4}") == {"on": 1, "7": 2, "null": 3, "2025-01-02": 4}


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: 1\nb: 2\n\na: 3", "'a' is given twice, first in line 1"),
     ("x:\n  off: 1\n  'off': 2", "'off' is given twice, first in line 2"),
     ("x: [{k: 1, k: 1}]", "'k' is given twice, first in line 1")],
)  # fmt: skip
def test_a_key_that_is_given_twice_is_refused_with_both_lines(text, told):
    with pytest.raises(yaml.YAMLError, match=told) as error:
        yaml_words.load(text)
    assert f"line {len(text.splitlines())}," in str(error.value)


def test_merged_keys_may_be_given_again():
    told = yaml_words.load("b: &b {x: 1, y: 1}\nm: &m\n  <<: *b\n  x: 2\n<<: *m\ny: 3")
    assert (told["m"], told["x"], told["y"]) == ({"x": 2, "y": 1}, 2, 3)
