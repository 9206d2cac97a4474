# Two commands on a fresh clone: `make demo`, `make test`. Each needs python3 (3.11 or newer), git and make, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Exact versions also for what builds packages; older and newer pips read different names for that.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip \
	--disable-pip-version-check install --no-compile $(shell [ -t 2 ] || echo --quiet)

# Bytecode is made here, once: where Python is told to write none, every start would compile PyTorch anew. Left out are the
# libraries' own tests. A file that does not compile (there are templates among them) is no fault.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/(tests|testing|pip)/' $(VENV)/lib || true

# Tests run side by side, a thread each; those of one file stay together.
WORKERS := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format clean results-main results-methods results-tasks results-few results-zero \
	results-active results-compare results-statistics results-mistrusted results-unlabelled bench bench-throughput bench-quality \
	bench-large bench-serving bench-generating bench-score bench-faults bench-techniques

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name text; \
		do printf '  make %-16s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.core  ## fine-tune a real model on real sentences, save, reload and use it (under 3 minutes)
	@$(BIN)/adaptune demo

test: $(VENV)/.dev  ## lint, types, import contract and tests
	@$(BIN)/python -m pytest -m "not slow" $(WORKERS)

test-all: $(VENV)/.dev  ## the same and the slow tests: the full product of methods, models and tasks
	@$(BIN)/python -m pytest $(WORKERS)

lint: $(VENV)/.dev  ## lint, types and import contract alone
	@$(BIN)/python -m pytest -q tests/unit/test_house.py

format: $(VENV)/.dev  ## sort imports and format every file
	@$(BIN)/python -m ruff check --fix --quiet .
	@$(BIN)/python -m ruff format .

results-main: $(VENV)/.core  ## evidence on real data (ADAPTUNE_DATA=FOLDER, MODELS=FOLDER, BUDGET=minutes), then docs/results.md
	@$(BIN)/python bench/evidence.py main $(if $(MODELS),--models $(MODELS)) --budget $(or $(BUDGET),60)
	@$(BIN)/python bench/tables.py

results-methods: $(VENV)/.core  ## the same for the table of methods, two runs at once
	@OMP_NUM_THREADS=1 $(BIN)/python bench/evidence.py methods $(if $(MODELS),--models $(MODELS)) --budget $(or $(BUDGET),60) --workers 2
	@$(BIN)/python bench/tables.py

results-tasks: $(VENV)/.core  ## the same with one shrunk run of every task, two at once
	@OMP_NUM_THREADS=1 $(BIN)/python bench/evidence.py tasks $(if $(MODELS),--models $(MODELS)) --budget $(or $(BUDGET),60) --workers 2
	@$(BIN)/python bench/tables.py

results-zero: $(VENV)/.core  ## the same without training, and from few rows: prompts, contrast, prototypes (about 20 minutes on one thread)
	@OMP_NUM_THREADS=1 $(BIN)/python bench/evidence.py zero $(if $(MODELS),--models $(MODELS)) --budget $(or $(BUDGET),60)
	@$(BIN)/python bench/tables.py

results-few: $(VENV)/.core  ## the same with few rows of each label, beside SetFit, two runs at once
	@$(ENVIRONMENTS) --only setfit
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python bench/evidence.py few $(if $(MODELS),--models $(MODELS)) --budget $(or $(BUDGET),45) --workers 2
	@$(BIN)/python bench/tables.py

results-active: $(VENV)/.core  ## the same with active choice of rows to label beside random choice, on frozen features (about 5 minutes on one thread)
	@OMP_NUM_THREADS=1 $(BIN)/python bench/active.py $(if $(MODELS),--model $(MODELS)/minilm) --budget $(or $(BUDGET),15)
	@$(BIN)/python bench/tables.py

results-compare: $(VENV)/.core  ## the same with `adaptune compare` on three data sets, beside full runs of every candidate
	@$(BIN)/python bench/evidence.py compare $(if $(MODELS),--models $(MODELS)) --budget $(or $(BUDGET),60)
	@$(BIN)/python bench/tables.py

results-statistics: $(VENV)/.core  ## how often comparisons are wrong, on drawn answers (20 minutes of one core; needs no data)
	@OMP_NUM_THREADS=1 $(BIN)/python bench/false_better.py
	@$(BIN)/python bench/tables.py

results-mistrusted: $(VENV)/.dev  ## planted wrong labels that are found (ADAPTUNE_DATA=FOLDER, MODELS=FOLDER; 8 minutes of one thread)
	@OMP_NUM_THREADS=1 $(BIN)/python bench/mistrusted.py $(if $(MODELS),--models $(MODELS))
	@$(BIN)/python bench/tables.py

results-unlabelled: $(VENV)/.core  ## what rows without labels add: self-training and distillation on TREC (the same settings; 15 minutes of one thread)
	@OMP_NUM_THREADS=1 $(BIN)/python bench/unlabelled.py $(if $(MODELS),--models $(MODELS))
	@$(BIN)/python bench/tables.py

bench: bench-throughput bench-quality  ## both of the following, then docs/bench.md; give them a quiet machine

bench-throughput: $(VENV)/.report  ## tokens a second beside other systems (ADAPTUNE_DATA, MODELS, BUDGET=minutes, BUSY=1)
	@$(ENVIRONMENTS)
	@$(BIN)/python bench/side_by_side.py throughput $(BENCH_OPTIONS)
	@$(BIN)/python bench/report.py

bench-quality: $(VENV)/.report  ## scores over seconds beside other systems, with the same options and ROWS=most training rows
	@$(ENVIRONMENTS)
	@$(BIN)/python bench/side_by_side.py quality $(BENCH_OPTIONS)
	@$(BIN)/python bench/report.py

bench-large: $(VENV)/.core  ## seconds to the first step and peak memory on 2 million rows (MODEL=FOLDER or a name)
	@$(BIN)/python bench/large.py --model $(or $(MODEL),sentence-transformers/all-MiniLM-L6-v2)

bench-serving: $(VENV)/.dev  ## 64 bundles in one process beside two ways with peft (ADAPTUNE_DATA=FOLDER, MODEL=FOLDER or a name; needs wrk)
	@$(BIN)/python bench/serving.py --model $(or $(MODEL),sentence-transformers/all-MiniLM-L6-v2)

bench-generating: $(VENV)/.core  ## 32 texts on four bundles of one decoder, side by side, in batches and one at a time (MODEL=FOLDER or a name)
	@$(BIN)/python bench/generating.py --model $(or $(MODEL),HuggingFaceTB/SmolLM2-135M)

bench-score: $(VENV)/.core  ## labels scored over a long shared prompt beside one forward pass a label (MODEL=FOLDER or a name)
	@$(BIN)/python bench/score.py --model $(or $(MODEL),HuggingFaceTB/SmolLM2-135M)

bench-faults: $(VENV)/.dev  ## kills, a full disk, damaged bundles, bad clients and 10,000 drawn requests against real servers (needs wrk)
	@$(BIN)/python bench/serving_faults.py

bench-techniques: $(VENV)/.report  ## each technique of speed alone, then docs/bench.md (ADAPTUNE_DATA=FOLDER, MODEL=FOLDER or a name)
	@$(BIN)/python bench/techniques.py --model $(or $(MODEL),sentence-transformers/all-MiniLM-L6-v2)
	@$(BIN)/python bench/report.py

clean:  ## remove the environment and every cache
	rm -rf $(VENV) .assets .bench build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "adaptune needs Python 3.11 or newer, '$(PYTHON)' is not: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "no environment could be made: on Debian and Ubuntu install python3-venv" >&2; exit 1; }

# PyTorch comes first, and alone: PyPI's build for Linux carries 3 GB for NVIDIA cards. Where there is no such card, the CPU
# build is asked for; TORCH_INDEX=URL takes another index (empty: none), and a mirror or wheel folder in pip's own
# configuration wins.
define TORCH_INDEX_OPTION
if [ -n "$${TORCH_INDEX+set}" ]; then echo "$$TORCH_INDEX"; \
elif [ -n "$$PIP_INDEX_URL$$PIP_EXTRA_INDEX_URL$$PIP_FIND_LINKS$$PIP_NO_INDEX" ]; then :; \
elif $(BIN)/python -m pip config list | grep -qE '(index-url|extra-index-url|find-links|no-index)='; then :; \
elif [ "$$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; then echo https://download.pytorch.org/whl/cpu; fi
endef

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the pinned dependencies into $(VENV) (once; some minutes) ..."
	@index=$$($(TORCH_INDEX_OPTION)); $(PIP) $${index:+--extra-index-url "$$index"} torch
	@$(PIP) --editable .
	@$(COMPILE)
	@touch $@

# One environment a system, PyTorch once for all; those that are there are left as they are.
ENVIRONMENTS = index=$$($(TORCH_INDEX_OPTION)); $(BIN)/python bench/environments.py $${index:+--index "$$index"}
BENCH_OPTIONS = $(if $(MODELS),--models $(MODELS)) --budget $(or $(BUDGET),60) $(if $(ROWS),--rows $(ROWS)) $(if $(BUSY),--busy)

$(VENV)/.report: $(VENV)/.core
	@$(PIP) --editable '.[report]'
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "Installing the test tools into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@$(COMPILE)
	@touch $@
