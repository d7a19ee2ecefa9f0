"""The lab's students are built from nothing, and the shipped ones are as their plans say."""

import json

import pytest
from build_lab import pretraining
from build_lab import students as built_students

from cgd_utils.core import provenance
from cgd_utils.lab import students


def test_pretraining_goes_on_after_a_kill_to_the_same_weights(tmp_path, monkeypatch):
    import torch

    settings = pretraining.PretrainingSettings(tokens=30_000, chunk=128, batch_tokens=2048)
    whole = built_students.build("llama-weak", tmp_path / "a", tmp_path / "a-out", settings)
    real, calls = pretraining.corpus, []

    def dies(seed, chunk, *more):
        if chunk == 1 and not calls:
            calls.append(chunk)
            raise KeyboardInterrupt
        return real(seed, chunk, *more)

    monkeypatch.setattr(pretraining, "corpus", dies)
    with pytest.raises(KeyboardInterrupt):
        built_students.build("llama-weak", tmp_path / "b", tmp_path / "b-out", settings)
    again = built_students.build("llama-weak", tmp_path / "b", tmp_path / "b-out", settings)
    from safetensors.torch import load_file

    a, b = load_file(whole / "model.safetensors"), load_file(again / "model.safetensors")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_student_is_built_from_nothing_with_its_card_and_curve(tmp_path):
    import papermill

    notebook = provenance.PROJECT / "notebooks" / "lab" / "build_lab.ipynb"
    parameters = {"students": ["llama-weak"], "outputs": str(tmp_path), "tokens": 20_000, "problems_a_cell": 6}
    papermill.execute_notebook(
        str(notebook), str(tmp_path / "out.ipynb"), parameters, kernel_name="python3", progress_bar=False
    )
    built = tmp_path / "lab-students" / "llama-weak"
    card = (built / "README.md").read_text()
    assert "| 6 |" in card
    assert "Instructions followed" in card
    assert (built / "model.safetensors").exists()


@pytest.mark.parametrize("name", built_students.PLANS)
def test_every_shipped_student_has_a_card_of_its_own_settings(name):
    built = json.loads((students.FOLDER / name / "pretraining.json").read_text())
    assert set(built_students.PLANS) == set(students.STUDENTS)
    assert built["tokens"] == built_students.PLANS[name].pretraining.tokens
    assert built["mixture"] == pretraining.RECIPES[built_students.PLANS[name].pretraining.recipe].mixture
    assert built["step_counts"] == {str(k): w for k, w in pretraining.STEP_WEIGHTS.items()}
    assert f"{built['parameters']:,}" in (students.FOLDER / name / "README.md").read_text()


def test_the_learned_teacher_is_never_terse():
    recipe = pretraining.RECIPES["teacher"]
    assert "terse" not in recipe.styles
    kinds = {d.kind for d in pretraining.corpus(7, 0, 300, recipe)}
    assert kinds == {"plain", "instructed", "refine", "critique"}
