"""The parts of the check: each has a function ``run`` that yields its results as flat lines, as soon as it has them."""
