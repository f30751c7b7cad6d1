# Everything runs from an environment of its own in .venv, made at first use.
PYTHON ?= python3
# `make test KERAS=3.15.1` tests with this version, in an environment of its own.
KERAS ?=
VENV := .venv$(if $(KERAS),-keras-$(KERAS))
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2
# On processors without AVX-512 TensorFlow leaves its fast kernels off.
export TF_ENABLE_ONEDNN_OPTS ?= 1

# Two processes, for much of a test is the tracing of graphs in Python.
PYTEST = $(BIN)/python -m pytest -q -p no:cacheprovider -n 2 --durations 15
# The core, and one tiny training: two minutes on two cores.
FAST = tests/graph tests/layers tests/models/test_arguments.py \
	tests/models/test_epsanet.py tests/models/test_preprocessing.py \
	tests/models/test_variants.py tests/ops tests/weights/test_downloads.py \
	tests/weights/test_embedding.py tests/weights/test_layer_names.py \
	tests/classification/test_fitting.py tests/test_architecture.py \
	--ignore tests/layers/test_keras_harness.py
# What does not depend on TensorFlow, for the other two backends.
PORTABLE = tests/attention tests/detection tests/explain tests/graph \
	tests/hub tests/layers \
	tests/models tests/ops \
	tests/weights/test_inherit.py tests/weights/test_inherit_layers.py \
	tests/weights/test_inherit_resnet.py tests/weights/test_layer_names.py \
	tests/weights/test_load.py tests/weights/test_graph_parts.py \
	tests/weights/test_pyramid_fit.py tests/weights/test_resnet_keras.py \
	tests/weights/test_resnext_start.py tests/test_docstrings.py tests/test_saving.py

# Of those the forms of a backend and the layers.
PORTABLE_FAST = tests/ops tests/layers

# XLA takes minutes to compile each large network or the training of a
# detector for a CPU; `make test-all` runs all of them on JAX too.
PORTABLE_JAX = tests/attention tests/detection tests/explain tests/hub \
	tests/layers tests/ops \
	tests/graph/test_fuse.py tests/weights/test_inherit_resnet.py \
	--ignore tests/detection/test_detector.py \
	--ignore tests/detection/test_faster_rcnn.py \
	--ignore tests/detection/test_retinanet.py \
	--ignore tests/explain/test_detection_maps.py \
	tests/models/test_epsanet.py tests/models/test_preprocessing.py \
	tests/models/test_variants.py \
	--ignore tests/attention/test_counts.py \
	-k "not parameters and not table_5 and not layer_names and not reach_them"

# Halves the time that XLA takes to compile; the tests run the code once.
JAX = XLA_FLAGS="--xla_backend_optimization_level=0 \
	--xla_llvm_disable_expensive_passes=true" KERAS_BACKEND=jax

.PHONY: compare demo demo-detection demo-transfer docs test test-ci test-fast test-all lint format clean

demo: $(VENV)/examples.done
	$(BIN)/python examples/train_classifier.py
	$(BIN)/python examples/explain.py

demo-detection: $(VENV)/detection.done demo
	$(BIN)/python examples/train_coco.py --weights runs/classifier/model.keras

demo-transfer: $(VENV)/examples.done
	$(BIN)/python examples/warm_start.py

# About an hour on two cores; the same command goes on where it was.
compare: $(VENV)/examples.done
	$(BIN)/python examples/compare_attentions.py --paper

# The site, in build/site. A broken link or a missing docstring is an error.
docs: $(VENV)/docs.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Ten minutes on two cores.
test: lint
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not large and not slow"
	KERAS_BACKEND=torch $(PYTEST) -m "not large and not slow" $(PORTABLE_FAST)
	$(JAX) $(PYTEST) -m "not large and not slow" $(PORTABLE_FAST)

# What continuous integration runs: on TensorFlow the slow ones as well, on the
# others all parts of the package.
test-ci: lint
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not large"
	KERAS_BACKEND=torch $(PYTEST) -m "not large and not slow" $(PORTABLE)
	$(JAX) $(PYTEST) -m "not large and not slow" $(PORTABLE_JAX)

test-fast: lint
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not large and not slow" $(FAST)

test-all: lint
	KERAS_BACKEND=tensorflow $(PYTEST)
	KERAS_BACKEND=torch $(PYTEST) $(PORTABLE)
	$(JAX) $(PYTEST) $(PORTABLE)

lint: $(VENV)/test.done
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/test.done
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv* build runs *.egg-info

# One file for each set of extras that is installed.
$(VENV)/%.done: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[$*]" \
		$(if $(KERAS),keras==$(KERAS))
	touch $@
