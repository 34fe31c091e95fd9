# Everything starts from Python 3.11 with venv and pip; uv is used where it is found.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := .venv-peers
UV     := $(shell command -v uv)
ROWS   ?= 10000000
SHARE  ?= 0.12

# Bytecode is written at installation: without it each start takes two to three times as long.
unexport PYTHONDONTWRITEBYTECODE
# Stock Great Expectations, which the parity tests compare with, lists some results in the order of a set.
export PYTHONHASHSEED := 0

.PHONY: demo test test-extras lint bench bench-scale bench-monitors peers crash mutants soak up lock schema clean

demo: $(VENV)/.run ## Set up, train a model on real flights, score eight days
	$(BIN)/lamplighter demo

test: $(VENV)/.dev ## The tests, without what needs a browser, Java, heavy extras or some minutes
	$(BIN)/python -m pytest -m "not extras and not slow" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-extras: $(VENV)/.extras ## The tests that need a browser, Java, heavy extras or some minutes
	$(BIN)/python -m pytest -m "extras and not slow" -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench ## Beside what one would use instead, an hour; ROWS=500000 takes minutes, BENCH="--model forest --columns 200" others
	$(BIN)/python -m tests.bench --rows $(ROWS) $(BENCH)

bench-scale: $(VENV)/.bench ## 1 to 50 million rows: time and memory; an hour
	$(BIN)/python -m tests.bench.scoring.scale

bench-monitors: $(VENV)/.bench $(PEERS)/.peers ## Beside Evidently and NannyML on the same days of the flights; half an hour
	$(BIN)/python -m tests.bench.monitoring

peers: $(PEERS)/.peers ## The environment of Evidently and NannyML, which run on pandas 2

crash: $(VENV)/.dev ## Kills what changes a lake at two thousand instants, and lets its disk fail at as many
	$(BIN)/python -m tests.crash

mutants: $(VENV)/.mutants ## Breaks publishing, conservation and the registry in a sample of ways; SHARE=1 takes all, some hours
	$(BIN)/python -m tests.mutants --share $(SHARE)

soak: $(VENV)/.extras ## The tests that take long: forty jobs, backfills cancelled and killed, crash tests in full
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

up: $(VENV)/.run ## A Prefect server with its UI, a worker and every deployment; Ctrl-C ends it all
	$(BIN)/lamplighter up

schema: $(VENV)/.run ## The JSON Schema of a job's YAML, for editors
	$(BIN)/lamplighter schema > deployments/job.schema.json

# A lock names everything with its hashes, so dependencies are not resolved again. `make lock` needs uv (pip install uv).
LOCK = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --group build
lock:
	$(LOCK) --extra demo --extra postgresql -o requirements.lock
	$(LOCK) --extra demo --extra postgresql --group test --group lint -c requirements.lock -o .ci/dev.lock
	$(LOCK) --override .ci/overrides.txt --extra demo --extra postgresql --group test --group lint --group bench -c .ci/dev.lock -o .ci/bench.lock
	$(LOCK) --extra demo --extra postgresql --group test --group mutants -c .ci/dev.lock -o .ci/mutants.lock
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group pyproject.toml:peers -o .ci/peers.lock
	$(LOCK) --override .ci/overrides.txt --all-extras --group test --group lint --group extras -c .ci/dev.lock -o .ci/extras.lock

clean:
	rm -rf $(VENV) $(PEERS) lake .demo .prefect dist

define install
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(UV),$(UV) pip install -q --python $(BIN)/python,$(BIN)/python -m pip install -q --disable-pip-version-check) --no-deps --require-hashes -r $(1)
	$(if $(UV),$(UV) pip install -q --python $(BIN)/python,$(BIN)/python -m pip install -q --disable-pip-version-check) --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib || true
	touch $@
endef

$(VENV)/.run: requirements.lock pyproject.toml
	$(call install,requirements.lock)

$(VENV)/.dev: .ci/dev.lock pyproject.toml
	$(call install,.ci/dev.lock)
	touch $(VENV)/.run

$(VENV)/.extras: .ci/extras.lock pyproject.toml
	$(call install,.ci/extras.lock)
	touch $(VENV)/.run $(VENV)/.dev

$(PEERS)/.peers: .ci/peers.lock
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(if $(UV),$(UV) pip install -q --python $(PEERS)/bin/python,$(PEERS)/bin/python -m pip install -q --disable-pip-version-check) --no-deps --require-hashes -r .ci/peers.lock
	$(PEERS)/bin/python -m compileall -q -j 0 $(PEERS)/lib || true
	touch $@

$(VENV)/.bench: .ci/bench.lock pyproject.toml
	$(call install,.ci/bench.lock)
	touch $(VENV)/.run $(VENV)/.dev

$(VENV)/.mutants: .ci/mutants.lock pyproject.toml
	$(call install,.ci/mutants.lock)
	touch $(VENV)/.run
