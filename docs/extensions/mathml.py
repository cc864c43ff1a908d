"""Equations as MathML: the browser sets them itself, so that a page needs no script and no network.

Screen readers read MathML, and it scales with the text. What ``\\qquad`` parts in a displayed equation goes to the next
line where the screen is narrow.
"""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    # in a displayed equation what a sum runs over stands below its sign
    tex = node.astext().replace(r"\sum_", r"\sum\limits_")
    parts = [convert(part, display="block") for part in tex.split(r"\qquad")]
    self.body.append(f'<div class="equation">{"".join(parts)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Offer the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
