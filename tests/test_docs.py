"""Every command in the README and in docs/ is run here, is run elsewhere in the suite (listed), or says what it needs.

The commands run in a folder of their own, against the smoke run: ``--profile lab`` becomes ``--profile smoke``.
"""

import json
import re
import shlex
import shutil

import pytest
import refresh_docs
from conftest import DOC_PAGES, parsed

from cgd_utils import __main__
from cgd_utils.core import files
from cgd_utils.core.provenance import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
NEEDS = re.compile(r"#.*\bneeds a (GPU|hub|server|screen)\b")
# run elsewhere: what it is → where
ELSEWHERE = {
    r"make (reproduce|reference)\b": "the chain is run on the smoke profile by tests/app/test_chain.py; on lab by the author of a release",
    r"make (setup|clean setup|test)\b": "this is it",
    r"make test-(browser|vllm)\b": ".ci/run",
    r"make (lock|update-lock)\b": "tests/test_update_lock.py, its parts that need no package index",
    r"\.venv/bin/pre-commit install": "changes the clone's git hooks",
    r"\.venv/bin/python tests/refresh_docs\.py": "test_the_profiles_page_is_in_step",
    r"\.venv/bin/python tests/benchmarks/": "measures speed; takes minutes",
    r"\.venv/bin/python notebooks/course/course_lab\.py": "tests/course/test_course.py::test_the_student_version_is_in_step",
    r"torchrun ": "tests/training/test_trainer.py::test_two_processes_train_as_one",
    r"cgd merge-adapter ": "tests/models/test_adapters.py::test_a_merged_model_answers_as_base_and_adapter",
    r"cgd import ": "tests/synthesis/test_imported.py::test_the_command",
    r"papermill notebooks/": "tests/app/test_chain.py::test_a_notebook_runs_by_papermill_alone_from_any_folder",
    r"cp -r docs/own-data ": "tests/test_own_data.py",
    r"(export|source|pip install|apt-get|conda|git clone|uv) ": "sets up a machine",
}


def commands(text):
    """(command, block) of every ``bash`` block's commands, continuation lines joined."""
    for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip(), block


COMMANDS = list(
    dict.fromkeys(
        (p.relative_to(PROJECT).as_posix(), line, block)
        for p in PAGES
        for line, block in commands(p.read_text(encoding="utf-8"))
    )
)


def needs(line, block):
    """Whether a command, or its whole block by a comment line of its own, says that it needs what a test has not."""
    alone = [x for x in block.splitlines() if x.lstrip().startswith("#")]
    return bool(NEEDS.search(line)) or any(NEEDS.search(x) for x in alone)


def words(line):
    return shlex.split(line, comments=True)


def is_cgd(line):
    given = words(line)
    return given[:1] in (["cgd"], [".venv/bin/cgd"]) or given[1:3] == ["-m", "cgd_utils"]


def arguments(line):
    given = words(line)
    return given[1:] if given[0].endswith("cgd") else given[3:]


def test_there_are_commands():
    assert len(COMMANDS) > 25
    assert {"README.md", "CONTRIBUTING.md", "docs/own-data.md", "docs/profiles.md"} <= {c[0] for c in COMMANDS}


@pytest.mark.parametrize(("page", "line", "block"), COMMANDS, ids=[f"{c[0]}: {c[1][:60]}" for c in COMMANDS])
def test_every_command_is_accounted_for(page, line, block):
    if is_cgd(line):
        if "--help" not in line:
            parsed(arguments(line))
        return
    assert elsewhere(line) or needs(line, block), f"{page}: {line!r} is neither run, listed in ELSEWHERE, nor marked"


@pytest.fixture(scope="module")
def place(smoke_run, tmp_path_factory):
    """A working folder with the files that the pages' commands name, and the smoke run as outputs/lab and outputs/smoke."""
    folder = tmp_path_factory.mktemp("a reader's place")
    (folder / "outputs").mkdir()
    for name in ("smoke", "lab"):
        (folder / "outputs" / name).symlink_to(smoke_run.folder, target_is_directory=True)
    rows = [{"id": str(i), "gold": str(i), "text": f"Answer: {i % 3}"} for i in range(6)]
    files.write_jsonl(folder / "answers.jsonl", rows)
    for side in "ab":
        files.write_jsonl(folder / f"scores_{side}.jsonl", [
            {"id": r["id"], "extracted": "1", "gold": r["gold"], "correct": (i + (side == "a")) % 2 == 0, "status": "ok"}
            for i, r in enumerate(rows)])  # fmt: skip
    files.write_jsonl(
        folder / "prompts.jsonl",
        [
            {"id": str(i), "prompt": f"Ann has {i} cups. Ann finds 4 more. How many cups does Ann have now?"}
            for i in range(4)
        ],
    )
    for i in range(2):
        made = [
            {
                "id": str(j),
                "sample": 0,
                "prompt": "p",
                "text": "t",
                "finish_reason": "stop",
                "n_tokens": 1,
                "model": "m",
            }
            for j in range(i, 4, 2)
        ]
        files.write_jsonl(folder / f"part-{i}.jsonl", made)
    shutil.copytree(PROJECT / "docs" / "own-data", folder / "docs" / "own-data")
    return folder


def elsewhere(line):
    """Where else a command is tried, if it is."""
    return [where for pattern, where in ELSEWHERE.items() if re.match(pattern, line)]


RUN = [c for c in COMMANDS if is_cgd(c[1]) and not needs(c[1], c[2]) and not elsewhere(c[1])]


@pytest.mark.parametrize(("page", "line", "block"), RUN, ids=[f"{c[0]}: {c[1][:60]}" for c in RUN])
def test_the_command_runs(page, line, block, place, smoke_run, monkeypatch, capsys):
    given = arguments(line)
    given = [
        "smoke" if w in ("lab", "lab-full") and before == "--profile" else w
        for before, w in zip(["", *given], given, strict=False)
    ]
    given = [p for w in given for p in (sorted(x.name for x in place.glob(w)) if "*" in w else [w])]
    if "--profile" in given or given[0] in ("run", "status", "report", "check"):
        given += [] if "--profile" in given else ["--profile", "smoke"]
        given += ["--outputs", str(smoke_run.folder.parent)] if "--outputs" not in given else []
        changes = "--set" in given or "--force" in given or not given[given.index("--profile") + 1].startswith("smoke")
        if given[0] == "run" and changes:
            given.append("--dry-run")  # what it would run is run by tests/app/test_chain.py
    monkeypatch.chdir(place)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    code = __main__.main(given)
    said = capsys.readouterr()
    assert code == 0, f"{page}: {line}\n{said.err[-1500:]}"
    if "--json" in given:
        json.loads(said.out)


def test_the_page_of_published_items_is_in_step():
    assert refresh_docs.PUBLISHED.read_text(encoding="utf-8") == refresh_docs.published_page(), (
        "run .venv/bin/python tools/refresh_docs.py"
    )


def test_the_profiles_page_is_in_step():
    assert refresh_docs.PAGE.read_text(encoding="utf-8") == refresh_docs.page(), (
        "run .venv/bin/python tools/refresh_docs.py"
    )


def test_links_lead_somewhere():
    """Links between the pages, and to files, exist; pages that are planned are named in conftest.DOC_PAGES until they are there."""
    for page in [*PAGES, PROJECT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            there = (page.parent / target).resolve()
            assert there.exists() or there.name in DOC_PAGES, f"{page.name}: {target}"


def test_the_index_names_every_page():
    index = (PROJECT / "docs" / "README.md").read_text(encoding="utf-8")
    assert {p.name for p in (PROJECT / "docs").glob("*.md")} - {"README.md"} <= set(
        re.findall(r"\]\(([\w-]+\.md)\)", index)
    )


def test_the_tree_names_every_room():
    tree = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The tree")[2]
    rooms = {p.name for p in (PROJECT / "cgd_utils").glob("*.py")} | {
        f"{p.parent.name}/" for p in (PROJECT / "cgd_utils").glob("*/__init__.py")
    }
    assert not [m for m in rooms if f"`{m}`" not in tree and f"cgd_utils/{m}`" not in tree]


def test_pictures_have_words():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert all(len(alt) > 30 for alt in re.findall(r"!\[([^\]]*)\]", text)), page.name
        assert all(len(alt) > 30 for alt in re.findall(r"<img(?=[^>]*?alt=\"([^\"]*)\")", text)), page.name
        assert len(re.findall("<img", text)) == len(re.findall(r"<img[^>]*alt=", text)), page.name


def test_no_page_repeats_another():
    """No paragraph of 20 words or more, and no row of a table with 12 or more, stands on two pages."""
    seen = {}
    for page in PAGES:
        text = re.sub(
            r"```.*?```|<!-- ([\w ,-]+) -->.*?<!-- end \1 -->",  # code, and what a command writes into a page
            "",
            page.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
        for part in [" ".join(x.split()) for x in re.split(r"\n\s*\n|\n(?=\|)|\n(?=- )", text)]:
            rule = not set(part) - set("|-: ")  # the line between a table's head and its rows
            if not rule and len(part.split()) >= (12 if part.startswith("|") else 20):
                assert seen.setdefault(part, page) == page, f"{page.name} repeats {seen[part].name}: {part[:80]}"


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in [*PAGES, PROJECT / ".github" / "workflows" / "test.yml", PROJECT / ".ci" / "run"]:
        named = set(
            re.findall(
                r"\bmake ((?:test|lock|setup|reproduce|reference|lint|clean|update)[\w-]*)",
                path.read_text(encoding="utf-8"),
            )
        )
        assert named <= targets, f"{path.name}: {named - targets}"
    workflow = (PROJECT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert "make test" in workflow and "make reproduce" in workflow
