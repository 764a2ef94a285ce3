# Two commands are all a fresh machine needs: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo test lint format clean

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("resnet-repro needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/resnet-repro run table1 fig1 fig6 fig7 table6 table2 fig4 --preset demo --results demo-results
	$(BIN)/resnet-repro plot fig1 fig6 fig7 fig4 --results demo-results
	$(BIN)/resnet-repro table table6 --results demo-results
	$(BIN)/resnet-repro table table2 --results demo-results
	$(BIN)/resnet-repro report --results demo-results
	@echo
	@echo "The report with its figures: demo-results/report.md"

test: $(STAMP)
	PYTHONWARNDEFAULTENCODING=1 $(BIN)/python -m pytest -n auto --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-results build dist *.egg-info .mypy_cache .ruff_cache
