"""How values become tiles: where they lie on the photo, and on which scale."""

import numpy as np
import pytest
import torch

from convscope.attribution import METHODS
from convscope.drawing import draw_tile, on_the_photo, picture_of, scale_for, zero_reason
from convscope.errors import ConvscopeError
from convscope.render.scale import CLIP_PERCENTILE
from tests import friendly


@pytest.mark.parametrize("reading", ["drop", "score"])
def test_a_cell_of_an_occlusion_lies_at_the_middle_of_its_square(reading: str) -> None:
    """Closed form: squares of 4 every 2 pixels on 10 have their middles at 2, 4, 6, 8, and f(y, x) is linear there."""
    middles = torch.tensor([2.0, 4.0, 6.0, 8.0])
    cells = 10 * middles[:, None] + middles[None, :]
    options = {"size": (4, 4), "stride": (2, 2), "reading": reading}
    drawn = on_the_photo("occlusion", cells, options, (10, 10))
    pixels = (torch.arange(10) + 0.5).clamp(2, 8)  # beyond the outermost middles the edge is repeated
    torch.testing.assert_close(drawn, 10 * pixels[:, None] + pixels[None, :])


def test_the_last_square_is_cut_at_the_edge_and_its_middle_with_it() -> None:
    """Squares of 4 every 3 on 9 x 4: rows begin at 0, 3 and 6 (cut to 3 pixels, middle 7.5); one column."""
    cells = torch.tensor([[0.0], [1.0], [2.0]])
    drawn = on_the_photo("occlusion", cells, {"size": (4, 4), "stride": (3, 3), "reading": "score"}, (9, 4))
    expected = np.interp(np.arange(9) + 0.5, [2.0, 5.0, 7.5], [0.0, 1.0, 2.0])
    np.testing.assert_allclose(drawn, np.tile(expected[:, None], (1, 4)), rtol=1e-6)


def test_maps_that_lie_on_the_photo_already_are_left_alone() -> None:
    values = torch.arange(100.0).reshape(10, 10)
    assert on_the_photo("occlusion", values, {"size": (4, 4), "stride": (2, 2)}, (10, 10)) is values
    assert on_the_photo("grad-cam", values, {}, (10, 10)) is values


def test_gradients_are_clipped_at_a_percentile_and_heat_is_not() -> None:
    values = torch.linspace(0, 1, 1200).reshape(3, 20, 20)
    assert scale_for("gradient", [values]).percentile == CLIP_PERCENTILE
    assert scale_for("saliency", [values[0]]).percentile == CLIP_PERCENTILE
    for method in (m for m in METHODS if METHODS[m].look == "heat"):
        assert scale_for(method, [values[0]]).percentile is None


def test_a_shared_scale_holds_all_maps_and_is_signed_where_one_of_them_is() -> None:
    scale = scale_for("cam", [torch.tensor([[1.0, 2.0]]), torch.tensor([[-5.0, 0.0]])])
    assert (scale.low, scale.high, scale.signed) == (-5, 5, True)
    assert scale_for("cam", [torch.tensor([[1.0, 2.0]])]).low == 0


def test_rise_begins_at_its_lowest_value_and_others_at_0() -> None:
    """A mean score lies under all of its map: from 0 every pixel would glow. A flat map is not stretched."""
    values = torch.tensor([[0.25, 0.5]])
    assert (scale_for("rise", [values]).low, scale_for("rise", [values]).high) == (0.25, 0.5)
    assert scale_for("rise", [values, torch.tensor([[0.125]])]).low == 0.125
    assert scale_for("score-cam", [values]).low == 0
    assert scale_for("rise", [torch.full((2, 2), 0.5)]).low == 0
    signed = scale_for("rise", [torch.tensor([[-0.25, 0.5]])])
    assert (signed.low, signed.high) == (-0.5, 0.5)


def test_four_channels_are_drawn_as_their_sum() -> None:
    """Oracle: the tile of the summed map."""
    values = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0))
    tiles = [
        draw_tile("gradient", each, friendly.photo(), scale=scale_for("gradient", [each]), caption="", note="")
        for each in (values, values.sum(0))
    ]
    np.testing.assert_array_equal(np.asarray(tiles[0].image), np.asarray(tiles[1].image))


def test_only_a_map_of_zeros_has_a_reason() -> None:
    assert METHODS["cam"].zero in zero_reason("cam", torch.zeros(3, 3))
    assert zero_reason("cam", torch.tensor([[0.0, 1e-30]])) == ""


def test_the_variance_of_three_channels_is_drawn_as_their_sum() -> None:
    """Oracle: the tile of the summed map; it has no sign, and colours round grey would show one."""
    values = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    tiles = [
        draw_tile("var-grad", each, friendly.photo(), scale=scale_for("var-grad", [each]), caption="", note="")
        for each in (values, values.sum(0))
    ]
    np.testing.assert_array_equal(np.asarray(tiles[0].image), np.asarray(tiles[1].image))
    assert scale_for("var-grad", [values]).low == 0


# ---- pictures that were made ----


def test_three_channels_are_colours_and_one_is_grey() -> None:
    """Closed form: 255 v, rounded, where it was."""
    values = torch.tensor([0.0, 1 / 255, 1.49 / 255, 1.51 / 255, 0.5, 1.0]).reshape(1, 2, 3)
    colours = torch.cat([values, 1 - values, torch.zeros_like(values)])
    levels = np.array([[0, 1, 1], [2, 128, 255]], np.uint8)
    drawn, grey = np.asarray(picture_of(colours)), picture_of(values)
    np.testing.assert_array_equal(drawn[:, :, 0], levels)
    np.testing.assert_array_equal(drawn[:, :, 1].astype(int) + levels, 255 + (levels == 128))  # 127.5 goes up twice
    assert not drawn[:, :, 2].any()
    assert grey.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(grey), levels[:, :, None].repeat(3, 2))


@pytest.mark.parametrize(("channels", "side", "gap"), [(2, 4, 1), (4, 64, 2), (9, 28, 1)])
def test_other_channels_stand_side_by_side(channels: int, side: int, gap: int) -> None:
    values = torch.arange(channels * side * side).reshape(channels, side, side) / (channels * side * side)
    drawn = np.asarray(picture_of(values))[:, :, 0]
    assert drawn.shape == (side, channels * side + (channels - 1) * gap)
    for k in range(channels):
        at = k * (side + gap)
        np.testing.assert_array_equal(drawn[:, at : at + side], (255 * values[k].double()).round().numpy())
        assert (drawn[:, at + side : at + side + gap] == 255).all()


@pytest.mark.parametrize("wrong", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_no_picture_is_not_drawn(wrong: float) -> None:
    values = torch.full((3, 4, 4), 0.5)
    values[1, 2, 3] = wrong
    with pytest.raises(ConvscopeError, match="a picture's are from 0 to 1"):
        picture_of(values)
