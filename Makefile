# Two commands for a fresh clone; they need Python 3.11 or newer, make and git, and download only packages.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test

demo: .venv/lmwb  ## train the quickstart recipe and show where everything is
	$(BIN)/lmwb run quickstart

test: .venv/test  ## run the tests
	$(BIN)/python -m pytest

.venv/lmwb: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/test: .venv/lmwb
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@
