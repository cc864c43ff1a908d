"""The bar: on a terminal only, and file names are never read as markup."""

import io

import pytest
from rich.console import Console

from convscope.cli.progress import Parts, bar, counted


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


def test_parts_of_a_long_step_move_the_bar_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the first step, half of the second; outside the block parts go nowhere."""
    places: list[float] = []
    monkeypatch.setattr("rich.progress.Progress.update", lambda *_, completed, **__: places.append(completed))
    parts = Parts()
    parts(1, 2)
    with bar(2, "work", parts) as step:
        step("a")
        parts(1, 4)
        step("b")
        parts(2, 4)
    parts(3, 4)
    assert places == [0, 0.25, 1, 1.5]


def test_counted_steps_move_a_bar_to_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=shown, force_terminal=True, width=100, color_system=None)
    )
    with counted("work") as on_step:
        on_step(1, 64)
        on_step(48, 64)
    assert "48/64" in shown.getvalue()


def test_counted_steps_are_silent_where_stderr_is_no_terminal(capsys) -> None:
    with counted("work") as on_step:
        on_step(1, 2)
    assert capsys.readouterr() == ("", "")
