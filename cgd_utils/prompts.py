"""Every prompt and chat layout of the kit, in one place.

A `Layout` turns a question, a draft and a critique into chat messages. The lab's students were pretrained on the
short `lab` layout; language models get the `standard` one, small ones the `plain` one. At inference a student always sees `answer` alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Message = dict[str, str]
Spans = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Layout:
    """Templates of the user's turn for each task; fields in braces are filled from the record."""

    answer: str
    critique: str
    refine: str
    refine_without_critique: str
    generic_critique: str

    def ask(self, question: str) -> list[Message]:
        """The question alone: inference, drafts, and the teacher's direct answer."""
        return _user(self.answer, question=question)

    def ask_critique(self, question: str, draft: str) -> list[Message]:
        """Question and draft; the reply is a critique that ends in ``Conclusion: right`` or ``Conclusion: wrong``."""
        return _user(self.critique, question=question, draft=draft)

    def ask_refined(self, question: str, draft: str, critique: str | None = None) -> list[Message]:
        """Question, draft and critique (left out if None); the reply is the improved answer."""
        if critique is None:
            return _user(self.refine_without_critique, question=question, draft=draft)
        return _user(self.refine, question=question, draft=draft, critique=critique)

    def spans(self, question: str, draft: str | None = None, critique: str | None = None) -> Spans:
        """Where question, draft and critique lie in the turn that `ask` or `ask_refined` writes: name -> (start, end)."""
        parts = {"question": question, "draft": draft, "critique": critique}
        shown = {n: t for n, t in parts.items() if t is not None}
        template = {1: self.answer, 2: self.refine_without_critique, 3: self.refine}[len(shown)]
        return _fill(template, shown)[1]


def _user(template: str, **parts: str) -> list[Message]:
    return [{"role": "user", "content": _fill(template, parts)[0]}]


def _fill(template: str, parts: dict[str, str]) -> tuple[str, Spans]:
    # not format(): questions and drafts contain braces
    places = sorted((template.rindex("{" + n + "}"), n) for n in parts if "{" + n + "}" in template)
    text, spans, at = "", {}, 0
    for start, name in places:
        text += template[at:start]
        spans[name] = (len(text), len(text) + len(parts[name]))
        text += parts[name]
        at = start + len(name) + 2
    return text + template[at:], spans


LAYOUTS = {
    "lab": Layout(
        answer="{question}",
        critique="{question}\nDraft: {draft}\nWrite a critique.",
        refine="{question}\nDraft: {draft}\nCritique: {critique}\nWrite the improved answer.",
        refine_without_critique="{question}\nDraft: {draft}\nWrite the improved answer.",
        generic_critique="Look at each step again. Conclusion: wrong",
    ),
    "plain": Layout(
        answer="{question}\n\nSolve it step by step. End with 'Answer: <number>'.",
        critique=(
            "{question}\n\nDraft:\n{draft}\n\nWrite a critique of the draft. End with 'Conclusion: right' or 'Conclusion: wrong'."
        ),
        refine=(
            "{question}\n\nDraft:\n{draft}\n\nCritique:\n{critique}\n\nWrite the improved answer step by step. End with 'Answer: <number>'."
        ),
        refine_without_critique=(
            "{question}\n\nDraft:\n{draft}\n\nWrite the improved answer step by step. End with 'Answer: <number>'."
        ),
        generic_critique="Check each step of the draft again.\nConclusion: wrong",
    ),
    "standard": Layout(
        answer="{question}\n\nReason step by step and put the final answer in \\boxed{}.",
        critique=(
            "Here is a question and a student's draft of an answer.\n\n"
            "## Question\n{question}\n\n## Draft\n{draft}\n\n"
            "Review the draft. Follow its reasoning line by line and say which steps hold. At the first step that "
            "fails, quote it, explain why it fails and say what should stand there. Point out what is missing and "
            "what is unclear. Do not write a new answer.\n"
            "End with one line of its own that reads exactly `Conclusion: right` if the draft's final answer is "
            "right, or `Conclusion: wrong` if it is not."
        ),
        refine=(
            "Here is a question, a student's draft of an answer, and a reviewer's critique of the draft.\n\n"
            "## Question\n{question}\n\n## Draft\n{draft}\n\n## Critique\n{critique}\n\n"
            "Write the answer anew. Use what the critique says, keep what was right in the draft, and leave no step "
            "out. The new answer stands by itself: do not mention the draft or the critique. "
            "Put the final answer in \\boxed{}."
        ),
        refine_without_critique=(
            "Here is a question and a student's draft of an answer.\n\n"
            "## Question\n{question}\n\n## Draft\n{draft}\n\n"
            "Write the answer anew. Keep what was right in the draft, and leave no step out. The new answer stands "
            "by itself: do not mention the draft. Put the final answer in \\boxed{}."
        ),
        generic_critique=(
            "The draft may contain mistakes. Check every step, make sure that nothing is missing, and state the "
            "final answer clearly.\nConclusion: wrong"
        ),
    ),
}


def layout(name: str) -> Layout:
    """The layout called ``name``.

    Raises:
        ValueError: no such layout.
    """
    if name not in LAYOUTS:
        raise ValueError(f"prompt layout {name!r}: use one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


JUDGE = (
    "You are rating a critique that a teacher wrote of a student's draft.\n\n"
    "## Question\n{question}\n\n## Draft\n{draft}\n\n## Critique\n{critique}\n\n"
    "Give two ratings from 1 to 5.\n"
    "Informativeness: how much would the critique help the student to reach the right answer?\n"
    "1 = it says nothing beyond right or wrong; 3 = it hints at what to change; 5 = it explains what fails, why, and what "
    "should stand there.\n"
    "Specificity: how closely is it tied to this very draft?\n"
    "1 = it would fit any draft; 3 = it points to a part of this draft; 5 = it names exact steps, values or words of it.\n"
    "Judge the critique alone, not how hard the question is. Reply with these two lines and nothing after them:\n"
    "Informativeness: <number>\nSpecificity: <number>"
)
RATINGS = ("informativeness", "specificity")


def ask_judge(question: str, draft: str, critique: str) -> list[Message]:
    """What a judge is asked about one critique."""
    return _user(JUDGE, question=question, draft=draft, critique=critique)


def ratings(reply: str) -> dict[str, int] | None:
    """The two ratings of a judge's reply (the last of each counts), however it is formatted.

    Returns:
        ``{informativeness, specificity}``, each 1 to 5; None where one is missing or out of range.
    """
    numbers = {name: re.findall(rf"{name}\W*?(\d+(?:\.\d+)?)", reply, re.IGNORECASE) for name in RATINGS}
    if not all(found and float(found[-1]) in (1, 2, 3, 4, 5) for found in numbers.values()):
        return None
    return {name: int(float(found[-1])) for name, found in numbers.items()}
