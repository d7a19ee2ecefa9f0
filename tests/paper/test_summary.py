"""A run in sentences."""

import pandas as pd

from cgd_utils.paper import summary


def compared(**differences):
    rows = [{"method": m, "difference": d, "p": p} for m, (d, p) in differences.items()]
    return pd.DataFrame(rows).set_index("method")


def test_a_reading_names_what_is_shown_and_what_is_not():
    rows = compared(base=(20.0, 0.001), distilled_sft=(-5.0, 0.004), cft=(3.0, 0.3), sft=(9.0, None))
    assert summary.reading(rows, 0.95) == (
        "CGD is shown to lie above base; CGD is shown to lie below distilled SFT; no difference is shown to CFT; "
        "nothing was tested against SFT (95%, corrected for 4 comparisons)."
    )


def test_a_reading_corrects_for_the_number_of_comparisons():
    one, three = compared(cft=(3.0, 0.03)), compared(cft=(3.0, 0.03), base=(4.0, 0.04), sft=(1.0, 0.5))
    assert summary.reading(one, 0.95).startswith("CGD is shown to lie above CFT")
    assert summary.reading(three, 0.95).startswith("No difference is shown to CFT, base, SFT")
