# Every target sets up what it needs in a virtual environment of its own and can be run again.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := schemas storage transforms pipelines trainer
BENCHMARKS := measure select rank mix fetch loader trainer learning scale

.DEFAULT_GOAL := help
.PHONY: help demo test test-crash check format docs lock bench clean $(addprefix bench-,$(BENCHMARKS))

help: ## Lists the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/core.stamp ## Runs the whole route on the demo data into runs/demo.
	$(BIN)/mixwright demo --work runs/demo

test: $(VENV)/dev.stamp ## Runs the tests; the README's test command.
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow"

test-crash: $(VENV)/dev.stamp ## Kills runs at many moments and resumes them; minutes.
	$(BIN)/python -m pytest -q -m slow

check: $(VENV)/dev.stamp ## Format, lint, types, import directions, documentation.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m docs.generate --check

format: $(VENV)/dev.stamp ## Formats and fixes what can be fixed.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev.stamp ## Writes the pages of docs/ that are generated.
	$(BIN)/python -m docs.generate

bench: $(addprefix bench-,$(BENCHMARKS)) ## Runs all benchmarks; bench-NAME runs one.

$(addprefix bench-,$(BENCHMARKS)): bench-%: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.$*

lock: $(VENV)/dev.stamp ## Resolves the dependencies anew (needs uv).
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	  --extra train pyproject.toml requirements/build.in -o requirements/core.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	  --extra gcp --extra train --extra dev pyproject.toml requirements/build.in -c requirements/core.txt \
	  -o requirements/dev.txt

clean: ## Removes the virtual environment and the runs.
	rm -rf $(VENV) runs

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "missing: $(PYTHON) (Python 3.11 to 3.13); install it, or run make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "missing: Python 3.11 to 3.13 ($(PYTHON) is $$($(PYTHON) -V 2>&1)); run make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "missing: the venv module of $(PYTHON); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: $(VENV)/bin/python requirements/core.txt pyproject.toml
	@echo "setting up $(VENV) (first time: one or two minutes)"
	@$(PIP) --require-hashes -r requirements/core.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp requirements/dev.txt
	@echo "setting up $(VENV) for development"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@
