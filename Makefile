# Each target works alone on a fresh clone: Python 3.11+ and make are all it takes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each worker begins with one half of the tests, in their order, so that those of a file share what
# they compile; who is done first takes from the other.
PYTEST := $(BIN)/python -m pytest --dist worksteal

.PHONY: demo docs web test test-slow test-all corners lint bench clean

$(VENV)/.core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[plots]'
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

demo: $(VENV)/.core
	$(BIN)/isincnet demo demo_output

# Nothing is fetched: ISINCNET_INTERSPHINX=1 allows links into the pages of other packages.
docs: $(VENV)/.docs
	$(BIN)/python docs/listening.py docs/_extra/listen
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html

# A folder of static files: encoder and decoder as ONNX graphs in a page, and their runtime. Serve it
# with `python -m http.server --directory docs/_build/web`.
web: $(VENV)/.dev
	npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix docs/_build/npm \
		onnxruntime-web@1.30.0
	$(BIN)/python docs/browser/build.py docs/_build/web \
		--runtime docs/_build/npm/node_modules/onnxruntime-web

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python benchmarks/measured.py --check

# Compiling takes most of the time: 31 ms for the smallest program, 18 without MLIR's fusion
# emitters, and LLVM spends a third less at level 0. What is computed is the same; slow tests and
# the benchmarks run what users run. XLA dies of a flag that its version does not know, so it is
# asked first.
# Parts of a program are set up one by one: as one part, large ones take LLVM a third less.
TEST_FLAGS := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_parallel_codegen_split_count=1 --xla_llvm_disable_expensive_passes=true
# Compilers and tests touch little pieces of much memory. In large pages, never given back, and from
# one arena a test takes a third less time, on virtual machines sometimes two; it computes the same.
# Without bytecode, as some containers want it, each process would compile the package again.
test test-slow docs corners: export PYTHONMALLOC := malloc
test test-slow docs corners: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1:$\
	glibc.malloc.arena_max=1:glibc.malloc.top_pad=67108864:$\
	glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=8589934592
test test-slow docs corners: export PYTHONDONTWRITEBYTECODE :=
# Two workers have the cores already: BLAS threads of each wait for the other's in busy loops, and
# decoders that take a second alone take three.
test test-slow docs corners: export OPENBLAS_NUM_THREADS := 1
COMPILE_QUICKLY := flags=$$($(BIN)/python .ci/xla_flags.py $(TEST_FLAGS)) && \
	XLA_FLAGS="$$flags $$XLA_FLAGS"
test: $(VENV)/.dev
	$(COMPILE_QUICKLY) $(PYTEST) -n 2 -m "not slow and not tail"

# Few files have slow tests: importing the others to find none takes a worker half a minute.
test-slow: $(VENV)/.dev
	$(COMPILE_QUICKLY) $(PYTEST) -n 2 -m "tail and not slow"
	$(PYTEST) -n 2 -m slow $$(grep -rl --include="test_*.py" "mark[.]slow" tests)

test-all: lint test test-slow

# Of the versions that pyproject.toml allows; environments of their own, in a temporary folder.
corners: $(VENV)/.core
	$(BIN)/python .ci/corners.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/exactness.py
	$(BIN)/python benchmarks/tokens.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/operations.py
	$(BIN)/python benchmarks/hour.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/resilience.py --kills 20
	$(BIN)/python benchmarks/phase.py
	$(BIN)/python benchmarks/rate.py
	$(BIN)/python benchmarks/lossless.py
	$(BIN)/python benchmarks/spectrograms.py
	$(BIN)/python benchmarks/invertible.py

clean:
	rm -rf $(VENV) demo_output docs/_build docs/_extra docs/jupyter_execute build dist .pytest_cache .ruff_cache .hypothesis
