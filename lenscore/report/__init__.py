"""The report: charts, the page, and which of them a study shows.

Draws and words what ``lenscore.analysis`` has computed, and computes no statistic itself. Looks may be changed freely.
"""
