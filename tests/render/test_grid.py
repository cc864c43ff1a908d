"""Grids of many small pictures. Oracles: the places of flat colours, whole multiples of pixels, layouts compared."""

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import Cell, grid, rows_of_cells
from convscope.render.scale import Scale

FIELD = (0xE9, 0xEC, 0xEF)


def colour(number: int) -> tuple[int, int, int]:
    """A colour of its own, far from white, black and the field's grey."""
    return 40 + number % 11 * 15, 30 + number // 11 % 11 * 15, 200


def flat(number: int, side: int = 4) -> Image.Image:
    return Image.new("RGB", (side, side), colour(number))


def place(page: Image.Image, wanted: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of a flat colour, which fills its box."""
    rows, columns = np.nonzero((np.asarray(page) == wanted).all(axis=2))
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    assert len(rows) == (box[2] - box[0]) * (box[3] - box[1])
    return box


@pytest.mark.parametrize(
    ("count", "columns", "side"), [(3, 3, 256), (9, 5, 256), (17, 6, 256), (64, 8, 256), (65, 16, 128), (600, 32, 84)]
)
def test_cell_k_is_at_place_k_and_many_are_small(count: int, columns: int, side: int) -> None:
    """Of many only those on the diagonal have a colour of their own."""
    own = [k for k in range(count) if count < 20 or k % (columns + 1) == 0]
    page = grid([Cell((flat(own.index(k) if k in own else 120),), str(k)) for k in range(count)])
    boxes = {k: place(page, colour(own.index(k))) for k in own}
    assert {(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes.values()} == {(side, side)}
    lefts, tops = (sorted({box[axis] for box in boxes.values()}) for axis in (0, 1))
    assert len(lefts) == min(columns, len(own))
    for k, box in boxes.items():
        assert box[:2] == (lefts[k % columns], tops[k // columns])


def test_every_pixel_of_a_map_is_a_whole_square_of_the_file() -> None:
    """7 x 7 pixels of their own colours on a tile of 100 points: 28 times each, none mixed with its neighbour."""
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 256, (3, 7, 7, 3), dtype=np.uint8)
    maps[:, 0, 0] = [colour(k) for k in range(3)]
    maps[:, 0, 1] = maps[:, 1, 0] = (1, 2, 3)
    page = np.asarray(grid([Cell((m,), str(k)) for k, m in enumerate(maps)], tile_width=100))
    for k, map_ in enumerate(maps):
        x0, y0, x1, _ = place(Image.fromarray(page), colour(k))
        times = x1 - x0
        assert times == round(200 / 7)
        tile = page[y0 : y0 + 7 * times, x0 : x0 + 7 * times]
        np.testing.assert_array_equal(tile, map_.repeat(times, 0).repeat(times, 1))


def test_a_large_picture_is_shrunk_and_sizes_that_differ_share_one_tile() -> None:
    page = grid([Cell((flat(0, 900),))], tile_width=100)
    x0, y0, x1, y1 = place(page, colour(0))
    assert (x1 - x0, y1 - y0) == (200, 200)
    mixed = grid([Cell((flat(0, 13),)), Cell((flat(1, 30),))], tile_width=100)
    assert {place(mixed, colour(k))[2] - place(mixed, colour(k))[0] for k in (0, 1)} == {200}


def test_pictures_side_by_side_belong_to_one_cell_and_have_their_bars_below() -> None:
    bars = (ColourBar(Scale(0.0, 1.0)), None)
    page = grid([Cell((flat(0), flat(1)), "a", bars=bars), Cell((flat(2), flat(3)), "b")], tile_width=100)
    left, right, next_ = (place(page, colour(k)) for k in range(3))
    assert left[1] == right[1] == next_[1]
    assert 0 < right[0] - left[2] < next_[0] - right[2]
    below = np.asarray(page)[left[3] + 6 : left[3] + 22]
    assert (below[:, left[0] : left[2]].std(axis=(0, 1)) > 20).any()
    assert (below[:, right[0] : right[2]] == 255).all()


def test_a_text_in_place_of_a_picture_is_a_field_of_the_others_shape() -> None:
    page = grid([Cell((Image.new("RGB", (8, 4), colour(0)),), "0"), Cell(("all 0",), "1")], tile_width=100)
    x0, y0, x1, y1 = place(page, colour(0))
    pixels = np.asarray(page)
    rows, columns = np.nonzero((pixels == FIELD).all(axis=2))
    assert (rows.min(), rows.max() + 1) == (y0, y1)
    assert columns.max() + 1 - columns.min() == x1 - x0
    inside = pixels[y0:y1, columns.min() : columns.max() + 1]
    assert (inside.min(axis=2) < 160).any()  # the words


def test_rows_have_headings_beside_and_columns_above() -> None:
    rows = [[Cell((flat(2 * r + c),)) for c in range(2)] for r in range(2)]
    bare = rows_of_cells(rows, tile_width=40)
    full = rows_of_cells(rows, row_headings=["unit 3", "unit 5"], column_headings=["0", "1"], tile_width=40)
    boxes, moved = ([place(page, colour(k)) for k in range(4)] for page in (bare, full))
    assert {(m[0] - b[0] > 0, m[1] - b[1] > 0) for b, m in zip(boxes, moved, strict=True)} == {(True, True)}
    assert moved[1][0] - moved[0][0] == boxes[1][0] - boxes[0][0]
    with pytest.raises(ConvscopeError, match="2 rows cannot have 1 headings"):
        rows_of_cells(rows, row_headings=["unit 3"])


def test_an_outline_goes_round_the_picture_and_not_into_its_middle() -> None:
    white = Cell((Image.new("RGB", (3, 3), "white"),), outlined=True)
    pixels = np.asarray(grid([white], tile_width=60))
    rows, columns = np.nonzero((pixels == (0xD5, 0xDA, 0xDE)).all(axis=2))
    assert rows.max() - rows.min() == columns.max() - columns.min() == 3 * 40 - 1
    inner = pixels[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1]
    assert (inner == 255).all()


def test_the_bar_for_all_and_its_words_stand_below_the_cells() -> None:
    cells = [Cell((flat(0),), "0")]
    bare, barred = grid(cells, tile_width=60), grid(cells, tile_width=60, bar=ColourBar(Scale(0.0, 1.0)), said="One")
    assert place(bare, colour(0)) == place(barred, colour(0))
    assert barred.height > bare.height + 60


@pytest.mark.parametrize(("cells", "options"), [([], {}), ([Cell((flat(0),))], {"columns": 0})])
def test_nothing_to_show_is_refused(cells: list[Cell], options: dict[str, int]) -> None:
    with pytest.raises(ConvscopeError, match="at least 1 cell and 1 column"):
        grid(cells, **options)


def test_lines_below_a_picture_move_no_picture_and_take_room_below() -> None:
    plain, said = (grid([Cell((flat(k),), str(k), below=below) for k in range(3)]) for below in ((), ("a", "b")))
    assert [place(plain, colour(k))[0] for k in range(3)] == [place(said, colour(k))[0] for k in range(3)]
    assert said.height > plain.height + 40
    bottom = max(place(said, colour(k))[3] for k in range(3))
    assert (np.asarray(said)[bottom:] < 200).any()


def test_a_badge_frames_its_own_picture_and_no_other() -> None:
    page = grid([Cell((flat(k),), badge="best" if k == 1 else "") for k in range(3)])
    first, last = place(page, colour(0)), place(page, colour(2))
    green = np.argwhere((np.asarray(page) == (0x0B, 0x6E, 0x4F)).all(axis=2))
    (top, left), (bottom, right) = green.min(0), green.max(0) + 1
    assert (top, bottom) == (first[1], first[3])
    assert first[2] < left < right < last[0]
    assert (right - left, bottom - top) == (first[2] - first[0], first[3] - first[1])


def test_further_lines_of_a_row_heading_are_grey_below_the_first() -> None:
    rows = [[Cell((flat(0),))], [Cell((flat(1),))]]
    one, two = (rows_of_cells(rows, row_headings=[f"layer{more}", "b"]) for more in ("", "\nsees"))
    left = place(one, colour(0))[0]
    assert place(two, colour(0)) == place(one, colour(0))
    heading_one, heading_two = (np.asarray(page)[:, :left] for page in (one, two))
    assert (heading_two < 160).any(axis=(1, 2)).sum() > (heading_one < 160).any(axis=(1, 2)).sum()
