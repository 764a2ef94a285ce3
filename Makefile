# Two commands are all a fresh machine needs: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# What running needs, and what working on it needs as well.
RUN = $(VENV)/.installed
DEV = $(VENV)/.installed-dev
INSTALL = $(BIN)/python -m pip install -q --disable-pip-version-check

.PHONY: demo test lint format clean

$(RUN): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("resnet-repro needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(DEV): $(RUN)
	$(INSTALL) -e '.[dev]'
	@touch $@

# Four small networks, side by side on the cores there are.
demo: $(RUN)
	$(BIN)/resnet-repro run table1 fig1 fig6 fig7 table6 --preset demo --jobs 4 --results demo-results
	$(BIN)/resnet-repro plot fig1 fig3 fig6 fig7 --results demo-results
	$(BIN)/resnet-repro report --results demo-results
	$(BIN)/resnet-repro table fig6 --preset demo --results demo-results
	@echo
	@echo "The picture of it:           demo-results/figures/fig6.png"
	@echo "All of it, with the figures: demo-results/report.md"

test: $(DEV)
	PYTHONWARNDEFAULTENCODING=1 $(BIN)/python -m pytest -n auto --dist worksteal

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-results build dist *.egg-info .mypy_cache .ruff_cache
