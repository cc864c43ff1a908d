"""The loop over the chapters: what is whole stays, what is not is made, whatever stopped it."""

import errno
import json
from pathlib import Path

import pytest

from convscope.errors import ConvscopeError
from convscope.tours.demo import STAGES
from convscope.tours.workshop import Pace
from convscope.writing import UnwritableError

NAMES = ["one", "two", "three"]


def test_chapters_are_made_in_order_and_only_once(made_up, walk) -> None:
    """Oracle: the list of what was made; a second tour has nothing to do and says the same."""
    first, second = walk(), walk()
    assert made_up.made == NAMES
    assert first.made == tuple(NAMES)
    assert second.made == ()
    assert second.chapters == first.chapters
    assert [(one.width, one.height) for one in first.chapters[0].pictures] == [(15, 10)] * 2


def test_ctrl_c_keeps_the_chapters_that_are_whole_and_the_next_tour_goes_on(made_up, walk, tmp_path: Path) -> None:
    """Oracle: what the tour was told to break off at."""
    made_up.failing = "two"
    with pytest.raises(KeyboardInterrupt):
        walk()
    page = (tmp_path / "tour" / "index.html").read_text()
    assert "1 of 3 chapters are ready" in page
    assert "Title two (missing)" in page
    assert "see one" in page
    assert "see two" not in page
    made_up.failing, made_up.made = "", []
    assert walk().made == ("two", "three")
    assert made_up.made == ["two", "three"]
    assert "(missing)" not in (tmp_path / "tour" / "index.html").read_text()


def test_a_full_disk_is_told_and_the_page_shows_what_is_there(made_up, walk, tmp_path: Path, monkeypatch) -> None:
    made_up.failing, made_up.error = "three", UnwritableError("cannot write third.png: No space left on device")
    with pytest.raises(UnwritableError, match="No space left"):
        walk()
    assert "2 of 3 chapters are ready" in (tmp_path / "tour" / "index.html").read_text()


def test_a_disk_that_is_full_from_the_start_is_refused_clearly(walk, tmp_path: Path, monkeypatch) -> None:
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(UnwritableError, match=r"cannot write .*demo\.json: No space left on device"):
        walk()
    assert list(tmp_path.iterdir()) == []


def test_a_chapter_that_lost_a_picture_is_made_again(made_up, walk, tmp_path: Path) -> None:
    walk()
    (tmp_path / "tour" / "two" / "second.png").unlink()
    made_up.made = []
    assert walk().made == ("two",)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"made_with": 1}'])
def test_a_chapter_whose_record_is_damaged_is_made_again(damage: str, made_up, walk, tmp_path: Path) -> None:
    walk()
    (tmp_path / "tour" / "two" / "chapter.json").write_text(damage)
    assert walk().made == ("two",)


def test_chapters_of_another_pace_are_made_anew_and_what_was_there_goes(made_up, walk, tmp_path: Path) -> None:
    """As those of another version: nothing of an old training may be gone on with."""
    walk()
    (tmp_path / "tour" / "two" / "leftover").write_text("old")
    assert walk(pace=Pace(class_steps=1)).made == tuple(NAMES)
    assert not (tmp_path / "tour" / "two" / "leftover").exists()


def test_an_unfinished_chapter_of_the_same_pace_keeps_its_work(made_up, walk, tmp_path: Path) -> None:
    """A training that was broken off goes on."""
    made_up.failing = "two"
    with pytest.raises(KeyboardInterrupt):
        walk()
    (tmp_path / "tour" / "two" / "half").write_text("work")
    made_up.failing = ""
    walk()
    assert (tmp_path / "tour" / "two" / "half").read_text() == "work"


def test_overwrite_makes_all_anew_and_leaves_what_the_reader_made_there(made_up, walk, tmp_path: Path) -> None:
    """The page's commands are given in its folder, and their sheets lie there, in ``convscope-out``."""
    walk()
    (tmp_path / "tour" / "one" / "old").write_text("of the tour before")
    (tmp_path / "tour" / "convscope-out").mkdir()
    (tmp_path / "tour" / "convscope-out" / "cat.png").write_text("mine")
    assert walk(overwrite=True).made == tuple(NAMES)
    assert (tmp_path / "tour" / "convscope-out" / "cat.png").read_text() == "mine"
    assert not (tmp_path / "tour" / "one" / "old").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_things_is_refused_and_stays(overwrite: bool, made_up, walk, tmp_path: Path) -> None:
    (tmp_path / "tour").mkdir()
    (tmp_path / "tour" / "letter.txt").write_text("dear")
    with pytest.raises(ConvscopeError, match="is no demo, and not empty; choose another folder with --out"):
        walk(overwrite=overwrite)
    assert [path.name for path in (tmp_path / "tour").iterdir()] == ["letter.txt"]
    assert made_up.made == []


def test_a_file_is_refused(walk, tmp_path: Path) -> None:
    (tmp_path / "tour").write_text("a file")
    with pytest.raises(ConvscopeError, match="is a file; a demo is a folder"):
        walk()


def test_a_demo_of_a_newer_convscope_is_refused(walk, tmp_path: Path) -> None:
    (tmp_path / "tour").mkdir()
    (tmp_path / "tour" / "demo.json").write_text(json.dumps({"format": "convscope demo", "version": 99}))
    with pytest.raises(ConvscopeError, match="made by a newer convscope"):
        walk()


def test_it_tells_of_each_chapter_before_and_after(walk) -> None:
    told = []
    walk(on_chapter=lambda number, count, stage, chapter: told.append((number, count, stage.name, chapter is not None)))
    assert told == [(i, 3, name, is_done) for i, name in enumerate(NAMES, 1) for is_done in (False, True)]


def test_the_budgets_leave_the_demo_shorter_than_three_minutes_on_one_core() -> None:
    """Oracle: the promise of the README."""
    assert sum(stage.budget for stage in STAGES) <= 180
    assert len({stage.name for stage in STAGES}) == len(STAGES)
