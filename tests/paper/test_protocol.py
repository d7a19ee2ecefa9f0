"""The page of departures cannot lag behind the profiles: its table names every switch, and its text every mark."""

import re

import pytest
import refresh_docs
import yaml

from cgd_utils.core import profile_files
from cgd_utils.core.provenance import PROJECT

PAPER = [n for n in profile_files.names() if n.startswith("paper-")]
PAGE = refresh_docs.DEPARTURES.read_text(encoding="utf-8")
ROWS = refresh_docs.protocol_settings()


def leaves(section, prefix=""):
    for name, value in section.items():
        whole = not isinstance(value, dict) or f"{prefix}{name}".split(".")[-1] in profile_files._WHOLE
        yield from [f"{prefix}{name}"] if whole else leaves(value, f"{prefix}{name}.")


def yaml_of(path):
    return yaml.safe_load((profile_files.folder() / path).read_text(encoding="utf-8"))


def test_the_table_is_made_from_the_profiles():
    assert refresh_docs.departures_page() == PAGE, "run .venv/bin/python tools/refresh_docs.py"


def test_every_setting_of_the_protocol_has_its_row():
    """What the switch changes, for all students and for one, stands in the table."""
    changed = set(leaves(yaml_of("protocols/authors.yaml")))
    for name in PAPER:
        changed |= set(leaves(yaml_of(f"{name}.yaml").get("authors", {})))
    assert changed <= {field for row in ROWS for field in row["fields"]}


def test_every_field_of_the_table_is_one_and_every_other_row_says_what_the_kit_does():
    known = profile_files.dotted_fields()
    for row in ROWS:
        assert set(row) == {"setting", "authors", "fields", "profile", "kit", "note"}
        assert set(row["fields"]) <= set(known)
        assert bool(row["fields"]) != bool(row["kit"]), row["setting"]


def test_the_switch_is_seen_in_the_resolved_profile():
    """A row that the table calls changed is changed by the one word, and back by setting the field."""
    kit, authors = (profile_files.load("paper-llama", {"protocol": p}) for p in ("kit", "authors"))
    changed = {
        f for row in ROWS if row["profile"] == "paper-llama" for f in row["fields"] if kit.get(f) != authors.get(f)
    }
    assert changed >= {
        "models.layout",
        "models.without_template",
        "data.order",
        "evaluation.rule",
        "training.packing",
        "training.mode",
    }
    back = profile_files.load("paper-llama", {"protocol": "authors", **{f: kit.get(f) for f in changed}})
    assert all(back.get(f) == kit.get(f) for f in changed)


def marked(name, mark):
    """Dotted fields whose line, or the comment line above it, has a mark."""
    found, section, above = [], [], ""
    for line in (profile_files.folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        text, _, comment = line.partition("#")
        field = re.match(r"( *)([a-z_]+):", text)
        if field is None:
            above = comment
            continue
        section = [*section[: len(field[1]) // 2], field[2]]
        if mark in comment or mark in above:
            inner = re.findall(r"([a-z_]+): [^{}]", text[text.find("{") :]) if "{" in text else []
            found += [".".join([*section, i]) for i in inner] or [".".join(section)]
        above = ""
    return found


@pytest.mark.parametrize("mark", ["departure", "not given"])
@pytest.mark.parametrize("name", PAPER)
def test_every_mark_of_a_profile_is_explained_on_the_page(name, mark):
    fields = marked(name, mark)
    assert fields, f"{name} has no field marked {mark!r}"
    for field in fields:
        named = (
            {field, field.rpartition(".")[0]} if field.count(".") > 1 else {field}
        )  # training.lora for training.lora.r
        assert any(f"`{n}`" in PAGE for n in named), (
            f"{name}: {field} is marked {mark!r}; docs/departures.md does not name it"
        )


def test_the_page_leaves_out_nothing_that_the_code_was_read_for():
    settings = " ".join(row["setting"] for row in ROWS)
    for part in ("learning rate", "thoughts", "test tokens", "100K", "Pass@k", "checkpoint", "packing", "test prompt", "data prompts",
                 "grader", "MMLU-Pro", "base students", "mixes", "training file"):  # fmt: skip
        assert part in settings
    assert (PROJECT / "notebooks/profiles/protocols/authors.yaml").exists()
