# Everything starts from `python3` and `make`; the environment is set up once, in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test test-slow lint bench constraints clean

help:
	@echo "make demo         poisoned data meets a secured pipeline, in Airflow and in Prefect"
	@echo "make test         all tests but the slow ones"
	@echo "make test-slow    the tests that take long, and run in CI all the same"
	@echo "make lint         ruff, mypy --strict, import-linter"
	@echo "make bench        measurements, side by side with what they compare to"
	@echo "make constraints  renew constraints.txt (pinned versions with hashes)"
	@echo "make clean        remove what these commands made, .venv included"

# Touched last, so that an installation that failed is tried again.
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sluicegate needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo "Setting up .venv (Airflow, Prefect, Great Expectations …): a few minutes, once."
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --progress-bar off --require-hashes -r constraints.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: .venv/ready
	$(BIN)/sluicegate demo --folder build/demo

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(TESTS)

test-slow: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist load -m slow $(TESTS)

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/python benchmarks/gate_overhead.py
	$(BIN)/python benchmarks/import_cost.py
	$(BIN)/python benchmarks/poisoning/speed.py --quick
	$(BIN)/python benchmarks/poisoning/noise.py --seeds 2
	$(BIN)/python benchmarks/poisoning/clean.py
	$(BIN)/python benchmarks/poisoning/battery.py --seeds 11 --budgets 0.01
	$(BIN)/python benchmarks/poisoning/text.py --documents 8000
	$(BIN)/python benchmarks/encryption/policies.py --policies 500 --seed 1
	$(BIN)/python benchmarks/encryption/heads.py
	$(BIN)/python benchmarks/encryption/inventory.py
	$(BIN)/python benchmarks/provenance/hashing.py
	$(BIN)/python benchmarks/provenance/manifest.py
	$(BIN)/python benchmarks/provenance/ledger.py
	$(BIN)/python benchmarks/provenance/oms.py
	$(BIN)/python benchmarks/validation/speed.py --rows 1000000
	$(BIN)/python -m benchmarks.validation.agreement
	$(BIN)/python -m benchmarks.validation.slow_types
	$(BIN)/python benchmarks/validation/text.py 1
	$(BIN)/python benchmarks/validation/files.py 20
	$(BIN)/python -W ignore benchmarks/validation/learning.py --repeats 1
	$(BIN)/python -m benchmarks.validation.prompts

constraints: .venv/ready
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  --output-file constraints.txt

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
