"""Signatures as their authors wrote them: ``Float[Tensor, "b c h w"]``, not what Python makes of it.

And docstrings: a bar is a bar (``|x|`` is a magnitude, and no substitution of reStructuredText).
"""

import ast
import inspect
import re
import textwrap
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def as_written(
    _app: Sphinx, what: str, _name: str, thing: Any, _options: Any, _signature: str, _returned: str
) -> tuple[str, str] | None:
    """The arguments and the result of a function, from its source."""
    if what not in ("function", "method"):
        return None
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    except (OSError, TypeError):
        return None
    if not isinstance(source, ast.FunctionDef):
        return None
    arguments = source.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if isinstance(argument.annotation, ast.Constant) and isinstance(argument.annotation.value, str):
            argument.annotation = ast.parse(argument.annotation.value, mode="eval").body  # without its quotes
    if what == "method" and arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args.pop(0)
    return f"({ast.unparse(arguments)})", ast.unparse(source.returns) if source.returns else ""


def keep_bars(_app: Sphinx, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """Escape ``|`` outside of code."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[i] = "".join(part if part.startswith("``") else part.replace("|", r"\|") for part in parts)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Take autodoc's signatures from the source."""
    app.connect("autodoc-process-signature", as_written)
    app.connect("autodoc-process-docstring", keep_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
