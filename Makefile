# The two commands: `make demo` and `make test`. PYTHON= chooses the interpreter, VENV= where it is installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
KERNELS := $(shell find csrc -type f)
# The package as ordinary files for editors and type checkers, which run no import hooks: a folder of links.
LINKS := $(abspath $(VENV))/editable/detassign
ROOT := $(wildcard api/*.py) api/py.typed
FOLDERS := $(filter-out api,$(patsubst %/__init__.py,%,$(wildcard */__init__.py)))
# The CUDA architectures that `make cuda-check` compiles for where no GPU names its own.
CUDA_ARCHITECTURES ?= 8.0;9.0+PTX
# What `make asan` looks for; the first report ends it.
SANITIZE := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all
# The releases of torch that `make abi-check` tests the wheel under; the last is whatever is newest.
ABI_TORCH ?= torch==2.13.0 torch

.DEFAULT_GOAL := help
.PHONY: help setup demo test docs lint format asan abi-check cuda-check gpu-check dist clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.linked ## Create the environment, build the kernels, install the package editable

$(VENV)/.dependencies: requirements/build.txt requirements/runtime.txt requirements/openmmlab.txt requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements/build.txt -r requirements/runtime.txt -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/openmmlab.txt
	touch $@

$(VENV)/.installed: $(VENV)/.dependencies setup.py pyproject.toml $(KERNELS)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -c "from detassign.ops import extension_status; print(*extension_status().values(), sep='\n')"
	touch $@

$(VENV)/.linked: $(VENV)/.installed $(ROOT) $(addsuffix /__init__.py,$(FOLDERS))
	rm -rf $(LINKS) && mkdir -p $(LINKS)
	ln -s $(addprefix $(CURDIR)/,$(ROOT) $(FOLDERS)) $(LINKS)
	echo $(dir $(LINKS)) > "$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/detassign_links.pth"
	touch $@

demo: setup ## Train FCOS, ATSS and DW on generated data and compare them
	$(BIN)/detassign bench assigners --detector fcos_tiny --assigners fcos,atss,dw --data synthetic --work-dir runs/demo

test: lint ## Run every check: lint and all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

docs: setup ## Build the documentation's site in build/site, links checked
	$(BIN)/python -m pip install --quiet -r requirements/docs.txt
	rm -rf build/packages
	$(BIN)/python setup.py --quiet build_py --build-lib build/packages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo build/site/index.html

lint: setup ## Check style and types without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/support/documented.py build/documented
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: setup ## Bring the style in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

asan: export PYTHONPATH := build/asan/lib
asan: export ASAN_OPTIONS := detect_leaks=0
asan: setup ## Run the op tests on CPU kernels under gcc's address and undefined-behaviour sanitizers
	rm -rf $$PYTHONPATH
	CFLAGS="$(SANITIZE) -g1" LDFLAGS="$(SANITIZE)" DETASSIGN_CUDA=0 \
		$(BIN)/python setup.py --quiet build --build-base build/asan --build-lib $$PYTHONPATH > /dev/null
	export LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so):$$($(CXX) -print-file-name=libstdc++.so)"; \
	$(BIN)/python -c "import os, detassign.ops._C as C; assert os.path.relpath(C.__file__).startswith('build/asan')" && \
	for widest in default avx2 avx512; do \
		ATEN_CPU_CAPABILITY=$$widest $(BIN)/python -m pytest -s tests/ops/test_hostile_inputs.py || exit; \
	done && $(BIN)/python -m pytest -s tests/ops

abi-check: setup ## Run the op tests on this torch's wheel, unbuilt, under newer releases of torch
	rm -rf build/abi
	DETASSIGN_CUDA=0 $(BIN)/python setup.py --quiet build --build-base build/abi/base \
		bdist_wheel --dist-dir build/abi/wheel > /dev/null
	$(BIN)/python tests/packaging/abi.py build/abi/wheel/*.whl build/abi $(ABI_TORCH)

cuda-check: setup ## Compile the CUDA kernels (needs the CUDA compiler, not a GPU) and load them
	DETASSIGN_CUDA=1 TORCH_CUDA_ARCH_LIST="$(CUDA_ARCHITECTURES)" \
		$(BIN)/python setup.py --quiet build --build-base build/cuda --build-lib build/cuda/lib
	PYTHONPATH=build/cuda/lib $(BIN)/python -c "from detassign.ops import extension_status; \
		status = extension_status()['cuda']; print(status); raise SystemExit(not status.loaded)"

gpu-check: ## On a machine with a GPU: build and test the CUDA kernels, measure them and training steps (bench/results/*_cuda.json)
	PYTHON="$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))" sh bench/gpu_check.sh

dist: setup ## Build the source distribution and the wheel, and check what they hold
	rm -rf build dist
	DETASSIGN_CUDA=0 $(BIN)/python -c "from setuptools import build_meta as b; b.build_sdist('dist'), b.build_wheel('dist')" > /dev/null
	DETASSIGN_DIST=dist $(BIN)/python -m pytest tests/packaging/test_distribution.py

clean: ## Remove what was built, except the environment
	rm -rf build dist *.egg-info ops/*.so $(VENV)/.installed $(VENV)/.linked .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
