"""Each published number has its run or its obstacle, and the runs are what they are said to be."""

import pandas as pd
import pytest

from cgd_utils.ablations import grids
from cgd_utils.core.settings import Profile
from cgd_utils.paper import comparable, published_items
from cgd_utils.paper.audit import PUBLISHED
from cgd_utils.paper.comparable import Printed

ITEMS = published_items.items()
RUNS = [i for i in ITEMS if i.profile]
TEACHERS = [i for i in RUNS if i.student and i.teacher and "import" not in i.lacks and "records" not in i.lacks]


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("table_*.csv")), ids=lambda p: p.stem)
def test_every_printed_row_belongs_to_exactly_one_item(path):
    found = pd.concat([published_items.rows_of(i) for i in ITEMS if i.file == path.name])
    assert sorted(found.index) == list(range(len(pd.read_csv(path))))


@pytest.mark.parametrize("item", ITEMS, ids=lambda i: i.item)
def test_an_item_has_either_a_run_or_an_obstacle(item):
    assert bool(item.profile) != bool(item.obstacle)
    assert bool(item.profile) == bool(item.shown)
    assert set(item.grids) <= set(grids.GRIDS)


@pytest.mark.parametrize("item", RUNS, ids=lambda i: i.item)
def test_the_settings_of_a_run_hold_together(item):
    assert isinstance(item.settings(), Profile)


@pytest.mark.parametrize("item", TEACHERS, ids=lambda i: i.item)
def test_the_run_of_a_table_has_its_student_teacher_and_data(item):
    kit = comparable.kit(item.settings(), pd.DataFrame(columns=["family", "method"]))
    assert kit.lacks(Printed(item.student, item.teacher, "cgd")) is None


@pytest.mark.parametrize("item", [i for i in RUNS if i.student], ids=lambda i: i.item)
def test_a_printed_benchmark_is_asked_or_named_as_lacking(item):
    columns = set(published_items.rows_of(item).columns) & {
        *comparable.BENCHMARKS, "minerva_math", "gsm8k", "olympiadbench", "amc23", "aime24", "theoremqa", "mmlu_pro",
        "ifeval", "musr", "truthfulqa", "bbh", "humaneval",
    }  # fmt: skip
    asked = {b if isinstance(b, str) else b.name for b in item.settings().evaluation.benchmarks}
    missing = {c for c in columns if comparable.BENCHMARKS.get(c, c) not in asked}
    assert not {
        c for c in missing if c not in item.lacks and "as above" not in item.lacks and "as for" not in item.lacks
    }


def test_a_command_can_be_pasted_into_a_shell():
    import shlex

    [item] = [i for i in ITEMS if i.file == "table_critique_content.csv"]
    assert shlex.split(item.command) == [
        "cgd", "run", "--profile", "paper-llama", "--set", 'ablations.grids=["critique_content"]'
    ]  # fmt: skip
