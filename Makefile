# One file, no tool to install first: git, make and Python 3.11 or newer are enough.
#   make help    what there is

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first interpreter that is new enough; `make PYTHON=/path/to/python3.12 demo` decides otherwise.
ifndef PYTHON
PYTHON := $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$candidate" && break; done)
endif
VENV ?= .venv
BIN := $(VENV)/bin
# Tests run this many at once.
JOBS ?= auto

# Debian's python has a pip but no ensurepip, others have it the other way round: the outer pip
# installs into the environment where there is one (pip >= 22.3), otherwise the environment gets its own.
OUTER_PIP = $(PYTHON) -m pip --python $(BIN)/python
PIP = $(if $(shell test -e $(VENV)/.own-pip && echo yes),$(BIN)/python -m pip,$(OUTER_PIP))
# --compile: the first start without bytecode takes seconds.
INSTALL = $(PIP) --disable-pip-version-check install --quiet --compile

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ------------------------------------------------------------------------------ environment

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "$(PYTHON) is not Python 3.11 or newer; name another with PYTHON=..." >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(OUTER_PIP) --version >/dev/null 2>&1 || { \
		$(BIN)/python -m ensurepip >/dev/null 2>&1 && touch $(VENV)/.own-pip; } || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) has neither pip (22.3 or newer) nor ensurepip: install one," \
			"for example the package python3-pip" >&2; exit 1; }

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the locked dependencies"
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Installing the locked development tools"
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

.PHONY: install dev
install: $(VENV)/.run ## Make the environment and install treasury in it
dev: $(VENV)/.dev ## The same with the tools that develop it

# ------------------------------------------------------------------------------ the main job

.PHONY: demo
demo: $(VENV)/.run ## Replay the bundled market with every strategy (report in out/demo), then run real jobs
	@$(BIN)/treasury simulate --out out/demo
	@$(BIN)/treasury demo live

# ------------------------------------------------------------------------------ quality

# Slow tests are not all in one place: whoever is done takes from the others.
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: test check format-check lint types imports tidy unit quick
test: $(VENV)/.dev ## Run every test
	@$(PYTEST)

check: format-check lint types imports quick ## All that is quick: what a change must pass before review

format-check: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet . || { echo "make format mends it" >&2; exit 1; }

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.dev
	@$(BIN)/mypy

imports: $(VENV)/.dev
	@$(BIN)/lint-imports --no-logo

tidy: $(VENV)/.dev
	@$(PYTEST) -q tests/architecture

unit: $(VENV)/.dev
	@$(PYTEST) -q tests/unit

# Both in one run: starting the workers costs more than many of the tests.
quick: $(VENV)/.dev
	@$(PYTEST) -q -m "not slow" tests/architecture tests/unit

.PHONY: format coverage bench
format: $(VENV)/.dev ## Format the code and mend what can be mended by rule
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

coverage: $(VENV)/.dev ## Run every test and show the lines none of them reached
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: $(VENV)/.dev ## Measure replay, optimizer, ledger and daemon, each beside what others would do
	@$(BIN)/python tests/benchmarks/replay.py
	@$(BIN)/python tests/benchmarks/optimizer.py --sizes 100x50,1000x200,10000x1000 --seconds 10
	@PYTHONPATH=. $(BIN)/python tests/benchmarks/ledger.py
	@PYTHONPATH=. $(BIN)/python tests/benchmarks/daemon.py
	@PYTHONPATH=. $(BIN)/python tests/benchmarks/quotes.py

# How often each crash drill kills, and how many holds race for a tree of budgets.
KILLS ?= 200
HOLDS ?= 1000000
# Jobs that are launched on each pretend cloud.
LAUNCHES ?= 10000

.PHONY: storm
storm: $(VENV)/.dev ## Throw the daemon into storms worth 20,000 simulated days (a night on two cores)
	@$(BIN)/treasury storm --seeds $(or $(SEEDS),10000) --days 2

.PHONY: soak
soak: $(VENV)/.dev ## Kill writers, databases and daemons hundreds of times, race holds, launch thousands of machines (hours)
	@TREASURY_SOAK_KILLS=$(KILLS) $(BIN)/python -m pytest -q tests/storms/test_ledger_crash.py
	@TREASURY_SOAK_KILLS=$(KILLS) $(PYTEST) -q tests/e2e/test_daemon_killed.py
	@PYTHONPATH=. $(BIN)/python tests/benchmarks/ledger.py --race $(HOLDS)
	@TREASURY_LAUNCHES=$(LAUNCHES) $(BIN)/python -m pytest -q -s tests/contract -k launches

# ------------------------------------------------------------------------------ upkeep

# Hashes and versions only: a lock that names a host works for nobody who uses another.
COMPILE = uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: lock build clean
lock: ## Renew the lock files (needs uv on the PATH)
	@$(COMPILE) --group build --extra broker pyproject.toml -o requirements.lock
	@$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock

build: $(VENV)/.run ## Build the wheel and the sdist into dist/
	@$(BIN)/hatchling build

clean: ## Remove everything that was made
	rm -rf $(VENV) dist out .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
