# All set-up is done by the targets themselves: a machine needs Python 3.11 or newer (with venv) and make.
#
#   make demo       three threads at work, one worker killed, nothing lost (README has the variables)
#   make test       the tests; ARGS="-k name" is passed to pytest
#   make lint       ruff check and ruff format --check
#   make types      mypy
#   make contracts  who may import whom
#   make traces     recordings replayed, where there are any (RECORDINGS=DIR)
#   make schema     the exported protocol against that of a release, where there is one (SCHEMAS=DIR)
#   make sdk        the official Python SDK drives the server
#   make check      all of these
#   make reference  write docs/reference.md from the tables of methods
#   make clients    other people's clients drive the server; they are fetched from PyPI and npm
#   make setup      only the virtual environment
#   make clean      remove what these have made

VENV ?= .venv
STAMP := $(VENV)/.installed
ROOMS := auth config modelserver network protocol rollouts sandbox_backends supervisor workers
BYTECODE := $(VENV)/.compiled
CHECK := VENV='$(VENV)' scripts/check

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types contracts traces schema reference sdk clients check clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(BYTECODE)

# Made anew whenever the dependencies may have changed.
$(STAMP): pyproject.toml scripts/make_environment
	@scripts/make_environment '$(VENV)'
	@touch '$@'

# An editable install has no bytecode, and where PYTHONDONTWRITEBYTECODE is set it would never get any: every server and
# every zygote would compile 400 modules at its start, which takes longer than all the rest of it.
$(BYTECODE): $(STAMP) $(shell find $(ROOMS) -name '*.py')
	@'$(VENV)/bin/python' -m compileall -q $(ROOMS)
	@touch '$@'

demo: $(BYTECODE)
	@'$(VENV)/bin/python' scripts/demo.py $(ARGS)

test: $(BYTECODE)
	@$(CHECK) tests $(ARGS)

lint types contracts traces schema sdk: $(BYTECODE)
	@$(CHECK) $@

reference: $(BYTECODE)
	@'$(VENV)/bin/python' scripts/make_reference.py

clients: $(BYTECODE)
	@'$(VENV)/bin/python' scripts/clients.py $(ARGS)

check: $(BYTECODE)
	@$(CHECK)

clean:
	if [ -e '$(VENV)/pyvenv.cfg' ]; then rm -rf '$(VENV)'; fi
	rm -rf build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -not -path './.git/*' -exec rm -rf {} +
