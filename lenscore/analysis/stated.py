"""Which comparisons of lens and cause the page has a sentence on: they are corrected together, and no others.

Apart from what computes them, so that the page needs none of its libraries.
"""

STATED_CAUSE = "logprob_drop"
STATED_OBSERVATIONS = ("mean_rise", "share_settled")
