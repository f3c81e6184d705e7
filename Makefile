# Each target first installs what it uses, into .venv beside this file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO_VENV := .venv-proto
RUN := $(BIN)/python
# Worker processes of the tests: one more than two cores, because tests also wait. Each takes several seconds of CPU time to
# collect the tests.
WORKERS ?= 3

# The tests start many interpreters. Without compiled modules on disk, each of them would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check docs proto faults e2e soak bench backends clean

help: ## List the targets
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed ## Run the demo from this checkout: a local Netra, a replay, a trace, the usage of a tenant
	@$(BIN)/netra-otel-bridge demo

test: $(VENV)/.tested ## Run the tests that need no other program
	$(RUN) -m pytest -q -n $(WORKERS) --dist worksteal -m "not faults"

check: $(VENV)/.checked ## Check format, lint, types, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.tested ## Write what is generated in docs/: the tables that are made from code, and the output shown under commands
	$(RUN) -m tests.support.reference
	$(RUN) -m tests.support.outputs

proto: $(PROTO_VENV)/.installed ## Lint the gRPC interface, and generate the Python modules in netra_otel_bridge/v1 from it
	$(PROTO_VENV)/bin/buf format --diff --exit-code proto
	$(PROTO_VENV)/bin/buf lint proto
	PATH="$(CURDIR)/$(PROTO_VENV)/bin:$$PATH" python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. \
	  netra_otel_bridge/v1/bridge.proto

faults: $(VENV)/.tested ## Run the bridge as a process: documented commands, faults, kills at many instants; takes minutes, uses strace
	$(RUN) -m pytest -q -rP -n 2 --dist worksteal -m faults tests/unit tests/contract tests/property tests/faults tests/crash

e2e: $(VENV)/.tested backends ## Run the tests against real servers, the real netra-sdk, and the clients in examples
	$(RUN) -m pytest -q tests/e2e

soak: $(VENV)/.tested backends ## Run the service under random faults for ten minutes, with a real Jaeger, judged by the oracle
	$(RUN) -m tests.soak --seconds 600

backends: $(VENV)/.tested ## Build the servers for the end-to-end tests, once, into the user's cache
	$(RUN) -m tests.support.backends

bench: $(VENV)/.tested ## Compare the bridge with what a user would write instead; prints ratios
	$(RUN) -m tests.bench

clean: ## Remove .venv, .venv-proto, caches and builds
	rm -rf $(VENV) $(PROTO_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; say which: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv"; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@echo "Installing into $(VENV) (once, less than a minute) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@$(RUN) -m pip install --quiet --disable-pip-version-check --group test
	@touch $@

$(VENV)/.checked: $(VENV)/.tested
	@$(RUN) -m pip install --quiet --disable-pip-version-check --group check
	@touch $@

# Generated modules need the protobuf version of their generator, or a later one. This generator brings 6.31.1.
$(PROTO_VENV)/.installed: Makefile
	@$(PYTHON) -m venv --clear $(PROTO_VENV)
	@$(PROTO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  grpcio-tools==1.74.0 mypy-protobuf==3.7.0 buf-bin==1.75.0
	@touch $@
