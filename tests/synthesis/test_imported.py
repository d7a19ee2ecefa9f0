"""Records that others published: read apart, checked, and learnt from without a draft or critique of the kit's own."""

import json

import pytest

from cgd_utils import __main__, methods, prompts
from cgd_utils.core import store
from cgd_utils.core.errors import BadInput, ProfileError
from cgd_utils.core.files import read_jsonl
from cgd_utils.synthesis import imported, teaching, usefulness

RIGHT = "2 + 3 = 5, and twice that is 10.\nThe answer is: 10"
WRONG = "2 + 3 = 6, and twice that is 12.\nThe answer is: 12"
MENDED = "2 + 3 = 5\n5 * 2 = 10\nThe answer is: 10"


def critique(verdict):
    return f"The sum in the first step decides.\n\nConclusion: {verdict} [END]"


def cft_row(draft, verdict, question="Ann has 2 + 3 pens, Bo twice as many. How many has Bo?"):
    shown = f"Question:\n{question}\n\nSolution:\n{draft}"
    return {"instruction": "Critique the solution.", "input": shown, "output": critique(verdict)}


def written(path, rows):
    path.write_text(json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_a_published_critique_comes_apart_into_question_draft_and_critique(tmp_path):
    source = written(tmp_path / "cft.json", [cft_row(RIGHT, "right")])
    counts = imported.import_file(source, tmp_path / "out.jsonl", "cft")
    assert counts == {"rows": 1, "concludes_right": 1}
    assert read_jsonl(tmp_path / "out.jsonl") == [
        {
            "id": "cft-00000",
            "question": "Ann has 2 + 3 pens, Bo twice as many. How many has Bo?",
            "draft": RIGHT,
            "critique": critique("right"),
            "answer": "10",
        }
    ]


def test_a_draft_that_is_called_wrong_needs_its_answer_from_elsewhere(tmp_path):
    rows = [cft_row(RIGHT, "right", "One?"), cft_row(WRONG, "wrong", "Two  more?"), cft_row(WRONG, "wrong", "Three?")]
    source = written(tmp_path / "cft.jsonl", rows)
    assert imported.import_file(source, tmp_path / "a.jsonl", "cft") == {
        "rows": 1,
        "concludes_right": 1,
        "no_answer": 2,
    }
    answers = written(tmp_path / "answers.jsonl", [{"question": "Two more?", "answer": 10}])
    counts = imported.import_file(source, tmp_path / "b.jsonl", "cft", answers=answers)
    assert counts == {"rows": 2, "concludes_right": 1, "concludes_wrong": 1, "no_answer": 1}
    assert [r["answer"] for r in read_jsonl(tmp_path / "b.jsonl")] == ["10", "10"]


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Mend it.", "input": f"Q: How many?\nA: {WRONG}\nC: {critique('wrong')}", "output": MENDED},
        {"messages": [
            {"role": "system", "content": "Mend it."},
            {"role": "user", "content": f"Q: How many?\nA: {WRONG}\nC: {critique('wrong')}"},
            {"role": "assistant", "content": MENDED},
        ]},
        {"conversations": [
            {"from": "human", "value": f"Mend it.\n\nQ: How many?\nA: {WRONG}\nC: {critique('wrong')}"},
            {"from": "gpt", "value": MENDED},
        ]},
    ],
)  # fmt: skip
def test_a_pattern_of_the_users_own_reads_rows_that_were_refined(tmp_path, row):
    pattern = r"Mend it\.\s+Q: (?P<question>.+?)\nA: (?P<draft>.+?)\nC: (?P<critique>.+)"
    source = written(tmp_path / "refined.jsonl", [{**row, "answer": "10"}])
    counts = imported.import_file(source, tmp_path / "out.jsonl", pattern=pattern)
    assert counts == {"rows": 1, "concludes_wrong": 1}
    [record] = read_jsonl(tmp_path / "out.jsonl")
    wanted = {"question": "How many?", "draft": WRONG, "critique": critique("wrong"), "refined": MENDED, "answer": "10"}
    assert record == {"id": "refined-00000", **wanted}


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([cft_row(RIGHT, "right")], {"form": "csv"}, "form 'csv': use one of columns, cft"),
        ([cft_row(RIGHT, "right")], {"pattern": "(?P<question>"}, "missing"),
        ([cft_row(RIGHT, "right")], {"pattern": "(?P<question>.+)"}, r"needs \['critique', 'draft', 'question'\]"),
        ([{"question": "a", "draft": "b"}], {}, "row 1: no column critique, refined; it has question, draft"),
        ([{"text": "a"}], {"form": "cft"}, "neither instruction/input"),
        ([{"instruction": "Say something.", "output": "no"}], {"form": "cft"}, "The first: 'Say something.'"),
        ([cft_row(WRONG, "wrong")], {"form": "cft"}, "answers come with --answers"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_way_out(tmp_path, rows, options, said):
    source = written(tmp_path / "in.jsonl", rows)
    with pytest.raises(BadInput, match=said):
        imported.import_file(source, tmp_path / "out.jsonl", **options)
    assert not (tmp_path / "out.jsonl").exists()


# ---------------------------------------------------------------- learnt from
GIVEN = {"data.rows": 0, "synthesis.draft_source": "data", "synthesis.teacher.kind": "data", "models.layout": "plain"}


def a_run(tmp_path, columns, changes=None):
    rows = [
        {
            "question": f"Ann has 2 + 3 pens, Bo {n} times as many. How many has Bo?",
            "answer": str(5 * n),
            "draft": f"<think>hm</think>2 + 3 = {5 + n % 2}\nAnswer: {n * (5 + n % 2)}",
            "critique": critique("wrong" if n % 2 else "right"),
            "refined": f"2 + 3 = 5\nAnswer: {5 * n}",
            "direct": f"Answer: {5 * n}",
        }
        for n in range(2, 12)
    ]
    source = written(tmp_path / "mine.jsonl", [{c: r[c] for c in ("question", "answer", *columns)} for r in rows])
    return store.open_run("smoke", tmp_path / "out", {"data.source": str(source), **GIVEN, **(changes or {})})


def test_records_are_those_of_the_file_with_the_kits_checks(tmp_path):
    run = a_run(tmp_path, ["draft", "critique", "refined", "direct"])
    made = teaching.records(run, "llama")
    rows = made.rows()
    assert len(rows) == 10
    assert all(r["draft"].startswith("2 + 3 =") for r in rows), "thoughts are left out"
    assert all(r["draft_correct"] is (r["conclusion"] == "right") for r in rows)
    assert {(r["draft_model"], r["teacher"], r["critic"]) for r in rows} == {("data", "data", "data")}
    assert made.manifest["facts"]["right"] == {"draft": 5, "refined": 10, "direct": 10}
    for method in ("cft", "cgd", "distilled_sft"):
        assert len(methods.rows(method, rows, prompts.layout("plain"))) == 10


def test_direct_answers_may_be_missing_unless_a_method_learns_them(tmp_path):
    columns = ["draft", "critique", "refined"]
    run = a_run(tmp_path, columns, {"training.methods": ["cft", "cgd"]})
    made = teaching.records(run, "llama")
    assert made.manifest["facts"]["right"] == {"draft": 5, "refined": 10}
    assert all("direct" not in r for r in made.rows())
    usefulness.after_synthesis(run, {"llama": made})
    (tmp_path / "other").mkdir()
    other = a_run(tmp_path / "other", columns, {"training.methods": ["distilled_sft", "cgd"]})
    with pytest.raises(BadInput, match=r"has no column 'direct'.*cgd import"):
        teaching.records(other, "llama")


def test_published_critiques_with_a_teacher_of_ones_own(tmp_path):
    teacher = {"kind": "model", "model": "lab:llama", "critic": "data", "sampling.max_new_tokens": 12}
    run = a_run(
        tmp_path, ["draft", "critique"], {f"synthesis.teacher.{name}": value for name, value in teacher.items()}
    )
    rows = teaching.records(run, "llama").rows()
    assert rows
    assert {r["critique"] for r in rows} <= {critique("right"), critique("wrong")}
    assert {(r["critic"], r["teacher"], r["draft_model"]) for r in rows} == {("data", "lab:llama", "data")}
    assert all(0 < r["refined_tokens"] <= 12 for r in rows)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"synthesis.draft_source": "data"}, "needs a file or hub data set with drafts, and data.source is 'lab'"),
        ({"data.source": "mine.jsonl", "synthesis.teacher.kind": "data"}, "set synthesis.draft_source: data"),
        (
            {"data.source": "mine.jsonl", "synthesis.teacher.kind": "prose", "synthesis.teacher.critic": "data"},
            "set teacher.kind: model",
        ),
    ],
)
def test_a_profile_says_what_it_lacks(tmp_path, changes, said):
    with pytest.raises(ProfileError, match=said):
        store.open_run("smoke", tmp_path, changes)


def test_the_command(tmp_path, capsys):
    source = written(tmp_path / "cft.json", [cft_row(RIGHT, "right")])
    done = __main__.main(["import", str(source), "--form", "cft", "--out", str(tmp_path / "out.jsonl"), "--json"])
    assert done == 0
    assert json.loads(capsys.readouterr().out)[0]["rows"] == 1
