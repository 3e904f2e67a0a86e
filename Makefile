# Two commands do everything: `make demo` and `make test`. Both install what they need and can be run again at any time.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

UV := .build/uv/bin/uv
PYTHON := .venv/bin/python
export PYTHONPATH := tests/cluster
export UV_PYTHON_DOWNLOADS := never
# Each of several processes reads all tests: compiled anew by every one of them, that is most of the time it takes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: venv ## a real cluster, the chart, a bucket, and the iris job from apply to a served prediction
	@$(PYTHON) -m demo run

.PHONY: test
test: venv ## static checks, unit and integration tests, and the whole product on a real cluster; the long matrices in part
	@$(PYTHON) -m demo test

.PHONY: test-all
test-all: venv ## the same with the whole of the long matrices
	@$(PYTHON) -m demo test-all

.PHONY: test-distributed
test-distributed: venv ## only what trains with several replicas on the cluster, killed and resumed in each role
	@$(PYTHON) -m demo test-distributed

.PHONY: check
check: venv static ## what every commit passes, in under a minute: ruff, mypy, import contracts, generated files, unit tests but the longest
	@$(PYTHON) -m pytest -q -n auto -m "not thorough" tests/unit

.PHONY: static
static:
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache | tail -4
	@$(PYTHON) -m tftraining_operator crd | diff -u crds/tftraining.dev_tftrainingjobs.yaml - || { echo "crds/ is stale, run: make generate"; exit 1; }
	@$(PYTHON) -m images.runtimes | diff -u docs/reference/runtimes.md - || { echo "docs/reference/runtimes.md is stale, run: make generate"; exit 1; }
	@$(PYTHON) docs/tables.py --check

.PHONY: bench
bench: venv ## the benchmarks, each beside its baseline in the same run
	@$(PYTHON) -m localcluster build
	@$(PYTHON) tests/bench

SOAK_MINUTES ?= 120
SOAK_SEQUENCES ?= 3000
.PHONY: soak
soak: venv ## SOAK_SEQUENCES (3000) orders of what can happen to a job, then SOAK_MINUTES (120) of jobs and faults; a table tells what drifts
	@$(PYTHON) -m localcluster build
	@SEQUENCES=$(SOAK_SEQUENCES) $(PYTHON) -m pytest -q -p no:xdist tests/integration/operator/test_any_order.py
	@PYTHONPATH=tests/cluster:tests/bench:tests/integration/operator $(PYTHON) tests/soak --minutes $(SOAK_MINUTES) --page docs/reference/soak.md

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: venv ## fuzzing of what reads hostile bytes and programs, FUZZ_SECONDS (60) for each target; what it finds stays in .build/fuzz/findings
	@echo "fuzzing preflight for $(FUZZ_SECONDS) s"
	@$(PYTHON) tests/fuzz/preflight.py --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))
	@$(UV) sync --quiet --frozen --inexact --group fuzz --python python3
	@for target in archive uri state report; do \
	  echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  $(PYTHON) tests/fuzz $$target .build/fuzz/$$target -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

.PHONY: up
up: venv ## only the cluster, the images and the chart
	@$(PYTHON) -m demo install

.PHONY: env
env: venv-quiet ## export lines for the local cluster: eval "$$(make -s env)"
	@$(PYTHON) -m demo env

.PHONY: down
down: ## end the local cluster and all that belongs to it
	@python3 -m localcluster down

.PHONY: format
format: venv ## bring the sources into their standard form
	@.venv/bin/ruff format -q .
	@.venv/bin/ruff check -q --fix .

.PHONY: generate
generate: venv ## write the generated files again
	@$(PYTHON) -m tftraining_operator crd > .build/crd.yaml && mv .build/crd.yaml crds/tftraining.dev_tftrainingjobs.yaml
	@cp crds/tftraining.dev_tftrainingjobs.yaml helm/tftraining-operator/files/crd.yaml
	@$(PYTHON) -m images.runtimes > .build/runtimes.md && mv .build/runtimes.md docs/reference/runtimes.md
	@$(PYTHON) docs/tables.py

.PHONY: venv venv-quiet
venv: .venv/.synced
venv-quiet: ; @$(MAKE) --no-print-directory venv >&2

.venv/.synced: uv.lock pyproject.toml operator/pyproject.toml images/trainer/pyproject.toml | $(UV)
	@echo "Python environment"
	@$(UV) sync --quiet --frozen --python python3
	@touch $@

$(UV):
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; }
	@mkdir -p .build && python3 -m venv .build/uv && .build/uv/bin/python -m pip install --quiet uv
