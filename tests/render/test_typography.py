"""Setting text. Oracles: properties of every wrapping; a table of numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.render.typography import Type, font, number_text, text_block, wrap

FACE = font(14)


@given(st.text(max_size=120), st.integers(30, 400))
def test_with_lines_enough_every_word_is_kept_in_order_and_fits(text, width):
    lines = wrap(text, FACE, width, 1000)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(FACE.getlength(line) <= width or len(line) == 1 for line in lines)


@given(st.text(max_size=200), st.integers(40, 300), st.integers(1, 3))
def test_with_too_few_lines_it_ends_in_an_ellipsis_that_fits(text, width, most):
    lines, whole = wrap(text, FACE, width, most), wrap(text, FACE, width, 1000)
    assert len(lines) <= most
    if len(whole) <= most:
        assert lines == whole
    else:
        assert lines[-1].endswith("…")
        assert len(lines[-1]) <= 2 or FACE.getlength(lines[-1]) <= width


def test_breaks_at_spaces_and_inside_a_word_only_where_it_must():
    assert wrap("golden retriever puppy", FACE, round(FACE.getlength("golden retriever pup")), 3) == [
        "golden retriever",
        "puppy",
    ]
    assert wrap("a" * 50, FACE, 100, 9)[0] == "a" * len(wrap("a" * 50, FACE, 100, 9)[0])
    assert len(wrap("a" * 50, FACE, 100, 9)) > 1


def test_no_text_has_no_height_and_n_lines_have_n_times_the_height():
    one = text_block("one", 200, Type(12.0), pixel_ratio=2)
    assert text_block("", 200, Type(12.0), pixel_ratio=2).size == (200, 0)
    assert text_block("one one one one one", 80, Type(12.0, lines=9), pixel_ratio=2).height % one.height == 0
    assert text_block("one", 200, Type(12.0), pixel_ratio=4).height == pytest.approx(2 * one.height, abs=2)


@pytest.mark.parametrize(("align", "side"), [("left", 0), ("centre", 1), ("right", 2)])
def test_ink_lies_on_the_asked_side(align, side):
    block = np.asarray(text_block("HHH", 300, Type(12.0), pixel_ratio=1, align=align).convert("L"))
    thirds = [(block[:, x : x + 100] < 128).any() for x in (0, 100, 200)]
    assert thirds == [side == place for place in range(3)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.5, "0.5"),
        (8.388, "8.39"),
        (-0.69512, "−0.695"),
        (12345.6, "12300"),
        (0.001, "0.001"),
        (0.00052349, "5.23×10⁻⁴"),
        (-4e-12, "−4×10⁻¹²"),
        (123456.0, "1.23×10⁵"),
        (1e10, "1×10¹⁰"),
        (99999.0, "100000"),
    ],
)
def test_numbers_have_three_digits_that_count(value, text):
    assert number_text(value) == text


def test_a_layers_name_is_broken_after_a_dot() -> None:
    width = round(FACE.getlength("features.3.expa"))
    assert wrap("features.3.expand1x1", FACE, width, 3)[:1] == ["features.3."]
    assert wrap("a features.3.expand1x1", FACE, width, 3)[:2] == ["a", "features.3."]
    assert wrap("features.3", FACE, width, 3) == ["features.3"]
    assert wrap("0.5 of it all the time", FACE, width, 3)[0] == "0.5 of it all the"
