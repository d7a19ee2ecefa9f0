"""What the command line prints: rounded tables with legends, JSON with every digit, colour on terminals alone."""

import json

import pytest
from test_progress import in_a_log, on_a_terminal

from cgd_utils.app import console
from cgd_utils.app.console import Result

ROWS = [
    {"benchmark": "b[red]", "difference": 12.3456789, "small": 0.0123456, "p": 0.00001, "state": "stale", "none": None},
    {"benchmark": "c", "difference": 0.5, "small": 0.5, "p": 0.04321, "state": "done", "none": float("nan")},
]


def printed(capsys, *args, **more):
    assert console.show(Result(*args, **more), False) == 0
    return capsys.readouterr().out


def test_numbers_are_rounded_by_column(capsys):
    lines = printed(capsys, ROWS).splitlines()
    first, second = (line.split() for line in lines if "stale" in line or "done" in line)
    assert first == ["b[red]", "12.35", "0.0123", "<0.0001", "stale"]
    assert second == ["c", "0.50", "0.5", "0.0432", "done"]


def test_json_keeps_every_digit_and_has_no_legend(capsys):
    console.show(Result(ROWS[:1], legend={"p": "of the test"}, note="a note"), True)
    assert json.loads(capsys.readouterr().out) == ROWS[:1]
    console.show(Result(ROWS, {"whole": 1}), True)
    assert json.loads(capsys.readouterr().out) == {"whole": 1}


def test_a_legend_names_only_columns_that_are_there(capsys):
    told = printed(capsys, ROWS, legend={"p": "of the test", "seeds": "how many"}, note="next: rest")
    assert "p: of the test" in told and "seeds" not in told and told.rstrip().endswith("next: rest")


def test_a_log_breaks_no_line_of_short_cells(capsys):
    row = {f"column {i}": "x" * 30 for i in range(12)}
    assert " ".join(row.values()) in " ".join(printed(capsys, [row]).split())


STATUS = "from cgd_utils.app.console import Result, show; show(Result([{'stage': 'x', 'state': 'stale'}]), False)"
ERROR = "from cgd_utils.app.console import fail; fail('no [such] file', 2)"


def test_colour_is_for_terminals():
    assert "\033[33m" in on_a_terminal(STATUS)
    assert "\033[31merror:" in on_a_terminal(ERROR)
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\033[3" not in on_a_terminal(STATUS, **plain)
        assert on_a_terminal(ERROR, **plain).strip() == "error: no [such] file"
    assert "\033" not in in_a_log(STATUS) + in_a_log(ERROR)


@pytest.mark.parametrize(
    ("option", "words", "meant"),
    [
        ("--epochs", "run --epochs 2", ["--set training.epochs=2"]),
        ("--epochs", "run --epochs --json", ["--set training.epochs=VALUE"]),
        ("--lab-rows", "check --lab-rows=20", ["--set evaluation.lab_rows=20"]),
        ("--nothing-near", "run --nothing-near 2", []),
    ],
)
def test_an_option_is_read_as_the_setting_it_stands_for(option, words, meant):
    from cgd_utils.core import profile_files

    assert console._as_setting(option, words.split(), profile_files.dotted_fields()) == meant
