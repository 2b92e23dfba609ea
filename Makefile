# Everything is set up in .venv, from constraints.txt; nothing outside of this folder is touched.
.DEFAULT_GOAL := help
.PHONY: help run serve check test lint bench torture screenshots clean
# What users get, and what work on it needs besides.
EXTRAS := plots,changes,postgres,explore
BIN := .venv/bin

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: .venv/.ready ## run the survey under Prefect, on embedded defaults
	@$(BIN)/threadmill survey --via prefect

serve: .venv/.ready ## Prefect's server, the deployments and a worker, until Ctrl-C
	@$(BIN)/threadmill serve

# Neither lets a long file be the last one: see _LONGEST in tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: lint ## lint, types, layers and the tests that need nothing but this process; at most 3 minutes
	@$(PYTEST) -m "not command and not server and not slow"

test: lint ## lint, types, layers, then all tests; 12 minutes on 2 cores
	@$(PYTEST)

lint: .venv/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo --no-cache >.venv/layers.txt || { cat .venv/layers.txt; exit 1; }

bench: .venv/.dev ## measure against the bare tools; minutes, on an idle machine
	@$(BIN)/python -m benchmarks

torture: .venv/.dev ## damage vaults, kill commands, fill disks, play cases of loss: docs/reliability.md; minutes
	@$(BIN)/python -m benchmarks.torture
	@$(PYTEST) -m drawn --seed "$$(date +%s)"

screenshots: .venv/.dev ## make the pictures of docs/images anew; needs chromium, takes minutes
	@$(BIN)/python -m docs.screenshots

clean: ## remove the environment
	@rm -rf .venv

# constraints.txt is made by: uv pip compile --universal --python-version 3.11 --all-extras --no-header --no-annotate
# pyproject.toml -o constraints.txt (with no constraints.txt there, or its versions stay).
# uv installs in seconds; where it cannot be had, pip does the same in a minute. Byte code is written here once, also where
# the environment forbids it later: without it Prefect takes twice as long to import.
define install
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$(1)]' 2>.venv/uv.log \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(1)]'
	@$(BIN)/python -m compileall -q -j 0 .venv/lib flows tasks db >/dev/null || true
	@touch $@
endef

# The first Python >= 3.11 that really runs: a pyenv shim may be there and not run.
.venv/.ready: pyproject.toml constraints.txt Makefile
	@set -e; for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	test -n "$$found" || { echo "threadmill needs Python 3.11 or newer; make PYTHON=/path/to/python run" >&2; exit 1; }; \
	echo "setting up .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv 2>/dev/null || true
	$(call install,$(EXTRAS))

.venv/.dev: .venv/.ready
	$(call install,dev)
