"""Tables on stdout: whole, whatever the width of the terminal, and with nothing in them read as markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def new_table() -> "Table":
    """A table without lines; names go into it as ``rich.text.Text``, since a class may be called ``[red]``."""
    from rich.table import Table

    return Table(box=None, header_style="bold", pad_edge=False)


def print_table(table: "Table", *, above: Sequence[str] = (), below: Sequence[str] = ()) -> None:
    """The table between lines of text; where it is wider than the terminal its lines wrap, and no name is cut.

    One without columns is left out.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in above:
        console.print(Text(line, "italic"), soft_wrap=True)
    if table.columns:
        natural = console.measure(table, options=console.options.update(max_width=10_000)).maximum
        Console(highlight=False, width=max(console.width, natural)).print(table)
    for line in below:
        console.print(Text(line), soft_wrap=True)
