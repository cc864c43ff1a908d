"""Tables on stdout: whole, whatever the width of the terminal, and with nothing in them read as markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def new_table(title: str = "") -> "Table":
    """A table without lines; names go into it as ``rich.text.Text``, since a class may be called ``[red]``."""
    from rich.table import Table
    from rich.text import Text

    heading = Text(title, "italic") if title else None
    return Table(title=heading, title_justify="left", box=None, header_style="bold", pad_edge=False)


def print_table(table: "Table", below: Sequence[str] = ()) -> None:
    """The table, then lines of text; where it is wider than the terminal its lines wrap, and no name is cut."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    natural = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    console = Console(highlight=False, width=max(console.width, natural))
    lines: list[RenderableType] = [table, *(Text(line) for line in below)]
    for line in lines:
        console.print(line, soft_wrap=line is not table)
