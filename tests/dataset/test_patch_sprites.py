"""Each crop lies in the sheet where its row says, at the scale of its layer."""

import numpy as np
import pytest
from PIL import Image

from convscope.dataset.patch_sprites import CELL_PX, UNITS_A_SHEET, SpriteRow, sprites_of
from convscope.dataset.patches import PictureRow
from tests.dataset.kept_pictures import KeptPictures


class Solid:
    """Pictures of one colour each: ``"0-3-17x9"`` is that of unit 0, rank 3, of 17 x 9 pixels."""

    def read(self, name: str) -> Image.Image:
        unit, rank, size = name.split("-")
        width, height = map(int, size.split("x"))
        return Image.new("RGB", (width, height), (int(unit) % 250, 25 * int(rank), 40))


def _row(unit: int, rank: int, width: int, height: int, *, layer: str = "a", kind: str = "crop") -> PictureRow:
    return PictureRow(layer, unit, rank, kind, f"{unit}-{rank}-{width}x{height}", (height, width))


def _cell(store: KeptPictures, sheet: SpriteRow, unit: int, rank: int) -> np.ndarray:
    left, top = sheet.place(unit, rank)
    return np.asarray(store.read(sheet.file), int)[top : top + sheet.cell, left : left + sheet.cell]


@pytest.mark.parametrize(("side", "cell"), [(7, 7), (64, 64), (160, CELL_PX)])
def test_the_middle_of_every_cell_has_its_crop_and_its_scale(side: int, cell: int) -> None:
    store = KeptPictures()
    rows = [_row(unit, rank, side, side) for unit in range(5) for rank in range(3)]
    rows[4] = _row(1, 1, side, max(1, side // 2))  # clipped at the image's border
    (sheet,) = sprites_of(rows, Solid().read, store.keep)
    assert (sheet.first_unit, sheet.units, sheet.columns, sheet.cell) == (0, 5, 3, cell)
    assert store.read(sheet.file).size == (3 * cell, 5 * cell)
    for row in rows:
        colour = (row.unit, 25 * row.rank, 40)
        assert np.abs(_cell(store, sheet, row.unit, row.rank)[cell // 2, cell // 2] - colour).max() < 30
    clipped = _cell(store, sheet, 1, 1)[:, cell // 2]
    is_ground = (clipped > 200).all(1)
    assert cell // 2 - 2 <= is_ground.sum() <= cell // 2 + 3  # half of the cell is empty: one scale for the layer
    assert is_ground[0]
    assert is_ground[-1]


def test_a_high_layer_goes_on_in_further_sheets_and_layers_keep_their_order() -> None:
    store = KeptPictures()
    many = [_row(unit, 0, 5, 5, layer="b") for unit in range(2 * UNITS_A_SHEET + 3)]
    rows = [*many, _row(0, 0, 4, 4, layer="a"), _row(0, 0, 9, 9, layer="c", kind="context")]
    sheets = list(sprites_of(rows, Solid().read, store.keep, threads=2))
    assert [(s.layer, s.first_unit, s.units) for s in sheets] == [
        ("b", 0, UNITS_A_SHEET), ("b", UNITS_A_SHEET, UNITS_A_SHEET), ("b", 2 * UNITS_A_SHEET, 3), ("a", 0, 1),
    ]  # fmt: skip
    last = 2 * UNITS_A_SHEET + 2
    assert np.abs(_cell(store, sheets[2], last, 0)[2, 2] - (last % 250, 0, 40)).max() < 30
    assert list(sprites_of(rows, Solid().read, store.keep, threads=1)) == sheets
    assert [s.layer for s in sprites_of(rows, Solid().read, store.keep, kind="context")] == ["c"]
    assert list(sprites_of([], Solid().read, store.keep)) == []


def test_a_unit_without_an_exemplar_leaves_its_cells_empty() -> None:
    store = KeptPictures()
    (sheet,) = sprites_of([_row(0, 0, 9, 9), _row(2, 1, 9, 9)], Solid().read, store.keep)
    assert sheet.units == 3
    assert (_cell(store, sheet, 1, 0) > 200).all()
