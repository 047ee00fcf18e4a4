# Each target makes .venv and installs what it needs first; nothing is done twice.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
DOCS   := $(VENV)/.installed-docs
TRIALS ?= 50

.PHONY: install sweep test test-release coverage lint docs audit bench screenshots ui clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

sweep: $(STAMP)
	$(PY) -m sweeps.launch --trials $(TRIALS)

# Two test processes: most tests wait for processes, servers and disks. A file stays in one, as its
# tests share what is dear to set up; the long ones come first, and fill both to the end.
PYTEST := $(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(STAMP)
	$(PYTEST) -m "not slow"

test-release: $(STAMP) $(DOCS)
	$(PYTEST)

coverage: $(STAMP)
	$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

$(DOCS): $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

# Into build/site. The variable silences a notice of the theme that is no warning about the pages.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

audit: $(STAMP)
	.ci/audit $(PYTHON) constraints.txt

bench: $(STAMP)
	$(PY) -m benchmarks

screenshots: $(STAMP)
	$(PY) -m screenshots

ui: $(STAMP)
	$(PY) -m sweeps.ui

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
