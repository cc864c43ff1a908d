"""``convscope demo``: a tour through everything, offline, as a folder with a page."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli.outputs import sheets_folder
from convscope.cli.running import command, say
from convscope.writing import UnwritableError

if TYPE_CHECKING:
    from convscope.tours.chapter import Chapter, Stage
    from convscope.tours.demo import Tour

Out = Annotated[Path, typer.Option("--out", "-o", help="The folder for the page and its pictures.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel="Run", help="Make what is there already anew.")]


@command("demo")
def demo(out: Out = Path("convscope-demo"), overwrite: Overwrite = False, as_json: opt.Json = False) -> None:
    """Make a tour through everything that convscope does: a page with pictures, in three minutes, without the internet.

    It explains three photos with the network in the box, makes pictures of classes, a dream and inversions, switches a
    unit off, trains a small network on written digits, shows how it learnt and what it looks for, and surveys the
    digits. Where it is stopped, the same command goes on.

    [cyan]convscope demo[/]

    [cyan]convscope demo --out tour[/]
    """
    from convscope.tours.demo import STAGES, tour
    from convscope.tours.tour_folder import PAGE, refuse_other

    sheets_folder(out)
    refuse_other(out)
    try:
        with ExitStack() as bars:
            told = _Told(bars)
            made = tour(out, stages=STAGES, overwrite=overwrite, on_chapter=told.chapter, on_step=told.step)
    except (KeyboardInterrupt, UnwritableError):
        if (out / PAGE).is_file():
            say(f"{_address(out / PAGE)} shows the chapters that are ready; the same command makes the others")
        raise
    if not made.made:
        say(f"all {len(STAGES)} chapters are there already: nothing is left to do (--overwrite makes them anew)")
    _print(made, as_json=as_json)


class _Told:
    """A line on stderr for each chapter, before it and after it, and bars for the one that is made."""

    def __init__(self, bars: ExitStack) -> None:
        self._bars, self._show = bars, _nowhere

    def step(self, what: str, done: int, every: int) -> None:
        """Move the bar of a part of the chapter."""
        self._show(what, done, every)

    def chapter(self, number: int, count: int, stage: "Stage", chapter: "Chapter | None") -> None:
        """Say that a chapter begins, or with the chapter itself that it is ready."""
        from convscope.cli.progress import staged

        if chapter is None:
            say(f"{number} of {count}  {stage.title}")
            self._show = self._bars.enter_context(staged())
        else:
            self._bars.close()
            many = f"{len(chapter.pictures)} picture{'' if len(chapter.pictures) == 1 else 's'}"
            say(f"{' ' * len(f'{number} of {count}')}  {many}, {chapter.seconds:.0f} s")


def _nowhere(_what: str, _done: int, _every: int) -> None:
    pass


def _address(page: Path) -> str:
    return page.resolve().as_uri()


def _print(made: "Tour", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"page": str(made.page), "chapters": [_said(one) for one in made.chapters]}, indent=1))
        return
    print(made.page)
    say(f"open it in a browser: {_address(made.page)}")


def _said(chapter: "Chapter") -> dict[str, Any]:
    about = {"name": chapter.name, "title": chapter.title, "seconds": chapter.seconds}
    return about | {"pictures": [f"{chapter.name}/{one.file}" for one in chapter.pictures]}
