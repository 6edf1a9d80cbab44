# Each target has a virtual environment of its own; nothing is installed outside this folder.
#   make demo    fit the built-in diabetes data, print the table, write report.html
#   make test    lint, types, layers, tests
#   make slow    the tests that take more than a few seconds
#   make docs    the site, in docs/_build/html
#   make clean   remove what these made
# PYTHON picks the interpreter: make test PYTHON=python3.12. RECTIFOLD_NO_EXTENSION=1 builds without C++.

PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

EXTRAS_demo := cli,datasets
EXTRAS_test := test
EXTRAS_docs := docs
SOURCES := pyproject.toml CMakeLists.txt $(shell find src/rectifold -type f -not -path '*/__pycache__/*' -not -name '*.so')
PYTHON_CODE := src tests examples $(wildcard benchmarks) docs/conf.py

.PHONY: demo test slow docs clean tools

demo: .venv-demo/.installed
	.venv-demo/bin/rectifold fit diabetes --report report.html

test: .venv-test/.installed
	.venv-test/bin/ruff check $(PYTHON_CODE)
	.venv-test/bin/ruff format --check $(PYTHON_CODE)
	.venv-test/bin/codespell
	.venv-test/bin/mypy
	.venv-test/bin/lint-imports
	OMP_NUM_THREADS=1 .venv-test/bin/pytest -n auto $(PYTEST_ARGS)

slow: .venv-test/.installed
	OMP_NUM_THREADS=1 .venv-test/bin/pytest -m slow $(PYTEST_ARGS)

docs: .venv-docs/.installed
	.venv-docs/bin/sphinx-build -W --keep-going -n -b html docs docs/_build/html

clean:
	rm -rf .venv-demo .venv-test .venv-docs build dist report.html docs/_build docs/gallery docs/api/generated
	rm -rf docs/sg_execution_times.rst .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv-%/.installed: $(SOURCES) | tools
	@echo "Installing rectifold[$(EXTRAS_$*)] in .venv-$* (the first time this takes some minutes)"
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check '.[$(EXTRAS_$*)]'
	@touch $@

tools:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no '$(PYTHON)' here. Pick a Python >= 3.11: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "rectifold needs Python >= 3.11, '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1). Pick another: make PYTHON=python3.12" >&2; \
	  exit 1; }
	@if [[ -z "$${RECTIFOLD_NO_EXTENSION:-}" ]]; then \
	  command -v "$${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || { \
	    echo "There is no C++ compiler here. Install g++ or clang (or set CXX)," >&2; \
	    echo "or build on the numpy kernels, which are slower: RECTIFOLD_NO_EXTENSION=1 make ..." >&2; exit 1; }; fi
