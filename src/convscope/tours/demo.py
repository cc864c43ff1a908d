"""The tour of ``convscope demo``: its chapters in order, and the loop that makes those that are not there yet.

Each chapter that is whole is kept, and the page is written anew after it. So whatever stops a tour (Ctrl-C,
``kill -9``, a full disk) leaves a page that shows what is ready and says what is missing, and the same call goes on
from there.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convscope.stamps import versions
from convscope.tours import digit_chapters, photo_chapters
from convscope.tours.chapter import Chapter, Stage, begin_chapter, write_chapter, written
from convscope.tours.tour_folder import PAGE, chapters_in, touring
from convscope.tours.tour_page import write_page
from convscope.tours.workshop import Pace, Tell, Workshop

STAGES: tuple[Stage, ...] = (*photo_chapters.STAGES, *digit_chapters.STAGES)
OnChapter = Callable[[int, int, Stage, Chapter | None], None]


@dataclass(frozen=True)
class Tour:
    """What a tour has made: ``page`` to open, ``chapters`` in order, ``made`` the names of those made just now."""

    page: Path
    chapters: tuple[Chapter, ...]
    made: tuple[str, ...]


def tour(
    folder: str | Path,
    *,
    stages: Sequence[Stage] = STAGES,
    pace: Pace | None = None,
    overwrite: bool = False,
    on_chapter: OnChapter | None = None,
    on_step: Tell | None = None,
) -> Tour:
    """Make the chapters that are not in the folder yet, and the page of all.

    Args:
        folder: made where it is not there.
        stages: the chapters, in order.
        pace: how much work is done.
        overwrite: make all chapters anew.
        on_chapter: called with (number from 1, how many, stage, None) before a chapter, and with the chapter after it.
        on_step: called with (what is done, steps done, all) within a chapter.

    Raises:
        ConvscopeError: something else lies in the folder, or another run writes into it.
        UnwritableError: a full disk; the chapters that are whole stay.
    """
    folder, pace, tell = Path(folder), pace or Pace(), on_chapter or _nothing
    made_with = hashlib.sha256(f"{versions()} {pace}".encode()).hexdigest()[:16]
    made: list[str] = []
    with touring(folder, stages, overwrite=overwrite):
        ready = chapters_in(folder, stages, made_with)
        write_page(folder, stages, ready)
        shop = Workshop(folder, pace, on_step or _nothing)
        for number, stage in enumerate(stages, 1):
            if stage.name in ready:
                continue
            tell(number, len(stages), stage, None)
            ready[stage.name] = _make(stage, shop, made_with)
            made.append(stage.name)
            write_page(folder, stages, ready)
            tell(number, len(stages), stage, ready[stage.name])
    return Tour(folder / PAGE, tuple(ready[stage.name] for stage in stages), tuple(made))


def _nothing(*_: object) -> None:
    pass


def _make(stage: Stage, shop: Workshop, made_with: str) -> Chapter:
    began, worked = time.perf_counter(), time.process_time()
    folder = shop.folder / stage.name
    begin_chapter(folder, made_with)
    pictures = tuple(written(folder, sheet) for sheet in stage.make(shop))
    took, cost = time.perf_counter() - began, time.process_time() - worked
    chapter = Chapter(
        stage.name, stage.title, stage.text, stage.limits, pictures, round(took, 1), round(cost, 1)
    )  # fmt: skip
    write_chapter(folder, chapter, made_with)
    return chapter
