"""The page of a training, and what it says. Oracles: rules by hand, the page's own links, files read back."""

import io
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.trainings import report as report_module
from convscope.trainings.between_epochs import between
from convscope.trainings.report import BUTTONS_PX, SECTIONS, drawn_sections, write_report
from convscope.trainings.training_run import open_training
from tests import friendly
from tests.trainings.runs import STAMP, snapshot, usual, write_run
from tests.trainings.test_training_run import damage

PAGES = ("curves", "confusion", "embedding", "filters", "layers", "values", "units")
FILMS = ("confusion", "embedding", "filters")


class Links(HTMLParser):
    """What a page asks for, and the tags it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: list[str] = []
        self.alts: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "href"):
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if tag == "img" and name == "alt":
                self.alts.append(value or "")


def read(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text("utf-8"))
    return links


def test_the_page_has_every_sheet_and_film_and_links_to_nothing_else(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    folder = usual(tmp_path)
    page = write_report(folder, on_step=lambda done, every: steps.append((done, every)))
    assert page == folder / "report" / "index.html"
    assert steps == [(number, 7) for number in range(1, 8)]
    links = read(page)
    files = {f"{key}.png" for key in PAGES} | {f"{key}.film.webp" for key in FILMS}
    assert {target for target in links.targets if not target.startswith("#")} == files
    assert {file.name for file in page.parent.iterdir()} == files | {"index.html"}
    assert {target[1:] for target in links.targets if target.startswith("#")} == {*PAGES, "numbers"} <= set(links.ids)
    assert "script" not in links.tags
    assert links.tags.count("img") == len(links.alts) == 10
    assert all(len(alt) > 20 for alt in links.alts)
    assert "Not shown" not in page.read_text()


def test_films_have_the_frames(tmp_path: Path) -> None:
    place = write_report(usual(tmp_path), out=tmp_path / "page", film="gif").parent
    expected = {"confusion": 4, "embedding": len(list(between(4))), "filters": len(list(between(4)))}
    for key, frames in expected.items():
        with Image.open(place / f"{key}.film.gif") as film:
            assert film.n_frames == frames
    assert not (tmp_path / "a.run" / "report").exists()


def test_without_films_and_in_other_forms(tmp_path: Path) -> None:
    place = write_report(usual(tmp_path), film=None, forms=["npz"]).parent
    assert sorted(file.name for file in place.iterdir()) == sorted(
        ["index.html", *(f"{key}.{form}" for key in PAGES for form in ("png", "npz"))]
    )
    with np.load(place / "curves.npz") as kept:
        np.testing.assert_array_equal(kept["losses"][0], [2.0, 1.0, 0.5, 0.1])


def test_one_epoch_has_sheets_and_no_films(tmp_path: Path) -> None:
    page = write_report(write_run(tmp_path / "a.run", [snapshot(0)], epochs=0))
    assert not list(page.parent.glob("*.film.*"))
    assert "Nobody can say yet: one epoch was looked at." in page.read_text()


def test_what_a_run_does_not_have_is_left_out_and_why(tmp_path: Path) -> None:
    bare = {"embedding": None, "filters": None, "filters_layer": None, "maps": {}, "images": None}
    page = write_report(write_run(tmp_path / "a.run", [snapshot(e, **bare) for e in (0, 1)], epochs=0))
    said = page.read_text()
    assert {file.stem for file in page.parent.glob("*.png")} == {"curves", "confusion", "layers", "values"}
    assert "Not shown, and why" in said
    assert "what is trained does not begin with a convolution" in said
    nothing = write_run(tmp_path / "b.run", [snapshot(0, **bare, splits={}, layers=())])
    with pytest.raises(ConvscopeError, match="has nothing to show"):
        write_report(nothing)
    assert not (nothing / "report").exists()


def test_damaged_and_missing_snapshots_are_on_the_page(tmp_path: Path) -> None:
    folder = usual(tmp_path, (0, 1, 2, 3))
    damage(folder, 1)
    said = write_report(folder, film=None).read_text()
    assert "Not all is there." in said
    assert "00001.safetensors" in said
    assert "damaged and left out: epoch 1" in said


def test_what_is_to_be_known_of_the_data_stands_above_the_answers(tmp_path: Path) -> None:
    leak = "a/1.png of train is b/7.png of held out"
    page = write_report(write_run(tmp_path / "a.run", [snapshot(1)], data={"name": "photos", "notes": [leak]}))
    written = page.read_text("utf-8")
    assert written.count(leak) == 1
    assert written.index(leak) < written.index('class="answers"')


def test_names_are_text_and_no_markup(tmp_path: Path) -> None:
    classes = ("<b>cat</b>", "dog & co", "$hen$")
    stamp = STAMP | {"model": "<script>x</script>"}
    page = write_report(write_run(tmp_path / "a.run", [snapshot(e) for e in (0, 1)], classes=classes, stamp=stamp))
    assert "script" not in read(page).tags
    assert "&lt;b&gt;cat&lt;/b&gt;" in page.read_text()


def test_the_networks_layers_are_on_the_page_where_it_is_given(tmp_path: Path) -> None:
    net = friendly.network()
    assert isinstance(net, Network)
    said = write_report(usual(tmp_path), net, film=None).read_text()
    count = sum(p.numel() for p in net.module.parameters())
    assert f"{count:,} parameters" in said


def test_a_wrong_ending_and_no_training_leave_nothing(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    with pytest.raises(ConvscopeError, match="no animation 'avi'"):
        write_report(folder, film="avi")
    with pytest.raises(ConvscopeError, match="did you mean"):
        write_report(tmp_path / "b.run", out=tmp_path / "page")
    assert not (folder / "report").exists()
    assert not (tmp_path / "page").exists()


def test_each_section_has_a_result_of_its_own(tmp_path: Path) -> None:
    drawn, left_out = drawn_sections(open_training(usual(tmp_path)))
    assert [one.section.key for one in drawn] == [section.key for section in SECTIONS] == list(PAGES)
    assert left_out == {}
    for one in drawn:  # every result saves as a picture, a page and values
        content = io.BytesIO()
        one.shown.picture().save(content, "PNG")
        assert "<h1>" in one.shown.to_html()
        assert one.shown.arrays()


def test_an_mp4_is_a_video_that_does_not_start_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[list[Image.Image], str]] = []
    monkeypatch.setattr(report_module, "check_ending", lambda ending: None)  # where there is no ffmpeg
    monkeypatch.setattr(
        report_module, "animation", lambda frames, ending, seconds: drawn.append((frames, ending)) or b"film"
    )
    page = write_report(usual(tmp_path), film="mp4")
    links = read(page)
    assert links.tags.count("video") == len(FILMS) == len(drawn)
    assert {f"{key}.film.mp4" for key in FILMS} <= set(links.targets)
    assert "autoplay" not in page.read_text()
    frames, ending = drawn[0]
    below = np.asarray(frames[0])[-BUTTONS_PX:]
    assert (ending, (below == 255).all()) == ("mp4", True)


def test_an_mp4_without_ffmpeg_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    folder = usual(tmp_path)
    with pytest.raises(ConvscopeError, match=r"pip install 'convscope\[video\]'; webp and gif do not"):
        write_report(folder, film="mp4")
    assert not (folder / "report").exists()


def test_an_embedding_by_another_name_is_refused(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    with pytest.raises(ConvscopeError, match="no embedding 'tsne' of a training; did you mean 't-sne'"):
        write_report(folder, embedding="tsne")
    assert not (folder / "report").exists()
