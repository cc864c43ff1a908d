"""Overlays and colour bars. Oracles: the blend's closed form, torch's upsampling, one against the other over white."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.colour import colourise
from convscope.render.colour_bar import ColourBar, bar_picture, ramp
from convscope.render.overlay import overlay
from convscope.render.scale import Scale, scale_of


def photo(height: int = 30, width: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def muted(picture: Image.Image, greyed: float) -> np.ndarray:
    colour = np.asarray(picture, float)
    return (1 - greyed) * colour + greyed * (colour @ [0.299, 0.587, 0.114])[..., None]


class TestOverlay:
    @pytest.mark.parametrize("colour_map", ["viridis", "magma", "jet"])
    def test_equals_the_formula_on_a_map_upsampled_by_torch(self, colour_map):
        values = np.random.default_rng(0).random((5, 7)) * 3
        opacity, greyed = 0.7, 0.4
        result = overlay(photo(), values, Scale(0.0, 3.0), opacity=opacity, colour_map=colour_map, greyed=greyed)
        large = F.interpolate(torch.from_numpy(values)[None, None], size=(30, 40), mode="bilinear")[0, 0].numpy() / 3
        share = opacity * large[..., None]
        expected = (1 - share) * muted(photo(), greyed) + share * 255 * colormaps[colour_map](large)[..., :3]
        assert result.size == (40, 30)
        assert np.abs(np.asarray(result) - expected).max() < 2.5

    def test_a_zero_map_leaves_the_photo(self):
        zero = np.zeros((4, 4))
        for scale in (scale_of(zero), Scale(0.0, 5.0), Scale(-5.0, 5.0, signed=True)):
            assert np.array_equal(np.asarray(overlay(photo(), zero, scale, greyed=0.0)), np.asarray(photo()))

    def test_the_heat_lies_on_the_corner_that_the_map_names(self):
        values = np.zeros((3, 4))
        values[0, 3] = 1.0
        change = np.asarray(overlay(photo(), values, scale_of(values), greyed=0.0), int) - np.asarray(photo(), int)
        assert np.abs(change[:5, 35:]).max() > 50
        assert not change[20:].any()
        assert not change[:, :20].any()

    def test_a_signed_map_is_red_above_blue_below_and_nothing_at_zero(self):
        white = Image.new("RGB", (3, 1), "white")
        values = np.array([[-1.0, 0.0, 1.0]])
        low, middle, high = np.asarray(overlay(white, values, Scale(-1.0, 1.0, signed=True)), int)[0]
        assert middle.tolist() == [255, 255, 255]
        assert low[2] > low[0] + 80
        assert high[0] > high[2] + 80

    def test_weak_evidence_of_either_sign_is_seen(self):
        white = Image.new("RGB", (2, 1), "white")
        pixels = np.asarray(overlay(white, np.array([[-0.3, 0.3]]), Scale(-1.0, 1.0, signed=True)), int)[0]
        assert (255 - pixels.min(axis=1) > 25).all()

    def test_refuses_numbers_outside_0_to_1_and_maps_off_the_scale(self):
        for options in ({"opacity": 1.1}, {"opacity": -0.1}, {"greyed": 2.0}):
            with pytest.raises(ConvscopeError, match="lie between 0 and 1"):
                overlay(photo(), np.zeros((2, 2)), Scale(0.0, 1.0), **options)
        with pytest.raises(ConvscopeError, match="leave the scale"):
            overlay(photo(), np.full((2, 2), 2.0), Scale(0.0, 1.0))


class TestColourBar:
    @pytest.mark.parametrize("scale", [Scale(0.0, 3.0), Scale(-3.0, 3.0, signed=True), Scale(0.2, 0.9)])
    def test_has_at_every_place_the_colour_of_its_value(self, scale):
        values = scale.low + (np.arange(100)[None] + 0.5) / 100 * (scale.high - scale.low)
        assert np.array_equal(ramp(ColourBar(scale), 100, 1), colourise(values, scale))

    @pytest.mark.parametrize("scale", [Scale(0.0, 3.0), Scale(-3.0, 3.0, signed=True)])
    @pytest.mark.parametrize("colour_map", [None, "magma"])
    def test_of_an_overlay_equals_that_overlay_on_white(self, scale, colour_map):
        values = scale.low + (np.arange(50)[None] + 0.5) / 50 * (scale.high - scale.low)
        over_white = overlay(Image.new("RGB", (50, 1), "white"), values, scale, opacity=0.6, colour_map=colour_map)
        assert np.array_equal(ramp(ColourBar(scale, colour_map, 0.6), 50, 1), np.asarray(over_white))

    def test_of_a_zero_map_is_one_colour_and_one_number(self):
        flat = ramp(ColourBar(scale_of(np.zeros(3))), 20, 2)
        assert (flat == flat[0, 0]).all()
        one = bar_picture(ColourBar(scale_of(np.zeros(3))), 200, pixel_ratio=1)
        assert columns_with_ink(one.crop((0, 0, 20, one.height)), 11) > 0
        assert columns_with_ink(one.crop((20, 0, 200, one.height)), 11) == 0

    def test_prints_a_number_at_each_end_and_the_middle_of_a_signed_one(self):
        assert labelled(Scale(0.0, 3.0)) == [True, False, True]
        assert labelled(Scale(-3.0, 3.0, signed=True)) == [True, True, True]

    def test_says_that_and_where_it_is_clipped_and_the_unit(self):
        clipped = ColourBar(Scale(0.0, 3.0, percentile=99.5), unit="probability")
        assert clipped.remark == "probability · clipped: 99.5 % of the values lie within"
        plain, said = (bar_picture(bar, 300, pixel_ratio=1) for bar in (ColourBar(Scale(0.0, 3.0)), clipped))
        assert ColourBar(Scale(0.0, 3.0)).remark == ""
        assert said.height > plain.height
        assert columns_with_ink(said, plain.height) > 100
        assert columns_with_ink(said.crop((150, 0, 300, plain.height)), 11) > columns_with_ink(
            plain.crop((150, 0, 300, plain.height)), 11
        )  # the "≥" before the number


def columns_with_ink(picture: Image.Image, below: int) -> int:
    return int((np.asarray(picture.convert("L"))[below:] < 160).any(axis=0).sum())


def labelled(scale: Scale) -> list[bool]:
    """Whether numbers stand at the left end, in the middle, at the right end of the bar."""
    picture = bar_picture(ColourBar(scale), 300, pixel_ratio=1)
    thirds = [picture.crop((x, 11, x + 40, picture.height)) for x in (0, 130, 260)]
    return [columns_with_ink(third, 0) > 0 for third in thirds]
