# Needs make, python3 and (for what apt must install) root or sudo; every target sets up what it uses.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := $(or $(CDENGINE_VENV),.venv)
ifneq ($(words $(VENV)),1)
$(error CDENGINE_VENV must not contain spaces: $(VENV))
endif
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.cdengine-installed
DEVELOP := $(VENV)/.cdengine-develop
PIP_INSTALL := $(PYTHON) -m pip install --disable-pip-version-check --no-input --no-warn-script-location
# pip says hundreds of lines; a person wants to see what is being fetched, and what goes wrong (stderr). Dropped from that:
# what pip says of configured index folders that lack a package.
PROGRESS := sed -un -e 's/^ *Downloading /  fetching /p' -e 's/^ *Using cached /  cached   /p' -e 's/^Installing collected packages.*/  unpacking/p'
FILTER = 2> >(grep -v 'is ignored: it is neither a file' >&2) | $(PROGRESS)

SOURCES := $(shell find cdengine configs -type f -not -path '*/__pycache__/*' 2>/dev/null) pyproject.toml
PLUGIN_SOURCES := $(shell find qgis_plugin -type f -not -path '*/__pycache__/*' 2>/dev/null) metadata.txt LICENSE
WHEEL_STAMP := build/wheel/.built
PLUGIN_STAMP := build/plugins/.built

# Two workers of one thread each: the suite is many small arrays, which threads inside a test do not speed up.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(or $(TEST_WORKERS),2)

.PHONY: help demo install develop test test-all test-engine test-plugin lint plugin bench docs train-default clean FORCE

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: install ## render a pair of scenes, detect the changes, print where the results are
	@$(PYTHON) -m cdengine demo --output demo --overwrite

install: $(INSTALLED) ## the engine's environment alone (.venv, or CDENGINE_VENV)

# Both suites run even if the first one fails; set-up that fails ends it at once.
MARK := not slow
test: $(DEVELOP) $(PLUGIN_STAMP) ## all default tests, engine and plugin (QGIS comes by apt)
	@tools/qgis_ready.sh
	@status=0; $(MAKE) test-engine || status=1; $(MAKE) test-plugin || status=1; exit $$status

test-all: ## the slow tests too
	@$(MAKE) test MARK="slow or not slow"

test-engine: $(DEVELOP)
	$(PYTEST) -m "$(MARK)"

# QGIS's own Python runs these; its profile and run-time folders are private, so no user's settings are touched.
test-plugin: $(INSTALLED) $(PLUGIN_STAMP)
	@tools/qgis_ready.sh
	@rm -rf build/qgis-profile && mkdir -p build/qgis-profile && mkdir -p -m 0700 build/qgis-profile/run
	QT_QPA_PLATFORM=offscreen XDG_RUNTIME_DIR="$(CURDIR)/build/qgis-profile/run" \
	  QGIS_CUSTOM_CONFIG_PATH="$(CURDIR)/build/qgis-profile" CDENGINE_PYTHON="$(abspath $(PYTHON))" \
	  /usr/bin/python3 -m pytest -c tests/plugin/pytest.ini tests/plugin -m "$(MARK)"

lint: $(DEVELOP) ## formatting, style, types, file budget
	@status=0; \
	for check in "ruff check" "ruff format --check" "mypy"; do \
	  echo "$$check"; $(PYTHON) -m $$check || status=1; done; \
	echo "file budget"; $(PYTHON) tools/check_file_length.py || status=1; exit $$status

plugin: $(PLUGIN_STAMP) ## dist/cdengine_qgis-VERSION.zip, and build/plugins/ for QGIS_PLUGINPATH
	@ls dist/cdengine_qgis-*.zip

bench: install ## timings and memory as JSON and a table in build/bench/
	$(PYTHON) -m benchmarks.run --output build/bench

docs: install ## option tables in docs/cli.md are those of the parsers, and links lead somewhere
	$(PYTHON) tools/make_docs.py --check
	$(PYTHON) tools/make_faults_page.py --check

# Hours on two cores; the same command goes on where it was stopped. All of it lies in build/default.
DATA ?= ../shared/data
PAIRS ?= 12500
train-default: install ## train the shipped RGB model on free imagery in DATA (hours; goes on where it stopped)
	$(PYTHON) -m tools.make_default_pairs $(DATA) --scenes 180
	$(PYTHON) -m tools.backbone_weights build/default/efficientnet_lite0.safetensors
	$(PYTHON) -m tools.train_default $(DATA) --until $(PAIRS) --cool 4500 --threads 2
	$(PYTHON) -m tools.finish_default $(DATA)
	$(PYTHON) benchmarks/default_model.py $(DATA) --models build/default/rgb-vhr-v1.safetensors cva irmad \
	  --card build/default/figures.json
	$(PYTHON) -m tools.finish_default $(DATA) --metrics build/default/figures.json

clean: ## what make built (not the environment)
	rm -rf build dist

# ---------------------------------------------------------------- environment
# python -m venv leaves an interpreter behind even if it fails later, so pip's presence is the sign of success.
$(VENV)/bin/pip:
	@python=$$(tools/find_python.sh) && echo "environment: $(VENV), by $$($$python --version)" && \
	  $$python -m venv $(VENV)
	@touch $@

# An editable install points at one checkout: an environment shared by two is installed anew for this one.
ifneq ($(file < $(INSTALLED)),$(CURDIR))
$(INSTALLED): FORCE
endif
$(INSTALLED): pyproject.toml | $(VENV)/bin/pip
	@echo "installing cdengine and what it needs (torch with CUDA: about 3 GB to fetch, 6 GB on disk)"
	@$(PIP_INSTALL) -e . $(FILTER)
	@rm -f $(DEVELOP); printf '%s' "$(CURDIR)" > $@

$(DEVELOP): $(INSTALLED)
	@echo "installing what tests and lint need"
	@$(PIP_INSTALL) -e ".[test,lint]" $(FILTER)
	@touch $@

# ---------------------------------------------------------------- plugin
$(WHEEL_STAMP): $(SOURCES) | $(INSTALLED)
	@rm -rf build/wheel
	@$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	@touch $@

$(PLUGIN_STAMP): $(WHEEL_STAMP) $(PLUGIN_SOURCES) tools/build_plugin.py tools/markdown_page.py docs/qgis.md
	$(PYTHON) tools/build_plugin.py --wheel build/wheel/cdengine-*.whl
	@touch $@
