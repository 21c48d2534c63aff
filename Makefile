# One word each, the same locally and in CI. Needs make and a Python of 3.11 or newer with its venv module.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= hyperbase-demo
KILLS  ?= 500
PACKAGES := hyperbase master regionserver
CODE   := $(PACKAGES) tests benchmarks

.PHONY: install dev demo demo-cluster test test-storage zookeeper hadoop chaos check format bench bench-network clean

install: $(VENV)/.installed

dev: $(VENV)/.installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Hyperbase needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "The venv module is missing (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.installed $@

demo: install
	$(BIN)/hyperbase demo $(DEMO)

demo-cluster: install zookeeper
	$(BIN)/hyperbase cluster demo

chaos: dev
	HYPERBASE_CHAOS_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/fault/test_server_kill.py $(ARGS)

test: dev zookeeper
	$(BIN)/python -m pytest $(ARGS)

# Every test of storage, on a real HDFS and on two servers of S3: moto's, and MinIO, which Go builds once (4 minutes).
test-storage: dev hadoop
	@minio=; if { command -v minio || command -v go; } >/dev/null || test -e "$${XDG_CACHE_HOME:-$$HOME/.cache}/hyperbase/bin/minio"; then minio=,minio; \
	  else echo "MinIO is left out: neither minio nor go, which builds it, is here (https://go.dev/dl)."; fi >&2; \
	HYPERBASE_STORAGE=local,memory,hdfs,s3$$minio $(BIN)/python -m pytest tests/storage tests/unit/test_filesystem.py tests/unit/test_remote_files.py $(ARGS)

# Hadoop itself comes from Maven Central into a cache outside the checkout (tests/support/hdfs_server.py); this is what fetches and runs it.
hadoop:
	@{ command -v java && command -v mvn; } >/dev/null || \
	  { command -v apt-get >/dev/null || { echo "A real HDFS for the tests needs Java and Maven." >&2; exit 1; }; \
	    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    echo "installing Java and Maven for the tests"; \
	    $$sudo apt-get update -qq && \
	      $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends default-jre-headless maven >/dev/null; } || \
	  { echo "Installing Java and Maven failed. Run: apt-get update && apt-get install default-jre-headless maven" >&2; exit 1; }

# Tests of the cluster run a real ZooKeeper: Debian's, whose classes they start themselves.
zookeeper:
	@{ command -v java && test -e /usr/share/java/zookeeper.jar; } >/dev/null || \
	  { command -v apt-get >/dev/null || \
	      { echo "The tests need Java and /usr/share/java/zookeeper.jar (Debian, Ubuntu: apt install zookeeper)." >&2; exit 1; }; \
	    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    echo "installing zookeeper for the tests"; \
	    $$sudo apt-get update -qq && \
	      $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends zookeeper >/dev/null; } || \
	  { echo "Installing zookeeper failed. Run: apt-get update && apt-get install zookeeper" >&2; exit 1; }

check: dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: dev
	$(BIN)/python -m benchmarks $(ARGS)

bench-network: dev
	$(BIN)/python -m benchmarks.network $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis $(DEMO)
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
