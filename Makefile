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
CORE_TESTS := not (kafka or container or process or corpus)
OTHER_VENV := build/$(notdir $(PYTHON))
SCENARIO ?= killed_at_every_step and not recovery
PYTEST := $(BIN)/pytest --numprocesses $(TEST_PROCESSES)

.PHONY: help demo fmt check lint unit test test-python cov docs demo-picture lock soak fuzz equality bench bench-smoke wheel clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

fmt: $(VENV)/.dev  ## format all code, and correct what ruff can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

check: lint  ## style, types, import contracts, the tests that start no process
	$(BIN)/pytest -n logical --quiet -m "$(CORE_TESTS)" --hypothesis-profile check

lint: $(VENV)/.dev  ## ruff, codespell, mypy --strict, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/mypy

unit: $(VENV)/.dev  ## the tests that need no broker
	$(PYTEST) -m "not kafka and not container"

test: lint  ## all the tests, on a real local Kafka
	$(PYTEST) -m "not long" --ignore=tests/scenarios --durations=20
	$(BIN)/pytest tests/scenarios --durations=20  # by itself: its scenarios run side by side and load the machine

test-python:  ## the core tests and a scenario by another Python (PYTHON=python3.12)
	$(PYTHON) -m venv $(OTHER_VENV)
	$(OTHER_VENV)/bin/pip install --quiet --editable '.[dev]'
	$(OTHER_VENV)/bin/pytest -n logical --quiet -m "$(CORE_TESTS)" --hypothesis-profile check
	$(OTHER_VENV)/bin/pytest --quiet tests/scenarios/test_exactly_once.py -k "$(SCENARIO)"
	$(OTHER_VENV)/bin/python -VV

cov: $(VENV)/.dev  ## which lines and branches of the core its own tests do not reach
	$(BIN)/pytest -n logical --quiet -m "$(CORE_TESTS)" --hypothesis-profile check \
		--cov processor/domain --cov processor/wire --cov processor/mapping --cov-branch --cov-report term-missing:skip-covered

docs: $(VENV)/.dev  ## write the pages that are made from the code (docs/reference, docs/decisions/README.md)
	$(BIN)/python -m tests.documents

demo-picture: $(VENV)/.dev  ## run the demo, and draw its screen (docs/demo.svg)
	$(BIN)/python -m tests.documents.demo_picture

lock:  ## write constraints.txt again, with the newest versions that go together
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	PIP_CONSTRAINT= build/lock/bin/pip install --quiet '.[dev,wheel]'
	build/lock/bin/pip freeze --exclude processor > constraints.txt

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
