"""The page: it fetches nothing, every link leads to a file of the tour, every command can be given as it stands."""

import importlib
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import typer.main
from PIL import Image
from typer.core import TyperGroup

from convscope.cli.running import COMMANDS, app
from convscope.tours.demo import STAGES, Tour
from convscope.tours.tour_page import write_page
from tests.standalone import Page

for name in COMMANDS:  # each registers its command
    importlib.import_module(f"convscope.cli.{name}")

NAMES_IN_COMMANDS = ("photo.jpg", "photos/", "my_net.py:make_net", "my.run", "my.atlas", "cat", "dog")


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


def test_every_command_on_the_page_is_one_that_convscope_takes(whole: Tour) -> None:
    """Oracle: the command line's own parser. Every name in it is explained on the page, or is an option's value."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    commands = {said for chapter in whole.chapters for one in chapter.pictures for said in one.commands}
    assert len(commands) > 12
    for said in commands:
        program, command, *args = shlex.split(said)
        assert program == "convscope"
        assert command in group.commands, said
        group.commands[command].make_context(command, args)  # raises where an option is none


def test_names_in_the_commands_are_explained(whole: Tour) -> None:
    text = Page(whole.page.read_text()).text
    explained = text[text.index("The names in the commands") :]
    commands = " ".join(" ".join(one.commands) for chapter in whole.chapters for one in chapter.pictures)
    used = {name for name in NAMES_IN_COMMANDS if name in commands}
    assert used == set(NAMES_IN_COMMANDS)
    for name in used:
        assert name in explained


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
