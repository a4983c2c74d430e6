# Every target sets up what it needs in .venv and can be run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
METHOD ?= simclr

.DEFAULT_GOAL := help
.PHONY: help setup demo study test test-all dist gpu check configs zoo battery bench bench-scenes bench-seer format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

$(VENV)/.ready: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "selfsup needs Python 3.11 or newer, got " + sys.version.split()[0] + "; name another with PYTHON=...")'
	@echo "setting up $(VENV) (PyTorch is large: one to three minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --editable '.[cluster,detection,dev,eval,export,faiss,heif,parquet,remote,report,shards,timm]'
	@touch $@

setup: $(VENV)/.ready  ## the virtual environment, with the package installed editable

demo: $(VENV)/.ready  ## train on the embedded images for under five minutes and see it learn (METHOD=swav for the other)
	@$(BIN)/selfsup demo --method $(METHOD)

study: $(VENV)/.ready  ## a small study on the embedded images in under ten minutes, from its plan to a page of plain words
	@$(BIN)/selfsup study studies/quick_scenes

test: $(VENV)/.ready  ## the tests that take less than ten seconds each
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not dist"

dist: $(VENV)/.ready  ## the tests that start several processes
	@$(BIN)/python -m pytest -m dist

gpu: $(VENV)/.ready  ## the tests for machines with GPUs, and what a GPU gains
	@$(BIN)/python -m pytest -m gpu
	@$(BIN)/python -m benchmarks.gpu

test-all: $(VENV)/.ready  ## every test
	@$(BIN)/python -m pytest

check: $(VENV)/.ready  ## format, lint, types, layers
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-logo 2>&1 | tail -n 12
	@PYTHONPATH=. $(BIN)/lint-imports > /dev/null

configs: $(VENV)/.ready  ## build every config on the meta device
	@$(BIN)/python -m pytest tests/configs

zoo: $(VENV)/.ready  ## rewrite the computed columns of model_zoo.md
	@$(BIN)/python tools/model_zoo.py

battery: $(VENV)/.ready  ## every protocol of evaluation on embedded data, in under ten minutes
	@$(BIN)/python -m benchmarks.battery

bench: $(VENV)/.ready  ## side-by-side timings; keep the machine otherwise idle
	@$(BIN)/python -m benchmarks.views
	@$(BIN)/python -m benchmarks.train_step

bench-scenes: $(VENV)/.ready  ## every method on the embedded scenes, three seeds; continues where it was stopped
	@$(BIN)/python -m benchmarks.scenes

bench-seer: $(VENV)/.ready  ## real SEER steps: ten minutes, 22 GiB of memory, 17 GB of disk
	@$(BIN)/python -m benchmarks.seer_step --config swav/seer_regnety32 --steps 5
	@$(BIN)/python -m benchmarks.seer_step

format: $(VENV)/.ready  ## bring the code into shape
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

clean:  ## remove the environment and what was built
	rm -rf $(VENV) build dist *.egg-info
