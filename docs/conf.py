"""Settings of the documentation site; it builds without a network."""

from importlib.metadata import version as installed_version

project = "napari-blindsr"
author = "The napari-blindsr developers"
copyright = author  # noqa: A001  (the name Sphinx reads)
release = installed_version("napari-blindsr")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "napari-blindsr"

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Names beginning with a capital in numpydoc's type fields are text, not links.
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
python_use_unqualified_type_names = True
