# make demo   installs into .venv and runs the first comparison
# make test   installs into .venv and runs the whole test suite
# make lint   the checks of style, types and import directions
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(BIN)/qfedfm run experiments/quickstart.toml --resume

test: $(VENV)/.test
	$(BIN)/pytest --numprocesses=auto --dist=loadfile --maxprocesses=4

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

# The stamp .venv/.demo says that the extra "demo" is installed as pyproject.toml and constraints.txt ask now.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install -c constraints.txt -e ".[$*]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
