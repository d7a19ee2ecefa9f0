"""Every keyword that the kit passes to a library exists in the installed version's signature.

The calls are found in the sources, so a new call is checked without being listed here. vLLM is asked in the interpreter that
``CGD_VLLM_PYTHON`` names (``make test-vllm`` sets it).
"""

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from cgd_utils.core.provenance import PACKAGE, PROJECT

LIBRARIES = (
    "trl",
    "peft",
    "transformers",
    "lm_eval",
    "ray",
    "vllm",
    "datasets",
    "bitsandbytes",
    "papermill",
    "openai",
    "math_verify",
)
FILES = sorted(PACKAGE.rglob("*.py"))
# where a signature ends in **kwargs: objects of the library in whose sources the further names must stand, quoted or as parameters
HIDDEN = {
    "transformers.AutoModelForCausalLM.from_pretrained": ["transformers.PreTrainedModel.from_pretrained"],
    "transformers.AutoTokenizer.from_pretrained": [
        "transformers.PreTrainedTokenizerBase.from_pretrained",
        "transformers.AutoTokenizer",
    ],
    "transformers.AutoModelForCausalLM.from_config": ["transformers.PreTrainedModel"],
    "transformers.AutoConfig.from_pretrained": [
        "transformers.AutoConfig.from_pretrained",
        "transformers.PretrainedConfig",
    ],
    "transformers.AutoConfig.for_model": [
        "transformers.LlamaConfig",
        "transformers.MixtralConfig",
        "transformers.PretrainedConfig",
    ],
    "transformers.PreTrainedTokenizerFast": [
        "transformers.PreTrainedTokenizerBase",
        "transformers.PreTrainedTokenizerFast",
    ],
    "papermill.execute_notebook": ["nbclient.NotebookClient"],
}
# methods of objects that the sources hold in variables: name → where its signature is
METHODS = {
    "apply_chat_template": "transformers.PreTrainedTokenizerBase.apply_chat_template",
    "save_pretrained": "transformers.PreTrainedModel.save_pretrained",
    "remove_callback": "transformers.Trainer.remove_callback",
}


def find(dotted):
    """The object that a dotted name stands for."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(parts[0])


def known_names(tree):
    """Name in a module → what it is in a library."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in LIBRARIES:
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            for a in node.names:
                if a.name.split(".")[0] in LIBRARIES:
                    known[a.asname or a.name.split(".")[0]] = a.name if a.asname else a.name.split(".")[0]
    for node in ast.walk(tree):  # a subclass without an __init__ of its own is called as its base
        if isinstance(node, ast.ClassDef) and not any(getattr(f, "name", "") == "__init__" for f in node.body):
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in known:
                    known[node.name] = known[base.id]
    return known


def factories_of(tree):
    """Function → the library's class, or an own one that is called as it, that it gives."""
    known = known_names(tree)
    return {f.name: known[r.value.id] for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for r in f.body
            if isinstance(r, ast.Return) and isinstance(r.value, ast.Name) and r.value.id in known}  # fmt: skip


def library_calls(tree, elsewhere=None):
    """(dotted name, keywords, line) of every call into a library; keywords of a ``**{…}`` written out are included.

    ``elsewhere``: the factories of other modules.
    """
    known, factories = known_names(tree), {**(elsewhere or {}), **factories_of(tree)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        keywords = [k.arg for k in node.keywords if k.arg]
        chain, root = [], node.func
        while isinstance(root, ast.Attribute):
            chain, root = [root.attr, *chain], root.value
        if isinstance(root, ast.Call) and isinstance(root.func, ast.Name) and root.func.id in factories and not chain:
            yield factories[root.func.id], keywords, node.lineno
        elif isinstance(root, ast.Name) and root.id in known:
            yield ".".join([known[root.id], *chain]), keywords, node.lineno
        elif chain and chain[-1] in METHODS:
            yield METHODS[chain[-1]], keywords, node.lineno


TREES = {f: ast.parse(f.read_text()) for f in FILES}
FACTORIES = {name: made for tree in TREES.values() for name, made in factories_of(tree).items()}
CALLS = [
    (f.relative_to(PACKAGE).as_posix(), *call)
    for f, tree in TREES.items()
    for call in library_calls(tree, FACTORIES)
    if call[1]
]


def unknown_keywords(dotted, keywords):
    """The keywords that the installed library does not take."""
    signature = inspect.signature(find(dotted))
    takes = set(signature.parameters)
    if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        for other in HIDDEN.get(dotted, []):
            source = inspect.getsource(find(other))
            takes |= {k for k in keywords if re.search(rf"[\"']{k}[\"']|\b{k}\s*[:=]", source)}
    return [k for k in keywords if k not in takes]


def test_the_calls_are_found():
    names = {name for _, name, *_ in CALLS}
    assert {"trl.SFTConfig", "trl.SFTTrainer", "peft.LoraConfig", "lm_eval.simple_evaluate"} <= names
    assert len(CALLS) > 15


@pytest.mark.parametrize(("file", "name", "keywords", "line"), CALLS, ids=[f"{c[0]}:{c[3]}-{c[1]}" for c in CALLS])
def test_keywords_exist(file, name, keywords, line):
    library = name.split(".")[0]
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:  # absent, or only a folder of that name
        pytest.skip(f"{library} is not installed here")
    assert not unknown_keywords(name, keywords), (
        f"{file}, line {line}: {name} takes no {unknown_keywords(name, keywords)}"
    )


def test_a_renamed_keyword_would_be_seen():
    (call,) = library_calls(ast.parse("from trl import SFTConfig as C\nC(output_dir='x', max_seq_length=5)"))
    assert unknown_keywords(call[0], call[1]) == ["max_seq_length"]


def test_generation_settings_exist():
    """What `engines.decoding.decode` passes to model.generate is a field of GenerationConfig, a parameter of generate, or an input of the model."""
    from transformers import GenerationConfig, GenerationMixin, LlamaForCausalLM

    tree = ast.parse((PACKAGE / "engines" / "decoding.py").read_text())
    (call,) = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
               and n.func.attr == "generate" and "eos_token_id" in [k.arg for k in n.keywords]]  # fmt: skip
    takes = set(GenerationConfig().to_dict())
    for function in (GenerationMixin.generate, LlamaForCausalLM.forward):
        takes |= set(inspect.signature(function).parameters)
    assert {k.arg for k in call.keywords if k.arg} <= takes


def test_trainer_arguments_mean_what_the_kit_relies_on():
    from trl import SFTConfig

    fields = SFTConfig.__dataclass_fields__
    assert fields["completion_only_loss"].default in (None, True), "exported rows are learnt on the completion alone"


_ASK_VLLM = """
import dataclasses, inspect, json
from vllm import LLM, EngineArgs, SamplingParams
from vllm.lora.request import LoRARequest
print(json.dumps({"engine": [f.name for f in dataclasses.fields(EngineArgs)] + list(inspect.signature(LLM).parameters),
                  "sampling": list(inspect.signature(SamplingParams).parameters),
                  "generate": list(inspect.signature(LLM.generate).parameters),
                  "lora": list(inspect.signature(LoRARequest).parameters)}))
"""


def test_vllm_takes_what_the_engine_passes():
    python = os.environ.get("CGD_VLLM_PYTHON")
    if not python or not Path(python).exists():
        pytest.skip("CGD_VLLM_PYTHON names no interpreter with vLLM; make test-vllm does")
    done = subprocess.run([python, "-c", _ASK_VLLM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    takes = json.loads(done.stdout.strip().splitlines()[-1])
    engine, sampling = _vllm_dicts()
    assert {"model", "dtype", "gpu_memory_utilization"} <= engine and {"temperature", "max_tokens"} <= sampling
    assert engine | {"enable_lora", "max_lora_rank", "kv_cache_memory_bytes"} <= set(takes["engine"])
    assert sampling | {"seed"} <= set(takes["sampling"])
    assert {"use_tqdm", "lora_request"} <= set(takes["generate"])


def _vllm_dicts():
    """Keys of the dictionaries that become LLM(**…) and SamplingParams(**…) in the worker."""
    tree = ast.parse((PACKAGE / "engines" / "vllm_engine.py").read_text())
    out = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in ("_engine", "_sampling"):
            out[node.name] = {
                k.value for d in ast.walk(node) if isinstance(d, ast.Dict) for k in d.keys if k is not None
            }
    return out["_engine"], out["_sampling"]


def test_the_notebooks_pass_parameters_that_papermill_can_inject():
    import papermill

    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        known = papermill.inspect_notebook(str(path))
        assert list(known) == ["profile", "outputs", "overrides"], path.name
