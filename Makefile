# make run: the default study, from nothing to the report.   make open: the last report.   make verify: are its files whole?
# STUDY=my-study.yaml takes another study than config.yaml: make run, make plan, make verify.
# make test: the tests. Each makes .venv first where it is missing or older than the pins.

PYTHON ?= python3
CORES ?= 4
VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
BENCH_MODEL := resources/models/smollm2-135m-54c0cfce

.DELETE_ON_ERROR:
.PHONY: run plan open verify test test-cluster test-fast real-contexts bad-input check format schema findings bench bench-growth bench-precision bench-store bench-overhead soak gpu-check gpu-wheels validate-shape families clean

# Snakemake reads a config before the project does, and ends in a traceback where it is broken: the project reads it first.
STUDY ?= config.yaml
CHECK_STUDY = $(BIN)/python -m lenscore.study "$(STUDY)"
OF_STUDY = --configfile "$(STUDY)"

run: $(MADE)
	@study=$$($(CHECK_STUDY)) && $(BIN)/snakemake --cores $(CORES) $(OF_STUDY) && \
		echo "The report: $(CURDIR)/results/$$study/report/index.html"

# What the study will take on this machine, before it starts: contexts, tokens, time, memory, disk.
plan: $(MADE)
	@$(CHECK_STUDY) >/dev/null && $(BIN)/snakemake plan --quiet all --cores $(CORES) --forcerun estimate_study $(OF_STUDY)

# The report that was made last, of whatever study, in the browser.
open: $(MADE)
	@page=$$(ls -t results/*/report/index.html 2>/dev/null | head -n 1); \
		test -n "$$page" || { echo "there is no report yet: make run makes one" >&2; exit 1; }; \
		echo "The report: $(CURDIR)/$$page"; \
		$(BIN)/python -m webbrowser -t "file://$(CURDIR)/$$page" >/dev/null

# Every file of a study, its models and its dataset against the hashes that were recorded when it was made.
verify: $(MADE)
	@$(CHECK_STUDY) >/dev/null && $(BIN)/snakemake verify --quiet host --cores 1 $(OF_STUDY)

# A process a core, with a thread each (a third on two cores took two minutes longer); the tests of a file stay together,
# as they share what they are made on.
test: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not cluster and not soak"

# A whole study through a real Slurm, and one whose jobs share no files: these wait most of their time.
test-cluster: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m cluster

# What one runs while working: all but the tests that run the workflow, a real model or a browser.
test-fast: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not slow"

# Everything bad that the tests give to the project, and its answers: a table, and counts.
bad-input: $(MADE)
	@$(BIN)/python -m tests.bad_input 2>/dev/null

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
	$(BIN)/python -m lenscore.study.schema

# docs/findings.md and docs/limits.md with their charts, from the folder of a finished study.
# RESULTS=results/my-study DOCS=my-docs for another study, to another folder.
RESULTS ?= results/smollm2-nq-open
DOCS ?= docs
findings: $(MADE)
	@$(BIN)/python -m lenscore.report.findings "$(RESULTS)" "$(DOCS)"

# The lens's speed beside other libraries', and how it grows; benchmarks/README.md has the options that BENCH may hold.
bench: $(MADE)
	@$(BIN)/snakemake --quiet all --cores $(CORES) $(BENCH_MODEL) >&2
	@$(BIN)/python -m benchmarks.lens $(BENCH)

bench-growth: $(MADE)
	@$(BIN)/snakemake --quiet all --cores $(CORES) $(BENCH_MODEL) >&2
	@$(BIN)/python -m benchmarks.lens.growth $(BENCH)

bench-precision: $(MADE)
	@$(BIN)/snakemake --quiet all --cores $(CORES) $(BENCH_MODEL) >&2
	@$(BIN)/python -m benchmarks.lens.precision $(BENCH)

# The workflow killed a hundred times, at every rule: docs/restarts.md. A quarter of an hour.
soak: $(MADE)
	@$(BIN)/python -m pytest -s tests/test_kill.py -m soak

# Fifty contexts of the real model beside plain transformers, every layer of every answer token. Some minutes.
real-contexts: $(MADE)
	@QUESTIONS=10 $(BIN)/python -m pytest -s tests/test_real_model.py -k "plain_transformers or divided"

# The share of a study's time that is not the model's: BENCH='--dataset <nq-open-oracle.jsonl.gz>'. A quarter of an hour.
bench-overhead: $(MADE)
	@$(BIN)/python -m benchmarks.overhead $(BENCH)

# The store: 50 million records loaded, every view read. Makes 5 GB of files under .bench first.
bench-store: $(MADE)
	@$(BIN)/python -m benchmarks.store $(BENCH)

# All that runs on a GPU, compared with the CPU and timed, in eight minutes: docs/gpu.md. It makes no .venv, as a bare
# machine has no network: where there is none it takes that machine's Python, which has a CUDA build of PyTorch.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
gpu-check:
	@$(GPU_PYTHON) -m benchmarks.gpu $(GPU)

# What such a machine may lack, for GPU='--python 3.12': into .bench/gpu-wheels, to be brought along.
gpu-wheels: $(MADE)
	@$(BIN)/python -m benchmarks.gpu.wheels $(GPU)

# The shape tests on simulated studies: docs/shape-tests.md. One thread each, as it runs a process on every core.
validate-shape: $(MADE)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m benchmarks.shape

# Every causal language model class of transformers, tiny, through the lens: the table in docs/architectures.md. A family
# that hangs is ended after two minutes. Five minutes on one core.
families: $(MADE)
	@OMP_NUM_THREADS=1 nice $(BIN)/python -m benchmarks.families

clean:
	rm -rf results logs

$(MADE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed (make PYTHON=/path/to/python3.11)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(MADE)
