# Each target is sufficient on its own: it makes .venv and installs what it needs.
#   make demo    restore a bundled sample (in napari if there is a display)
#   make test    all tests, those in a real viewer included
#   make lint    ruff, mypy, shellcheck, the plugin's manifest
#   make docs    the documentation, into docs/_build/html
#   make links   follow the links of the documentation; needs a network
#   make package build wheel and sdist into dist/, check them, and run the wheel

# Without a display the demonstration needs no Qt.
demo_set := $(if $(DISPLAY)$(WAYLAND_DISPLAY),gui,plain)

.PHONY: demo test lint ruff mypy shellcheck manifest docs links package clean
.NOTPARALLEL:

demo: .venv/installed-$(demo_set)
	.venv/bin/napari-blindsr demo

test: .venv/installed-test
	scripts/with-display .venv/bin/python -m pytest $(PYTEST_ARGS)

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

links: .venv/installed-docs
	.venv/bin/python -m sphinx -W --keep-going -b linkcheck docs docs/_build/links

package:
	scripts/check-package

clean:
	rm -rf .venv .venv-lowest docs/_build build dist

# A stamp for each set of packages; it ages when a dependency changes.
.venv/installed-%: pyproject.toml setup.cfg scripts/install scripts/system-packages
	scripts/install $*
	@touch $@
