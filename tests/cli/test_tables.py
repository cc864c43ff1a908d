"""Tables on stdout."""

import pytest
from rich.text import Text

from convscope.cli.tables import new_table, print_table


def test_nothing_is_cut_however_narrow_the_terminal_is(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    table = new_table()
    table.add_column("first")
    table.add_column("second", justify="right")
    long = "features.denseblock4.denselayer16.conv2"
    table.add_row(Text(long), Text("1,234,567,890"))
    print_table(table, above=["a title of more than twenty letters"], below=["", f"and a line below of {long}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].rstrip() == "a title of more than twenty letters"
    assert lines[2].split() == [long, "1,234,567,890"]
    assert lines[3:] == ["", f"and a line below of {long}"]


def test_names_are_text_never_markup(capsys) -> None:
    table = new_table()
    table.add_column("class")
    table.add_row(Text("[red]rose[/y]"))
    print_table(table, above=["[/x] net[0].py:make"], below=["[bold]5"])
    out = capsys.readouterr().out
    assert all(text in out for text in ("[/x] net[0].py:make", "[red]rose[/y]", "[bold]5"))
