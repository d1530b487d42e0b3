# make run: the default study, from nothing to the report.   make test: the tests.
# Both make .venv first where it is missing or older than the pins.

PYTHON ?= python3
CORES ?= 4
VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made

.DELETE_ON_ERROR:
.PHONY: run test check format schema clean

run: $(MADE)
	$(BIN)/snakemake --cores $(CORES)
	@echo "The report: $(CURDIR)/results/default/report/index.html"

test: $(MADE)
	$(BIN)/python -m pytest

check: $(MADE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy

format: $(MADE)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

schema: $(MADE)
	$(BIN)/python -m lenscore.study_schema

clean:
	rm -rf results logs .snakemake

$(MADE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed (make PYTHON=/path/to/python3.11)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(MADE)
