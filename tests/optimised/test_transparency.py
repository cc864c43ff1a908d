"""Pictures with an opacity, against pixels by hand."""

import numpy as np
import torch

import convscope as cs
from convscope.network.pixel_inputs import pixel_input
from convscope.optimised.transparency import over_grey, over_squares, squares
from tests import friendly, nets


def test_squares_are_white_and_grey_from_the_top_left_whatever_the_size() -> None:
    board = squares(torch.zeros(1, 3, 40, 60))
    assert board.shape == (40, 60)
    assert board[0, :4].tolist() == board[2, 2:6].tolist() == [1, 1, board[0, 2].item(), board[0, 2].item()]
    assert 0.8 < board[0, 2] < 0.95
    assert squares(torch.zeros(1, 1, 1, 2))[0].tolist() == [1, board[0, 2].item()]


def test_what_is_opaque_is_seen_and_what_is_not_is_not() -> None:
    image = nets.images(2).sigmoid()
    alpha = torch.zeros(2, 1, 12, 12, dtype=torch.float64)
    alpha[0], alpha[1, :, :6] = 0.25, 1
    grey, drawn = over_grey(image, alpha), over_squares(image, alpha)
    assert torch.allclose(grey[0], 0.25 * image[0] + 0.375)
    assert torch.equal(grey[1, :, :6], image[1, :, :6])
    assert (grey[1, :, 6:] == 0.5).all()
    assert torch.equal(drawn[1, :, 6:], squares(image)[6:].expand(3, -1, -1))
    assert over_grey(image, None) is over_squares(image, None) is image


def test_a_sheet_shows_squares_and_the_network_is_shown_grey() -> None:
    net = friendly.network(nets.plain, dtype=torch.float64)
    frames: list[torch.Tensor] = []
    made = cs.visualize(
        net, "conv2:3", steps=60, alpha=True, opacity=9, jitter=0, rotate=0,
        on_frame=lambda _, shown: frames.append(shown["conv2:3"]),
    )  # fmt: skip
    one = made.pictures[0]
    assert one.alpha is not None
    assert one.alpha.mean() < 0.4
    assert torch.allclose(one.shown, one.alpha * one.values + (1 - one.alpha) * squares(one.values), atol=1e-6)
    assert torch.allclose(frames[-1], one.shown, atol=1e-6)
    levels = np.asarray(made.picture()).reshape(-1, 3).tolist()
    assert (255 * one.shown[:, 5, 5]).double().round().int().tolist() in levels
    with torch.no_grad():
        x = pixel_input(net)(over_grey(one.values[None], one.alpha[None]).double())
        assert torch.allclose(made.scores[0].double(), net.module[:4](x)[0, 3].mean(), rtol=1e-4)
