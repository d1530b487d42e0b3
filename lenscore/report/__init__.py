"""The report: the charts, the page, and which of them a study shows.

Shows what ``lenscore.analysis`` has computed; computes no statistic itself. Layout and wording may be changed freely.
"""
