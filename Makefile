# `make demo` and `make test` need Python 3.11 or later with venv, and reach PyPI and Maven Central; they set up all else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python processes by the hundred share what the first of them has compiled.
unexport PYTHONDONTWRITEBYTECODE
# Two thirds of a test's time are waiting for a broker or a process, so there are three processes for each core.
TEST_PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(3 * os.cpu_count(), 12))')
BUILT_OF := pyproject.toml constraints.txt hatch_build.py processor/_native.pyx
PYTEST := $(BIN)/pytest --numprocesses $(TEST_PROCESSES)

.PHONY: help demo check test unit lint soak fuzz equality bench bench-smoke wheel clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(BUILT_OF)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/python $(BUILT_OF)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## the main job on sample events, on a real local Kafka
	$(BIN)/processor demo

check: $(VENV)/.dev  ## in less than a minute: style, types, import contracts, the tests that start no process
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -n logical --quiet -m "not (kafka or container or process or corpus)" \
		--hypothesis-profile check

lint: $(VENV)/.dev  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.dev  ## the tests that need no broker
	$(PYTEST) -m "not kafka and not container"

test: lint  ## all the tests, on a real local Kafka
	$(PYTEST) -m "not long" --ignore=tests/scenarios --durations=20
	$(BIN)/pytest tests/scenarios --durations=20  # by itself: its scenarios run side by side and load the machine

soak: $(VENV)/.dev  ## many examples of each law, replays that are killed, then faults for an hour (SOAK_SECONDS=3600)
	$(PYTEST) --quiet -m "hypothesis or corpus" --hypothesis-profile soak --timeout 3600
	$(PYTEST) --quiet -m long
	$(BIN)/python -m tests.soak.past --events 200000 --kills 10
	$(BIN)/python -m tests.soak.redrive --letters 1000 --kills 5
	$(BIN)/python -m tests.soak --seconds $(or $(SOAK_SECONDS),3600)

fuzz: $(VENV)/.dev  ## mutated and extreme events over all templates in little memory (FUZZ_SEED=…)
	$(BIN)/python -m tests.fuzz --mutated 500000 --extreme 20000 $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

equality: $(VENV)/.dev  ## a million records by plans and by the reference, then bugs planted in plans (EQUALITY_SEED=…)
	$(BIN)/python -m tests.equality $(if $(EQUALITY_SEED),--seed $(EQUALITY_SEED))
	$(BIN)/python -m tests.equality.planted
	$(BIN)/python -m tests.equality.sanitized

bench: $(VENV)/.dev  ## side by side with others, then alone (docs/performance); tables, backlog, dry run of a replay
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench --mix --events 1000000
	$(BIN)/python -m tests.bench.start
	$(BIN)/python -m tests.bench.memory
	$(BIN)/python -m tests.bench.steps
	$(BIN)/python -m tests.bench.scale
	$(BIN)/python -m tests.bench.latency
	$(BIN)/python -m tests.bench.tables
	$(BIN)/python -m tests.bench.backlog
	$(BIN)/python -m tests.soak.planted --offsets 500000 2000000

bench-smoke: $(VENV)/.dev  ## the contenders of the bench, and the mix, over 2,000 events, their outputs compared
	$(BIN)/python -m tests.bench --smoke
	$(BIN)/python -m tests.bench --mix --smoke

wheel: $(VENV)/.dev  ## wheels for Linux on x86_64 and aarch64, and one for any machine, whose plans do not run in C: dist/
	$(BIN)/pip install --quiet --editable '.[wheel]'
	rm -rf dist
	for kind in x86_64 aarch64 off; do \
		BUILD_NATIVE=$$kind $(BIN)/python -m hatchling build --target wheel --directory dist || exit 1; \
	done

clean:  ## remove what make has set up here
	rm -rf $(VENV) dist build
