# Everything one does with this project. `make help` lists it.
# Needs make, git and a Python; the rest is installed in .venv and .local. uv keeps what it downloads in its cache (about 1 GB, UV_CACHE_DIR).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run up down invoke start-api image check test lint advisories format docs build deploy fuzz attack bench load client lock clean

LOCAL := .local
TOOLS := $(LOCAL)/tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/uv/bin/uv)
PY := .venv/bin/python
FAST := tests/unit tests/integration tests/architecture tests/contract

# A Python 3.13 that runs: pyenv's shims answer `command -v` and then refuse, so each is tried. Else uv finds or fetches one.
PYTHON313 := $(shell for p in python3.13 $$HOME/.pyenv/versions/3.13*/bin/python3.13 $$PYENV_ROOT/versions/3.13*/bin/python3.13; do \
	"$$p" -c 'import sys; print(sys.executable)' 2>/dev/null && exit; done; echo 3.13)

export PATH := $(CURDIR)/$(TOOLS)/sam/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# At once: tools start hundreds of times in the tests, and compile again each time where PYTHONDONTWRITEBYTECODE is set.
export UV_COMPILE_BYTECODE := 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready $(TOOLS)/sam/.ready $(TOOLS)/cloud/.ready $(LOCAL)/npm/.ready ## install everything, pinned, in .venv and .local

run: setup ## the main job: local stack, real template, a key, the journey; serves until Ctrl-C
	@exec $(PY) -m sandbox run

up: setup ## the same stack in the background; writes .local/stack.json
	@$(PY) -m sandbox up

down: ## stop all that `make up` started, and only that
	@if [ -e .venv/.ready ]; then $(PY) -m sandbox down; else echo "Nothing to stop: \`make setup\` has not ended."; fi

invoke: setup ## one function in Lambda's image, on the stack that is up: FUNCTION=RevenuFiscalReference [EVENT=events/….json] [HERE=1: in this Python]
	@$(PY) -m sandbox invoke $(FUNCTION) $(if $(EVENT),--event $(EVENT)) $(if $(HERE),--here) $(if $(ARGS),-- $(ARGS))

start-api: setup ## every route in Lambda's image, on the stack that is up; ARGS="--port 3000"
	@exec $(PY) -m sandbox start-api $(if $(ARGS),-- $(ARGS))

image: setup ## Lambda's image, from its registry or from Debian's packages
	@$(PY) -m sandbox image

check: setup lint ## lint and the fast tests, for while you write; ARGS=tests/unit
	@$(PY) -m pytest --numprocesses logical --maxprocesses 8 -m "not slow and not e2e" $(or $(ARGS),$(FAST))

test: setup lint $(TOOLS)/load/.ready $(TOOLS)/parliament/.ready $(TOOLS)/client/.ready $(LOCAL)/newman/.ready $(LOCAL)/javascript/.ready ## every test, end-to-end ones included, on all cores; ARGS=tests/unit
	@$(PY) -m pytest --numprocesses logical --maxprocesses 8 $(ARGS)

lint: setup ## ruff (all rules), mypy (strict), cfn-lint through sam
	@.venv/bin/ruff format --check --quiet . && .venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@sam validate --lint --template template.yaml --region eu-west-3

# A known vulnerability is a failure; a database that cannot be reached is not.
advisories: $(TOOLS)/pip-audit/.ready ## known vulnerabilities of what the layer and the tools pin (pip-audit, from osv.dev)
	@for pins in layers/common/requirements.txt requirements/*.txt; do \
		$(TOOLS)/pip-audit/bin/pip-audit --vulnerability-service osv --require-hashes --disable-pip --progress-spinner off -r $$pins >$(LOCAL)/pip-audit.log 2>&1 && continue; \
		grep -qE 'ConnectionError|Timeout' $(LOCAL)/pip-audit.log && echo "pip-audit: skipped, its database cannot be reached" && break; \
		echo "$$pins:" && cat $(LOCAL)/pip-audit.log && exit 1; \
	done

format: setup ## let ruff write the format and the safe fixes
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format --quiet .

docs: setup ## write again the documents that follow from the code
	@$(PY) -m release.documents

build: setup ## what would be deployed to AWS, in .aws-sam/build
	@$(PY) -m release.website && $(PY) -m release.build

deploy: build ## build, then deploy that build to AWS; ARGS="--parameter-overrides …", ARGS=--help
	@sam deploy --template-file .aws-sam/build/template.yaml $(ARGS)

fuzz: setup ## hold the running stack (make up) against its documentation, for a minute; ARGS=--help
	@$(PY) -m release.fuzz $(ARGS)

attack: setup ## what an attacker tries on a stack of its own, and what is answered; WITHOUT=countermeasures: each succeeds, and its test fails
	@$(if $(filter countermeasures,$(WITHOUT)),PYTHONPATH=$(CURDIR)/tests/support/disarmed) WITHOUT=$(WITHOUT) $(PY) -m pytest -v -s -n0 -m attack tests/e2e $(ARGS)

load: setup $(TOOLS)/load/.ready ## a day of towns in a minute, on the stack that is up; ARGS=--help
	@$(PY) -m load $(ARGS)

bench: setup $(TOOLS)/runtime/.ready $(TOOLS)/load/.ready ## what a call of each dataset costs, beside a bare handler; ARGS=--json, ARGS=--help
	@$(PY) -m bench $(ARGS)

client: setup $(TOOLS)/client/.ready $(LOCAL)/newman/.ready $(LOCAL)/javascript/.ready ## the Python and JavaScript clients, built from docs/openapi.yaml in clients
	@$(PY) -m release.client

# What the Lambda runtime ships is left out of the layer: docs/decisions/0002-dependencies.md.
PIN := pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-annotate
RUNTIME := boto3 botocore jmespath python-dateutil s3transfer six

lock: $(UV) ## pin again every requirement, with hashes
	$(UV) $(PIN) $(addprefix --no-emit-package ,$(RUNTIME)) requirements/layer.in -o layers/common/requirements.txt
	for name in dev sam cloud node load runtime pip-audit parliament uv; do $(UV) $(PIN) requirements/$$name.in -o requirements/$$name.txt || exit; done

clean: down ## remove what was built and installed
	rm -rf .aws-sam .venv $(LOCAL)

$(TOOLS)/uv/bin/uv:
	@echo "· uv, which installs the rest, in $(TOOLS)/uv …" >&2
	@python3 -m venv $(TOOLS)/uv && $@ --version >/dev/null 2>&1 || $(TOOLS)/uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt

.venv/.ready: requirements/dev.txt pyproject.toml | $(UV)
	@echo "· Python and this project's packages, in .venv …" >&2
	@$(UV) venv --quiet --allow-existing --python $(PYTHON313) .venv
	@$(UV) pip install --quiet --python .venv --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@

$(TOOLS)/%/.ready: requirements/%.txt | $(UV)
	@echo "· $*, in $(@D) …" >&2
	@$(UV) venv --quiet --seed --allow-existing --python $(PYTHON313) $(@D)
	@$(UV) pip install --quiet --python $(@D) --require-hashes -r requirements/$*.txt
	@touch $@

# As in the lock files, to the byte: npm compares each package with its hash.
$(LOCAL)/npm/.ready: website/package.json website/package-lock.json website/.npmrc | $(TOOLS)/node/.ready
	$(NPM_CI)

$(LOCAL)/newman/.ready: clients/collection/package.json clients/collection/package-lock.json clients/collection/.npmrc | $(TOOLS)/node/.ready
	$(NPM_CI)

$(LOCAL)/javascript/.ready: clients/javascript/package.json clients/javascript/package-lock.json clients/javascript/.npmrc | $(TOOLS)/node/.ready
	$(NPM_CI)

define NPM_CI
@echo "· the npm packages of $<, in $(@D) …" >&2
@mkdir -p $(@D) && cp $^ $(@D)
@PATH="$(CURDIR)/$(TOOLS)/node/bin:$$PATH" npm ci --silent --prefix $(@D) --cache $(LOCAL)/npm-cache
@touch $@
endef
