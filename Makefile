# Two commands are enough on a fresh machine: `make demo`, `make test`.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(SETUP) ## Make .venv from the hash-pinned lock

# One at a time, so that two targets may be made at once in a new clone.
LOCKED := import fcntl, subprocess, sys; \
	own = open("pyproject.toml"); fcntl.flock(own, fcntl.LOCK_EX); sys.exit(subprocess.call(sys.argv[1:]))

ifndef IS_LOCKED
$(SETUP): locks/dev.txt pyproject.toml
	@$(PYTHON) -c '$(LOCKED)' $(MAKE) --no-print-directory IS_LOCKED=1 $@
else
$(SETUP): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "This Python has no venv. On Debian and Ubuntu: apt-get install python3-venv; or name another: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
endif

# What the targets that measure and release need, in the same environment.
$(VENV)/.tools: $(SETUP) locks/tools.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/tools.txt
	@touch $@

.PHONY: demo
demo: $(SETUP) ## Run the main job end to end (MESSAGES=1000, ARGS="--events FILE --keep")
	@$(BIN)/python -m devkit.demo --messages $(or $(MESSAGES),1000) $(ARGS)

.PHONY: test
test: $(SETUP) ## Run all tests, on embedded PostgreSQL and an embedded queue
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

.PHONY: simulate
simulate: $(SETUP) ## Run the pipeline in virtual time under faults (SEEDS=20000 FROM=0; SEED=123)
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),20000) --from $(or $(FROM),0) \
	  $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: $(SETUP) ## Break the code in one place after another; the tests must notice (FILE=pipeline.py)
	@$(BIN)/python -m tests.mutants $(FILE)

# VALUE for the option of that name, and nothing where there is none.
option = $(if $($(1)),--$(2) $($(1)))

.PHONY: faults
faults: $(VENV)/.tools ## Make each fault under load, and report (FAULT=8, A_SECOND=300, REPORT=docs)
	@$(BIN)/python -m tests.faults.run $(call option,FAULT,fault) $(call option,A_SECOND,a-second) \
	  $(call option,SEED,seed) $(call option,REPORT,report)

.PHONY: chaos
chaos: $(VENV)/.tools ## Mix all faults at random (MESSAGES=20000, KILLS=10, SEED=1, REPORT=docs)
	@$(BIN)/python -m tests.faults.chaos $(call option,MESSAGES,messages) $(call option,KILLS,kills) \
	  $(call option,CRASHES,crashes) $(call option,CUTS,cuts) $(call option,A_SECOND,a-second) \
	  $(call option,SEED,seed) $(call option,REPORT,report)

.PHONY: soak
soak: $(VENV)/.tools ## Half capacity for long, and how memory grows (SECONDS=3600, REPORT=docs)
	@$(BIN)/python -m tests.faults.soak $(call option,SECONDS,seconds) \
	  $(call option,SEED,seed) $(call option,REPORT,report)

.PHONY: bench
bench: $(VENV)/.tools ## Measure what the consumer costs, into docs/benchmarks.md (ARGS=--quick)
	$(BIN)/python -m benchmarks own $(ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/.tools ## Measure it beside others that do the same job (ARGS=--quick)
	@if command -v npm >/dev/null; then \
	  npm ci --prefix benchmarks/peers/node --ignore-scripts --no-audit --no-fund; \
	fi
	$(BIN)/python -m benchmarks peers $(ARGS)

.PHONY: check
check: $(SETUP) ## Format, lint, types, import layers, container files, documents
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check
	$(build_site)
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@if docker compose version >/dev/null 2>&1; then docker compose --profile takehome config --quiet; fi

# From the root, so that the site has README.md, CONTRIBUTING.md and SECURITY.md as well.
build_site = $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env \
  -c docs -d build/doctrees . build/site

.PHONY: docs
docs: $(SETUP) ## Build the site of the documents into build/site
	$(build_site)

.PHONY: reference
reference: $(SETUP) ## Make the reference pages anew out of the code
	$(BIN)/python docs/generate.py

.PHONY: format
format: $(SETUP) ## Format, and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' consumer/__init__.py)
REVISION := $(shell git rev-parse HEAD 2>/dev/null)
COMPOSE := VERSION=$(VERSION) REVISION=$(REVISION) docker compose

.PHONY: up
up: ## Run it all in Docker: queue, database, consumer, Prometheus
	@$(COMPOSE) version >/dev/null 2>&1 || { echo "Docker with its compose plugin is needed"; exit 1; }
	@$(PYTHON) deploy/prepare.py
	$(COMPOSE) up --build --detach $(ARGS)

.PHONY: down
down: ## Stop and remove it; ARGS=--volumes removes the data too
	$(COMPOSE) --profile takehome down $(ARGS)

.PHONY: logs
logs: ## Follow the logs
	$(COMPOSE) logs --follow --tail 100 $(ARGS)

.PHONY: scale
scale: ## Run N consumers: make scale N=4
	$(COMPOSE) up --detach --no-deps --no-recreate --scale consumer=$(or $(N),1) consumer

.PHONY: image
image: ## Build the image; offline if wheelhouse/ has wheels
	docker build --tag login-consumer --tag login-consumer:$(VERSION) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(ARGS) .

# The image's Python and processor. A lock of the run's needs alone: the hashes are checked here and
# again in the build.
WHEEL_ARCH ?= $(subst arm64,aarch64,$(shell uname -m))

.PHONY: wheelhouse
wheelhouse: $(SETUP) ## Fetch the wheels for an offline build of the image
	mkdir -p wheelhouse
	$(BIN)/pip download --quiet --disable-pip-version-check --dest wheelhouse \
	  --require-hashes --no-deps --only-binary :all: \
	  --implementation cp --python-version 3.13 --abi cp313 \
	  $(foreach v,2_34 2_28 2_17,--platform manylinux_$(v)_$(WHEEL_ARCH)) \
	  --platform manylinux2014_$(WHEEL_ARCH) \
	  -r locks/run.txt -r locks/build.txt

.PHONY: docker-test
docker-test: ## Try the image and docker-compose.yml on a real engine, if there is one
	$(PYTHON) -m tests.docker

# Of an environment with what the image's has and no more.
.PHONY: sbom
sbom: $(VENV)/.tools ## Write the bill of materials of what is shipped, as CycloneDX
	$(PYTHON) -m venv --clear --without-pip build/sbom
	$(BIN)/pip --python build/sbom/bin/python install --quiet --disable-pip-version-check \
	  --require-hashes -r locks/run.txt
	sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml >build/pyproject.toml
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject build/pyproject.toml --output-reproducible \
	  --output-file dist/login-consumer-$(VERSION).cdx.json build/sbom/bin/python

.PHONY: lock
lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile $(UV_FLAGS) --group dev pyproject.toml -o locks/dev.txt
	uv pip compile $(UV_FLAGS) --group dev --group tools -c locks/dev.txt pyproject.toml -o locks/tools.txt
	uv pip compile $(UV_FLAGS) -c locks/dev.txt pyproject.toml -o locks/run.txt
	uv pip compile $(UV_FLAGS) -c locks/dev.txt --group build -o locks/build.txt
UV_FLAGS := --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: clean
clean: ## Remove the environment and the caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
