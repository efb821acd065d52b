# Each target sets up what it needs in .venv; nothing is installed outside it but bubblewrap and (for its tests)
# PostgreSQL, which are asked for.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
TORCH ?= 2.13.0
# One more than CI has cores: tests that wait for servers leave a quarter of them idle.
WORKERS ?= 3
STAMP := $(VENV)/.installed
CONTROL_TESTS := tests/unit/agent tests/unit/gateway tests/unit/identity tests/unit/database \
	tests/contracts/agent tests/contracts/gateway tests/contracts/postgres
POSTGRES_SAMPLE := tests/unit/database tests/contracts/postgres tests/unit/gateway/test_audit_chain.py tests/unit/gateway/test_ledger_races.py \
	tests/unit/gateway/test_store_quick.py tests/unit/agent/test_journal.py tests/unit/agent/test_turns.py \
	tests/contracts/agent/test_session_flow.py

.PHONY: setup demo demo-classification demo-preference demo-evaluator up test test-slow test-postgres test-postgres-sample \
	postgres mutants adversary \
	crashes check doctor bubblewrap clean help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

setup: $(STAMP) bubblewrap postgres  ## what demos, tests and checks need, in .venv

demo: $(STAMP) bubblewrap  ## a real fine-tune from an instruction to a deployed, answering model
	$(RUN)/pilotlight demo

demo-classification: $(STAMP) bubblewrap  ## base models measured, the strongest tuned, scores by label, a deployed classifier
	$(RUN)/pilotlight demo --workflow classification

demo-evaluator: $(STAMP) bubblewrap  ## an evaluator written from the data, then a fine-tune whose winner it chooses
	$(RUN)/pilotlight demo --workflow evaluator

demo-preference: $(STAMP) bubblewrap  ## pairs of answers, a sweep of ORPO, the comparison, a deployed model
	$(RUN)/pilotlight demo --workflow preference

up: $(STAMP) bubblewrap  ## start the agent and the embedded platform on this machine
	$(RUN)/pilotlight up

test: $(STAMP) bubblewrap  ## the tests
	$(RUN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP) bubblewrap  ## long campaigns
	$(RUN)/pytest -q -m slow

test-postgres: $(STAMP) bubblewrap postgres  ## the tests of the control process, on a PostgreSQL server of their own
	$(RUN)/python -m tests.fixtures.postgres $(RUN)/pytest -q -m 'not slow' -n 2 --dist loadfile $(CONTROL_TESTS)

test-postgres-sample: $(STAMP) postgres  ## the part of them that CI runs
	$(RUN)/python -m tests.fixtures.postgres $(RUN)/pytest -q -m 'not slow' -n 2 --dist loadfile $(POSTGRES_SAMPLE)

mutants: $(STAMP) bubblewrap postgres  ## take each protection away and see a test fail
	$(RUN)/python -m tests.mutation

adversary: $(STAMP) bubblewrap  ## 2,000 sessions of a planner that calls anything with anything
	$(RUN)/python -m tests.adversary --sessions 2000 --seed 1

crashes: $(STAMP) bubblewrap postgres  ## 3,000 kills and everything else that goes wrong, checked, on both databases
	$(RUN)/python -m tests.crashes --scenario all --kills 3000 --seed 1
	$(RUN)/python -m tests.crashes --scenario all --kills 3000 --seed 1 --database postgres

check: $(STAMP)  ## style, types, import rules, docs
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/pyright
	$(RUN)/lint-imports --no-cache
	$(RUN)/pytest -q tests/unit/docs

doctor: $(STAMP)  ## test every protection of the sandbox on this host
	$(RUN)/pilotlight doctor

# torch first and alone: on a machine that offers a CPU build, this takes it instead of several GB of CUDA libraries.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Pilotlight needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check torch==$(TORCH)
	$(RUN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

bubblewrap:
	@command -v bwrap >/dev/null || { \
	  echo 'bubblewrap is missing; the sandbox needs it. Install it with:'; \
	  echo '    sudo apt-get install bubblewrap     (or: sudo dnf install bubblewrap)'; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Running as root: installing it now.'; apt-get update -qq && apt-get install -y -qq bubblewrap >/dev/null; \
	  else exit 1; fi; }

postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
	  echo 'PostgreSQL is missing; these tests start a server of their own. Install it with:'; \
	  echo '    sudo apt-get install postgresql     (or: sudo dnf install postgresql-server)'; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Running as root: installing it now.'; apt-get update -qq && apt-get install -y -qq postgresql >/dev/null; \
	  else exit 1; fi; }

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
