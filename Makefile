# The doors of the project. `make` prints them; `make demo` and `make test` install what they need.
PYTHON ?= python3
VENV ?= .venv
CORES ?= all
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Snakemake behind a line a stage; all that it writes goes to a file.
SNAKEMAKE := $(BIN)/python -m workflow_scripts.programs.operations.watch --cores $(CORES)
NEEDS_INSTALL = @test -e $(INSTALLED) || { echo "SliceAug is not installed here: \`make install\` first (some minutes, into $(VENV)/)."; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help run demo demo-all estimate status slurm-check test test-slow slurm-test slurm-test-faults lint format settings notice docs install clean-demo

help:  ## this list
	@echo "SliceAug: how much does synthetic data help a tumour segmentation? README.md says more."; echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-18s %s\n' "$$name" "$$text"; done
	@test -e $(INSTALLED) || { echo; echo "Not installed yet: \`make install\` does that ($(PYTHON) 3.11 to 3.13, into $(VENV)/); demo and test do it by themselves."; }

# Without a card its many small trainings run side by side.
ON_CPU := $(if $(shell command -v nvidia-smi),,--workflow-profile profiles/cpu)
demo: $(INSTALLED)  ## the whole study on a small simulated cohort; ends with the ladder
	@$(SNAKEMAKE) $(ON_CPU) --configfile config/demo.yaml --rerun-incomplete
	@echo; cat results/demo/tables/ladder.md
	@echo; echo "figures: results/demo/figures/    report: results/demo/report.html"

demo-all: $(INSTALLED)  ## all six systems on the same cohort; ends with the tables that compare them
	@$(SNAKEMAKE) $(ON_CPU) --configfile config/demo.yaml config/demo_all.yaml --rerun-incomplete
	@echo; cat results/demo_all/tables/systems.md; echo; cat results/demo_all/tables/compute.md

run: $(INSTALLED)  ## a study, a line a stage: make run ARGS="--config data_root=/data/BraTS2023"
	@$(SNAKEMAKE) $(if $(CONFIG),--configfile $(CONFIG)) $(ARGS)

# Works beside a running Snakemake. CONFIG names the files that Snakemake was given, the last run's where left out.
status:  ## how far a study is: jobs of each stage, time left, and why what failed did
	$(NEEDS_INSTALL)
	@$(BIN)/python -m workflow_scripts.programs.operations.status $(if $(CONFIG),--configfile $(CONFIG))

# Measures for some minutes. FROM: the config files of an earlier run made here, whose measurements are then taken.
estimate:  ## what a study will cost, and what would halve it: make estimate CONFIG=config/paper.yaml ARGS="--config data_root=demo"
	$(NEEDS_INSTALL)
	@$(BIN)/python -m workflow_scripts.programs.operations.estimate $(if $(CONFIG),--configfile $(CONFIG)) $(if $(FROM),--earlier $(FROM)) $(ARGS)

# CONFIG as above; ARGS are further options of the program: make slurm-check ARGS="--config data_root=/data/BraTS2023"
PROFILE ?= slurm
slurm-check:  ## before a long run: whether the study can run on this Slurm, in seconds
	$(NEEDS_INSTALL)
	@$(BIN)/python -m workflow_scripts.programs.operations.slurm_check --profile $(PROFILE) $(if $(CONFIG),--configfile $(CONFIG)) $(ARGS)

# Several tests share the cores: their threads wait without spinning, and the studies that some of them run take one core
# each, or each slows the others down several times. The longest files come first (testpaths).
test: $(INSTALLED)  ## all tests that fit into minutes
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive SLICEAUG_TEST_CORES=1 SLICEAUG_WARM=1 $(BIN)/python -m pytest -m "not slow and not slurm" -n auto --dist loadfile --no-loadscope-reorder --durations 20

test-slow: $(INSTALLED)  ## the long end-to-end checks: all systems to their tables, a study killed in every training stage
	$(BIN)/python -m pytest -m "slow and not slurm"
	SLICEAUG_MUTANTS=50000 $(BIN)/python -m pytest tests/stages/test_headers.py tests/stages/test_model_folders.py -k "mutant or contract or bytes or training_set" --timeout 7200 -s

# Installs and starts a real Slurm on this host (root, Debian): for a container or a CI machine, not for a login node.
slurm-test: $(INSTALLED)  ## a study through `--profile slurm` on a Slurm of its own
	SLICEAUG_SLURM_TESTS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m "slurm and not slow" $(ARGS)

slurm-test-faults: $(INSTALLED)  ## the same, with every fault that a cluster has, one after the other
	SLICEAUG_SLURM_TESTS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m "slurm and slow"

lint: $(INSTALLED)  ## what a style check or a type check says
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint --config data_root=demo

format: $(INSTALLED)  ## the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

settings: $(INSTALLED)  ## after a change of workflow_scripts/study/settings: config/schema.json and the tables of config/README.md
	$(BIN)/python -m workflow_scripts.programs.operations.document_settings

notice: $(INSTALLED)  ## after a change of the lock: NOTICE, the licences of its packages
	$(BIN)/python -m workflow_scripts.programs.operations.notice

# Not --quiet: what it does not say, --strict does not count. An environment of its own: the site needs nothing of the project's packages, and they nothing of its.
docs: .venv-docs/.installed  ## the site of docs/, into site/; a broken link ends it
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict
	@echo "site/index.html"

.venv-docs/.installed: envs/docs.lock
	@$(PYTHON) -m venv .venv-docs || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	.venv-docs/bin/python -m pip install --quiet --requirement $<
	@touch $@

install: $(INSTALLED)  ## the locked packages, into .venv

# torch first, with its dependencies: the machine chooses its CPU or CUDA build. Then the lock as it is: without
# dependencies, since nnU-Net asks for a torchvision that has to match that build and that nothing here uses.
$(INSTALLED): envs/requirements.lock envs/test.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"SliceAug needs Python 3.11 to 3.13, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@echo "Installing the packages of $^ into $(VENV)/: some minutes, and a few gigabytes where there is a GPU."
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' envs/requirements.lock)" --constraint envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --requirement envs/requirements.lock --requirement envs/test.lock
	@touch $@

clean-demo:
	rm -rf results/demo results/demo_all
