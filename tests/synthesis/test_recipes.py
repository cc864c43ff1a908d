"""What a recipe may be, what its lengths are at other sizes, and how its rate falls."""

import math
from typing import Any

import pytest
import torch

from convscope.errors import ConvscopeError
from convscope.synthesis.recipes import PLAIN, Recipe, pixels_at
from convscope.synthesis.transforms import draw_shift, padded, rotated, scaled, shifted
from tests import nets


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "furier"}, "image 'furier': one of natural, fourier, pixels, maco; did you mean 'fourier'"),
        ({"steps": -1}, "steps -1: a whole number from 0 on"),
        ({"blur_every": 0}, "blur_every 0: a whole number from 1 on"),
        ({"pad": True}, "pad True: a whole number"),
        ({"tv": -0.1}, "tv -0.1: a number from 0 on"),
        ({"opacity": -1}, "opacity -1: a number from 0 on"),
        ({"opacity": 2}, "opacity 2 goes with alpha"),
        ({"noise": math.nan}, "noise nan: a number from 0 on"),
        ({"tv_beta": 0.5}, "tv_beta 0.5: a number from 1 on"),
        ({"rate": 0}, "rate 0: a number above 0, or None"),
        ({"settle": 1.5}, "settle 1.5: a share"),
        ({"scale": (1.2, 0.8)}, "scale .* the least and the largest factor"),
        ({"scale": (0, 1)}, "above 0"),
        ({"contrast": 0}, "contrast 0: a number above 0"),
        ({"contrast": 1, "image": "pixels"}, "contrast with image 'pixels'"),
        ({"blur": 1, "image": "maco"}, "blur with image 'maco'"),
        ({"blur": 1}, "blur with image 'natural'"),
        ({"tv_betta": 1}, r"a recipe has no 'tv_betta'; did you mean 'tv_beta'\?; it has image"),
    ],
)
def test_what_no_recipe_can_be_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        Recipe().changed(**changes)


def test_lengths_go_with_the_shorter_side_of_224_px() -> None:
    assert [pixels_at(16, *size) for size in ((224, 224), (112, 300), (28, 28), (7, 7))] == [16, 8, 2, 1]


def test_a_picture_is_padded_turned_scaled_shifted_and_grained_in_that_order_by_lengths_of_its_size() -> None:
    """Oracle: the moves themselves, with draws from a generator of the same seed; 56 x 80 px is a quarter of 224."""
    image, draw = nets.images(2, h=56, w=80), torch.Generator().manual_seed(5)
    recipe = Recipe(pad=12, rotate=8, scale=(0.8, 1.2), jitter=20, noise=0.3)
    transform = recipe.transform(56, 80)
    assert transform is not None
    degrees, factor = (float(torch.rand(1, generator=draw)) for _ in range(2))
    expected = scaled(rotated(padded(image, 3), -8 + 16 * degrees), 0.8 + 0.4 * factor)
    expected = shifted(expected, draw_shift(5, draw))
    expected = expected + 0.3 * torch.randn(expected.shape[1:], generator=draw)
    assert torch.allclose(transform(image, torch.Generator().manual_seed(5)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("image", "rate"), [("natural", 0.5), ("fourier", 0.05), ("pixels", 0.05), ("maco", 1.0)])
def test_each_kind_of_image_has_its_own_rate_where_none_is_given(image: str, rate: float) -> None:
    assert Recipe(image=image, settle=0).step_rate == rate
    assert Recipe(image=image, settle=0, rate=0.3).step_rate == 0.3


def test_plain_has_no_transform_no_penalty_and_one_rate() -> None:
    assert PLAIN.transform(12, 12) is None
    assert PLAIN.penalties == ()
    assert PLAIN.step_rate == 0.05


def test_the_rate_stays_then_falls_by_half_a_cosine_to_a_fiftieth() -> None:
    rate = Recipe(image="fourier", rate=2, steps=100, settle=0.5).step_rate
    assert callable(rate)
    assert [rate(0), rate(50)] == [2, 2]
    assert rate(75) == pytest.approx(2 * (0.02 + 0.98 / 2))
    assert rate(100) == pytest.approx(0.04)


def test_the_weights_of_the_penalties_are_those_given() -> None:
    """Oracle: by hand on the four numbers of [[0, 1], [2, 5]] / 5: TV with beta 2, squares, sixth powers."""
    image = torch.tensor([[0.0, 1.0], [2.0, 5.0]], dtype=torch.float64)[None, None] / 5
    (weight, sharp), *_ = Recipe(tv=3, tv_beta=1).penalties
    assert float(weight * sharp(image)) == pytest.approx(3 * (math.sqrt(5) + 4 + 3) / 5 / 4)
    total = sum(weight * penalty(image) for weight, penalty in Recipe(tv=3, l2=5, lp=7).penalties)
    offsets = [0.5, 0.3, 0.1, 0.5]
    expected = 3 * (1 + 4 + 16 + 9) / 25 / 4 + 5 * sum(d**2 for d in offsets) / 4 + 7 * sum(d**6 for d in offsets) / 4
    assert float(total) == pytest.approx(expected)
