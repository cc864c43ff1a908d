"""Colours. Oracles: matplotlib's own colour maps; closed forms of ends and middles."""

import numpy as np
import pytest
from matplotlib import colormaps

from convscope.errors import ConvscopeError
from convscope.render.colour import COLOUR_MAPS, channels_picture, colourise, default_colour_map, gradient_picture
from convscope.render.scale import Scale, scale_of

RAMP = np.linspace(0, 4, 256)[None]


def lightness(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


class TestColourise:
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [("viridis", "viridis"), ("cividis", "cividis"), ("magma", "magma"), ("grey", "gray"), ("jet", "jet")],
    )
    def test_equals_matplotlib(self, ours, theirs):
        expected = (colormaps[theirs](RAMP / 4)[..., :3] * 255).round().astype(int)
        assert np.abs(colourise(RAMP, Scale(0.0, 4.0), ours).astype(int) - expected).max() <= 1

    def test_default_is_viridis_or_centred_and_never_jet(self):
        unsigned, signed = Scale(0.0, 4.0), Scale(-4.0, 4.0, signed=True)
        assert np.array_equal(colourise(RAMP, unsigned), colourise(RAMP, unsigned, "viridis"))
        assert np.array_equal(colourise(-RAMP, signed), colourise(-RAMP, signed, "diverging"))
        assert (default_colour_map(unsigned), default_colour_map(signed)) == ("viridis", "diverging")

    @pytest.mark.parametrize("name", ["viridis", "cividis", "magma", "grey"])
    def test_a_larger_value_is_lighter(self, name):
        assert (np.diff(lightness(colourise(RAMP, Scale(0.0, 4.0), name)[0])) > -0.6).all()

    def test_diverging_is_white_at_zero_red_above_blue_below(self):
        low, middle, high = colourise(np.array([[-2.0, 0.0, 2.0]]), Scale(-2.0, 2.0, signed=True))[0].astype(int)
        assert middle.min() > 240
        assert np.ptp(middle) < 8
        assert high[0] - high[2] > 100
        assert low[2] - low[0] > 100

    def test_a_zero_map_has_the_colour_of_zero_not_of_a_stretch(self):
        zero = np.zeros((3, 3))
        assert np.array_equal(colourise(zero, scale_of(zero)), colourise(zero, Scale(0.0, 1.0)))
        assert np.array_equal(colourise(zero, scale_of(zero, signed=True)), colourise(zero, Scale(-1.0, 1.0, True)))

    def test_on_a_shared_scale_equal_values_have_equal_colours(self):
        a, b = np.array([[1.0, 3.0]]), np.array([[3.0, 12.0]])
        shared = scale_of([a, b])
        assert np.array_equal(colourise(a, shared)[0, 1], colourise(b, shared)[0, 0])
        assert not np.array_equal(colourise(a, scale_of(a))[0, 1], colourise(b, scale_of(b))[0, 0])

    def test_refuses_unknown_maps_and_a_middle_where_there_is_none(self):
        with pytest.raises(ConvscopeError, match=r"no colour map 'virdis'; did you mean 'viridis'.*\? \(there are vir"):
            colourise(RAMP, Scale(0.0, 4.0), "virdis")
        with pytest.raises(ConvscopeError, match="centred on 0"):
            colourise(RAMP, Scale(0.0, 4.0), "diverging")
        assert set(COLOUR_MAPS) == {"viridis", "cividis", "magma", "diverging", "grey", "jet"}


class TestGradientPicture:
    def test_is_half_plus_g_over_two_m(self):
        gradient = np.random.default_rng(0).standard_normal((3, 4, 5))
        scale = scale_of(gradient, signed=True)
        expected = 255 * (0.5 + gradient / (2 * np.abs(gradient).max()))
        assert np.abs(gradient_picture(gradient, scale).transpose(2, 0, 1) - expected).max() <= 0.5 + 1e-9

    def test_zero_is_grey_and_the_largest_an_end(self):
        scale = Scale(-2.0, 2.0, signed=True)
        gradient = np.array([[[0.0, 2.0, -2.0]]])
        assert gradient_picture(gradient, scale)[0].tolist() == [[128] * 3, [255] * 3, [0] * 3]
        assert (gradient_picture(np.zeros((3, 2, 2)), scale_of(np.zeros(1), signed=True)) == 128).all()

    def test_refuses_other_channels_and_a_scale_without_sign(self):
        with pytest.raises(ConvscopeError, match="of 2 channels has no colours"):
            gradient_picture(np.zeros((2, 2, 2)), Scale(-1.0, 1.0, signed=True))
        with pytest.raises(ConvscopeError, match="a gradient has a sign"):
            gradient_picture(np.zeros((3, 2, 2)), Scale(0.0, 1.0))


def test_channels_are_red_green_and_blue_from_the_low_to_the_high_end() -> None:
    """(w - min) / (max - min) in 255 steps, by hand."""
    values = np.array([[[-1.0, 0.0]], [[1.0, 3.0]], [[0.6, 2.2]]])
    shown = channels_picture(values, Scale(-1.0, 3.0))
    assert shown.tolist() == [[[0, 128, 102], [64, 255, 204]]]
    assert channels_picture(values[:1], Scale(-1.0, 3.0)).tolist() == [[[0, 0, 0], [64, 64, 64]]]
    with pytest.raises(ConvscopeError, match="2 channels have no colours"):
        channels_picture(values[:2], Scale(-1.0, 3.0))
