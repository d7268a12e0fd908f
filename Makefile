# Easel. `make demo` and `make test` do everything on a fresh machine: they need Python 3.11+ and what Debian's base has.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PORT ?= 8090
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow search lint types format bench bench-gpu bench-full parity exact chaos chaos-commit lock audit clean chromium

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1  /' 

demo: $(VENV)/.product ## Install, then start the loopback Discord, the bot and the shipped model
	@$(BIN)/easel demo --port $(PORT)

# Two processes of one thread each: operators that share threads out would wait for each other's.
test: $(VENV)/.development chromium ## Install, then run the default test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.development chromium ## The tests that take long, and the rest of the families that `make test` draws from
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

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

chaos: $(VENV)/.development $(VENV)/sqlites ## Every fault of the chaos matrix by the hundred, over two hours; goes on where tests/chaos/RESULTS.jsonl has no line that held
	EASEL_SQLITES=$(abspath $(VENV)/sqlites/older):$(abspath $(VENV)/sqlites/newer) $(BIN)/python -m tests.chaos night --record tests/chaos/RESULTS.jsonl --resume

chaos-commit: $(VENV)/.development ## The same with fewer faults, in minutes; CI runs it
	$(BIN)/python -m tests.chaos commit

lock: $(VENV)/.tools ## Work the lock files in requirements/ out anew; UPGRADE=--upgrade takes the newest versions
	PYTHONPATH=$(VENV)/tools $(BIN)/python requirements/lock.py $(UPGRADE)

audit: $(VENV)/.tools ## Ask the advisory services about every locked package; CI runs it
	PYTHONPATH=$(VENV)/tools $(BIN)/python requirements/audit.py

clean: ## Remove the virtual environment and caches; never data/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

# Everything comes from the lock files, checked by its hash, and no package runs code to be installed.
INSTALL := $(PIP) install --quiet --no-deps --require-hashes --only-binary :all:
# torch's build for the CPU where a source of pip has it, else what the index has; TORCH=cuda: the latter at once.
TORCH := cpu

# The environment. Some Debians ship Python without ensurepip: then the package that has it is asked for.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Easel needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(ROOT) apt-get update -qq; $(ROOT) apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }

LOCKED := $(addprefix requirements/,product.txt torch.txt torch-cpu.txt)
$(VENV)/.product: pyproject.toml $(LOCKED) | $(BIN)/python
	@{ [ $(TORCH) = cpu ] && $(INSTALL) -r requirements/torch-cpu.txt 2>/dev/null; } || $(INSTALL) -r requirements/torch.txt
	$(INSTALL) -r requirements/product.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

BESIDE := $(addprefix requirements/,development.txt reference.txt upscale.txt kernels.txt)
$(VENV)/.development: $(VENV)/.product $(BESIDE)
	$(INSTALL) -r requirements/development.txt -r requirements/reference.txt
	$(INSTALL) --upgrade --target $(VENV)/upscale -r requirements/upscale.txt
	$(INSTALL) --upgrade --target $(VENV)/triton -r requirements/kernels.txt
	@touch $@

$(VENV)/.tools: requirements/tools.txt | $(BIN)/python
	@$(INSTALL) --upgrade --target $(VENV)/tools -r requirements/tools.txt
	@touch $@

# Python has one SQLite; for others a package must have a wheel, or chaos does without them and says so.
$(VENV)/sqlites: requirements/sqlite-older.txt requirements/sqlite-newer.txt | $(BIN)/python
	-@$(INSTALL) --upgrade --target $@/older -r requirements/sqlite-older.txt
	-@$(INSTALL) --upgrade --target $@/newer -r requirements/sqlite-newer.txt
	@mkdir -p $@ && touch $@

# The page is tested in the system's Chromium; nothing is downloaded from elsewhere.
ROOT := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
chromium:
	@command -v chromium >/dev/null || { $(ROOT) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(ROOT) apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
