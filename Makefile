# `make demo` and `make test` do all their own set-up; nothing but Python 3.11+ and make is expected.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK    = uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --no-emit-index-url

.PHONY: aot breakages differential endurance setup demo ready test test-fast check lint types bench bench-report chaos lock clean
.DEFAULT_GOAL := help

help:            ## what can be made
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(STAMP)  ## the virtual environment in .venv, from the hashed lock

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluice needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements/dev.txt pins into $(VENV): one to five minutes, once" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)   ## all servers, all stages, a golden record on screen
	@$(BIN)/sluice demo $(ARGS)

check: $(STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The start-up caches of broker and registry are made once a machine: a minute, and each of their many starts in tests
# takes half the time.
ready: $(STAMP)
	@$(MAKE) --no-print-directory --jobs=2 check aot

aot: $(STAMP)
	$(BIN)/python -m sluice.embedded.aot_making

# Each worker starts servers of its own: about a gigabyte of memory. Three keep two processors busy; more are slower.
test: ready      ## everything: checks, then unit, contract, integration and scenario tests
	$(BIN)/python -m pytest --numprocesses $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder

test-fast: $(STAMP)  ## unit and contract tests only
	$(BIN)/python -m pytest tests/unit tests/contract

differential: ready  ## a real Debezium and Sluice on the same changes, in all settings, and 200 random workloads: 10 minutes
	SLUICE_TEST_DEBEZIUM=required SLUICE_TEST_DIFFERENTIAL=long $(BIN)/python -m pytest tests/differential

breakages: $(STAMP)  ## break each promise on purpose and see its test go red
	@$(BIN)/python -m bench.breakages $(ARGS)

bench: aot       ## speed compared with the peers: WHAT=cdc|mapper|merger|sink|end_to_end
	@$(BIN)/python -m bench --what $(or $(WHAT),mapper) $(ARGS)

bench-report: aot  ## run all benchmarks and growth curves, and write docs/benchmarks.md: hours
	@$(BIN)/python -m bench.report $(ARGS)

chaos: $(STAMP)  ## kills under load, then what was lost: WHAT=poller|cdc|cdc-steps|mapper|merger|sink|all
	@PYTHONPATH=tests $(BIN)/python -m bench.chaos --what $(or $(WHAT),all) $(ARGS)

endurance: $(STAMP)  ## a 2 GiB transaction, 1,000 tables, ten minutes without Kafka, an idle database: an hour
	@PYTHONPATH=tests $(BIN)/python -m bench.endurance $(ARGS)

lock:            ## rewrite the hashed locks (needs uv)
	$(LOCK) --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) --extra embedded pyproject.toml -c requirements/dev.txt -o requirements/run.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/image.txt
	$(LOCK) requirements/build.in -c requirements/dev.txt -o requirements/build.txt

clean:           ## the virtual environment and caches of the tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
