"""Sphinx configuration."""

import importlib.metadata
import os
import warnings

project = "rectifold"
author = "The rectifold developers"
copyright = "2026, the rectifold developers"
release = importlib.metadata.version("rectifold")
version = release

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "tables", "api/generated/backreferences"]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc sections state types and shapes
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Inventories of other projects need the network, so they are asked for: RECTIFOLD_DOCS_INTERSPHINX=1 make docs
if os.environ.get("RECTIFOLD_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }
nitpick_ignore_regex = [
    (r"py:.*", r"(numpy|np|scipy|sklearn|torch|onnx|matplotlib|pandas|polars|collections|typing|concurrent)\..*"),
    (r"py:.*", r"(ArrayLike|NDArray|Enum|enum\..*|object|str|int|float|bool|Exception|\w*Error)"),
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"[\\/]plot_",
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("rectifold",),
    "remove_config_comments": True,
    "show_memory": False,
    "abort_on_example_error": True,
    "plot_gallery": "True",
}
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

html_theme = "furo"
html_title = f"rectifold {release}"


def skip_generated_members(app, what, name, obj, skip, options):
    """Leave out the metadata-routing methods that scikit-learn writes into every estimator."""
    return True if name.startswith("set_") and name.endswith("_request") else skip


def setup(app):
    """Connect the hook."""
    app.connect("autodoc-skip-member", skip_generated_members)
