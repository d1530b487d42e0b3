"""The page: sentences, HTML tables, the explorer's data and the templates, rendered into one HTML file.

A sentence claims no more than its number shows. Layout and wording may be changed freely.
"""
