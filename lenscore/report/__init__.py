"""The report: the charts, the page, and which of them a study shows; and a study's findings as Markdown.

Shows what ``lenscore.analysis`` has computed; computes no statistic itself. Layout and wording may be changed freely.
"""
