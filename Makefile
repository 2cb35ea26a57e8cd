# Every verb sets up what it needs; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
# Two for each core, for half of the long tests wait; at most eight.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 4 ? cores * 2 : 8)))

.PHONY: help venv demo run bench soak test e2e lint fmt docs docs-watch screenshots agent release sbom image sweep lock clean

help: ## list the verbs
	@echo "restic-manager: make VERB"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv:
	@scripts/system-packages python
	@scripts/make-venv dev

demo: venv dist/rm-agent ## the product at work on this machine; ARGS=--auto runs it unattended and checks it
	@scripts/system-packages restic
	@scripts/newer-restic >/dev/null 2>&1 || true
	@$(PY) -m demo $(ARGS)

run: venv dist/rm-agent ## the server alone on http://127.0.0.1:8080, data in ./data; prints the setup link
	@.venv/bin/gunicorn -c gunicorn.conf.py app:app

bench: venv dist/rm-agent ## measure it against named ceilings; ARGS=--quick is small, ARGS=idle (or another row) one row
	@scripts/system-packages restic browser
	@scripts/make-venv bench
	@$(PY) -m bench $(ARGS)

soak: venv dist/rm-agent ## a whole fleet at work with everything going wrong; ARGS="--minutes 15 --agents 1000" is the default
	@scripts/make-venv bench
	@$(PY) -m soak $(ARGS)

test: venv ## the tests; ARGS go to pytest; RM_REQUIRE=all turns skips into failures
	@scripts/system-packages --optional restic minisign promtool
	@scripts/make-venv bench
	@scripts/make-venv oidc
	@scripts/make-venv schemathesis
	@scripts/make-venv docs
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

e2e: venv ## the end-to-end tests: browser, real hosts, the image; STAGE=compose plays them in containers
ifeq ($(STAGE),compose)
	@scripts/system-packages --optional promtool browser
	@$(PY) -m e2e.prepare
	@build/e2e/tree/scripts/image restic-manager:e2e
	@docker compose -f e2e/compose.e2e.yml build
	@RM_E2E_STAGE=compose $(PY) -m pytest e2e -s $(ARGS)
else
	@scripts/system-packages --optional restic promtool browser machines image
	@scripts/newer-restic >/dev/null
	@$(PY) -m e2e $(ARGS)
endif

lint: venv ## ruff, import-linter, mypy, djlint, shellcheck where it is installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports --no-logo --cache-dir .import_linter_cache
	$(PY) -m mypy
	$(PY) -m djlint templates --lint --quiet
	@scripts/check-shell

fmt: venv ## put the Python code in order
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

docs: venv ## write the generated pages, then build the documentation into ./site
	@$(PY) -m scripts.protocol_page
	@$(PY) -m scripts.settings_page
	@$(PY) -m scripts.metrics_page
	@$(PY) -m scripts.http_page
	@$(PY) -m scripts.cli_page
	@scripts/make-venv docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict

docs-watch: venv ## the documentation on http://127.0.0.1:8000, built anew at each change
	@scripts/make-venv docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs serve

screenshots: venv dist/rm-agent ## take the pictures of the documentation anew; ARGS=signals (or backup, nights, updates) some of them
	@scripts/system-packages restic browser
	@$(PY) -m scripts.screenshots $(ARGS)

agent: dist/rm-agent ## build the agent into dist/rm-agent

dist/rm-agent: $(shell find agent rm/shared -name '*.py' 2>/dev/null) rm/__init__.py requirements/agent.txt | venv
	@$(PY) -m agent.packaging.build --output $@

release: venv ## build, prove and sign a release into dist/release with the keys in RM_KEYS_DIR; SEQ=n, VERSION=x, ARGS go to the build
	@scripts/system-packages restic
	@scripts/rm-release build $(if $(SEQ),--seq $(SEQ)) $(if $(VERSION),--version $(VERSION)) $(ARGS)
	@scripts/rm-release gate
	@scripts/rm-release sign
	@scripts/rm-release verify

sbom: venv ## list the parts of server and agent (CycloneDX) into dist/sbom, and the page of licences
	@scripts/sbom

image: ## build the server's image with the signed release in dist/release; NAME=…, BASE=… another base image
	@scripts/image $(NAME)

sweep: venv ## kill the real agent and guard, or refuse them their disk, at each of their calls; takes long
	@scripts/system-packages strace
	@$(PY) -m tests.sweep.kill_sweep $(ARGS)

lock: venv ## compile requirements/*.in into the lock files; ARGS=--upgrade takes new versions
	@scripts/lock $(ARGS)

clean: ## remove what the other verbs can make again (never ./data)
	@rm -rf .venv .venv-* dist build site test-results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
