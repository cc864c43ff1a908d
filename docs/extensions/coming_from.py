"""``{coming-from} PACKAGE``: what was written there beside what is written here, a row for each name in both files.

The rows are the assignments in ``snippets/coming_from/PACKAGE/there.py`` and ``here.py``; both are programs.
"""

import ast
from pathlib import Path

import written
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

SNIPPETS = Path(__file__).parents[1] / "snippets" / "coming_from"
NOT_YET = "*not there yet*"


def table(package: str) -> str:
    """Their expression and ours, in their order."""
    there, here = (expressions(SNIPPETS / package / f"{side}.py") for side in ("there", "here"))
    rows = [(f"`{theirs}`", f"`{here[name]}`" if name in here else NOT_YET) for name, theirs in there.items()]
    lines = [f"| {' | '.join(written.in_a_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(["{.coming-from}", f"| {package} | convscope |", "| --- | --- |", *lines])


def expressions(file: Path) -> dict[str, str]:
    """Name -> what is assigned to it below the line ``# ---``; what is above it is preparation."""
    _, _, shown = file.read_text().partition("# ---\n")
    assignments = [each for each in ast.parse(shown).body if isinstance(each, ast.Assign)]
    return {ast.unparse(each.targets[0]): ast.unparse(each.value) for each in assignments}


def setup(app: Sphinx) -> ExtensionMetadata:
    """The directive."""
    written.add(app, "coming-from", table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
