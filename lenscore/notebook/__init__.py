"""What one uses in a notebook or beside one's own code: one prompt through a model's layers, and a study's results.

It is the same machinery that the workflow's jobs run. The names are those that ``lenscore`` itself exports; everything
in the rooms to the left may change between versions.
"""
