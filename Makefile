PYTHON ?= python3
VENV ?= .venv
BACKENDS ?= .venv-backends
PIP = -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-backends lint clean

run: $(VENV)/.run  ## set up and run the main job
	$(VENV)/bin/ml4ir-losses train configs/quickstart.yaml $(if $(RUN_DIR),--run-dir $(RUN_DIR))

test: $(VENV)/.dev  ## set up and pass the tests
	$(VENV)/bin/python -m pytest

test-backends: $(BACKENDS)/.dev  ## the tests of losses, ops and metrics on JAX and PyTorch
	KERAS_BACKEND=jax $(BACKENDS)/bin/python -m pytest $(PORTABLE)
	KERAS_BACKEND=torch $(BACKENDS)/bin/python -m pytest $(PORTABLE)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

PORTABLE = tests/losses tests/ops tests/metrics tests/model tests/features tests/test_registry.py

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'ml4ir_losses needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.py | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	$(VENV)/bin/python $(PIP) --editable .
	@touch $@

$(VENV)/.dev: setup.py | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	$(VENV)/bin/python $(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.run

$(BACKENDS)/.dev: setup.py
	@echo "Installing into $(BACKENDS) ..."
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python $(PIP) --editable ".[test,backends]"
	@touch $@

clean:
	rm -rf $(VENV) $(BACKENDS) build dist *.egg-info
