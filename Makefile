# Everything runs inside .venv, which the first target that needs it makes.
# `make help` lists the targets.
SHELL := /bin/sh
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

NATIVE := $(wildcard setup.py ebcore/packed/kernels/* ebcore/packed/include/* ebcore/layers/kernels/*)

.DEFAULT_GOAL := help
.PHONY: help setup repro imagenet-dry growth ablation keep results test test-all serve ui sync bench paper-numbers lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

setup: .venv/.project ## make .venv, install the locked packages, build the native code

repro: .venv/.project ## run the pipeline, as far as something changed; say where the report is
	@python -m flows.repro

imagenet-dry: .venv/.project ## what would profile imagenet take here? A few images through every stage
	@python -m flows.dry_run

growth: .venv/.project ## train the growth study's structures; say where the plot is
	@python -m flows.study growth

ablation: .venv/.project ## train FTBNN's variants, each with every seed; say where the table is
	@python -m flows.study ablation

keep: .venv/.project ## copy what ran here to results/: parameters, curves, tables
	@python -m ebcore.results.keep

results: .venv/.project ## write docs/results.md from the runs in results/
	@python -m ebcore.results.page

test: .venv/.project ## the quick tests
	python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: .venv/.project ## every test, with Chromium for those that look at a page
	sh scripts/setup.sh browser
	python -m pytest -n 2 --dist loadfile

serve: .venv/.project ## run what the Prefect page starts, retries or cancels, until Ctrl-C
	@python -m flows.serve

ui: .venv/.project ## serve the Prefect and MLflow pages on 127.0.0.1 until Ctrl-C
	@python -m flows.ui

sync: .venv/.project ## send MLflow what it missed while it was down
	@python -m flows.outbox

bench: .venv/.project ## measure: one CSV per question in results/
	python -m benchmarks

paper-numbers: .venv/.project ## count the papers' costs again: docs/paper_numbers.md
	@python -m ebcore.measure.paper_numbers

lint: .venv/.project ## ruff, mypy, codespell
	ruff check .
	ruff format --check .
	mypy
	codespell

clean: ## remove what `make setup` and the tests can make again; data and results stay
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ebcore flows tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
	find ebcore -name '*.so' -delete

.venv/.packages: requirements.lock scripts/setup.sh
	sh scripts/setup.sh packages
	@touch $@

.venv/.project: .venv/.packages pyproject.toml $(NATIVE)
	sh scripts/setup.sh project
	@touch $@
