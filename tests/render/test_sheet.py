"""Sheets and tiles. Oracles: the places of flat colours, closed forms of enlarged pixels, two layouts compared."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.colour import colourise
from convscope.render.colour_bar import ColourBar, ramp
from convscope.render.scale import Scale
from convscope.render.sheet import Tile, matrix, sheet
from convscope.render.tile import header, picture

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200), (200, 0, 200), (90, 60, 30)]


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (50, 50)) -> Image.Image:
    return Image.new("RGB", size, colour)


def place(page: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of a flat colour on the page, which fills its box."""
    rows, columns = np.nonzero((np.asarray(page) == colour).all(axis=2))
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    assert len(rows) == (box[2] - box[0]) * (box[3] - box[1])
    return box


def ink(page: Image.Image, box: tuple[int, int, int, int]) -> bool:
    return bool((np.asarray(page.crop(box).convert("L")) < 150).any())


class TestGrid:
    @pytest.mark.parametrize("ratio", [1, 2])
    def test_tiles_have_one_size_one_distance_and_reading_order(self, ratio):
        page = sheet([Tile(flat(colour)) for colour in COLOURS[:5]], columns=3, tile_width=100, pixel_ratio=ratio)
        boxes = [place(page, colour) for colour in COLOURS[:5]]
        assert {(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes} == {(100 * ratio, 100 * ratio)}
        (a, b, c), (d, e) = boxes[:3], boxes[3:]
        assert a[1] == b[1] == c[1] < d[1] == e[1]
        assert a[0] == d[0] < b[0] == e[0] < c[0]
        assert b[0] - a[0] == c[0] - b[0] == 118 * ratio
        assert page.width - c[2] == a[0] == a[1] == page.height - d[3] == 28 * ratio  # margins

    @pytest.mark.parametrize(("tiles", "columns"), [(1, 1), (5, 5), (6, 3), (7, 4), (10, 5), (11, 4)])
    def test_rows_are_as_even_as_can_be(self, tiles, columns):
        page = sheet([Tile(flat(COLOURS[0]))] * tiles, tile_width=20, pixel_ratio=1)
        assert page.width == 56 + 20 * columns + 18 * (columns - 1)

    def test_the_middle_of_a_tile_has_the_colour_of_its_map(self):
        values = np.full((8, 8), 0.7)
        page = sheet([Tile(colourise(values, Scale(0.0, 1.0)))], tile_width=64, pixel_ratio=1)
        assert page.getpixel((28 + 32, 28 + 32)) == tuple(colourise(values, Scale(0.0, 1.0))[0, 0])

    def test_pictures_of_a_row_start_at_one_height_whatever_their_captions(self):
        tiles = [
            Tile(flat(COLOURS[0]), "a"),
            Tile(flat(COLOURS[1]), "a very long caption " * 5, "and a note " * 20),
            Tile(flat(COLOURS[2])),
        ]
        page = sheet(tiles, tile_width=100, pixel_ratio=1)
        boxes = [place(page, colour) for colour in COLOURS[:3]]
        assert {box[1] for box in boxes} == {28 + max(header(tile, 100, 1).height for tile in tiles) + 6}
        assert ink(page, (28, 28, 128, boxes[0][1]))
        assert ink(page, (146, 28, 246, boxes[0][1]))
        assert not ink(page, (264, 28, 364, boxes[0][1]))

    def test_landscape_and_portrait_keep_their_shape_inside_the_tile(self):
        tiles = [Tile(flat(COLOURS[0], (40, 20))), Tile(flat(COLOURS[1], (20, 40)))]
        page = sheet(tiles, tile_width=100, pixel_ratio=1)
        assert place(page, COLOURS[0]) == (28, 28, 128, 78)
        assert place(page, COLOURS[1]) == (146 + 25, 28, 146 + 75, 128)

    def test_title_subtitle_and_footer_lie_above_and_below(self):
        bare = sheet([Tile(flat(COLOURS[0]))], pixel_ratio=1)
        full = sheet([Tile(flat(COLOURS[0]))], title="Title", subtitle="Subtitle", footer="Footer", pixel_ratio=1)
        box = place(full, COLOURS[0])
        assert ink(full, (0, 0, full.width, box[1]))
        assert ink(full, (0, box[3], full.width, full.height))
        assert not ink(bare, (0, 0, bare.width, 28))
        assert full.width == bare.width


class TestBars:
    def test_a_tile_has_its_own_below_it_and_a_sheet_one_below_all(self):
        bar = ColourBar(Scale(0.0, 3.0))
        own = sheet([Tile(flat(COLOURS[0]), bar=bar), Tile(flat(COLOURS[1]))], tile_width=100, pixel_ratio=1)
        box = place(own, COLOURS[0])
        under = np.asarray(own)[box[3] + 6 + 4, box[0] : box[2]]
        assert np.array_equal(under[1:-1], ramp(bar, 100, 1)[0, 1:-1])
        assert not ink(own, (146, box[3], own.width, own.height))
        shared = sheet([Tile(flat(COLOURS[0])), Tile(flat(COLOURS[1]))], bar=bar, tile_width=100, pixel_ratio=1)
        rows = np.asarray(shared)[box[3] :, 29 : 28 + 159]
        assert (np.abs(rows.astype(int) - ramp(bar, 160, 1)[0, 1:-1]).max(axis=(1, 2)) == 0).sum() == 6

    def test_a_shared_scale_gives_equal_values_equal_pixels(self):
        shared = Scale(0.0, 8.0)
        tiles = [Tile(colourise(np.full((4, 4), 2.0), shared)), Tile(colourise(np.full((9, 9), 2.0), shared))]
        page = sheet(tiles, bar=ColourBar(shared), tile_width=40, pixel_ratio=1)
        assert (
            page.getpixel((48, 48)) == page.getpixel((106, 48)) == tuple(colourise(np.full((1, 1), 2.0), shared)[0, 0])
        )


class TestWords:
    def test_a_warning_stands_in_the_middle_of_the_picture(self):
        plain = np.asarray(picture(Tile(flat(COLOURS[2])), 400, 2), int)
        warned = np.asarray(picture(Tile(flat(COLOURS[2]), warning="zero map: every gradient is 0"), 400, 2), int)
        changed = np.abs(plain - warned).max(axis=2) > 0
        rows, columns = np.nonzero(changed)
        assert abs(rows.mean() - 200) < 10
        assert abs(columns.mean() - 200) < 10
        assert 0.02 < changed.mean() < 0.4
        assert (warned[changed] < 90).all(axis=1).any()  # ink on the panel

    def test_a_method_that_does_not_apply_leaves_a_grey_field_with_its_reason(self):
        empty = np.asarray(picture(Tile(None), 200, 1))
        assert (empty == empty[0, 0]).all()
        assert empty.shape == (200, 200, 3)
        assert (np.asarray(picture(Tile(None, warning="no global pooling"), 200, 1)) != empty).any()

    def test_any_script_and_any_length_is_set_without_a_warning(self):
        odd = "猫 🐱 ünïcode \u202eabc\x00 $x^2$ " * 30
        sheet([Tile(flat(COLOURS[0]), odd, odd, warning=odd)], title=odd, subtitle=odd, footer=odd, tile_width=64)


class TestPixels:
    def test_stay_visible_when_enlarged_by_a_whole_number(self):
        small = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
        large = np.asarray(picture(Tile(small, pixels=True), 64, 1))
        assert np.array_equal(large, small.repeat(16, 0).repeat(16, 1))

    def test_have_equal_weight_when_enlarged_by_any(self):
        """Oracle: the area of a pixel; plain nearest would make some a pixel wider."""
        small = np.zeros((7, 7, 3), np.uint8)
        small[3, 3] = 255
        large = np.asarray(picture(Tile(small, pixels=True), 100, 1), float)[..., 0]
        assert large.sum() / 255 == pytest.approx((100 / 7) ** 2, rel=0.01)
        assert large.max() == 255

    def test_photos_are_smooth(self):
        small = np.zeros((4, 4, 3), np.uint8)
        small[:, 2:] = 255
        large = np.asarray(picture(Tile(small), 64, 1), int)[32, :, 0]
        assert len(np.unique(large)) > 5

    def test_arrays_that_are_no_colours_are_refused(self):
        for image in (np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8)):
            with pytest.raises(ConvscopeError, match=r"shows uint8 of shape \(H, W, 3\)"):
                picture(Tile(image), 10, 1)


class TestMatrix:
    def test_headings_stand_left_of_rows_and_above_columns(self):
        rows = [[Tile(flat(COLOURS[0])), Tile(flat(COLOURS[1]))], [None, Tile(flat(COLOURS[2]))]]
        page = matrix(
            rows, row_headings=["cat.jpg", "dog.jpg"], column_headings=["one", "two"], tile_width=100, pixel_ratio=1
        )
        a, b, c = (place(page, colour) for colour in COLOURS[:3])
        assert b[0] == c[0] > a[0] == 28 + 110 + 18
        assert a[1] == b[1] < c[1]
        for box in ((28, a[1], 138, a[3]), (28, c[1], 138, c[3]), (a[0], 28, a[2], a[1]), (b[0], 28, b[2], b[1])):
            assert ink(page, box)
        assert not ink(page, (a[0], c[1], a[2], c[3]))

    def test_rows_of_unequal_length_are_filled_with_nothing(self):
        page = matrix([[Tile(flat(COLOURS[0]))], [Tile(flat(COLOURS[1])), Tile(flat(COLOURS[2]))]], tile_width=50)
        assert place(page, COLOURS[0])[0] == place(page, COLOURS[1])[0] < place(page, COLOURS[2])[0]

    def test_refuses_nothing_and_headings_that_do_not_count_up(self):
        with pytest.raises(ConvscopeError, match="at least 1 tile"):
            sheet([])
        with pytest.raises(ConvscopeError, match="1 column, not 1 and 0"):
            sheet([Tile(None)], columns=0)
        with pytest.raises(ConvscopeError, match="needs tiles"):
            matrix([[], []])
        with pytest.raises(ConvscopeError, match="1 rows cannot have 2 headings: a, b"):
            matrix([[Tile(None)]], row_headings=["a", "b"])
        with pytest.raises(ConvscopeError, match="1 columns cannot have 2 headings"):
            matrix([[Tile(None)]], column_headings=["a", "b"])


def test_drawing_loads_neither_torch_nor_pyplot():
    program = (
        "import sys; from convscope.render import chart, colour, colour_bar, overlay, scale, sheet, tile, typography; "
        "chart.probability_bars([('cat', .5)]); print([name for name in sys.modules if name in "
        "('torch', 'matplotlib.pyplot', 'convscope.network')])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
