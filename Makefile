PYTHON ?= python3
VENV ?= .venv
BACKENDS ?= .venv-backends
PIP = -m pip install --quiet --disable-pip-version-check

WORKERS ?= auto
PYTEST = -m pytest -n $(WORKERS) --dist worksteal

HELP = /^[a-z-]+:.*\#\#/ { sub(/:.*\#\# /, "\t"); printf "make %s\n", $$0 }

.PHONY: help run test test-slow test-backends test-jax test-jax-kernels test-torch parity bench lint generate docs clean

help:  ## list what make can do
	@awk '$(HELP)' $(MAKEFILE_LIST) | expand -t 24

run: $(VENV)/.run  ## train configs/quickstart.yaml and print its test metrics
	$(VENV)/bin/ml4ir-losses train configs/quickstart.yaml $(if $(RUN_DIR),--run-dir $(RUN_DIR))

test: $(VENV)/.dev  ## the tests
	$(VENV)/bin/python $(PYTEST)

test-slow: $(VENV)/.dev  ## what `make test` leaves out
	$(VENV)/bin/python $(PYTEST) -m slow

test-backends: test-jax test-jax-kernels test-torch  ## the tests of losses, metrics and models on JAX and PyTorch

test-jax: $(BACKENDS)/.dev
	KERAS_BACKEND=jax $(QUICK_XLA) $(BACKENDS)/bin/python $(PYTEST) $(filter-out tests/ops,$(PORTABLE))

test-jax-kernels: $(BACKENDS)/.dev
	KERAS_BACKEND=jax $(BACKENDS)/bin/python $(PYTEST) tests/ops $(FAR_APART)

test-torch: $(BACKENDS)/.dev
	KERAS_BACKEND=torch $(BACKENDS)/bin/python $(PYTEST) $(PORTABLE)

lint: $(VENV)/.dev  ## ruff, mypy --strict, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

generate: $(VENV)/.dev  ## write the files that repeat the registries' names: stub, keys, docs/losses.md, README's table
	$(VENV)/bin/python -m tools.generate

docs: $(VENV)/.docs  ## build the documentation into site/; broken links fail
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

parity: $(VENV)/.dev .venv-parity-tfr/.ready .venv-parity-st/.ready  ## compare values and gradients with TF-Ranking and sentence-transformers (Python 3.11)
	cd parity && ../.venv-parity-tfr/bin/python run_tfr.py $(BATCHES) $(SEED) ../.venv-parity-tfr/results.npz
	cd parity && ../.venv-parity-st/bin/python run_st.py $(BATCHES) $(SEED) ../.venv-parity-st/results.npz
	$(VENV)/bin/python parity/compare.py tfr $(BATCHES) $(SEED) .venv-parity-tfr/results.npz
	$(VENV)/bin/python parity/compare.py st $(BATCHES) $(SEED) .venv-parity-st/results.npz

BATCHES ?= 240
SEED ?= 1

.venv-parity-%/.ready: parity/requirements-%.txt
	@echo "Installing into .venv-parity-$* ..."
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11) and 'TF-Ranking needs Python 3.11: make PYTHON=python3.11 parity')"
	$(PYTHON) -m venv .venv-parity-$*
	.venv-parity-$*/bin/python $(PIP) $$(grep tensorflow== $< || grep torch== $<)
	.venv-parity-$*/bin/python $(PIP) --requirement $<
	@touch $@

BENCHED = tfr krs rax torch

bench: $(BACKENDS)/.dev $(BENCHED:%=.venv-bench-%/.ready)  ## compare time and memory with other libraries (Python 3.11); BENCH="--losses ..." for a part
	$(BACKENDS)/bin/python benchmarks/bench.py --python ours=$(BACKENDS)/bin/python $(BENCH)

.venv-bench-%/.ready: benchmarks/peers/requirements-%.txt
	@echo "Installing into .venv-bench-$* ..."
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11) and 'TF-Ranking needs Python 3.11: make PYTHON=python3.11 bench')"
	$(PYTHON) -m venv .venv-bench-$*
	.venv-bench-$*/bin/python $(PIP) $$(grep -E '^(tensorflow|torch|jax)==' $<)
	.venv-bench-$*/bin/python $(PIP) --requirement $<
	test ! -f $(<D)/no-deps-$*.txt || .venv-bench-$*/bin/python $(PIP) --no-deps --requirement $(<D)/no-deps-$*.txt
	@touch $@

# Without most of its optimisations XLA compiles in a third of the time. Kernels and extreme scores are tested with all
# optimisations, because some of them have produced NaN there.
QUICK_XLA = JAX_DISABLE_MOST_OPTIMIZATIONS=1 XLA_FLAGS=--xla_cpu_use_fusion_emitters=false
FAR_APART = tests/losses/test_oracle.py::test_scores_far_apart_give_finite_and_exact_values

PORTABLE = tests/losses tests/compat tests/ops tests/metrics tests/model tests/features tests/core \
	tests/experiments/test_checkpoints.py tests/experiments/test_data_parallel.py

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

$(VENV)/.docs: setup.py | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	$(VENV)/bin/python $(PIP) --editable ".[docs]"
	@touch $@

# JAX and PyTorch beside the packages of $(VENV), which are not installed twice.
$(BACKENDS)/.dev: setup.py | $(VENV)/.dev
	@echo "Installing into $(BACKENDS) ..."
	$(PYTHON) -m venv $(BACKENDS)
	$(VENV)/bin/python -c "$(SITE)" > $$($(BACKENDS)/bin/python -c "$(SITE)")/venv.pth
	$(BACKENDS)/bin/python $(PIP) --editable ".[test,backends]"
	@touch $@

SITE = import sysconfig; print(sysconfig.get_path('purelib'))

clean:  ## remove environments and build results
	rm -rf site $(VENV) $(BACKENDS) .venv-parity-tfr .venv-parity-st $(BENCHED:%=.venv-bench-%) build dist *.egg-info
