"""The folder of a tour: whether it may be written into, and what is in it."""

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from convscope.store.atlas_folder import locked
from convscope.store.described_folder import Kind
from convscope.tours.chapter import Chapter, Stage, read_chapter

PAGE = "index.html"
TOUR = Kind("demo", "a demo", "demo.json", "convscope demo", "version", 1)


@contextmanager
def touring(folder: Path, stages: Sequence[Stage], *, overwrite: bool = False) -> Generator[None]:
    """Within the block the folder is a tour's and nobody else writes into it; ``overwrite`` begins anew.

    Raises:
        ConvscopeError: something else lies there, or another run is writing.
        UnwritableError: nothing can be written there.
    """
    refuse_other(folder)
    with locked(folder):
        refuse_other(folder)
        TOUR.write(folder, {"chapters": [stage.name for stage in stages]})
        if overwrite:
            for stage in stages:  # not all that is there: results of the page's commands are the reader's
                shutil.rmtree(folder / stage.name, ignore_errors=True)
        yield


def refuse_other(folder: Path) -> None:
    """Raises ConvscopeError where something else than a tour lies at ``folder``; nothing is made yet."""
    if TOUR.read(folder) is None:
        TOUR.refuse_other(folder)


def chapters_in(folder: Path, stages: Sequence[Stage], made_with: str) -> dict[str, Chapter]:
    """The chapters that are whole, by name."""
    found = {stage.name: read_chapter(folder / stage.name, made_with) for stage in stages}
    return {name: chapter for name, chapter in found.items() if chapter is not None}
