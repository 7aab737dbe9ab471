# The whole surface: demo, check, test, test-all. Everything is installed into .venv, nothing outside it changes.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install install-test demo check test test-all clean

install: $(VENV)/installed
install-test: $(VENV)/installed-test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { echo "No usable $(PYTHON): apt-get install python3.11 python3.11-venv, or set PYTHON=..."; exit 1; }

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@

demo: install              ## the main job on the shipped pictures, within ten minutes on two cores
	$(BIN)/irodori demo

check: install-test        ## seconds: lint, format, types, unit tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy dataprep model eval pipelines jobs
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not (slow or ray or s3 or browser)"

test: install-test         ## what CI runs: everything that matters, one drill of each kind
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy dataprep model eval pipelines jobs
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" --durations=15

test-all: install-test     ## every drill and the slow learning tests
	OMP_NUM_THREADS=1 $(BIN)/pytest --durations=25

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build *.egg-info
