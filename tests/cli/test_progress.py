"""The bar: on a terminal only, and file names are never read as markup."""

import io

import pytest
from rich.console import Console

from convscope.cli.progress import bar


def test_where_stderr_is_no_terminal_nothing_is_printed(capsys) -> None:
    with bar(2, "work") as step:
        step("a")
        step("b")
    assert capsys.readouterr() == ("", "")


def test_a_bar_counts_steps_and_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be called ``[/red]``, which is a mistake in rich's markup."""
    shown = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=shown, force_terminal=True, width=100, color_system=None)
    )
    with bar(3, "work") as step:
        step("[/red] a.jpg")
        step("[bold] b.jpg")
    text = shown.getvalue()
    assert "[bold] b.jpg" in text
    assert "1/3" in text
