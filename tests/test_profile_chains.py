"""Every profile that asks for a GPU, through the code of all notebooks on the CPU, and on the GPU where there is one.

Its models are tiny stand-ins of the same architecture, its data a few rows in the published schema. Nothing else of the
profile is changed but sizes."""

import contextlib
import io
import json

import families
import pandas as pd
import pytest
import torch

from cgd_utils import prompts
from cgd_utils.app import chain
from cgd_utils.core import files, profile_files, store
from cgd_utils.data import benchmarks, problem_sources
from cgd_utils.synthesis import drafts, teaching

STUDENTS = {"Qwen/Qwen2.5-1.5B-Instruct": "qwen", "meta-llama/Llama-3.1-8B-Instruct": "llama", "simplescaling/s1.1-3B": "s1",
            "Qwen/Qwen2.5-Math-7B": "qwen-math", "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral",
            "allenai/OLMo-2-1124-7B-Instruct": "olmo"}  # fmt: skip
TEACHERS = {
    "Qwen/Qwen2.5-7B-Instruct": "qwen",
    "meta-llama/Llama-3.3-70B-Instruct": "llama",
    "simplescaling/s1.1-32B": "s1",
}
PROFILES = ["gpu", *(n for n in profile_files.names() if n.startswith("paper-"))]
ROWS = 10


def published_rows(folder, source):
    """Rows with the columns that the source has on the hub, and the mapping that `data.problem_sources.SOURCES` gives for them."""
    fields = dict(problem_sources.SOURCES[source].fields)
    rows = [
        {fields["question"]: f"What is {i} plus {i + 1}?", fields["answer"]: f"It is {2 * i + 1}.\n#### {2 * i + 1}"}
        for i in range(ROWS)
    ]
    (folder / f"{source}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return {"data.source": str(folder / f"{source}.jsonl"), "data.fields": fields, "data.rows": ROWS}


def published_benchmarks(folder, names):
    folder.mkdir()
    for name in names:
        fields = {"question": "question", "answer": "answer", **benchmarks.NAMED[name].fields}
        rows = [{fields["question"]: f"Compute {i} + 1.", fields["answer"]: str(i + 1)} for i in range(2)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def run_cells(name, parameters):
    """The notebook's code cells in one IPython shell of this process: what papermill runs, without starting a kernel."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    said = io.StringIO()
    cells = json.loads((chain.NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    with contextlib.redirect_stdout(said):
        for cell in cells:
            if cell["cell_type"] != "code":
                continue
            source = "".join(cell["source"])
            if "parameters" in cell["metadata"].get("tags", []):
                source += "\n" + "\n".join(f"{k} = {v!r}" for k, v in parameters.items())
            done = shell.run_cell(source, store_history=False)
            assert done.success, f"{name}: {source}\n{said.getvalue()[-3000:]}"


def tiny(p, folder):
    """What stands in for a profile's data and models, and its sizes; nothing else is changed."""
    return {
        **published_rows(folder, p.data.source),
        "models.students": {f: str(families.stand_in(STUDENTS[m])) for f, m in p.models.students.items()},
        "synthesis.teacher.model": str(families.stand_in(TEACHERS[p.synthesis.teacher.model])),
        "evaluation.benchmark_dir": str(folder / "benchmarks"),
        "synthesis.draft.max_new_tokens": 6, "synthesis.teacher.sampling.max_new_tokens": 6, "evaluation.sampling.max_new_tokens": 4,
        "synthesis.useless": "tell",  # texts of six tokens by random weights
        "training.batch_size": 4, "training.learning_rate": 1e-3, "training.micro_batch_size": min(2, p.training.micro_batch_size),
    }  # fmt: skip


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.filterwarnings("ignore")
def test_a_profile_passes_the_whole_chain(name, device, tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.setenv("CGD_IN_CHAIN", "1")
    p = profile_files.load(name)
    published_benchmarks(tmp_path / "benchmarks", list(p.evaluation.benchmarks))
    overrides = {**tiny(p, tmp_path), "models.device": device}
    run = store.open_run(name, tmp_path, overrides)
    for notebook in chain.NAMES:
        run_cells(notebook, {"profile": name, "outputs": str(tmp_path), "overrides": overrides})
    results = pd.read_csv(run.results_csv)
    assert set(results["method"]) == {"base", *p.training.methods}
    assert set(results["benchmark"]) >= set(p.evaluation.benchmarks)
    [family] = p.models.students
    for folder in (run.folder / "artifacts" / "models").glob("*/"):
        facts = json.loads((folder / "manifest.json").read_text())["facts"]
        assert facts["trained"].startswith("LoRA on") and facts["too_long"] == 0 and facts["steps"] == 3
        history = files.read_jsonl(folder / "history.jsonl")
        assert all(h["grad_norm"] > 0 for h in history)
    assert (run.tables / "headline.md").exists()
    assert (run.figures / f"accuracy_{family}.png").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_authors_protocol_passes_the_whole_chain(tmp_path, monkeypatch):
    """S1.1 as a base model without a chat template: system turns, thoughts that are cut off, packed rows, two graders."""
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.setenv("CGD_IN_CHAIN", "1")

    def aloud(*args):
        """The texts of a reasoning model: S1.1's marks around its thoughts, which is what the tiny stand-ins cannot write."""
        marked = "<|im_start|>think\nMUSING {0}\n<|im_start|>answer\nWell, {0}"
        return [{**row, "text": marked.format(row["text"])} for row in ask_model(*args)]

    ask_model = drafts.ask_model
    monkeypatch.setattr(drafts, "ask_model", aloud)
    monkeypatch.setattr(teaching, "ask_model", aloud)
    name, asked = "paper-s1", ["math-500", "theoremqa"]
    p = profile_files.load(name, {"protocol": "authors"})
    published_benchmarks(tmp_path / "benchmarks", asked)
    overrides = {
        "protocol": "authors",
        **tiny(p, tmp_path),
        "models.students": {"s1": str(families.base_model("s1"))},
        "models.device": "cpu", "evaluation.benchmarks": asked, "training.methods": ["cft", "cgd"], "analyses.methods": ["cgd"],
    }  # fmt: skip
    run = store.open_run(name, tmp_path, overrides)
    for notebook in chain.NAMES:
        run_cells(notebook, {"profile": name, "outputs": str(tmp_path), "overrides": overrides})

    [records] = (run.folder / "artifacts" / "records").glob("*/rows.jsonl")
    rows = files.read_jsonl(records)
    assert [r["question"] for r in rows] == [f"What is {i} plus {i + 1}?" for i in range(ROWS)]  # in the file's order
    assert all(r[text].startswith("Well,") for r in rows for text in ("draft", "critique", "refined", "direct"))
    assert "MUSING" not in records.read_text()
    models = list((run.folder / "artifacts" / "models").glob("*/"))
    for folder in models:
        facts = json.loads((folder / "manifest.json").read_text())["facts"]
        assert facts["trained"] == "all weights" and facts["steps"] == 3
        assert "Question:" in (folder / "model" / "chat_template.jinja").read_text()
    assert len(models) == 2
    results = pd.read_csv(run.results_csv)
    assert set(results["metric"]) >= {"accuracy", "accuracy_own"} and set(results["method"]) == {"base", "cft", "cgd"}
    layout = prompts.layout("authors")
    for path in (run.folder / "artifacts" / "generations").glob("*/rows.jsonl"):
        for row in files.read_jsonl(path):
            assert (
                row["prompt"] == layout.ask(row["prompt"])[-1]["content"]
            )  # the bare question; the box is in the system turn
