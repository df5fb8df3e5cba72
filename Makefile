# Every target makes .venv itself when it is missing; the first one takes a few minutes.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check

# torch's CPU build. Linux's ordinary index has CUDA builds of several GB under the same version, so
# the CPU build is asked for by its full name: first from where pip looks anyway, then from PyTorch.
TORCH := 2.13.0
ifeq ($(shell uname -s),Linux)
TORCH_WHEEL := torch==$(TORCH)+cpu
else
TORCH_WHEEL := torch==$(TORCH)
endif

CHECKOV := 3.3.30
PIP_AUDIT := 2.10.1
ATHERIS := 3.0.0

# pip writes absolute paths: after the folder was copied or moved, its environment follows.
$(shell [ ! -e "$(VENV)/ready" ] || [ "$$(cat "$(VENV)/prefix" 2>/dev/null)" = "$(abspath $(VENV))" ] \
	|| $(PY) tools/environment.py "$(VENV)")

# Whose event `make demo` sends: the folder's name without _function.
EXAMPLE := translation
# They have modules of the same names, so they are checked one by one.
FUNCTIONS := $(filter-out translation_function,$(wildcard *_function examples/*_function))
# One of every layer that is built for Lambda or for this machine.
LOCKS := $(wildcard layer/recipes/*/python*/wheels.lock layer/recipes/*/host/*/wheels.lock)
# The layers that functions run in on this machine; every build makes the inference layer too.
LOCAL := $(filter-out inference,$(foreach lock,$(wildcard layer/recipes/*/host/*/wheels.lock),$(word 3,$(subst /, ,$(lock)))))

# A room of the tests is a folder of that name under tests/unit, tests/integration or tests/attacks.
AREAS := $(filter-out __pycache__,$(sort $(notdir $(patsubst %/,%,$(wildcard tests/unit/*/ tests/integration/*/ tests/attacks/*/)))))
ROOM = $(if $(AREA),$(if $(filter $(AREA),$(AREAS)),$(wildcard tests/unit/$(AREA) tests/integration/$(AREA) tests/attacks/$(AREA)),\
	$(error AREA=$(AREA) is unknown; choose one of: $(AREAS))))
PYTEST = $(PY) -m pytest --numprocesses 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test check e2e soak bench lint coverage audit layer layers prove site s3 score build clean

help: ## show this
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo "AREA is one of: $(AREAS)"

demo: $(VENV)/ready ## answer a function's event on this machine, and show it; EXAMPLE=embedding, spacy, fastai or keras
	@exec 9> .demo.lock; folder=.demo; \
	$(PY) -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2> /dev/null || folder=.demo-$$$$; \
	rm -rf "$$folder" && mkdir "$$folder" && \
	$(PY) -m lambda_setup invoke --function $(EXAMPLE) --out "$$folder" --log-file "$$folder/function.log" > "$$folder/response.json" && \
	$(PY) -m lambda_setup results show "$$folder" --function $(EXAMPLE) && \
	echo "response     $$folder/response.json"

test: $(VENV)/ready $(if $(AREA),,layers) ## test in about 8 minutes, against a real S3 server, the real emulator and models; AREA=layer: one room's
	@$(PYTEST) -m "not check" $(ROOM)
	@echo "make check runs the rest: every combination, what SAM builds and deploys, and containers."

check: $(VENV)/ready $(VENV)/checkov/bin/checkov $(if $(AREA),,layers) ## run every test, those in containers too; AREA=layer: one room's
	@$(PYTEST) -p no:randomly $(ROOM)
	@$(if $(AREA),,$(PY) -m pytest -p no:randomly tests/e2e)

e2e: $(VENV)/ready ## run the application in containers: sam local, and under Lambda's terms
	@$(PY) -m pytest -p no:randomly tests/e2e

soak: $(VENV)/ready $(if $(filter-out fuzz%,$(AREA)),,$(VENV)/atheris) ## run what takes too long for every change; AREA=campaign: a random walk, AREA=fuzz: hostile inputs, with SEED=, MINUTES=
	@SOAK_SEED=$(SEED) SOAK_MINUTES=$(MINUTES) $(PY) -m pytest -p no:randomly tests/soak$(if $(AREA),/$(AREA))

bench: $(VENV)/ready ## measure every number again, or ROW=store or ROW=store.load_time alone
	@$(PY) -m bench $(ROW)
	@$(PY) -m tools.docs

lint: $(VENV)/ready ## check style, types, and the prose of pages, messages and descriptions
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/mypy -m layer.__main__
	@$(PY) -m tools.prose
	@for folder in $(FUNCTIONS); do MYPYPATH=$$folder $(VENV)/bin/mypy --ignore-missing-imports --no-warn-unused-ignores $$folder || exit 1; done

site: .site/ready ## build the pages as a site with search; needs no .venv
	@NO_MKDOCS_2_WARNING=1 .site/venv/bin/python -m mkdocs build --quiet --config-file tools/site/mkdocs.yml
	@echo "The site is in .site/html; python3 -m http.server --directory .site/html shows it."

coverage: $(VENV)/ready ## run the quick unit tests, and print the share of lines that they run, by room
	@$(PY) -m coverage run -m pytest -q -m "not check" tests/unit
	@$(PY) -m coverage combine --quiet
	@$(PY) -m tools.trust.rooms

audit: $(VENV)/audit/bin/pip-audit ## look for known vulnerabilities of what is installed and what layers hold
	@$(PY) -m tools.trust.audit

s3: $(VENV)/ready ## serve the local S3 with the model in it, until Ctrl-C
	@$(PY) -m lambda_setup s3

score: $(VENV)/ready ## translate the test split with the shipped model through the function, and score it
	@$(PY) -m lambda_setup model score models/en-es

layer: $(VENV)/ready ## build the layer that the local function runs in, and its report
	@$(PY) -m layer build opennmt

layers: $(VENV)/ready # what tests and demos run in: built beside each other, so that no test waits for it
	@echo "Building the layers that functions run in, if they are not there: some minutes, once."
	@$(PY) -m lambda_setup model fetch models/embedding > $(VENV)/layers.log 2>&1 \
		&& $(PY) -m layer build inference >> $(VENV)/layers.log 2>&1 || { cat $(VENV)/layers.log; exit 1; }
	@printf '%s\n' $(LOCAL) | OMP_NUM_THREADS=1 xargs -P 2 -I RECIPE $(PY) -m layer build RECIPE >> $(VENV)/layers.log 2>&1 \
		|| { cat $(VENV)/layers.log; exit 1; }

prove: $(VENV)/ready ## prove every layer anew, after a change to a function or a recipe; needs qemu-user-static
	@$(PY) -m lambda_setup model fetch models/embedding
	@$(PY) -m layer interpreter python3.13-arm64
	@for lock in $(LOCKS); do path=$${lock#layer/recipes/} && rest=$${path#*/} && \
		$(PY) -m layer build $${path%%/*} --target $${rest%%/*} || exit 1; done

build: $(VENV)/ready ## build the SAM application for this machine's own architecture
	@$(VENV)/bin/sam build --config-env $(if $(filter arm64 aarch64,$(shell uname -m)),default,x86)

clean: ## remove what make made
	rm -rf $(VENV) .converters .demo .demo-* .demo.lock .e2e .fuzz .aws-sam .layers .site

$(VENV)/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV), about 2 GB; this happens once."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "[1/3] torch $(TORCH), the CPU build"
	@$(PIP) --quiet --no-deps "$(TORCH_WHEEL)" 2> $(VENV)/torch.log \
		|| $(PIP) --quiet --no-deps "$(TORCH_WHEEL)" --index-url https://download.pytorch.org/whl/cpu \
		|| { cat $(VENV)/torch.log; exit 1; }
	@echo "[2/3] everything else, each file by its hash in requirements.lock"
	@$(PIP) --quiet --no-deps --require-hashes --only-binary :all: --requirement requirements.lock 2> $(VENV)/pip.log \
		|| { cat $(VENV)/pip.log; exit 1; }
	@echo "[3/3] this project itself"
	@$(PIP) --quiet --no-deps --no-build-isolation --editable . 2> $(VENV)/pip.log || { cat $(VENV)/pip.log; exit 1; }
	@$(PY) -m layer fix opennmt "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@$(PY) tools/environment.py $(VENV)
	@touch $@

# The site's packages are few, and their versions are in its own list.
.site/ready: tools/site/requirements.txt
	@$(PYTHON) -m venv .site/venv
	@.site/venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes --requirement $< 2> .site/pip.log || { cat .site/pip.log; exit 1; }
	@touch $@

# pip-audit, alone with what it needs.
$(VENV)/audit/bin/pip-audit: | $(VENV)/ready
	@$(PY) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --disable-pip-version-check --quiet pip-audit==$(PIP_AUDIT)

# atheris fuzzes by coverage. Where it has no wheel, and without the internet, those tests are skipped.
$(VENV)/atheris: | $(VENV)/ready
	@$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --only-binary :all: --target $@.partial atheris==$(ATHERIS) 2> $(VENV)/atheris.log \
		&& mv $@.partial $@ || echo "atheris $(ATHERIS) was not installed, see $(VENV)/atheris.log: its tests are skipped."

# checkov needs an older boto3 than everything else here: it has an environment of its own.
$(VENV)/checkov/bin/checkov: | $(VENV)/ready
	@echo "Setting up checkov, about 300 MB; this happens once."
	@$(PY) -m venv $(VENV)/checkov
	@$(VENV)/checkov/bin/python -m pip install --disable-pip-version-check --quiet checkov==$(CHECKOV)
