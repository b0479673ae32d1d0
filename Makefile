# Each target does its own set-up: all share one .venv, which the first one creates.
PYTHON ?= python3
BUDGET ?= standard
BIN := .venv/bin

.PHONY: report test lint demo render bench ablation torture lowest

report: .venv/ready  ## execute the report into build/
	$(BIN)/python -m detector report --budget $(BUDGET)

test: .venv/ready  ## run the tests
	$(BIN)/python -m pytest

lint: .venv/ready  ## check the style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

demo: .venv/ready  ## serve the demo on localhost
	-$(BIN)/python -m detector encoder  # once; without it the smaller model answers
	$(BIN)/python -m detector demo

bench: .venv/ready  ## measure every claim of speed on this machine
	$(BIN)/python -m benchmarks.speed

torture: .venv/ready lowest  ## kill, corrupt and flood: the long form of the tests of SECURITY.md, about an hour
	TORTURE=1 $(BIN)/python -m pytest tests/torture tests/training/test_distributed.py

lowest:  ## run the tests with the lowest versions that requirements.txt allows; they may warn
	mkdir -p build
	sed -E 's/>=([0-9.]+)(,<[0-9]+)?/==\1/' requirements.txt > build/lowest.txt
	grep -v '^-r' tests/requirements.txt > build/tests.txt  # the tests of optional packages are skipped
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check -r build/lowest.txt -r build/tests.txt
	build/lowest/bin/python -m pytest -W ignore

ablation: .venv/ready  ## measure each component of the recipe, and fewer training images
	$(BIN)/python -m benchmarks.ablation

render: .venv/ready  ## for maintainers: execute the report and replace the committed one
	$(BIN)/python -m detector report --budget $(BUDGET) --replace

.venv/ready: requirements.txt requirements-scale.txt tests/requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(None if (3, 11) <= v <= (3, 13) else f"error: Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@
