"""The estimate of time: what stages ask of models, at speeds that are measured or published."""

import pytest

from cgd_utils.app import hours, room
from cgd_utils.core import store
from cgd_utils.models import memory

STUDENT, TEACHER = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"


def by_stage(work, kind):
    out = {}
    for w in work:
        out[w.stage[:2]] = out.get(w.stage[:2], 0) + getattr(w, kind)
    return out


def test_work_is_rows_times_tokens(tmp_path):
    run = store.open_run("smoke", tmp_path, {"training.methods": ["sft", "cgd"], "ablations.grids": []})
    work = hours.work(run, question=40, text=50)
    written, learnt = by_stage(work, "generated"), by_stage(work, "trained")
    assert written["01"] == 48 * 50
    assert "02" not in written, "the exact teacher is no model"
    assert learnt["03"] == 2 * 32 * ((40 + 50) + (40 + 3 * 50))
    assert written["04"] == (1 + 4) * 3 * 12 * 50
    assert "05" not in written


def test_every_setting_that_makes_a_run_longer_makes_the_estimate_longer(tmp_path):
    def total(**fields):
        work = hours.work(store.open_run("smoke", tmp_path, fields))
        return sum(w.generated for w in work), sum(w.trained for w in work)

    base = total()
    for field, value in {"training.epochs": 3, "training.seeds": [0, 1, 2], "training.rows": 40}.items():
        assert total(**{field: value})[1] > base[1], field
    for field, value in {"evaluation.lab_rows": 50, "data.rows": 100, "analyses.samples": 32}.items():
        assert total(**{field: value})[0] > base[0], field
    assert total(**{"ablations.grids": []}) < base


def test_published_speeds_are_told_with_their_source_and_scale_with_size(tmp_path):
    run = store.open_run("paper-llama", tmp_path, {"generation.engine": "vllm"})
    rows = {r["stage"]: r for r in hours.estimate(run, room.shapes(run))}
    assert "MLPerf" in rows["01_problems_and_drafts"]["speed"] and "torchtune" in rows["03_train"]["speed"]
    assert rows["03_train"]["hours"] == pytest.approx(rows["03_train"]["trained"] / 2413 / 3600, rel=0.01)
    teacher, student = rows["02_critiques_and_refinements"], rows["01_problems_and_drafts"]
    slower = teacher["hours"] / teacher["generated"] / (student["hours"] / student["generated"])
    assert slower == pytest.approx(70.6 / 8.03, rel=0.01)


def test_what_is_not_known_has_no_hours(tmp_path):
    served = {"engine": "openai", "base_url": "http://localhost:8000/v1", "server_model": "big"}
    run = store.open_run("paper-llama", tmp_path, {"synthesis.teacher": {"kind": "model", "generation": served}})
    rows = hours.estimate(run, {})
    assert all(r["hours"] is None for r in rows)
    assert {r["model"]: r["speed"] for r in rows} == {
        "big": "the speed of a server is its own",
        STUDENT: "no config, so no size",
    }


def test_a_student_on_this_disk_is_measured(tmp_path):
    run = store.open_run("smoke", tmp_path)
    shapes = room.shapes(run)
    rows = hours.estimate(run, shapes, ["lab:llama"], seconds=1)
    assert all("measured on this machine" in r["speed"] and r["hours"] > 0 for r in rows)
    drafts = next(r for r in rows if r["stage"].startswith("01"))
    assert drafts["generated"] < 48 * run.profile.synthesis.draft.max_new_tokens, "texts end before their limit"


def test_a_processor_is_not_promised_the_speed_of_a_graphics_card(tmp_path, monkeypatch):
    """Notebook 00 said 239,795 tokens/s and 0 minutes of a student that takes hours: a card's memory bandwidth."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = store.open_run("smoke", tmp_path)
    rows = hours.estimate(run, room.shapes(run), ["lab:llama"], seconds=0)
    assert all(r["hours"] is None and "cgd check" in r["speed"] for r in rows)


def test_an_engine_that_is_chosen_later_has_the_measured_speed(tmp_path, monkeypatch):
    monkeypatch.setattr(hours, "measure", lambda *_: hours.Measured(800_000, 100.0, 50.0, 40, 50, 1))
    run = store.open_run("smoke", tmp_path, {"generation.engine": "auto"})
    rows = hours.estimate(run, room.shapes(run), ["lab:llama"], seconds=1)
    assert all("measured on this machine" in r["speed"] for r in rows)


def test_problems_of_each_seed_and_points_of_a_rate_search_are_counted(tmp_path):
    fields = {"training.methods": ["cgd"], "training.seeds": [0, 1], "ablations.grids": []}
    searched = fields | {
        "data.per_seed": True,
        "training.select": "validation",
        "training.validation_rows": 10,
        "training.learning_rate": {"cgd": [1e-4, 3e-4, 1e-3]},
    }
    plain, more = (hours.work(store.open_run("smoke", tmp_path, f), 40, 50) for f in (fields, searched))
    assert by_stage(more, "generated")["01"] == 3 * by_stage(plain, "generated")["01"], "two seeds and the pilot's"
    assert by_stage(more, "trained")["03"] == 5 / 2 * by_stage(plain, "trained")["03"]
    assert by_stage(more, "generated")["03"] == 3 * 10 * 50


def test_a_large_student_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(hours, "measure", lambda *_: pytest.fail("16 GB of weights were read for an estimate"))
    run = store.open_run("paper-llama", tmp_path)
    shapes = {m: memory.shape(memory.published_config(m)) for m in (STUDENT, TEACHER)}
    assert all("measured" not in r["speed"] for r in hours.estimate(run, shapes, [STUDENT, TEACHER], seconds=10))
