# Each target is sufficient on its own: it makes .venv and installs what it needs.
#   make demo           restore a bundled sample (in napari if there is a display)
#   make test           the tests, those in a real viewer included, side by side on all cores
#   make test-all       the same, and those that are slow
#   make test-bfloat16  those that restore images, where "auto" is bfloat16
#   make lint           ruff, mypy, shellcheck, the plugin's manifest
#   make docs           the documentation, into docs/_build/html
#   make links          follow the links of the documentation; needs a network
#   make package        build wheel and sdist into dist/, check them, and run the wheel

# Without a display the demonstration needs no Qt.
demo_set := $(if $(DISPLAY)$(WAYLAND_DISPLAY),gui,plain)

.PHONY: demo test test-all test-bfloat16 lint ruff mypy shellcheck manifest docs links package clean
.NOTPARALLEL:

demo: .venv/installed-$(demo_set)
	.venv/bin/napari-blindsr demo

# Each process has one thread, and up to 2 GB.
run_tests = scripts/with-display .venv/bin/python -m pytest \
	--numprocesses logical --maxprocesses 8 --dist worksteal

# Those whose results depend on the precision in which networks are evaluated.
numerical = $(addprefix tests/,estimation restoration evaluation stacks)

test: .venv/installed-test
	$(run_tests) -m "not slow" $(PYTEST_ARGS)

test-all: .venv/installed-test
	$(run_tests) $(PYTEST_ARGS)

test-bfloat16: .venv/installed-test
	BLINDSR_TEST_PRECISION=bfloat16 $(run_tests) -m "not slow" $(numerical) $(PYTEST_ARGS)

lint: ruff mypy shellcheck manifest

ruff: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

mypy: .venv/installed-dev
	.venv/bin/mypy

shellcheck: .venv/installed-dev
	.venv/bin/shellcheck scripts/* .ci/run

manifest: .venv/installed-dev
	.venv/bin/npe2 validate --imports napari-blindsr

docs: .venv/installed-docs
	.venv/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@# A reader's browser asks no other host for anything.
	! grep -rE '<(link|script|img|iframe|source|video|audio)[^>]+"(https?:)?//' \
		docs/_build/html --include='*.html'

links: .venv/installed-docs
	.venv/bin/python -m sphinx -W --keep-going -b linkcheck docs docs/_build/links

package:
	scripts/check-package

clean:
	rm -rf .venv .venv-lowest docs/_build docs/auto_examples build dist

# A stamp for each set of packages; it ages when a dependency changes.
.venv/installed-%: pyproject.toml setup.cfg scripts/install scripts/system-packages
	scripts/install $*
	@touch $@
