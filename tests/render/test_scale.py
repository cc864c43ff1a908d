"""Scales and upsampling. Oracles: closed forms; numpy's percentile; torch's and Pillow's bilinear enlargement."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.scale import Scale, scale_of, upsample

maps = arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


class TestPosition:
    @given(maps)
    def test_without_a_sign_is_the_value_over_the_largest(self, values):
        values = np.abs(values)
        scale = scale_of(values)
        assert (scale.low, scale.high, scale.signed) == (0, values.max(), False)
        assert np.allclose(scale.position(values) * scale.high, values, rtol=1e-12)
        assert np.array_equal(scale.strength(values), scale.position(values))

    @given(maps)
    def test_with_a_sign_puts_zero_in_the_middle(self, values):
        scale = scale_of(values, signed=True)
        largest = np.abs(values).max()
        assert (scale.low, scale.high) == (-largest, largest)
        assert np.allclose((2 * scale.position(values) - 1) * largest, values, atol=1e-12 * largest)
        assert np.allclose(scale.strength(values) * largest, np.abs(values), atol=1e-12 * largest)
        assert scale.position(np.zeros(1)) == 0.5

    def test_the_sign_is_told_from_the_values(self):
        assert scale_of(np.array([[-1e-9, 5.0]])).signed
        assert not scale_of(np.array([[0.0, 5.0]])).signed
        assert scale_of([np.array([[0.0, 5.0]]), np.array([[-1.0]])]).signed

    def test_a_zero_map_stays_zero(self):
        zero = np.zeros((2, 2))
        assert scale_of(zero).is_empty
        for scale in (scale_of(zero), scale_of(zero, signed=True), scale_of(zero, percentile=99.0)):
            assert not scale.strength(zero).any()

    def test_a_flat_or_offset_map_is_not_stretched(self):
        assert np.array_equal(scale_of(np.full((2, 2), 3.0)).position(np.full((2, 2), 3.0)), np.ones((2, 2)))
        assert scale_of(np.array([9.0, 10.0])).position(np.array([9.0])) == pytest.approx(0.9)


class TestSharing:
    def test_the_largest_of_all_maps_of_any_shape_counts(self):
        scale = scale_of([np.array([[1.0, 2.0]]), np.array([[8.0]]), np.ones((3, 2, 2))])
        assert scale == Scale(0.0, 8.0)
        assert scale.position(np.array([2.0])) == 0.25
        assert scale_of([np.array([1.0]), np.array([-4.0])]) == Scale(-4.0, 4.0, signed=True)

    def test_a_map_that_leaves_the_scale_is_refused_not_clipped(self):
        scale = scale_of(np.array([2.0]))
        for value in (2.1, -0.1):
            with pytest.raises(ConvscopeError, match=r"leave the scale from 0 to 2; .*scale_of\(\) of all maps"):
                scale.position(np.array([1.0, value]))
        assert scale.position(np.array([2.0 + 1e-7])) == 1.0  # a rounding


class TestPercentile:
    @given(st.floats(1, 99.9), st.booleans())
    def test_is_that_of_the_absolute_values_of_all_maps(self, percentile, signed):
        random = np.random.default_rng(0)
        a, b = random.standard_normal((5, 5)) ** 3, random.standard_normal((2, 7)) ** 3
        if not signed:
            a, b = np.abs(a), np.abs(b)
        scale = scale_of([a, b], percentile=percentile)
        expected = np.percentile(np.abs(np.concatenate([a.ravel(), b.ravel()])), percentile)
        assert scale.high == pytest.approx(expected, rel=1e-12)
        assert (scale.low, scale.percentile) == (-scale.high if signed else 0, percentile)

    def test_clips_to_the_ends_and_only_where_it_says_so(self):
        values = np.array([-9.0, -1.0, 0.0, 1.0, 9.0])
        scale = Scale(-1.0, 1.0, signed=True, percentile=50.0)
        assert scale.position(values).tolist() == [0, 0, 0.5, 1, 1]
        with pytest.raises(ConvscopeError, match="leave the scale"):
            Scale(0.0, 1.0, percentile=50.0).position(values)  # below 0 nothing was clipped

    def test_is_not_used_where_it_would_wipe_out_a_map_of_few_pixels(self):
        values = np.zeros(1000)
        values[0] = 7.0
        assert scale_of(values, percentile=99.0) == Scale(0.0, 7.0)
        assert scale_of(np.ones(10), percentile=50.0).percentile is None


class TestRefusals:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_of_values_that_are_not_finite(self, bad):
        values = np.array([[1.0, bad], [bad, 0.0]])
        for call in (scale_of, Scale(0.0, 1.0).position):
            with pytest.raises(ConvscopeError, match="2 of the map's 4 values are not finite"):
                call(values)

    def test_of_nothing_of_a_hidden_sign_and_of_no_percentile(self):
        for nothing in ([], np.zeros((0, 3))):
            with pytest.raises(ConvscopeError, match="no map to scale"):
                scale_of(nothing)
        with pytest.raises(ConvscopeError, match=r"values down to -2: draw it on a signed scale"):
            scale_of(np.array([-2.0, 1.0]), signed=False)
        for percentile in (0.0, 101.0, float("nan")):
            with pytest.raises(ConvscopeError, match="a percentile lies between"):
                scale_of(np.ones(3), percentile=percentile)

    def test_of_ends_that_are_no_scale(self):
        for low, high in ((1.0, 0.0), (0.0, float("nan")), (0.0, float("inf"))):
            with pytest.raises(ConvscopeError, match="from a finite number up"):
                Scale(low, high)
        with pytest.raises(ConvscopeError, match="centred on 0"):
            Scale(0.0, 1.0, signed=True)


class TestUpsample:
    @given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
    def test_equals_torch_in_float64(self, h, w, height, width):
        values = np.random.default_rng(h * 9 + w).standard_normal((h, w))
        theirs = F.interpolate(
            torch.from_numpy(values)[None, None], size=(height, width), mode="bilinear", align_corners=False
        )
        assert np.abs(upsample(values, (height, width)) - theirs[0, 0].numpy()).max() < 1e-12

    def test_equals_torch_and_pillow_in_float32(self):
        values = np.random.default_rng(0).standard_normal((7, 7)).astype(np.float32)
        ours = upsample(values, (224, 300))
        theirs = F.interpolate(torch.from_numpy(values)[None, None], size=(224, 300), mode="bilinear")[0, 0].numpy()
        pillow = np.asarray(Image.fromarray(values).resize((300, 224), Image.Resampling.BILINEAR))
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < 1e-5
        assert np.abs(ours - pillow).max() < 1e-5

    def test_never_leaves_the_values_and_keeps_a_flat_map(self):
        values = np.random.default_rng(0).random((5, 6))
        large = upsample(values, (50, 61))
        assert values.min() <= large.min()
        assert large.max() <= values.max()
        assert np.array_equal(upsample(np.full((3, 3), 0.1), (10, 10)), np.full((10, 10), 0.1)) or np.allclose(
            upsample(np.full((3, 3), 0.1), (10, 10)), 0.1, rtol=1e-15
        )

    def test_refuses_nothing(self):
        with pytest.raises(ConvscopeError, match=r"shape \(0, 3\) has no pixels to put on 4 x 4"):
            upsample(np.zeros((0, 3)), (4, 4))
        with pytest.raises(ConvscopeError, match="0 x 4"):
            upsample(np.zeros((2, 3)), (0, 4))
