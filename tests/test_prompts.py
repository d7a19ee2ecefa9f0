"""Layouts as data: the shipped texts stay what they were, a user's file is checked, system turns reach every template."""

import copy
import hashlib
import json
import re

import families
import pytest
import yaml

from cgd_utils import methods, prompts
from cgd_utils.ablations import cell_runs
from cgd_utils.app import chain
from cgd_utils.core import profile_files, store, synthesis_settings
from cgd_utils.core.errors import BadInput
from cgd_utils.core.provenance import PROJECT
from cgd_utils.models import chat_templates, loading

X, DRAFT, CRITIQUE = "What is {x} + {draft}?", "It is \\boxed{5} {critique}.", "No. Conclusion: wrong"
RECORD = {
    "id": "1", "question": "What is 1 + 1?", "answer": "2", "solution": "2", "draft": "It is 3.", "critique": "No. Conclusion: wrong",
    "refined": "It is 2.", "direct": "Two.",
}  # fmt: skip
PLAIN = {
    "answer": "{question}",
    "critique": "{question} {draft}",
    "refine": "{question} {draft} {critique}",
    "refine_without_critique": "{question} {draft}",
    "generic_critique": "Look again.",
}


@pytest.mark.parametrize(
    "name, digest", [("lab", "7cfed33cbee3199d"), ("plain", "0683bff174d8b0f0"), ("standard", "ce5c83b025c8719e")]
)
def test_the_messages_that_results_were_made_with_stay_byte_for_byte(name, digest):
    """Digests taken before the texts moved into prompts.yaml; the lab's students understand no other words."""
    made = prompts.layout(name)
    messages = [
        *(made.ask(X), made.ask_critique(X, DRAFT), made.ask_refined(X, DRAFT), made.ask_refined(X, DRAFT, CRITIQUE)),
        made.generic_critique,
        [made.spans(X), made.spans(X, DRAFT), made.spans(X, DRAFT, CRITIQUE)],
    ]
    assert hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16] == digest
    assert made.ask_draft(X) == made.ask_direct(X) == made.in_training.ask(X) == made.ask(X)


def test_profiles_know_every_shipped_layout():
    assert set(prompts.shipped()) == set(synthesis_settings.LAYOUTS)


def test_authors_layout_keeps_to_their_roles():
    made = prompts.layout("authors")
    asked = [
        made.ask_draft(X),
        made.ask_direct(X),
        made.ask_critique(X, DRAFT),
        made.ask_refined(X, "a draft", CRITIQUE),
    ]
    for messages in asked:
        assert [m["role"] for m in messages] == ["system", "user"]
        assert "box" not in messages[0]["content"]
    assert all(m[1]["content"] == X for m in (*asked[:2], made.ask(X)))  # the bare question
    assert "\\boxed{}" in made.ask(X)[0]["content"]
    assert not any("boxed" in str(made.ask_refined("q", "d", c)) for c in (None, CRITIQUE))
    assert "Conclusion: right" in made.ask_critique("q", "d")[0]["content"]


def test_the_student_reads_its_own_instruction_where_the_layout_has_one():
    made = prompts.layout("authors")
    for method in ("cgd", "cft", "cgd_no_critique"):
        [row] = methods.rows(method, [RECORD], made)
        teachers = made.ask_critique("q", "d") if method == "cft" else made.ask_refined("q", "d", "c")
        assert [m["role"] for m in row["prompt"]] == ["user"] != [m["role"] for m in teachers]
        assert RECORD["draft"] in row["prompt"][0]["content"]
    [row] = methods.rows("sft", [RECORD], made)
    assert row["prompt"] == made.ask_direct(RECORD["question"])


def layout_file(folder, fields):
    path = folder / "mine.yaml"
    path.write_text(fields if isinstance(fields, str) else yaml.safe_dump(fields), encoding="utf-8")
    return str(path)


def test_a_layout_of_ones_own_needs_no_python(tmp_path):
    path = layout_file(tmp_path, {**PLAIN, "draft": {"system": "Be brief.", "user": "Q: {question}"}})
    made = prompts.layout(path)
    assert made.ask_draft("x") == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: x"}]
    assert made.ask_direct("x") == made.ask("x") == [{"role": "user", "content": "x"}]
    (tmp_path / "p.yaml").write_text("base: smoke\nmodels: {layout: mine.yaml}\n")
    assert profile_files.load(tmp_path / "p.yaml").models.layout == path


def test_the_documented_layout_is_one(tmp_path):
    page = (PROJECT / "docs" / "extending.md").read_text(encoding="utf-8")
    [example] = [b for b in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "generic_critique" in b]
    made = prompts.layout(layout_file(tmp_path, example))
    assert [m["role"] for m in made.ask("x")] == ["system", "user"] and "\\boxed{}" in made.ask("x")[0]["content"]
    assert made.in_training.ask_refined("x", "d", "c") == [{"role": "user", "content": "x\nd\nc"}]


def test_a_layouts_key_is_its_text_and_not_its_file(tmp_path):
    made = prompts.layout(layout_file(tmp_path, PLAIN))
    (tmp_path / "elsewhere").mkdir()
    assert prompts.layout(layout_file(tmp_path / "elsewhere", PLAIN)).key == made.key
    changed = prompts.layout(layout_file(tmp_path, {**PLAIN, "draft": "Now: {question}"}))
    assert changed.key != made.key and changed.in_training.ask("x") == made.in_training.ask("x")


def test_a_changed_text_makes_stale_what_is_asked_with_it_and_no_other_layout(tmp_path, monkeypatch):
    """The texts are data: neither a notebook's state nor a grid's cell may go by the code alone."""
    monkeypatch.setattr(cell_runs.named, "model_key", lambda path: "base")

    def keys():
        run = store.open_run("smoke", tmp_path, {"models.layout": str(tmp_path / "mine.yaml")})
        cell = cell_runs.Cell("cgd", "cgd")
        return chain.determined_by(run, "01_problems_and_drafts", [], None)["key"], cell_runs._key(
            run, "llama", cell, []
        )

    layout_file(tmp_path, PLAIN)
    before = keys()
    assert keys() == before
    layout_file(tmp_path, {**PLAIN, "generic_critique": "Look twice."})
    assert all(new != old for new, old in zip(keys(), before, strict=True))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"answer": "Solve it."}, "answer: the user turn holds {question} 0 times"),
        ({"refine": "{question} {draft}"}, "refine: the user turn holds {critique} 0 times"),
        ({"answer": "{question} {question}"}, "{question} 2 times"),
        ({"answer": "{question} {hint}"}, "unknown placeholder {hint}; the user turn takes {question}"),
        ({"answer": {"system": "On {question}", "user": "{question}"}}, "unknown placeholder {question}"),
        ({"answer": {"sytem": "x", "user": "{question}"}}, "answer.sytem is no task of a layout"),
        ({"critic": "x"}, "critic is no task of a layout"),
        ({"training": {"refine": "x"}}, "refine: the user turn holds {question} 0 times"),
        ({"critique": None}, "critique"),
    ],
)
def test_a_fault_in_a_layout_is_named(change, said, tmp_path):
    with pytest.raises(BadInput, match=r"mine\.yaml") as e:
        prompts.layout(layout_file(tmp_path, {**PLAIN, **change}))
    assert said in str(e.value)


def test_braces_of_latex_are_no_placeholders(tmp_path):
    made = prompts.layout(layout_file(tmp_path, {**PLAIN, "answer": "{question} as \\boxed{answer} or \\frac{a}{b}"}))
    assert made.ask("x")[0]["content"] == "x as \\boxed{answer} or \\frac{a}{b}"


@pytest.mark.parametrize(
    "name, said", [("nowhere.yaml", "no such file"), ("standart", "use one of lab, plain"), ("a: [", "not valid YAML")]
)
def test_a_layout_that_is_not_there(name, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        prompts.layout(layout_file(tmp_path, name) if ":" in name else name)


def test_a_missing_task_is_named(tmp_path):
    with pytest.raises(BadInput, match="refine is missing"):
        prompts.layout(layout_file(tmp_path, {k: v for k, v in PLAIN.items() if k != "refine"}))


SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
FOLDED = [{"role": "user", "content": "Be brief.\n\nHello"}]
REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
ONLY_USER = "{% for m in messages if m['role'] != 'system' %}"


@pytest.mark.parametrize("how", ["refuses", "leaves out"])
def test_a_template_without_a_system_role_gets_it_in_the_users_turn(how):
    tok = copy.deepcopy(loading.load_tokenizer(loading.ModelRef(str(families.stand_in("llama")), "s")))
    body = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    tok.chat_template = REFUSES + body if how == "refuses" else body.replace("{% for m in messages %}", ONLY_USER)
    assert chat_templates.text(tok, SYSTEM) == chat_templates.text(tok, FOLDED)
    assert "Be brief." in chat_templates.text(tok, SYSTEM)


@pytest.mark.parametrize("family", ["qwen", "llama", "mixtral", "olmo"])
def test_the_authors_system_turn_reaches_every_family(family):
    tok = loading.load_tokenizer(loading.ModelRef(str(families.stand_in(family)), family))
    written = chat_templates.text(tok, prompts.layout("authors").ask("How many?"), open_turn=True)
    assert "\\boxed{}" in written and "How many?" in written
