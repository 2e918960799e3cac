# Works from an empty clone with nothing activated: everything runs in .venv by its own interpreter.
# `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
LAB_ARGS ?=
SET ?= standard
PYTEST_ARGS ?=

# What an activated environment leaves behind must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV UV_PROJECT_ENVIRONMENT UV_PYTHON
export PYTHON

# A copied folder carries scripts that point at the folder it was copied from: set up again.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(shell rm -f $(STAMP))
endif

.DEFAULT_GOAL := help
.PHONY: help setup evaluate test lab calibrate lock lint environment

help:
	@echo 'make evaluate     set up if needed, then evaluate the bundled simulated city'
	@echo 'make test         set up if needed, then run all tests (PYTEST_ARGS="-m \"not slow\"" for the fast ones)'
	@echo 'make setup        make .venv with exactly the versions of requirements.lock'
	@echo 'make lab          JupyterLab on 127.0.0.1, with a token (LAB_ARGS=--no-browser to open it yourself)'
	@echo 'make calibrate    the calibration record, about an hour (SET=table for the other designs); goes on where it was stopped'
	@echo 'make lint         ruff'
	@echo 'make lock         after a change of dependencies: new requirements.lock and environment.yml'
	@echo 'make environment  environment.yml from pyproject.toml'

setup: $(STAMP)

# uv itself comes from the lock too, so its version is written in one place only.
$(STAMP): requirements.lock pyproject.toml
	@grep -qsF -- '$(CURDIR)/$(VENV)' $(VENV)/pyvenv.cfg \
	  && $(BIN)/python -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1 \
	  && exit 0; \
	python=$$(for p in python3 python3.13 python3.12 python3.14 /usr/bin/python3 python; do \
	    $$p -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1 && exec $$p find_python.py; \
	  done; echo 'No python3 here: install Python 3.13.' >&2; exit 1) || exit 1; \
	echo "Setting up $(VENV) with $$python"; \
	"$$python" -m venv --clear $(VENV)
	@awk '/^[^ #]/ {uv = /^uv==/} uv' requirements.lock > $(VENV)/uv.lock.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock.txt
	@$(BIN)/uv pip sync --quiet --system-certs --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --no-build-isolation -e .
	@printf '%s\n' '$(CURDIR)' > $(STAMP)

evaluate: $(STAMP)
	@$(BIN)/workbench evaluate demo

test: $(STAMP)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

# It asks nobody for news or newer versions: a city's data lie open here.
lab: $(STAMP)
	@$(BIN)/jupyter lab --ip=127.0.0.1 --LabApp.default_url=/lab/tree/notebooks --LabApp.news_url=None \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $$([ "$$(id -u)" = 0 ] && echo --allow-root) $(LAB_ARGS)

calibrate: $(STAMP)
	@$(BIN)/python benchmarks/calibration.py $(SET)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# No address may enter the lock: a city's machine uses its own mirror.
lock: $(STAMP)
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url \
	  --python-version 3.12 --custom-compile-command "make lock" --quiet -o requirements.lock
	@$(BIN)/python scripts/environment.py

environment: $(STAMP)
	@$(BIN)/python scripts/environment.py
