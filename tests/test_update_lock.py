"""The parts of make update-lock that need no package index."""

import pytest
from packaging.requirements import Requirement
from update_lock import LOCK, differences, locked, without_upper_bounds


@pytest.mark.parametrize(
    ("bounded", "free"),
    [
        ("torch==2.13.0", "torch"),
        ("transformers>=5.16.1,<5.20", "transformers>=5.16.1"),
        ("math-verify[antlr4_13_2]==0.9.*", "math-verify[antlr4_13_2]"),
        ("vllm==0.32.0; sys_platform == 'linux'", "vllm; sys_platform == 'linux'"),
    ],
)
def test_upper_bounds_are_dropped(bounded, free):
    assert without_upper_bounds(bounded) == free
    assert Requirement(free).name == Requirement(bounded).name


def test_differences_name_what_changed():
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b: 2 → 3", "c: absent → 4"]


def test_the_lock_is_read():
    versions = locked(LOCK.read_text(encoding="utf-8"))
    assert len(versions) > 50 and "torch" in versions
