"""The catalogue of bad input: what is given to the project, and the words that its answer must have.

``make bad-input`` gives it all and prints the answers as a table; test_bad_input.py holds each of them.
"""

from tests.bad_input.configs import CONFIGS
from tests.bad_input.contexts import CONTEXTS
from tests.bad_input.datasets import DATASETS, ROWS

CASES = [*DATASETS, *ROWS, *CONTEXTS, *CONFIGS]
