"""Maps at a mask's resolution. Oracles: torch's own bilinear interpolation where it is the same thing, closed forms."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.dataset.field_upsampling import Upsampler, anchors_of, upsampling
from convscope.network.receptive_fields import ReceptiveField
from tests.nets import images


@pytest.mark.parametrize(("h", "w"), [(4, 4), (1, 1), (8, 16), (5, 3)])
@pytest.mark.parametrize("evenly", [True, False])
def test_padded_layers_are_what_every_library_calls_bilinear(h: int, w: int, evenly: bool) -> None:
    """c_i = (i + 1/2) j, from fields centred on their cells, or where there is no field."""
    stride = 16 // h, 48 // w
    if (h * stride[0], w * stride[1]) != (16, 48) and not evenly:
        pytest.skip("no whole stride")
    field = None if evenly else ReceptiveField((stride[0] + 4, stride[1] + 2), stride, (-2, -1))
    maps = images(1, 3, h, w)[0]
    ours = Upsampler((h, w), (16, 48), (32, 24), field, maps)(maps)
    theirs = F.interpolate(maps[None], (32, 24), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_a_ramp_laid_at_the_fields_middles_is_that_ramp_between_them_and_flat_beyond() -> None:
    """SqueezeNet's first layer: 109 units of field 7, stride 2, from pixel 0: middles at 3.5, 5.5, ..., 219.5."""
    down, across = anchors_of(ReceptiveField((7, 5), (2, 4), (0, -1)))
    assert (down, across) == ((3.5, 2.0), (1.5, 4.0))
    middles = np.arange(109) * 2 + 3.5
    ramp = upsampling(109, 224, 224, down) @ middles
    np.testing.assert_allclose(ramp, np.clip(np.arange(224) + 0.5, 3.5, 219.5), atol=1e-10)


def test_down_and_across_are_not_exchanged() -> None:
    field = ReceptiveField((3, 3), (2, 4), (1, 5))  # middles at 2.5, 4.5, ... and 6.5, 10.5, ...
    maps = torch.zeros(1, 4, 4, dtype=torch.float64)
    maps[0, 1, 2] = 1  # at (4.5, 14.5)
    found = Upsampler((4, 4), (12, 24), (12, 24), field, maps)(maps)[0]
    assert found[4, 14] == 1
    assert found.sum() == pytest.approx(2 * 4)  # two triangles: of areas 2 and 4


def test_finer_maps_than_the_image_and_one_unit() -> None:
    weights = upsampling(16, 8, 8, (0.25, 0.5))
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights @ (np.arange(16) * 0.5 + 0.25), np.arange(8) + 0.5)
    np.testing.assert_array_equal(upsampling(1, 8, 5, (4.0, 8.0)), np.ones((5, 1)))


def test_fields_that_have_no_step_are_laid_evenly() -> None:
    assert anchors_of(None) == (None, None)
    assert anchors_of(ReceptiveField((3, 3), (0, 0), (0, 0))) == (None, None)
