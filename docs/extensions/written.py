"""Directives whose content is Markdown that a function writes from the program itself."""

from collections.abc import Callable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def add(app: Sphinx, name: str, write: Callable[..., str]) -> None:
    """The directive ``name``: its words are the arguments of ``write``, what that returns takes its place."""

    class Written(SphinxDirective):
        optional_arguments = 20

        def run(self) -> list[nodes.Node]:
            text = write(*self.arguments)
            return self.parse_text_to_nodes(text, allow_section_headings=True) if text else []

    app.add_directive(name, Written)


def in_a_cell(text: str) -> str:
    """For a Markdown table."""
    return text.replace("|", r"\|").replace("\n", " ")
