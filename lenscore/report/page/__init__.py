"""The page: sentences, HTML tables, the explorer's data and the templates, rendered into one file.

A sentence says no more than the number beside it. Layout and wording may be changed freely.
"""
