# Every target does its own set-up in $(VENV); nothing outside this folder is touched.
#
#   make demo      train a CNN on handwritten digits and take it to verified HLS C++, in demo-out/
#   make test      run the tests             (PYTEST_ARGS="-k cast" is passed on)
#   make lint      ruff and mypy
#   make cpp       the generated C++ under g++ and clang++: warnings, sanitizers, values
#   make bench     speed against other tools (TORCH: the requirement that installs PyTorch)
#   make interop   values and gradients against PyTorch's, quantised models against qonnx's, and the
#                  C++ of every model that PyTorch exported
#   make accuracy  how good the recipes are, in float, at 16 and at 8 bits
#   make fuzz      20,000 damaged ONNX files  (FUZZ_ARGS="--seed 2 --count 100" is passed on)
#   make clean     remove what the others made

PYTHON ?= python3
VENV ?= .venv
DEMO_OUT ?= demo-out
PYTEST_ARGS ?=
FUZZ_ARGS ?=
# A CPU build is enough.  It is installed only if no PyTorch is there yet: give another version, or
# the path of a wheel, if this one is not to be had.
TORCH ?= torch==2.13.0

BIN := $(VENV)/bin

.PHONY: demo test lint cpp bench interop accuracy fuzz clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/lutra demo -o $(DEMO_OUT)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy lutra tests

cpp: $(VENV)/.test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_cpp_quality.py $(PYTEST_ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m tests.bench

interop: $(VENV)/.bench $(VENV)/.test $(VENV)/.interop
	LUTRA_CSIM=all $(BIN)/python -m pytest tests/interop tests/test_torch_models.py $(PYTEST_ARGS)

accuracy: $(VENV)/.test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.accuracy

fuzz: $(VENV)/.test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

clean:
	rm -rf .venv build dist demo-out fuzz-out *.egg-info .coverage .coverage.* htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment.  A failed attempt is removed, so that the next one starts afresh.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python was not found: no '$(PYTHON)' on the PATH. Install Python 3.11 or later," \
	       "or run: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Lutra needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Run: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments." \
	       "Install that part of it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@touch $@

# Installs this checkout with $(EXTRAS), quietly.
define install
@echo "Installing $(WHAT) into $(VENV) (needs the network; a minute or two, once)"
@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[$(EXTRAS)]' || { \
  echo "The installation into $(VENV) failed: pip says why above." \
       "Check the network and the space on the disk, then run make again" >&2; exit 1; }
endef

# A stamp is touched with those whose packages it includes.
$(VENV)/.demo: EXTRAS := csim,examples,report
$(VENV)/.demo: WHAT := Lutra and what the demo needs
$(VENV)/.demo: pyproject.toml $(VENV)/.made
	$(install)
	@touch $@

$(VENV)/.test: EXTRAS := test
$(VENV)/.test: WHAT := Lutra and what the tests need
$(VENV)/.test: pyproject.toml $(VENV)/.made
	$(install)
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: EXTRAS := dev
$(VENV)/.dev: WHAT := Lutra and the developer tools
$(VENV)/.dev: pyproject.toml $(VENV)/.made
	$(install)
	@touch $@ $(VENV)/.test $(VENV)/.demo

$(VENV)/.bench: EXTRAS := bench
$(VENV)/.bench: WHAT := Lutra and what the benchmarks need
$(VENV)/.bench: pyproject.toml $(VENV)/.made
	@$(BIN)/python -c 'import torch' 2>/dev/null || { \
	  echo "Installing PyTorch ($(TORCH)) into $(VENV) (needs the network; it is large)"; \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check '$(TORCH)'; } || { \
	  echo "PyTorch was not installed: pip says why above." \
	       "Name another version or a wheel: make bench TORCH=..." >&2; exit 1; }
	$(install)
	@touch $@

$(VENV)/.interop: EXTRAS := interop
$(VENV)/.interop: WHAT := Lutra and the qonnx package
$(VENV)/.interop: pyproject.toml $(VENV)/.made
	$(install)
	@touch $@
