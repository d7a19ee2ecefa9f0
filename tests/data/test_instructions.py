"""The benchmark ``instructions``: prompts that say what is checked, checks that tell keeping from losing."""

import pytest

from cgd_utils.core.errors import BadInput
from cgd_utils.core.settings import Benchmark, Evaluation
from cgd_utils.data import benchmarks, general_benchmarks, instructions
from cgd_utils.evaluation import answering, results, scores
from cgd_utils.grading import ifeval
from cgd_utils.prompts import layout

PROMPTS = instructions.problems()
needs_punkt = pytest.mark.usefixtures("ifeval_library")


def test_there_are_enough_prompts_and_no_two_are_alike():
    assert len(PROMPTS) >= 250
    assert len({p["question"] for p in PROMPTS}) == len(PROMPTS)
    assert PROMPTS == instructions.problems(), "always the same"


def test_the_first_part_holds_every_kind_equally_often():
    first = [p["meta"]["instruction_id_list"] for p in PROMPTS[:50]]
    kinds = [kind for (kind,) in first]
    assert sorted(kinds[:25]) == sorted(set(kinds))
    assert sorted(kinds[25:]) == sorted(set(kinds))


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda p: p["id"])
def test_a_prompt_says_all_that_is_checked(prompt):
    for arguments in prompt["meta"]["kwargs"]:
        for name, value in arguments.items():
            shown = instructions._read()["languages"][value] if name == "language" else value
            for part in shown if isinstance(shown, list) else [shown]:
                assert str(part) in prompt["question"], (name, part)


@needs_punkt
def test_every_kind_of_ifeval_is_asked():
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    assert {kind for p in PROMPTS for kind in p["meta"]["instruction_id_list"]} == set(INSTRUCTION_DICT)


# of each kind: an answer that keeps the demand for every choice of its arguments, and one that does not
KEPT_AND_LOST = {
    "keywords:existence": ("morning window garden paper music stone river friend winter lamp table cloud market green letter bread", "no"),
    "keywords:frequency": ("day light good time small always " * 3, "one"),
    "keywords:forbidden_words": ("Trees grow slowly.", "the very and but is good a it you your because so water time people day"),
    "keywords:letter_frequency": ("kpwbmv " * 8, "a tree"),
    "language:response_language": (None, "This is certainly a long English sentence about the weather."),
    "length_constraints:number_sentences": (None, ""),
    "length_constraints:number_paragraphs": (None, "One paragraph only."),
    "length_constraints:number_words": (None, None),
    "length_constraints:nth_paragraph_first_word": (None, "Nothing of the kind."),
    "detectable_content:number_placeholders": ("[name] [place] [date]", "no blank"),
    "detectable_content:postscript": ("Dear all.\nP.S. one more\nP.P.S two more", "Dear all."),
    "detectable_format:number_bullet_lists": (None, "no list"),
    "detectable_format:constrained_response": ("My answer is yes.", "Yes, I think so."),
    "detectable_format:number_highlighted_sections": ("*one* and *two* and *three*", "none"),
    "detectable_format:multiple_sections": ("Section 1 a Section 2 b Section 3 c Part 1 a Part 2 b Part 3 c SECTION 1 a SECTION 2 b SECTION 3 c", "none"),
    "detectable_format:json_format": ('{"answer": 1}', "answer: 1"),
    "detectable_format:title": ("<<a fine day>>\nIt rains.", "A fine day\nIt rains."),
    "combination:two_responses": ("One.\n******\nTwo.", "One. Two."),
    "combination:repeat_prompt": (None, "Here is my answer."),
    "startend:end_checker": (None, "It ends otherwise"),
    "startend:quotation": ('"All of it."', "All of it."),
    "change_case:capital_word_frequency": (None, None),
    "change_case:english_capital": ("THE RAIN FALLS ON THE TOWN AND THE PEOPLE STAY AT HOME.", "The rain falls."),
    "change_case:english_lowercase": ("the rain falls on the town and the people stay at home.", "The rain falls."),
    "punctuation:no_comma": ("Rain and wind.", "Rain, and wind."),
}  # fmt: skip
SAID = {
    "de": "Das Wetter ist heute schön und die Leute gehen gern im Park spazieren.",
    "fr": "Il fait beau aujourd'hui et les gens se promènent volontiers dans le parc.",
    "es": "Hoy hace buen tiempo y la gente pasea con gusto por el parque de la ciudad.",
    "it": "Oggi il tempo è bello e la gente passeggia volentieri nel parco della città.",
    "pt": "Hoje o tempo está bom e as pessoas passeiam com prazer pelo parque da cidade.",
    "fi": "Tänään sää on kaunis ja ihmiset kävelevät mielellään kaupungin puistossa.",
}


def answers(kind, arguments):
    """An answer that keeps the demand, and one that does not."""
    kept, lost = KEPT_AND_LOST[kind]
    few, many = "It is fine.", "It is a fine day. " * 20
    shouted, quiet = "IT RAINS ON THE TOWN", "it rains"
    first = arguments.get("first_word")
    by_argument = {
        "language:response_language": lambda: (SAID[arguments["language"]], lost),
        "length_constraints:number_sentences": lambda: _by_relation(arguments["relation"], few, many),
        "length_constraints:number_words": lambda: _by_relation(arguments["relation"], few, many),
        "length_constraints:number_paragraphs": lambda: (
            "\n***\n".join(["A part."] * arguments["num_paragraphs"]),
            lost,
        ),
        "length_constraints:nth_paragraph_first_word": lambda: (f"{first} it rains.\n\n{first} it snows.", lost),
        "detectable_format:number_bullet_lists": lambda: ("\n".join(["* one"] * arguments["num_bullets"]), lost),
        "combination:repeat_prompt": lambda: (f"{arguments['prompt_to_repeat']} Here it is.", lost),
        "startend:end_checker": lambda: (f"It rains. {arguments['end_phrase']}", lost),
        "change_case:capital_word_frequency": lambda: _by_relation(arguments["capital_relation"], quiet, shouted),
    }
    return by_argument[kind]() if kind in by_argument else (kept, lost)


def _by_relation(relation, few, many):
    return (few, many) if relation == "less than" else (many, few)


@needs_punkt
@pytest.mark.parametrize("kind", KEPT_AND_LOST)
def test_the_check_tells_keeping_from_losing(kind):
    asked = [p for p in PROMPTS if p["meta"]["instruction_id_list"] == [kind]]
    for p in asked:
        example = {"key": p["id"], "prompt": p["question"], **p["meta"]}
        kept, lost = (ifeval.score([(example, text)])[0]["strict"] for text in answers(kind, p["meta"]["kwargs"][0]))
        assert (kept, lost) == ([True], [False]), p["question"]


@needs_punkt
def test_the_benchmark_is_asked_without_the_layouts_demand_and_graded_by_prompt_and_by_instruction():
    few = Benchmark(name="mine", source="instructions", rows=2)
    b = benchmarks.load(few, Evaluation())
    assert [len(benchmarks.load("instructions", Evaluation()).problems), len(b.problems)] == [len(PROMPTS), 2]
    request = answering.request(b, b.problems[0], layout("plain"))
    assert request.messages[0]["content"] == b.problems[0]["question"]
    texts = (answers("keywords:existence", {})[0], "one")
    rows = [
        {"benchmark": "mine", "id": q["id"], "sample": 0, "text": t} for q, t in zip(b.problems, texts, strict=True)
    ]
    graded = scores.score(rows, {"mine": b})
    assert [s["correct"] for s in graded] == [True, False]
    found = results._quality(b, graded, 0.95)
    assert {name: (interval.estimate, interval.n) for name, interval in found.items()} == dict.fromkeys(
        ("instruction_following", "instruction_strict", "prompt_loose", "instruction_loose"), (50, 2)
    )


def test_ifevals_own_prompts_may_lie_anywhere(tmp_path, monkeypatch):
    path = tmp_path / "input.jsonl"
    monkeypatch.setenv("CGD_IFEVAL", str(path))
    with pytest.raises(BadInput, match="CGD_IFEVAL"):
        general_benchmarks.files("ifeval", Evaluation())
    path.write_text("{}\n")
    assert general_benchmarks.files("ifeval", Evaluation())["ifeval"] == path
    assert "ifeval" not in general_benchmarks.files("bbh", Evaluation())
