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
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    # Equations are typeset by what the site itself has.
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "examples"]
# Each script is run, and can be downloaded as a notebook.
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "min_reported_time": 1000,
    "show_memory": False,
    "write_computation_times": False,
}
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
