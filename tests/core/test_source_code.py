"""Keys follow the code that a result's builder reaches: nothing less, nothing more."""

import ast
import copy as copying
import re
import shutil
from dataclasses import replace

import pytest

from cgd_utils.core import source_code
from cgd_utils.core.source_code import PACKAGE, SourceCode, changed_modules

# builders of the chain's artifacts, as (module, function)
BUILDERS = [
    (path.removesuffix(".py").replace("/", "."), function)
    for path, function in sorted(
        {
            (f.relative_to(PACKAGE.parent).as_posix(), node.name)
            for f in PACKAGE.rglob("*.py")
            for node in ast.parse(f.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
            and re.search(r"\brun\.make\(", ast.unparse(node))
            and node.name != "make"
        }
    )
]
SOURCE = SourceCode(PACKAGE)
MODULES = sorted(m for m in SOURCE.modules if SOURCE.modules[m].definitions)
KEPT = (".py", ".yaml", ".csv", ".tsv")


def versions(code, rename=lambda m: m):
    return {(m, f): code.version(rename(m), f).version for m, f in BUILDERS}


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, folder, ignore=lambda d, names: [n for n in names if "." in n and not n.endswith(KEPT)])
    return folder


def test_the_chain_has_builders_in_every_stage():
    functions = {f for _, f in BUILDERS}
    assert {"problems", "drafts", "records", "fine_tune", "generations", "scores"} <= functions


def test_formatting_comments_and_docstrings_change_no_key(copy):
    for path in copy.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
                node.body[0].value.value = "Said otherwise."
        path.write_text("# a remark\n" + ast.unparse(tree) + "\n# another\n", encoding="utf-8")
    assert versions(SourceCode(copy)) == versions(SOURCE)


def test_renaming_any_module_changes_no_key(copy):
    def renamed(text):
        """Every module of the package gets another name, in its file and wherever it is imported."""
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                _rename_import(node)
        return ast.unparse(tree)

    names = {p.stem for p in copy.rglob("*.py") if p.stem != "__init__" and p.parent == copy}

    def _rename_import(node):
        head = (node.module or "").split(".")
        if head[0] in names:
            node.module = ".".join([f"{head[0]}_elsewhere", *head[1:]])
        elif not node.module:
            for alias in node.names:
                if alias.name in names:
                    alias.asname = alias.asname or alias.name
                    alias.name = f"{alias.name}_elsewhere"

    for path in sorted(copy.rglob("*.py")):
        path.write_text(renamed(path.read_text(encoding="utf-8")), encoding="utf-8")
    for path in sorted(copy.glob("*.py")):
        if path.stem in names and path.stem not in ("sandbox", "vllm_worker"):  # these are started by their file's name
            path.rename(path.with_stem(f"{path.stem}_elsewhere"))
    code = SourceCode(copy)

    def place(module):
        head, _, last = module.rpartition(".")
        return f"{head}.{last}_elsewhere" if head == PACKAGE.name and last in names else module

    assert versions(code, place) == versions(SOURCE)


@pytest.mark.parametrize("module", MODULES)
def test_a_changed_token_makes_stale_what_reaches_it_and_nothing_else(module):
    """One definition of the module is changed; the builders that reach it change their key, the others keep theirs."""
    reached = {b: SOURCE._reached([b]) for b in BUILDERS}
    of_module = [u for b in BUILDERS for u in reached[b] if u[0] == module]
    unit = max(of_module, key=of_module.count, default=(module, next(iter(SOURCE.modules[module].definitions))))
    before = SOURCE.modules[module]
    more = [*before.definitions[unit[1]], ast.parse("a_token_more = 1").body[0]]
    changed = copying.copy(SOURCE)
    changed.modules = {**SOURCE.modules, module: replace(before, definitions={**before.definitions, unit[1]: more})}
    changed._normalised = {u: n for u, n in SOURCE._normalised.items() if u != unit}
    after = {b: changed.version(*b) for b in BUILDERS}
    for builder, version in versions(SOURCE).items():
        assert (after[builder].version != version) == (unit in reached[builder]), builder
        if unit in reached[builder]:
            earlier = SOURCE.version(*builder).modules
            assert changed_modules(earlier, after[builder].modules) == [module.removeprefix("cgd_utils.")]


def test_a_table_that_code_reads_counts_as_code(copy):
    table = copy / "grading" / "notation.yaml"
    table.write_text(table.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")
    changed = {f for (_, f), version in versions(SourceCode(copy)).items() if version not in versions(SOURCE).values()}
    assert "scores" in changed


def test_an_added_definition_that_nothing_reaches_changes_no_key(copy):
    for path in copy.rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\n\ndef nobody_calls_this():\n    return 1\n", "utf-8")
    changed, whole_modules = versions(SourceCode(copy)), {"vllm_worker", "sandbox"}
    for builder, version in versions(SOURCE).items():
        # a worker that is started as a program counts as a whole
        started = {m.rpartition(".")[2] for m in SOURCE.version(*builder).modules} & whole_modules
        assert (changed[builder] == version) or started, builder


def test_code_in_a_notebook_counts_by_what_it_reaches():
    one = source_code.of_notebook(
        ["%matplotlib inline\nfrom cgd_utils.core import statistics", "statistics.wilson(1, 2)"]
    )
    assert set(one.modules) == {"core.statistics"}
    other = source_code.of_notebook(["import cgd_utils.core.statistics as s\n", "# a remark\ns.wilson(3, 4)"])
    assert one.version == other.version


def test_a_builder_written_elsewhere_is_hashed_by_its_own_code():
    def build(folder):
        return {"rows": 1}

    def other(folder):
        return {"rows": 2}

    assert source_code.of(build).version == source_code.of(build).version != source_code.of(other).version
