"""How the documentation is built: ``sphinx-build docs docs/_build``. Everything it needs is in the repository."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "convscope"
author = "The convscope developers"
copyright = f"2026, {author}"
version = release = importlib.metadata.version("convscope")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "method_pages",
    "command_pages",
    "api_pages",
    "coming_from",
    "signatures",
]
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

exclude_patterns = ["_build", "extensions", "snippets"]
nitpicky = True
# the types of torch, Pillow and jaxtyping are named, not linked: the build needs no network
nitpick_ignore_regex = [("py:(class|exc)", r"(?!convscope\.).*")]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # extensions/signatures.py writes them
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"convscope {version}"
html_static_path = ["static"]
html_css_files = ["convscope.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = "$ "
