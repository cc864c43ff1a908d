"""A bar on stderr for long work, with the time left; nothing where stderr is no terminal."""

from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def bar(total: int, what: str) -> Generator[Callable[[str], None]]:
    """Within the block, each call of the yielded function says what comes next and counts one step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        started = False

        def step(now: str) -> None:
            nonlocal started
            progress.update(task, description=now[:48], advance=1 if started else 0)
            started = True

        yield step
