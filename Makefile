# make run    start the app (PORT=8501) and its job service
# make test   run the test suite; ARGS="tests/conformance --method NAME" runs what is about one method
# make lint   ruff and mypy
# make bench  run every benchmark
# Each creates .venv when it is missing and installs again when the requirements change.

PORT ?= 8501
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' requirements.txt)

.PHONY: run test lint bench clean

# The service is told the app's process id ($$$$ stays the same through exec), so it ends with the app.
run: $(VENV)/run.stamp
	$(BIN)/python -m fusion_engine.jobs --owner $$$$ & exec $(BIN)/python -m streamlit run app.py --server.port $(PORT)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder --durations=10 $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/dev.stamp
	@mkdir -p benchmarks/results
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# PyTorch comes first, alone and from its CPU index where that can be reached: a plain install of the rest
# would pull gigabytes of CUDA libraries. Where it cannot, the package index in use decides.
$(VENV)/run.stamp: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch, sys; sys.exit(torch.__version__.split('+')[0] != '$(TORCH:torch==%=%)')" 2>/dev/null \
		|| $(BIN)/python -m pip install -q --retries 1 --index-url https://download.pytorch.org/whl/cpu $(TORCH) \
		|| $(BIN)/python -m pip install -q $(TORCH)
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@
