# make demo    sample 16 crystals with the bundled model into demo/, and show them: demo/gallery.html
# make test    the whole test suite;  make lint    ruff and mypy
# make test-relax    the tests with SevenNet, in an environment of their own, .venv-relax
#                    (torch is 3 GB; one for the CPU that is installed there before is kept)
# make clean   remove .venv, demo/ and the caches
#
# PYTHON=python3.12 chooses the interpreter, TESTS and PYTEST_FLAGS what is run;
# JAX_COMPILATION_CACHE_DIR=FOLDER keeps what the tests compile for the next run of them.

VENV ?= .venv
RELAX_VENV ?= .venv-relax
TESTS ?= tests
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-relax lint clean

demo: $(VENV)/.installed
	rm -rf demo
	$(BIN)/jaxcrystal sample --space-group Pnma --wyckoff Ca=c,Ti=b,O=cd --count 16 --trajectory 5 --out demo
	$(BIN)/jaxcrystal view demo --trajectory

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m "not optimised" $(TESTS)
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m optimised $(TESTS) || test $$? = 5 # there may be none

# torch computes with one thread: several on busy cores take many times as long.
test-relax: $(RELAX_VENV)/.installed-relax
	OMP_NUM_THREADS=1 $(RELAX_VENV)/bin/python -m pytest -m relax tests/discovery

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(RELAX_VENV) demo build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The first of these that runs, is new enough and can make environments.
CANDIDATES := $(or $(PYTHON),python3 python python3.13 python3.12 python3.11)
$(BIN)/python:
	@for python in $(CANDIDATES); do \
	  if $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$(VENV): $$($$python --version)"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo 'jaxcrystal needs Python 3.11 or newer with the venv module; tried without success: $(CANDIDATES).' >&2; \
	echo 'Install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12' >&2; \
	exit 1

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo 'Installing jaxcrystal and what it needs into $(VENV) ...'
	@$(PIP) install -qq --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo 'Installing jaxcrystal, its tests and what they need into $(VENV) ...'
	@$(PIP) install -qq --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(RELAX_VENV)/.installed-relax: pyproject.toml
	@$(MAKE) --no-print-directory VENV=$(RELAX_VENV) $(RELAX_VENV)/.installed-dev
	@echo 'Installing SevenNet into $(RELAX_VENV) ...'
	@$(RELAX_VENV)/bin/python -m pip --disable-pip-version-check install -qq --editable '.[relax]'
	@touch $@
