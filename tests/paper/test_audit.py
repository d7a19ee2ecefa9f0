"""The audit of the published tables."""

import csv
import shutil

import pytest

from cgd_utils.core.errors import BadInput
from cgd_utils.paper import audit

# recomputed by hand from the printed rows
KNOWN = {
    ("table_webinstruct", "LLaMA3.1-8B-Instruct / LLaMA3.3-70B-Instruct / cft", "avg_g2", 32.4, 32.23),
    ("table_webinstruct", "LLaMA3.1-8B-Instruct / GPT-4o (50K WebInstruct-CFT) / cft", "avg_g2", 36.4, 35.37),
    ("table_webinstruct", "S1.1-3B / S1.1-32B / base", "avg_g1", 35.4, 39.66),
    ("table_webinstruct", "S1.1-3B / S1.1-32B / base", "avg_g2", 17.9, 17.33),
    ("table_qwen_cross_family", "Qwen2.5-Math-7B / S1.1-32B / cft", "avg", 46.9, 42.22),
}


def found(folder=audit.PUBLISHED):
    return {(c.table, c.row, c.column, c.printed, c.recomputed) for c in audit.averages(folder)}


def change(folder, table, row, column, by):
    path = folder / f"{table}.csv"
    rows = list(csv.DictReader(path.open()))
    rows[row][column] = f"{float(rows[row][column]) + by:.1f}"
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def tables(tmp_path):
    return shutil.copytree(audit.PUBLISHED, tmp_path / "tables")


def test_exactly_the_cells_that_do_not_follow_are_listed():
    assert found() == KNOWN


@pytest.mark.parametrize("table", audit.AVERAGES)
@pytest.mark.parametrize("by", [0.2, -0.2, 7.0])
def test_a_changed_average_is_found_in_a_copy(tables, table, by):
    row = next(csv.DictReader((tables / f"{table}.csv").open()))
    column = next(iter(audit.AVERAGES[table]))
    change(tables, table, 0, column, by)
    new = found(tables) - KNOWN
    assert [(t, c, p) for t, _, c, p, _ in new] == [(table, column, pytest.approx(float(row[column]) + by))]


def test_a_changed_cell_moves_its_average(tables):
    change(tables, "table_webinstruct", 5, "amc23", 2.5)  # one question of forty
    assert {(r, c) for _, r, c, _, _ in found(tables) - KNOWN} == {
        ("LLaMA3.1-8B-Instruct / LLaMA3.3-70B-Instruct / cgd", "avg_g1")
    }


def test_the_difference_on_forty_questions_is_six_of_them():
    row = next(
        d
        for d in audit.differences()
        if (d["student"], d["baseline"], d["benchmark"]) == ("LLaMA3.1-8B-Instruct", "cft", "amc23")
    )
    assert (row["difference"], row["questions"], row["n"]) == (15.0, 6, 40)
    assert row["low"] < 0 < row["high"]
    assert not row["exceeds_noise"]


def test_a_large_difference_on_many_questions_exceeds_noise():
    row = next(
        d
        for d in audit.differences()
        if (d["student"], d["baseline"], d["benchmark"]) == ("LLaMA3.1-8B-Instruct", "cft_gpt4o", "ifeval")
    )
    assert row["exceeds_noise"]
    assert row["difference"] == 20.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("avg_g1", "average", "no column 'avg_g1'"), (",50.6,", ",n/a,", "math500: 'n/a' is not a number")],
)
def test_a_broken_table_is_named(tables, old, new, message):
    path = tables / "table_webinstruct.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BadInput, match=message):
        audit.averages(tables)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"table_webinstruct\.csv"):
        audit.averages(tmp_path)
