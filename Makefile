# Each target is a line a person could type. `make demo` and `make test` need Python 3.11 and nothing else installed
# by hand, except that the tests drive a Chromium (Debian: apt install chromium).

PYTHON ?= python3
BIN := .venv/bin
HOME_FOLDER := $(or $(CAPTIONACC_HOME),$(HOME)/.captionacc)

.PHONY: install demo dev test lint bench

install: .venv/installed-local

.venv/installed-local: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing the packages of one machine with everything; this takes a minute or two.'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[local]'
	@touch $@

.venv/installed-dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing the packages of a developer; this takes a few minutes.'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/installed-local

demo: install
	$(BIN)/captionacc demo

dev: install
	@mkdir -p '$(HOME_FOLDER)/dagster' && cp dagster.yaml '$(HOME_FOLDER)/dagster/'
	DAGSTER_HOME='$(HOME_FOLDER)/dagster' $(BIN)/dagster dev -w workspace.yaml

test: .venv/installed-dev
	$(BIN)/pytest

lint: .venv/installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright --pythonpath $(BIN)/python

bench: .venv/installed-dev
	$(BIN)/python -m bench.run
