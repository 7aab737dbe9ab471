# The whole surface: demo, check, test, test-drills, test-all. Everything is installed into .venv, nothing outside it changes.
# How the suite is cut, and what a test may cost: docs/testing.md.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest

# Tests that share no engine run in two processes, file by file; those on Ray, S3 or Chromium in one, which starts each once.
TWICE := -n 2 --dist loadfile
ENGINES := ray or s3 or browser
# What `make check` leaves out: extractors (others' networks, each with its golden run), most of pipelines, commands run as processes.
QUICK := tests/dataprep tests/eval tests/jobs tests/model tests/pipelines/common tests/pipelines/recipes tests/test_project.py
QUICK += --ignore=tests/model/extractors --ignore=tests/jobs/commands

.PHONY: install install-test demo lint check test test-drills test-all clean

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

lint: install-test         ## style, format, types of everything (mypy keeps a cache), spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

check: lint                ## within a minute: lint and the quick tests
	$(PYTEST) $(TWICE) -m "not (seconds or slow or drill or $(ENGINES))" $(QUICK)

test: lint                 ## what CI runs first: everything but the drills, within twelve minutes on two cores
	$(PYTEST) $(TWICE) -m "not (slow or drill or $(ENGINES))" --durations=10
	$(PYTEST) -m "($(ENGINES)) and not (slow or drill)" --durations=25

test-drills: install-test  ## one disturbance of each kind: killed processes, hangs, nodes and stores that go, within half an hour
	$(PYTEST) -m "drill and not slow" --durations=25

test-all: lint             ## everything: also the slow learning tests and the repeated drills
	$(PYTEST) --durations=50

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build *.egg-info
