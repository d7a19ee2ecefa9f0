"""Grading: the final answer of a model's text, and whether it equals the gold answer.

Rows in, rows out, in the order of the input::

    >>> grade([{"id": 7, "gold": "14", "text": "12+5=17\\n17-3=14\\nAnswer: 14"}])
    [{'id': 7, 'sample': 0, 'extracted': '14', 'gold': '14', 'correct': True, 'status': 'ok'}]

Four rules say what "equals" means (`RULES`):

``math``
    mathematical equality: by the values of two formulas on their domain, or as math-verify sees it. Decimals agree if they agree when rounded to six decimals, and to at
    least four significant digits. A percent sign may be a unit or a factor: 50% equals 50 and 0.5.
``relative``
    as ``math``, but numbers agree within 1e-4 relative, and a number may be off by the factor of a percent (x, x/100,
    100x), as in the Qwen2.5-Math and math-evaluation-harness graders.
``exact``
    the same text once notation (spaces, ``\\left``, ``\\dfrac``, thousands separators, …) is set aside; plain numbers
    by their exact value. Only an explicit answer is extracted.
``authors``
    as ``math``, but numbers agree if they do when rounded to one decimal, if one is the other ×100, or within 1e-4: what CGD's
    own code grants on every math set. Lenient: 0.33 is 0.3, and 12 is 1200. For comparisons with published figures.

A status says what stands behind `correct`:

===========  =========================================================================================================
ok           compared: `correct` is true or false
no_answer    the text names no answer: false
unparsable   the answer is no mathematics that math-verify reads: false; or the gold answer is none: null
timeout      the comparison ran out of its wall clock or memory: null
===========  =========================================================================================================

Layout: `extraction` (text → answer), `notation` (one spelling for an answer), `phrases` (what words say in it), `kinds`
(numbers, lists, words, … read without sympy), `arithmetic` (values of simple formulas), `rules` (are two answers equal:
a row of judges), `formulas` (math-verify's parser and comparison), `values` (equality by values), `pool` (killable
processes around math-verify), `records` (rows and files).
"""

from .extraction import extract
from .kinds import canonical
from .records import disagreements, grade, grade_file
from .rules import RULES, equivalent

__all__ = ["RULES", "canonical", "disagreements", "equivalent", "extract", "grade", "grade_file"]
