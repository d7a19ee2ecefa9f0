"""GSM-Symbolic from the package index: read where it lies, whole numbers only, seen and unseen templates."""

import sys

import pytest

from cgd_utils.core.errors import BadInput
from cgd_utils.data import gsm_symbolic
from cgd_utils.grading import equations


@pytest.fixture(scope="module")
def templates():
    try:
        return gsm_symbolic.templates("all")
    except BadInput as e:
        pytest.skip(str(e))


def test_problems_are_worked_out_and_whole(templates):
    rows = gsm_symbolic.make_problems(60, [2, 3, 4, 5], seed=2)
    assert len({r["question"] for r in rows}) == 60
    assert [r["meta"]["k"] for r in rows[:4]] == [2, 3, 4, 5]
    for r in rows:
        assert r["answer"].isdigit() and r["solution"].endswith(f"\n#### {r['answer']}")
        assert "Do not include units" not in r["question"]
        assert all(e.true for e in equations.read(r["solution"]))
        assert r["source"] == "gsm-symbolic"


def test_templates_are_split_and_a_seed_decides(templates):
    seen, unseen = gsm_symbolic.templates("seen"), gsm_symbolic.templates("unseen")
    assert len(templates) > 60 and not set(seen) & set(unseen) and {*seen, *unseen} == set(templates)
    assert 0.2 < len(unseen) / len(templates) < 0.3
    draw = lambda seed, split: [r["question"] for r in gsm_symbolic.make_problems(40, [2, 3], seed, split)]  # noqa: E731
    assert draw(1, "train") == draw(1, "train") != draw(2, "train")
    assert not {*draw(1, "train"), *draw(2, "train")} & set(draw(1, "test"))


def test_the_package_is_not_imported(templates):
    assert not [m for m in sys.modules if m.startswith("reasoning_gym")]


def test_step_counts_that_no_template_has(templates):
    with pytest.raises(BadInput, match=r"not of 40"):
        gsm_symbolic.make_problems(4, [40])


def test_an_index_that_cannot_be_reached_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CGD_CACHE", str(tmp_path))
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "EXTRA_INDEX_URL": "", "FIND_LINKS": "", "CONFIG_FILE": "/dev/null",
                        "RETRIES": "0"}.items():  # fmt: skip
        monkeypatch.setenv(f"PIP_{name}", value)
    gsm_symbolic.generators.cache_clear()
    try:
        with pytest.raises(
            BadInput, match=r"reasoning-gym==0\.1\.25 could not be fetched.*put reasoning_gym.*or use data.source"
        ):
            gsm_symbolic.generators()
        (tmp_path / gsm_symbolic.PACKAGE.wheel).write_bytes(b"another file")
        with pytest.raises(BadInput, match="is not the pinned file"):
            gsm_symbolic.generators()
    finally:
        gsm_symbolic.generators.cache_clear()
