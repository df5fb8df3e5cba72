# What `sam build` does for template.yaml's DependencyLayer, once a target's Makefile has said which.
# SAM tells a makefile build neither parameters nor the architecture; so each choice is a folder.

ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))../..)

# The project's own Python where there is one, else whatever there is: the builder needs only pip.
PYTHON ?= $(firstword $(wildcard $(ROOT)/.venv/bin/python) python3)

.PHONY: build-DependencyLayer
build-DependencyLayer:
	@"$(PYTHON)" -c 'import pip, tomllib' 2>/dev/null || { \
	    echo '$(PYTHON) is no Python 3.11 or newer with pip; name one: PYTHON=python3.13 sam build' >&2; exit 2; }
	@cd "$(ROOT)" && "$(PYTHON)" -m layer build $(RECIPE) --target $(TARGET) --out "$(ARTIFACTS_DIR)"
