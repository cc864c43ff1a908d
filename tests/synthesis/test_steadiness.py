"""The views of ``steady``, against slices and what one linear image must become."""

import pytest
import torch

from convscope.errors import ConvscopeError
from convscope.synthesis.steadiness import shift_px, steady
from tests import nets


def test_the_three_views_are_the_picture_moved_down_and_right_and_turned() -> None:
    """Oracle: slices; of a ramp across, its turn by hand, within where no mirror reaches."""
    image = torch.rand(2, 3, 48, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    views = steady(image)
    assert list(views) == ["as it is", "shifted", "turned"]
    assert torch.equal(views["as it is"], image)
    assert torch.equal(views["shifted"][:, :, 2:, 2:], image[:, :, :-2, :-2])
    ramp = torch.arange(49.0, dtype=torch.float64).expand(1, 1, 49, 49) - 24
    turned = steady(ramp)["turned"]
    angle = torch.deg2rad(torch.tensor(5.0, dtype=torch.float64))
    expected = torch.cos(angle) * ramp - torch.sin(angle) * ramp.mT  # a quarter turn to the left takes right to top
    assert torch.allclose(turned[..., 8:-8, 8:-8], expected[..., 8:-8, 8:-8], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("size", "px"), [((192, 192), 8), ((224, 300), 9), ((32, 32), 1), ((7, 9), 1)])
def test_the_shift_is_8_px_at_192_px_and_goes_with_the_shorter_side(size: tuple[int, int], px: int) -> None:
    assert shift_px(*size) == px


def test_a_turn_that_is_none_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="a turn of nan"):
        steady(nets.images(1), degrees=float("nan"))
