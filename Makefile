# `make` alone prints what there is. Everything is made inside this folder: .venv, node_modules, static/dist, .data.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
LOCKFLAGS := -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url

# Bytecode is cached whatever the caller's environment says, and outside the source tree: a start that compiles
# everything anew takes twice the time, in each process.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode

# System Node (>= 18) if there is one; else the one from PyPI, which then belongs to the environment.
NODE_OK := $(shell node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null && echo yes)
NODE_LOCK := $(if $(NODE_OK),,requirements-node.lock)
NODE_PATH_PREFIX := $(if $(NODE_OK),,$(CURDIR)/$(VENV)/bin:)
# An environment with the developer's tools holds all that `make run` needs, and keeps them: known by its stamp, or,
# where that is gone, by pytest.
IS_DEV := $(wildcard $(VENV)/.dev $(VENV)/bin/pytest)
RUN_STAMP := $(VENV)/$(if $(IS_DEV),.dev,.app)
# Narrowed down by ARGS, one of the two test runs may find nothing to do: pytest's exit code 5.
# Tests in two processes, a file always in one of them; JOBS=0 runs them one after the other. Those that look at the
# screen of the whole program, with a clock in their hand, have the machine to themselves.
JOBS ?= 2
IN_PARALLEL := $(if $(filter-out 0,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)
MAY_BE_EMPTY := $(if $(ARGS),|| [ $$? = 5 ])
FRONT_SOURCES := $(shell find static/src -type f 2>/dev/null) static/build.mjs

.PHONY: help run install install-app build chromium sshd mariadb lint format test test-sqlite test-postgres bench chaos soak lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

run: install-app build ## start Orchestra with its demo workspace (PORT, DATA_DIR, DATABASE_URL, REDIS_URL, WORKERS, HOST)
	@exec $(PY) manage.py serve

install: $(VENV)/.dev ## make the environment for development and tests

install-app: $(RUN_STAMP)

$(VENV)/bin/uv: requirements-bootstrap.lock
	@python=; for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo "Orchestra needs Python 3.11 or newer; none was found. Set PYTHON=/path/to/python." >&2; exit 2; fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	$$python -m venv --without-pip $(VENV) && \
	{ $$python -m pip --version >/dev/null 2>&1 && pip="$$python -m pip --python $(PY)" || \
	  { $(PY) -m ensurepip -q && pip="$(PY) -m pip"; }; } && \
	$$pip install -q --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@touch $@

$(VENV)/.app: requirements.lock $(NODE_LOCK) $(VENV)/bin/uv
	@echo "Installing what Orchestra needs"
	@$(UV) pip sync -q --python $(PY) --require-hashes requirements.lock $(NODE_LOCK)
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(NODE_LOCK) $(VENV)/bin/uv
	@echo "Installing what developing and testing Orchestra needs"
	@$(UV) pip sync -q --python $(PY) --require-hashes requirements-dev.lock $(NODE_LOCK)
	@touch $@

build: static/dist/.stamp ## bundle the front end into static/dist (skipped when nothing changed)

node_modules/.stamp: package.json package-lock.json
	@echo "Installing the front end's packages"
	@PATH="$(NODE_PATH_PREFIX)$$PATH" npm ci --silent --no-progress
	@touch $@

static/dist/.stamp: node_modules/.stamp $(FRONT_SOURCES)
	@echo "Bundling the front end"
	@PATH="$(NODE_PATH_PREFIX)$$PATH" node static/build.mjs
	@touch $@

chromium: install ## the browser that tests drive: a Chromium that is there, Debian's package, or Playwright's
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome; do \
	  if [ -n "$$name" ] && command -v "$$name" >/dev/null 2>&1; then exit 0; fi; done; \
	echo "Installing Chromium for the tests"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	else $(PY) -m playwright install chromium; fi

sshd: ## the SSH server that tests talk to, from Debian's package where it is missing
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v sshd >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then echo "Installing an SSH server for the tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server openssh-client >/dev/null; \
	else echo "The tests of ssh need sshd: install openssh-server." >&2; exit 2; fi

mariadb: ## the MariaDB that tests of db steps run: a server that is there, or Debian's package
	@for name in mariadbd mysqld; do \
	  if command -v "$$name" >/dev/null 2>&1 || [ -x "/usr/sbin/$$name" ]; then exit 0; fi; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing MariaDB for the tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mariadb-server-core >/dev/null; \
	else echo "The tests of db steps need MariaDB: install mariadb-server-core (Debian, Ubuntu), mariadb (Homebrew, Arch) or mariadb-server (Fedora)." >&2; exit 2; fi

lint: install ## ruff, mypy, and that no migration is missing
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	$(PY) manage.py makemigrations --check --dry-run

format: install ## mend what ruff can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

test: test-sqlite test-postgres ## every test, on SQLite and on PostgreSQL, Chromium included; needs no service

test-sqlite: install build chromium sshd mariadb
	$(PY) -m pytest $(IN_PARALLEL) -m "not (stack and browser)" $(ARGS) $(MAY_BE_EMPTY)
	$(PY) -m pytest -m "stack and browser" $(ARGS) $(MAY_BE_EMPTY)

test-postgres: install build sshd
	$(PY) -m tests.services postgres -- $(PY) -m pytest $(IN_PARALLEL) -m db_matrix $(ARGS) $(MAY_BE_EMPTY)

bench: install build chromium ## the benchmarks of tests/bench on SQLite and PostgreSQL; prints a table
	$(PY) -m tests.bench $(ARGS)

chaos: install build ## kill, stop, cut off and lie to the program under load; ARGS="--runs N --faults N --seed N --database sqlite"
	$(PY) -m tests.chaos $(ARGS)

soak: install build ## at peak and at twice the peak for minutes; ARGS="--minutes 60"
	$(PY) -m tests.chaos.soak $(ARGS)

lock: $(VENV)/bin/uv ## write the lock files anew from pyproject.toml and package.json
	$(UV) pip compile $(LOCKFLAGS) -o requirements.lock pyproject.toml
	$(UV) pip compile $(LOCKFLAGS) --group dev pyproject.toml -o requirements-dev.lock
	$(UV) pip compile $(LOCKFLAGS) --python-version 3.11 --group pyproject.toml:bootstrap -o requirements-bootstrap.lock
	$(UV) pip compile $(LOCKFLAGS) --python-version 3.11 --group pyproject.toml:node -o requirements-node.lock
	PATH="$(NODE_PATH_PREFIX)$$PATH" npm install --package-lock-only --silent

clean: ## remove what make made (not .data)
	rm -rf $(VENV) node_modules static/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
