# Easel. `make demo` and `make test` do everything on a fresh machine: they need Python 3.11+ and what Debian's base has.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PORT ?= 8090
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow search lint types format bench bench-gpu bench-full parity exact chaos chaos-commit clean chromium

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1  /' 

demo: $(VENV)/.product ## Install, then start the loopback Discord, the bot and the shipped model
	@$(BIN)/easel demo --port $(PORT)

# Two processes of one thread each: operators that share threads out would wait for each other's.
test: $(VENV)/.development chromium ## Install, then run the default test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.development chromium ## The tests that take minutes
	$(BIN)/python -m pytest -m slow

search: $(VENV)/.development chromium ## The default suite in another order with other made-up examples, to find what is still hidden
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --randomly-seed=default --hypothesis-profile=search

lint: $(VENV)/.development ## Ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development ## mypy --strict over product and tests
	$(BIN)/mypy

format: $(VENV)/.development ## Rewrite the code the way `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.development ## Print the figures of the README
	$(BIN)/easel bench

parity: $(VENV)/.development ## Compare everything with diffusers; rewrite tests/parity/RESULTS.md
	$(BIN)/python -m tests.parity.results

bench-gpu: $(VENV)/.development ## All the engine's figures on a GPU, in about ten minutes, into results/
	$(BIN)/easel bench all --model sd15 --compile --out results

bench-full: $(VENV)/.development ## Full-size models: load time, memory, one step, against diffusers (15 GB of disk, 20 minutes)
	$(BIN)/python -m tests.benchmarks.full_size all

exact: $(VENV)/.development ## 10,000 random companies of jobs, 40 minutes: is every picture byte for byte the one made alone? Goes on where tests/EXACT.txt ends; empty that after a change of the engine
	GOMP_SPINCOUNT=0 $(BIN)/python -m tests.companies 10000 --record tests/EXACT.txt

chaos: $(VENV)/.development ## Every fault of the chaos matrix by the hundred, about an hour; goes on where tests/chaos/RESULTS.jsonl has no line that held
	$(BIN)/python -m tests.chaos night --record tests/chaos/RESULTS.jsonl --resume

chaos-commit: $(VENV)/.development ## The same with fewer faults, in minutes; CI runs it
	$(BIN)/python -m tests.chaos commit

clean: ## Remove the virtual environment and caches; never data/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

# The samplers' reference. Its own requirements are a training workshop's, and none of its samplers needs them.
REFERENCE := k-diffusion==0.1.1.post1
# The extra easel[upscale], aside: transformers would pick torchvision up, and its wheel wants a torch built for CUDA.
UPSCALE := spandrel torchvision einops
# Runs the GPU's kernels in its interpreter and compiles them, where there is no GPU. A torch for CUDA brings its own.
KERNELS := triton==3.8.0

# The environment. Some Debians ship Python without ensurepip: then the package that has it is asked for.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Easel needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(ROOT) apt-get update -qq; $(ROOT) apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	@$(PIP) install --quiet --upgrade 'pip>=25.1'

$(VENV)/.product: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.development: $(VENV)/.product
	$(PIP) install --quiet --constraint constraints.txt --group test
	$(PIP) install --quiet --no-deps $(REFERENCE)
	$(PIP) install --quiet --no-deps --upgrade --constraint constraints.txt --target $(VENV)/upscale $(UPSCALE)
	$(PIP) install --quiet --no-deps --upgrade --target $(VENV)/triton $(KERNELS)
	@touch $@

# The page is tested in the system's Chromium; nothing is downloaded from elsewhere.
ROOT := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
chromium:
	@command -v chromium >/dev/null || { $(ROOT) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(ROOT) apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
