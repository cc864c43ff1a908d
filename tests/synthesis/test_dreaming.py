"""DeepDream against the notebook's loop, written down again in numpy; octaves, shifts, breaks, starts, refusals."""

import numpy as np
import pytest
import scipy.ndimage as nd
import torch
from torch import nn

from convscope.synthesis.dreaming import (
    dreamt,
    octave_bases,
    octave_sizes,
    zoomed,
)
from convscope.synthesis.guides import guide
from convscope.synthesis.objectives import Objective, layer, logit, unit
from convscope.synthesis.transforms import draw_shift
from tests import nets
from tests.nets.building import hard_net
from tests.synthesis.dreams import photos, run, seeded, starts_and_ends, to_input

# ---- the notebook --------------------------------------------------------------------------------------------


class Notebook:
    """google/deepdream, dream.ipynb: its names and order; ``src`` in [0, 255] as a numpy array, float64."""

    def __init__(self, net: nn.Module, end: str, guide_features: np.ndarray | None = None) -> None:
        self.net, self.end, self.guide_features = net, list(dict(net.named_children())).index(end) + 1, guide_features
        self.generator = seeded()
        self.seen: list[np.ndarray] = []

    def objective(self, dst: np.ndarray) -> np.ndarray:
        if self.guide_features is None:
            return dst  # objective_L2: dst.diff[:] = dst.data
        ch = dst.shape[0]
        x, y = dst.reshape(ch, -1), self.guide_features.reshape(ch, -1)
        a = x.T.dot(y)  # compute the matrix of dot-products with guide features
        return y[:, a.argmax(1)].reshape(dst.shape)  # select ones that match best

    def make_step(self, src: np.ndarray, step_size: float, jitter: int) -> np.ndarray:
        oy, ox = draw_shift(jitter, self.generator)
        src = np.roll(np.roll(src, ox, -1), oy, -2)  # apply jitter shift
        leaf = torch.from_numpy(src / 255)[None].requires_grad_()
        dst = self.net[: self.end](to_input(leaf))  # pyright: ignore
        (g,) = torch.autograd.grad(dst, leaf, torch.from_numpy(self.objective(dst[0].detach().numpy()))[None])
        src = src + step_size / np.abs(g[0].numpy()).mean() * g[0].numpy()
        src = np.roll(np.roll(src, -ox, -1), -oy, -2)  # unshift image
        return np.clip(src, 0, 255)

    def deepdream(
        self, base_img: np.ndarray, iter_n=4, octave_n=3, octave_scale=1.4, step_size=1.5, jitter=5
    ) -> list[np.ndarray]:
        octaves = [base_img]
        for _ in range(octave_n - 1):
            octaves.append(nd.zoom(octaves[-1], (1, 1.0 / octave_scale, 1.0 / octave_scale), order=1))
        detail = np.zeros_like(octaves[-1])  # allocate image for network-produced details
        for octave, octave_base in enumerate(octaves[::-1]):
            h, w = octave_base.shape[-2:]
            if octave > 0:  # upscale details from the previous octave
                h1, w1 = detail.shape[-2:]
                detail = nd.zoom(detail, (1, 1.0 * h / h1, 1.0 * w / w1), order=1)
            src = octave_base + detail
            self.seen.append(src)
            for _ in range(iter_n):
                src = self.make_step(src, step_size, jitter)
                self.seen.append(src)
            detail = src - octave_base
        return self.seen


@pytest.mark.parametrize(("end", "guided"), [("conv2", False), ("relu2", False), ("conv2", True), ("relu2", True)])
def test_every_picture_is_the_notebooks(end: str, guided: bool) -> None:
    net, photo = nets.plain(), photos()
    features = net[: list(dict(net.named_children())).index(end) + 1](to_input(photos(1, 18, 13, seed=7))).detach()
    objective = guide(end, features) if guided else layer(end, 2)
    expected = Notebook(net, end, features[0].numpy() if guided else None).deepdream(255 * photo[0].numpy())
    steps = run(net, objective, photo)
    assert len(steps) == len(expected) == 15
    for step, picture in zip(steps, expected, strict=True):
        np.testing.assert_allclose(255 * step.image[0].numpy(), picture, rtol=0, atol=1e-8)
    assert [(step.octave, step.step) for step in steps] == [(o, s) for o in range(3) for s in range(5)]


def test_scores_are_the_mean_square_of_the_picture_as_it_is_at_an_octaves_start_and_end() -> None:
    net, photo = nets.plain(), photos(2)
    for step in run(net, layer("conv2", 2), photo):
        as_it_is = net[:4](to_input(step.image)).square().mean((1, 2, 3))
        assert torch.allclose(step.scores, as_it_is, rtol=1e-12) == (step.step in (0, 4))


# ---- octaves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "octaves", "scale"), [((341, 512), 4, 1.4), ((23, 30), 3, 1.5), ((9, 50), 4, 2.0)])
def test_octaves_are_scipys_zoom_of_each_other(size: tuple[int, int], octaves: int, scale: float) -> None:
    photo = photos(1, *size)
    expected = [photo[0].numpy()]
    for _ in range(octaves - 1):
        expected.insert(0, nd.zoom(expected[0], (1, 1.0 / scale, 1.0 / scale), order=1))
    sizes = octave_sizes(size, octaves, scale)
    assert sizes == [picture.shape[1:] for picture in expected]
    for base, picture in zip(octave_bases(photo, sizes), expected, strict=True):
        np.testing.assert_allclose(base[0].numpy(), picture, rtol=0, atol=1e-12)


def test_octaves_without_a_pixel_and_octaves_of_one_size_are_left_out() -> None:
    assert octave_sizes((1, 40), 9, 3) == [(1, 40)]
    assert octave_sizes((2, 5), 9, 1.4) == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5)]
    assert octave_sizes((4, 4), 9, 1.1) == [(4, 4)]


def test_a_zoom_to_its_own_size_is_the_picture_itself() -> None:
    assert zoomed(photo := photos(), (23, 30)) is photo


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("octaves", [1, 2, 4])
def test_no_steps_give_the_photo_back_to_the_bit(dtype: torch.dtype, octaves: int) -> None:
    photo = photos(2, 41, 37, dtype=dtype)
    steps = run(nets.plain(dtype=dtype), layer("conv2", 2), photo, octaves, steps=0)
    assert torch.equal(steps[-1].image, photo)
    assert len(steps) == octaves
    assert [step.image.shape[2:] for step in steps] == [
        b.shape[2:] for b in octave_bases(photo, octave_sizes((41, 37), octaves))
    ]


def test_the_caller_keeps_the_photo() -> None:
    photo = photos()
    run(nets.plain(), layer("conv2", 2), photo)
    assert torch.equal(photo, photos())


# ---- steps ---------------------------------------------------------------------------------------------------


def test_a_step_is_the_gradient_at_a_mean_size_of_the_rate_clipped_at_black_and_white() -> None:
    """Closed form: a linear score has one gradient everywhere."""
    net, photo = nets.linear_only(), 0.3 + 0.4 * photos(2, 12, 12)
    leaf = photo.clone().requires_grad_()
    (g,) = torch.autograd.grad(net(to_input(leaf))[:, 1].sum(), leaf)
    way = g / g.abs().mean((1, 2, 3), keepdim=True)
    for step in run(net, logit(1), photo, 1, steps=3, jitter=0, rate=2.5):
        assert torch.allclose(step.image, photo + step.step * 2.5 / 255 * way, rtol=0, atol=1e-12)
    bright = run(net, logit(1), photo, 1, steps=3, jitter=0, rate=200)[-1].image
    assert (bright.min(), bright.max()) == (0, 1)


def test_an_image_without_gradient_stays_and_the_others_of_its_batch_move() -> None:
    gradient = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)]).double()
    image = torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64)
    moved = dreamt(image, gradient, 25.5)
    assert torch.equal(moved[0], image[0])
    assert torch.allclose(moved[1], image[1] + 0.1)


@hard_net
def round_the_edges() -> nn.Module:
    """A convolution that wraps: rolling its input rolls its output."""
    parts = [nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"))


def test_the_jitter_is_undone() -> None:
    """Where the network does not know where it looks, shifts change nothing; elsewhere they do."""
    for net, is_same in ((round_the_edges(), True), (nets.plain(), False)):
        objective = layer("2" if is_same else "conv2", 2)
        still, moved = (run(net, objective, photos(), jitter=j)[-1].image for j in (0, 9))
        assert torch.allclose(still, moved, rtol=0, atol=1e-9) == is_same


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, same, other = (
        run(nets.plain(), layer("conv2", 2), photos(), generator=seeded(s))[-1].image for s in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("objective", [layer("conv2", 2), layer("relu1", 2), unit("conv2:3"), logit(2)])
def test_the_objective_rises_in_every_octave(objective: Objective) -> None:
    for before, after in starts_and_ends(run(nets.plain(), objective, photos(2), steps=10, rate=0.5, jitter=0)):
        assert (after > before).all()


def test_a_batch_is_so_many_single_dreams() -> None:
    net, photo = nets.plain(), photos(3)
    together = run(net, layer("conv2", 2), photo)
    for i in range(3):
        for both, alone in zip(together, run(net, layer("conv2", 2), photo[i : i + 1]), strict=True):
            assert torch.allclose(both.image[i], alone.image[0], rtol=0, atol=1e-9)
            assert torch.allclose(both.scores[i], alone.scores[0], rtol=1e-9)
