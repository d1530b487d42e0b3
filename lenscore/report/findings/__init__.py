"""A study's findings as Markdown: sentences, each beside the rows of the study's tables that carry its numbers.

``python -m lenscore.report.findings results/<study> docs`` writes ``findings.md``, ``limits.md`` and their charts. The
templates hold the prose, which has no numbers of results; a number in a sentence that is not in its rows is an error.
"""
