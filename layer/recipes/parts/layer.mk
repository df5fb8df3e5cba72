# `sam build` for a layer of template.yaml. SAM tells a makefile build neither parameters nor the
# architecture; so each choice is a folder, layer/recipes/RECIPE/TARGET, whose Makefile includes this file.
# The layer is built in .layers, where the next build finds it again, and copied from there.

FOLDER := $(abspath $(dir $(firstword $(MAKEFILE_LIST))))
TARGET := $(notdir $(FOLDER))
RECIPE := $(notdir $(abspath $(FOLDER)/..))
ROOT := $(abspath $(FOLDER)/../../../..)

# The project's own Python where there is one, else whatever there is: the builder needs only pip.
PYTHON ?= $(firstword $(wildcard $(ROOT)/.venv/bin/python) python3)

define BUILD
	@"$(PYTHON)" -c 'import pip, tomllib' 2>/dev/null || { \
	    echo '$(PYTHON) is no Python 3.11 or newer with pip; name one: PYTHON=python3.13 sam build' >&2; exit 2; }
	@cd "$(ROOT)" && "$(PYTHON)" -m layer build $(1) --target $(TARGET)
	@mkdir -p "$(ARTIFACTS_DIR)" && cp -R "$(ROOT)/.layers/$(1)-$(TARGET)/layer/." "$(ARTIFACTS_DIR)"
endef

.PHONY: build-DependencyLayer build-LambdaInferenceLayer
build-DependencyLayer:
	$(call BUILD,$(RECIPE))

build-LambdaInferenceLayer:
	$(call BUILD,inference)
	@cp -R "$(ROOT)/layer/python/lambda_inference" "$(ARTIFACTS_DIR)/python/"
	@find "$(ARTIFACTS_DIR)/python/lambda_inference" -name __pycache__ -type d -prune -exec rm -r {} +
	@artifacts="$$(cd "$(ARTIFACTS_DIR)" && pwd)" && cd "$(ROOT)" \
		&& "$(PYTHON)" -m layer compile "$$artifacts/python" --target $(TARGET)
