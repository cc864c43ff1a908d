"""A page is one file: it fetches nothing, escapes every text, and holds the pictures to the last bit."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from convscope.render.page import page_of
from tests.standalone import Page

EVIL = "<script>alert(1)</script> \"'&"


def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in noise]


def test_the_pictures_are_in_the_page_at_half_their_pixels() -> None:
    html = page_of("a title", pictures(), {}, {})
    page = Page(html)
    assert page.fetches == []
    assert page.tags.count("img") == 2
    assert html.count('width="7"') == 2
    for link, picture in zip(page.references, pictures(), strict=True):
        kind, content = link.split(",")
        assert kind == "data:image/png;base64"
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), np.asarray(picture)
        )


@pytest.mark.parametrize("place", ["title", "fact name", "fact", "stamp name", "stamp"])
def test_every_text_is_escaped_wherever_it_stands(place: str) -> None:
    def text(here: str) -> str:
        return EVIL if here == place else here

    html = page_of(
        text("title"), pictures()[:1], {text("fact name"): text("fact")}, {text("stamp name"): text("stamp")}
    )
    page = Page(html)
    assert "script" not in page.tags
    assert page.fetches == []
    assert EVIL in page.text


def test_the_stamp_leaves_out_what_is_not_known_and_keeps_a_zero() -> None:
    page = Page(page_of("t", [], {}, {"seed": 0, "command": "", "model_hash": "ab", "other": None}))
    words = page.text.split()
    assert words[-5:] == ["seed", "0", "model", "hash", "ab"]


def test_it_is_a_whole_document_in_utf8_that_needs_no_script() -> None:
    html = page_of("Größe ✓", pictures(), {"a": "b"}, {})
    assert html.startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")
    assert 'lang="en"' in html
    page = Page(html)
    assert page.tags[:3] == ["html", "meta", "meta"]
    assert "script" not in page.tags
    assert html.count('alt="Größe ✓"') == 2
