"""Every prompt and chat layout of the kit, in one place.

A `Layout` turns a question, a draft and a critique into chat messages. The lab's students were pretrained on the
short `lab` layout; language models get the `standard` one. At inference a student always sees `answer` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

Message = dict[str, str]


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


def _user(template: str, **parts: str) -> list[Message]:
    # replace() and not format(): questions and drafts contain braces
    text = template
    for name in ("question", "draft", "critique"):
        head, mark, tail = text.rpartition("{" + name + "}")
        if mark and name in parts:
            text = head + "\0" + name + "\0" + tail
    for name, value in parts.items():
        text = text.replace("\0" + name + "\0", value, 1)
    return [{"role": "user", "content": text}]


LAYOUTS = {
    "lab": Layout(
        answer="{question}",
        critique="{question}\nDraft: {draft}\nWrite a critique.",
        refine="{question}\nDraft: {draft}\nCritique: {critique}\nWrite the improved answer.",
        refine_without_critique="{question}\nDraft: {draft}\nWrite the improved answer.",
        generic_critique="Look at each step again. Conclusion: wrong",
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
