# What one types: `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help install format check test demo docs up down bench clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: .venv/.installed ## environment in .venv, and the server jars

.venv/.installed: setup.py conf/services/spark/pom.xml conf/services/kafka/pom.xml conf/services/hbase/pom.xml
	@sh bin/check_machine.sh $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing Python packages (minutes, once)" && $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@echo "fetching server jars (once)" && $(BIN)/python -c "from fink_broker.services import jars; [jars.ensure(kind) for kind in jars.KINDS]"
	@touch $@

format: install ## put the code in order
	@$(BIN)/ruff format fink_broker science_modules tests bin setup.py
	@$(BIN)/ruff check --fix fink_broker science_modules tests bin setup.py

check: install ## formatted, linted, typed
	@$(BIN)/ruff format --check fink_broker science_modules tests bin setup.py
	@$(BIN)/ruff check fink_broker science_modules tests bin setup.py
	@$(BIN)/mypy

test: install ## all tests, with the real services; those with processes of their own run beside the others
	@$(BIN)/python -m pytest -n 2

demo: install ## the whole broker with simulated alerts, until Ctrl-C
	@$(BIN)/fink demo

up: install ## the services alone
	@$(BIN)/fink up

down: install ## stop them
	@$(BIN)/fink down

bench: install ## speed, delay, CPU and memory of the whole broker on this machine
	@$(BIN)/fink bench --alerts 5000 --rate 100

docs: install ## write the generated parts of the READMEs anew
	@$(BIN)/python -m tests.docs --write

clean: ## remove what was installed here
	rm -rf .venv .jars build *.egg-info
