"""A bar on stderr for long work, with the time left; nothing where stderr is no terminal."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Parts:
    """What an ``on_step`` callback tells of one long step, such as an occlusion's squares: shown while a bar runs."""

    def __init__(self) -> None:
        self.show: Callable[[float], None] = _nowhere

    def __call__(self, done: int, every: int) -> None:
        """``done`` of ``every`` parts of the step that is under way."""
        self.show(done / every)


def _nowhere(_share: float) -> None:
    pass


def prefixed(step: Callable[[str], None], name: str) -> Callable[[str], None]:
    """``step`` with the photo's name before what comes next."""
    return lambda now: step(f"{name}: {now}")


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def bar(total: int, what: str, parts: Parts | None = None) -> Generator[Callable[[str], None]]:
    """Within the block, each call of the yielded function says what comes next and counts one step."""
    begun = 0
    with _progress() as progress:
        task = progress.add_task(what, total=total)

        def step(now: str) -> None:
            nonlocal begun
            progress.update(task, description=now[:48], completed=begun)
            begun += 1

        if parts is not None:
            parts.show = lambda share: progress.update(task, completed=begun - 1 + share)
        try:
            yield step
        finally:
            if parts is not None:
                parts.show = _nowhere


@contextmanager
def counted(what: str) -> Generator[Callable[[int, int], None]]:
    """Within the block, the yielded ``on_step`` callback moves a bar to ``done`` of ``every`` steps."""
    with _progress() as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, every: progress.update(task, completed=done, total=every)


@contextmanager
def staged() -> Generator[Callable[[str, int, int], None]]:
    """Within the block, ``(what, done, every)`` moves the bar of one part of the work; the next part has its own."""
    with _progress() as progress:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, every: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=every)
            progress.update(tasks[what], completed=done, total=every)

        yield show
