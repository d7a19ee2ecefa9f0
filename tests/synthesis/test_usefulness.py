"""What share of a run's texts is of use: told in words, and where the chain stops."""

import json

import pandas as pd
import pytest

from cgd_utils.app import chain
from cgd_utils.core import profile_files, provenance, store
from cgd_utils.core.errors import BadInput
from cgd_utils.methods import TOLD
from cgd_utils.synthesis import usefulness

FINE = {"of": 50, "rows": 50, "graded": 50, "no_conclusion": 3, "right": {"draft": 20, "refined": 41, "direct": 40},
        "cut": {"draft": 6, "critique": 0, "refined": 2, "direct": 1}}  # fmt: skip


def with_cut(text, n):
    return {"cut": {**FINE["cut"], text: n}}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        (with_cut("draft", 25), None),  # half is not more than half
        (with_cut("draft", 26), "52% of the drafts were cut off; raise synthesis.draft.max_new_tokens"),
        (with_cut("refined", 50), "100% of the refined answers were cut off; raise synthesis.teacher.sampling"),
        ({"no_conclusion": 50}, "no conclusion can be read in 100% of the critiques"),
        ({"right": {"draft": 0, "refined": 0, "direct": 0}}, "0% of the refined answers are right"),
        ({"right": {"draft": 20, "refined": 20, "direct": 30}}, "the teacher adds nothing"),
        ({"right": {"draft": 50, "refined": 50, "direct": 50}}, None),  # nothing is left to be better
        ({"graded": 0, "right": {"draft": 0, "refined": 0, "direct": 0}}, None),
    ],
)
def test_useless_records_are_found(change, fault):
    told, faults = usefulness.of_records(FINE | change)
    assert any("cut off" in line for line in told) and any("conclusion" in line for line in told)
    assert (len(faults) == 1 and fault in faults[0]) if fault else not faults


def test_what_is_left_out_of_the_records_makes_them_no_worse():
    bad = FINE | with_cut("critique", 40) | {"no_conclusion": 40}
    assert len(usefulness.of_records(bad)[1]) == 2
    assert not usefulness.of_records(bad, ["truncated", "no_conclusion"])[1]


def run_and_records(tmp_path, facts, **changes):
    run = store.open_run("smoke", tmp_path, changes)
    return run, {"llama": store.Artifact(tmp_path, "", {"facts": facts})}


def test_the_chain_stops_or_is_only_told(tmp_path, capsys):
    with pytest.raises(BadInput, match=r"llama: no conclusion.*--set synthesis\.useless=tell"):
        usefulness.after_synthesis(*run_and_records(tmp_path, FINE | {"no_conclusion": 50}))
    usefulness.after_synthesis(
        *run_and_records(tmp_path, FINE | {"no_conclusion": 50}, **{"synthesis.useless": "tell"})
    )
    said = capsys.readouterr().out
    assert "warning: the records are of little use: llama: no conclusion" in said
    assert "40% of the drafts, 82% of the refined answers" in said


def result_rows(method, truncated, no_answer):
    about = {"family": "llama", "method": method, "seed": 0, "n": 40}
    return [{**about, "benchmark": b, "metric": m, "value": v}
            for b in ("easy", "hard") for m, v in (("truncated", truncated), ("no_answer", no_answer))]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "truncated", "no_answer", "fault"),
    [
        ("cgd", 10.0, 2.5, None),
        ("cgd", 60.0, 2.5, "llama/cgd: 60% of its answers were cut off"),
        ("cgd", 10.0, 100.0, "no answer was found in 100%"),
        ("base", 100.0, 100.0, None),  # what the untrained student says is no fault of the run
    ],
)
def test_useless_answers_are_found(method, truncated, no_answer, fault, tmp_path, capsys):
    run = store.open_run("smoke", tmp_path)
    results = pd.DataFrame([*result_rows("sft", 0.0, 0.0), *result_rows(method, truncated, no_answer)])
    if fault:
        with pytest.raises(BadInput, match=fault):
            usefulness.after_evaluation(run, results)
    else:
        usefulness.after_evaluation(run, results)
    assert f"llama/{method}: 80 answers, {truncated:.0f}% cut off" in capsys.readouterr().out


def test_the_setting_makes_no_text_anew(tmp_path):
    from cgd_utils.synthesis import teaching

    keys = set()
    for useless in ("stop", "tell"):
        run = store.open_run("smoke", tmp_path, {"data.rows": 4, "synthesis.useless": useless})
        keys.add(teaching.records(run, "llama").key)
    assert len(keys) == 1


def test_the_chain_stops_after_02_and_says_so(tmp_path, capsys):
    """Drafts of three tokens are all cut off."""
    from cgd_utils.__main__ import main

    small = ["--set", "data.rows=6", "--set", "training.rows=4", "--set", "training.validation_rows=0", "--set",
             "training.validation_steps=0", "--set", "synthesis.draft.max_new_tokens=3"]  # fmt: skip
    assert main(["run", "--profile", "smoke", "--outputs", str(tmp_path), "--from", "02", "--to", "03", *small]) == 1
    said = capsys.readouterr()
    assert "100% of the drafts" in said.out and "03_train" not in said.out
    assert "100% of the drafts were cut off" in said.err and "synthesis.useless=tell" in said.err


def test_a_whole_run_tells_its_shares(smoke_run):
    said = {n: chain._told(smoke_run.folder / "notebooks" / f"{n}.ipynb") for n in chain.NAMES}
    assert said["01_problems_and_drafts"][0] == "48 problems"
    assert said["01_problems_and_drafts"][1].startswith("llama: ")
    assert any("100% of the refined answers" in line for line in said["02_critiques_and_refinements"])
    methods = {"base", TOLD, *smoke_run.profile.training.methods}
    assert {line.split(":")[0].removeprefix("llama/") for line in said["04_evaluate"]} == methods


def test_the_limits_are_stated_on_the_page():
    page = (provenance.PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for limit in usefulness.LIMITS.values():
        assert f"more than {100 * limit:.0f}%" in page
    assert "synthesis.useless" in page
    assert json.dumps(profile_files.load("lab").synthesis.useless) == '"stop"'
