"""Profiles: what a user writes in YAML or on the command line is what is meant, and what is not is told."""

import pytest

from cgd_utils.core import profile_files
from cgd_utils.core.errors import ProfileError
from cgd_utils.core.profile_files import changed, load, parse_assignments


@pytest.fixture
def profile(tmp_path):
    """Writes a profile's YAML beside others, and loads it."""

    def write(text, name="mine.yaml"):
        (tmp_path / name).write_text(text)
        return load(tmp_path / name)

    return write


def given(*pairs, base="lab"):
    return load(base, parse_assignments(list(pairs)))


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [
        ("data.decontaminate", "off", "off"),
        ("data.revision", "7654321", "7654321"),
        ("data.revision", "0076e5", "0076e5"),
        ("data.revision", "2025-11-30", "2025-11-30"),
        ("data.config", "on", "on"),
        ("data.revision", "null", None),
        ("models.students", "{no: 42}", {"no": "42"}),
        ("training.lora.target_modules", "[1, q_proj]", ["1", "q_proj"]),
        ("training.compile", "yes", True),
        ("training.liger", "off", False),
        ("training.learning_rate", "3e-4", 3e-4),
        ("training.save_steps", "2e3", 2000),
        ("processes", "auto", "auto"),
    ],
)
def test_a_value_is_what_the_field_means_in_a_file_and_on_the_command_line(profile, field, written, value):
    *sections, name = field.split(".")
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(sections)]
    in_file = profile("\n".join([*lines, f"{'  ' * len(sections)}{name}: {written}"]))
    for told in (in_file, given(f"{field}={written}")):
        assert told.get(field) == value
        assert type(told.get(field)) is type(value)


def test_words_and_numbers_of_an_engine_are_what_its_fields_mean(profile):
    body = "{top_k: 20, mode: on, p: 0.5}"
    in_file = profile(f"generation: {{engine: openai, extra_body: {body}}}")
    for told in (in_file, given(f"generation.extra_body={body}", "generation.engine=openai")):
        assert told.generation.extra_body == {"top_k": 20, "mode": "on", "p": 0.5}
    assert given("generation.engine=vllm", "generation.quantization=8").get("generation.quantization") == "8"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (["generation.max_model_len=9"], r"generation.max_model_len = 9 is for .*'vllm' or 'auto' or 'ray'.*it is 'transformers'.*leave it out"),
        (["generation={engine: vllm, retries: 1}"], r"generation.retries = 1 is for generation.engine = 'openai'"),
        (["synthesis.teacher.generation={engine: openai, batch_size: 2}"], r"synthesis.teacher.generation.batch_size = 2"),
        (["generation.engine=vlm"], "generation = .*engine must be one of transformers, vllm, auto, openai, ray"),
        (["generation.engine=vllm", "generation.max_model_len=0"], "generation.max_model_len = 0 – must be greater than"),
        (["generation.engine=openai", "generation.retrys=1"], "did you mean 'generation.retries'"),
    ],
)  # fmt: skip
def test_a_field_of_another_engine_is_told_with_its_value_and_the_way_out(fields, told):
    with pytest.raises(ProfileError, match=told):
        given(*fields)


def test_another_engine_takes_over_the_fields_that_it_shares():
    vllm = changed(given("generation.batch_size=7", "generation.batch_memory_gib=2"), {"generation.engine": "vllm"})
    assert (vllm.generation.engine, vllm.generation.batch_size) == ("vllm", 7)
    own = given("synthesis.teacher.generation.base_url=http://a/v1", "synthesis.teacher.generation.engine=openai")
    assert (own.synthesis.teacher.generation.base_url, own.generation.engine) == ("http://a/v1", "transformers")


def test_an_optional_section_is_set_field_by_field_and_begins_as_what_it_stands_for():
    here = ["synthesis.teacher.generation.retries=1", "generation.engine=openai", "generation.base_url=http://a/v1"]
    teacher = given(*here).synthesis.teacher.generation
    assert (teacher.retries, teacher.engine, teacher.base_url) == (1, "openai", "http://a/v1")
    own = changed(given(*here), {"synthesis.teacher.generation.base_url": "http://b/v1"})
    assert (own.synthesis.teacher.generation.retries, own.generation.retries) == (1, 6)
    assert own.synthesis.teacher.generation.base_url == "http://b/v1"


def test_a_whole_section_and_one_of_its_fields_may_be_given_in_any_order():
    both = {"training.lora.r": 4, "training.lora": {"alpha": 8}}
    assert load("lab", both) == load("lab", dict(reversed(both.items())))


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("synthesis.teacher.generation.retry=1", "did you mean 'synthesis.teacher.generation.retries'"),
        ("training.save_steps=yes", "training.save_steps"),
        ("data.decontaminate=false", "must be 'off', 'report' or 'remove'"),
        ("data.source={a: 1, a: 2}", "'a' is given twice"),
        ("description=a: b: c", "put quotes around it"),
        ("training.epochs", "write it as field=value"),
    ],
)
def test_what_cannot_be_meant_is_told(pair, told):
    with pytest.raises(ProfileError, match=told):
        given(pair)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("base: lab\ntraining:\n  epochs: 1\n  epochs: 2", r"'epochs' is given twice, first in line 3.*line 4"),
        ("- base: lab", "expected 'field: value' lines"),
        ("lab", "expected 'field: value' lines, found \"lab\""),
        ("", "expected 'field: value' lines"),
        ("training:\n\tepochs: 1", r"not valid YAML.*'\\t'.*line 2"),
        ("base: [lab, smoke]", "name one profile"),
        ("base: mine.yaml", "is its own base"),
    ],
)
def test_a_file_that_cannot_be_meant_is_told_with_its_line(profile, text, told):
    with pytest.raises(ProfileError, match=told):
        profile(text)


def test_a_file_in_another_encoding_is_told(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("description: caf\xe9".encode("latin-1"))
    with pytest.raises(ProfileError, match="not UTF-8"):
        load(tmp_path / "latin.yaml")


def test_a_section_without_a_line_says_nothing(profile):
    told = profile("base: smoke\ntraining:\n  # epochs: 3\n")
    assert told.training == load("smoke").training


def test_a_base_may_lie_beside_the_profile(profile):
    profile("base: smoke\ndata: {rows: 7}", "first.yaml")
    assert profile("base: first.yaml").data.rows == 7


def test_merge_keys_work(profile):
    told = profile(
        "base: lab\nevaluation:\n  sampling: &s {temperature: 1.0, n: 2}\nsynthesis:\n  draft: {<<: *s, n: 3}"
    )
    assert (told.evaluation.sampling.n, told.synthesis.draft.n, told.synthesis.draft.temperature) == (2, 3, 1.0)


def test_every_field_is_known_by_its_dotted_name():
    known = profile_files.dotted_fields()
    assert {"synthesis.teacher.generation.backoff_s", "generation.backoff_s", "data.rows"} <= set(known)
    assert len(known) == len(set(known))


PAPER = [n for n in profile_files.names() if n.startswith("paper-")]


@pytest.mark.parametrize("name", PAPER)
def test_the_authors_protocol_is_laid_over_a_profile_and_single_fields_over_that(name):
    kit, authors = profile_files.load(name), profile_files.load(name, {"protocol": "authors"})
    assert (kit.protocol, authors.protocol) == ("kit", "authors")
    assert (authors.models.layout, authors.data.order, authors.training.mode) == ("authors", "first", "full")
    assert (authors.evaluation.rule, authors.evaluation.also_grade) == ("authors", ["own"])
    assert authors.models.students == kit.models.students and authors.evaluation.sampling == kit.evaluation.sampling
    one_thing = profile_files.load(
        name, {"protocol": "authors", "models.layout": "standard", "training.learning_rate": 5e-6}
    )
    assert (one_thing.models.layout, one_thing.training.learning_rate) == ("standard", 5e-6)
    assert one_thing.data == authors.data


def test_a_profile_has_its_own_part_of_the_protocol_and_a_file_its_own_fields(tmp_path):
    qwen = profile_files.load("paper-qwen-math", {"protocol": "authors"}).training
    assert (qwen.learning_rate, qwen.max_length, qwen.mode) == (5e-6, 2048, "full")
    assert profile_files.load("paper-qwen-math").training.max_length == 4096
    (tmp_path / "mine.yaml").write_text("base: paper-qwen-math\nprotocol: authors\ntraining: {max_length: 1024}\n")
    mine = profile_files.load(tmp_path / "mine.yaml")
    assert (mine.training.max_length, mine.training.learning_rate, mine.models.layout) == (1024, 5e-6, "authors")
    (tmp_path / "over.yaml").write_text("base: mine.yaml\nmodels: {layout: standard}\n")
    assert profile_files.load(tmp_path / "over.yaml").models.layout == "standard"
    assert profile_files.load(tmp_path / "over.yaml").data.order == "first"
    with pytest.raises(ProfileError, match="the profile's file says 'authors'"):
        profile_files.load(tmp_path / "mine.yaml", {"protocol": "kit"})


def test_a_protocol_that_nobody_knows():
    with pytest.raises(ProfileError, match='protocol = "theirs"'):
        profile_files.load("paper-llama", {"protocol": "theirs"})


def test_settings_are_counted_one_by_one_and_a_mapping_of_names_is_one():
    assert profile_files.held({"a": 1, "b": {"c": [1, 2], "students": {"x": 1, "y": 2}}, "d": {}}) == 3
    whole = profile_files.load("smoke").model_dump(mode="json")
    assert profile_files.held({**whole, "of_tomorrow": 1}) == profile_files.held(whole) + 1
