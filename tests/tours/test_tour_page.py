"""The page: it fetches nothing, every link leads to a file of the tour, every command gives its picture."""

import importlib
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from typer.testing import CliRunner

from convscope.cli.running import COMMANDS, app
from convscope.tours.demo import STAGES, Tour
from convscope.tours.tour_page import STANDS_FOR, write_page
from tests.standalone import Page

for name in COMMANDS:  # each registers its command
    importlib.import_module(f"convscope.cli.{name}")


def test_every_link_is_relative_and_leads_to_a_file_of_the_tour(whole: Tour) -> None:
    page = Page(whole.page.read_text())
    links = [link for link in page.references if not link.startswith(("data:", "#"))]
    assert len(links) > 2 * 20
    for link in links:
        file = whole.page.parent / unquote(link)
        assert file.resolve().is_relative_to(whole.page.parent.resolve()), link
        assert file.is_file(), link
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert "script" not in page.tags


def test_every_chapter_is_on_the_page_with_all_its_pictures(whole: Tour) -> None:
    html = whole.page.read_text()
    for stage, chapter in zip(STAGES, whole.chapters, strict=True):
        assert f'href="#{stage.name}"' in html
        assert f'id="{stage.name}"' in html
        for one in chapter.pictures:
            assert f'src="{stage.name}/{one.file}" width="{one.width}"' in html


def test_every_picture_has_an_alternative_text_a_sentence_and_a_command(whole: Tour) -> None:
    for chapter in whole.chapters:
        for one in chapter.pictures:
            assert one.alt.endswith("."), one
            assert one.text.endswith("."), one
            assert one.commands, one
            assert one.width >= 300, one


def test_every_command_gives_its_picture_in_the_folder_wherever_that_is(
    whole: Tour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the pixels on the page. The folder was moved, so no command may lead back to where it was made."""
    folder = shutil.copytree(whole.page.parent, tmp_path / "moved")
    monkeypatch.chdir(folder)
    done = set[str]()
    for chapter in whole.chapters:
        for one in chapter.pictures:
            for said in one.commands:
                if said not in done:  # a report has several of the pictures
                    given(said)
                    done.add(said)
            again = [path for out in MADE_BY_COMMANDS for path in Path(out).rglob(f"*{Path(one.file).suffix}")]
            assert any(same_picture(path, folder / chapter.name / one.file) for path in again), (one.file, one.commands)


MADE_BY_COMMANDS = ("convscope-out", "report", "my/digits.run/report")


def given(said: str) -> None:
    """A command of the page, as a shell reads it."""
    program, *args = shlex.split(said)
    assert program == "convscope"
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, f"{said}\n{result.stderr}"


def same_picture(one: Path, other: Path) -> bool:
    """Pixel by pixel, in a film frame by frame."""
    with Image.open(one) as a, Image.open(other) as b:
        if (a.size, frames := getattr(a, "n_frames", 1)) != (b.size, getattr(b, "n_frames", 1)):
            return False
        return all(frame_of(a, i) == frame_of(b, i) for i in range(frames))


def frame_of(film: Image.Image, number: int) -> bytes:
    film.seek(number)
    return film.convert("RGB").tobytes()


def test_what_can_be_changed_in_the_commands_is_in_them(whole: Tour) -> None:
    text = Page(whole.page.read_text()).text
    commands = " ".join(" ".join(one.commands) for chapter in whole.chapters for one in chapter.pictures)
    for name in STANDS_FOR:
        assert name in text
        assert name in commands or name == "bullfrog,tarantula"  # a tour of the tests has one class


def test_each_bar_of_the_progress_moves_to_its_end(whole: Tour, told: list[tuple[str, int, int]]) -> None:
    """Oracle: one step before the end is told at least; of three steps by three names each would stand still."""
    furthest = {what: (done, every) for what, done, every in told}
    assert len(furthest) > 8
    assert [what for what, (done, every) in furthest.items() if done < every - 1] == []


def test_every_chapter_says_what_it_cannot_tell(whole: Tour) -> None:
    text = Page(whole.page.read_text()).text
    for stage in STAGES:
        assert len(stage.limits) > 60
        assert stage.limits in text


def test_texts_are_escaped(made_up, walk, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    chapters = walk().chapters
    picture = replace(chapters[0].pictures[0], alt=evil, text=evil, commands=(evil,), more=evil, more_text=evil)
    bad = replace(chapters[0], title=evil, text=evil, pictures=(picture,))
    page = write_page(tmp_path / "tour", made_up.stages, {"one": bad}).read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 7


def test_sheets_are_shown_at_half_their_pixels_and_films_at_all_of_them(whole: Tour) -> None:
    """Oracle: sheets are drawn for dense screens, films are not (``render``)."""
    seen = set[bool]()
    for chapter in whole.chapters:
        for one in chapter.pictures:
            with Image.open(whole.page.parent / chapter.name / one.file) as picture:
                is_film = one.file.endswith(".film.webp")
                seen.add(is_film)
                assert (one.width, one.height) == tuple(side if is_film else side // 2 for side in picture.size)
    assert seen == {True, False}
