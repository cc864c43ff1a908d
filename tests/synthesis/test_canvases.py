"""Canvases: what they start from, what is drawn, gradients, batches as single runs, fixed magnitudes, refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.canvases import Canvas, fourier_canvas, maco_canvas, pixel_canvas
from convscope.synthesis.colour_basis import EDGE, values_of_image
from convscope.synthesis.spectra import magnitude_of, polar_of
from tests.synthesis.test_spectra import lucid

EVERY: list[Callable[..., Any]] = [pixel_canvas, fourier_canvas, maco_canvas]
SIZES = [(8, 8), (9, 7), (6, 11)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, seed: int = 3) -> Tensor:
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64)


# ---- the start ----


def test_a_fourier_start_is_lucids() -> None:
    """Replica of lucid's image(): fft_image, colours recorrelated, sigmoid, of the same numbers."""
    canvas = fourier_canvas(1, 3, 10, 12, generator=seeded(), dtype=torch.float64)
    spectrum = torch.randn(3, 10, 7, 2, generator=seeded()).double().movedim(-1, 0).numpy() * 0.01
    root = np.asarray([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    values = np.moveaxis(lucid(spectrum, 10, 12), 0, -1).reshape(-1, 3) @ (root / np.linalg.norm(root[:, 0])).T
    expected = np.moveaxis(1 / (1 + np.exp(-values.reshape(10, 12, 3))), -1, 0)
    assert np.abs(canvas.image()[0].detach().numpy() - expected).max() < 1e-8  # drawn in float32


@pytest.mark.parametrize("decorrelated", [True, False])
@pytest.mark.parametrize(("h", "w"), [(192, 192), (97, 150)])
def test_fourier_and_pixel_starts_are_near_grey(h: int, w: int, decorrelated: bool) -> None:
    """Closed form: the sigmoid's slope of 1/4 times the standard deviation that the definition implies, 0.0015-0.006.

    With an orthonormal transform it would be sqrt(h w) times as much: saturated.
    """
    for make, low, high in ((pixel_canvas, 0.0012, 0.0026), (fourier_canvas, 0.0020, 0.0060)):
        image = make(1, 3, h, w, generator=seeded(), decorrelated=decorrelated).image()
        assert abs(image.mean().item() - 0.5) < 0.02
        assert low < image.std((0, 2, 3)).min().item() <= image.std((0, 2, 3)).max().item() < high
        assert (image - 0.5).abs().max() < 0.05


def test_a_pixel_start_has_the_standard_deviation_asked_for() -> None:
    """Closed form: sd / 4 through the sigmoid's slope; 20,000 pixels."""
    image = pixel_canvas(1, 2, 100, 100, generator=seeded(), sd=0.04).image()
    assert image.std().item() == pytest.approx(0.01, rel=0.03)


def test_a_maco_start_has_the_contrast_of_photos_and_is_not_saturated() -> None:
    """Measured of photos: standard deviations near 0.25; few pixels near black or white; grey on the average."""
    image = maco_canvas(1, 3, 192, 192, generator=seeded()).image()
    assert abs(image.mean().item() - 0.5) < 0.02
    assert ((image.std((0, 2, 3)) > 0.15) & (image.std((0, 2, 3)) < 0.35)).all()
    assert ((image < 0.02) | (image > 0.98)).float().mean() < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("h", "w"), SIZES)
@pytest.mark.parametrize("make", EVERY)
def test_a_given_start_is_what_is_drawn(make: Callable[..., Any], h: int, w: int, dtype: torch.dtype) -> None:
    """Identity, to 1e-6 in float32 and 1e-12 in float64, between 1/512 and 511/512."""
    start = pictures(2, 3, h, w)
    start[0, 0] = 0.0
    image = make(2, 3, h, w, generator=seeded(), start=start, dtype=dtype).image()
    assert image.dtype == dtype
    assert (image - start.clamp(EDGE, 1 - EDGE)).abs().max() < (1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("make", EVERY)
def test_a_given_start_draws_nothing_and_is_left_alone(make: Callable[..., Any]) -> None:
    """Invariant: the generator and the caller's picture are as before; one picture serves every image."""
    generator, start = seeded(), pictures(1, 3, 6, 6).float()
    before, kept = generator.get_state(), start.clone()
    canvas = make(3, 3, 6, 6, generator=generator, start=start)
    for leaf in canvas.parameters:
        leaf.data.zero_()
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(start, kept)


# ---- batches ----


@pytest.mark.parametrize("make", EVERY)
def test_every_image_of_a_batch_starts_as_a_single_run(make: Callable[..., Any]) -> None:
    """Invariant: the parameters bit for bit, pictures to rounding; the generator goes on from the same state."""
    together, alone = seeded(7), seeded(7)
    batch, single = make(4, 3, 9, 8, generator=together, alpha=True), make(1, 3, 9, 8, generator=alone, alpha=True)
    for many, one in zip(batch.parameters, single.parameters, strict=True):
        assert all(torch.equal(many[k], one[0]) for k in range(4))
    assert torch.equal(together.get_state(), alone.get_state())
    assert torch.allclose(batch.image(), single.image().expand(4, -1, -1, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", EVERY)
def test_own_starts_differ_and_do_not_depend_on_the_size_of_the_batch(make: Callable[..., Any]) -> None:
    """Invariant, bit for bit: the first two of five are those of two; another seed gives others."""
    ask: Any = {"alpha": True, "own_starts": True}
    five, two = make(5, 3, 6, 7, generator=seeded(1), **ask), make(2, 3, 6, 7, generator=seeded(1), **ask)
    other = make(2, 3, 6, 7, generator=seeded(2), **ask)
    for many, few, others in zip(five.parameters, two.parameters, other.parameters, strict=True):
        assert torch.equal(many[:2], few)
        assert not torch.equal(many[0], many[1])
        assert not torch.equal(few, others)


# ---- gradients ----


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("make", EVERY)
def test_gradients_reach_every_parameter(make: Callable[..., Any], grey: bool) -> None:
    """float64 central differences along a random direction, of the picture and of alpha."""
    canvas = make(2, 1 if grey else 3, 7, 8, generator=seeded(), alpha=True, dtype=torch.float64)
    weights, opaque = pictures(*canvas.image().shape), pictures(2, 1, 7, 8, seed=4)

    def objective() -> Tensor:
        return (weights * canvas.image()).sum() + (opaque * canvas.alpha()).sum()

    assert len(canvas.parameters) == 2
    gradients = torch.autograd.grad(objective(), canvas.parameters)
    for leaf, gradient in zip(canvas.parameters, gradients, strict=True):
        direction, values = pictures(*leaf.shape, seed=5) - 0.5, leaf.detach().clone()
        ends = list[float]()
        for step in (1e-5, -1e-5):
            leaf.data.copy_(values + step * direction)
            ends.append(objective().item())
        leaf.data.copy_(values)
        assert abs((gradient * direction).sum().item()) > 1e-6
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx((gradient * direction).sum().item(), rel=1e-5)


@pytest.mark.parametrize("make", EVERY)
def test_an_image_does_not_depend_on_its_neighbours(make: Callable[..., Any]) -> None:
    """Invariant: the gradient of one image is zero in the others' parameters."""
    canvas = make(3, 3, 6, 6, generator=seeded())
    canvas.image()[1].square().sum().backward()
    (leaf,) = canvas.parameters
    assert leaf.grad[1].abs().max() > 0
    assert leaf.grad[[0, 2]].abs().max() == 0


@pytest.mark.parametrize("make", EVERY)
def test_an_optimiser_reaches_a_picture(make: Callable[..., Any]) -> None:
    """Closed form: the minimum of |image - wanted|^2 is the wanted picture; MaCo's has its own magnitude given."""
    wanted = 0.35 + 0.3 * pictures(1, 3, 6, 7)
    basis: Any = {}
    if make is maco_canvas:  # from phases not far: phase retrieval has other minima
        phase, magnitude = polar_of(values_of_image(wanted, True))
        basis = {"magnitude": magnitude, "start": wanted}
    canvas = make(1, 3, 6, 7, generator=seeded(), dtype=torch.float64, **basis)
    if make is maco_canvas:
        free = (phase.abs() > 1e-9) & ((phase.abs() - torch.pi).abs() > 1e-9)
        canvas.parameters[0].data += torch.where(free, 0.2 * pictures(*phase.shape), 0.0)
    optimiser = torch.optim.Adam(canvas.parameters, lr=0.05)
    before = (canvas.image() - wanted).square().mean().item()
    for _ in range(400):
        optimiser.zero_grad()
        (canvas.image() - wanted).square().sum().backward()
        optimiser.step()
    assert (canvas.image() - wanted).square().mean().item() < 1e-3 * before


@pytest.mark.parametrize("make", EVERY)
def test_a_surrounding_inference_mode_does_not_spoil_the_parameters(make: Callable[..., Any]) -> None:
    """Invariant: a canvas made in inference mode, of a start made in it, can be optimised outside."""
    with torch.inference_mode():
        start = torch.full((1, 3, 5, 5), 0.25)
        canvases = [make(1, 3, 5, 5, generator=seeded(), start=one, dtype=torch.float64) for one in (start, None)]
    for canvas in canvases:
        assert torch.autograd.grad(canvas.image()[0, 0, 0, 0], canvas.parameters)[0].abs().max() > 0


# ---- MaCo ----


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_maco_keeps_the_given_magnitude_while_phases_move(h: int, w: int) -> None:
    """Invariant: |rfft2| of the values after 20 Adam steps is what was given, and the picture another."""
    magnitude = 0.2 * magnitude_of(pictures(5, 3, h, w), decorrelated=True)  # gentle: nothing near black or white
    canvas = maco_canvas(2, 3, h, w, generator=seeded(), magnitude=magnitude, own_starts=True, dtype=torch.float64)
    before, optimiser = canvas.image().detach(), torch.optim.Adam(canvas.parameters, lr=0.5)
    wanted = pictures(2, 3, h, w)
    for _ in range(20):
        optimiser.zero_grad()
        (canvas.image() - wanted).square().sum().backward()
        optimiser.step()
    found = polar_of(values_of_image(canvas.image().detach(), True))[1]
    assert (canvas.image() - before).abs().max() > 0.05
    assert torch.allclose(found, magnitude.expand(2, -1, -1, -1), rtol=0, atol=1e-10)


def test_maco_takes_phases_of_the_start_and_the_given_magnitude() -> None:
    """Closed form: twice the start's own magnitude is twice its values."""
    start = 0.4 + 0.2 * pictures(1, 3, 6, 5)
    values = values_of_image(start, True)
    canvas = maco_canvas(
        1, 3, 6, 5, generator=seeded(), start=start, magnitude=2 * polar_of(values)[1], dtype=torch.float64
    )
    assert torch.allclose(values_of_image(canvas.image().detach(), True), 2 * values, rtol=0, atol=1e-10)


# ---- channels, alpha ----


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("make", EVERY)
def test_any_number_of_channels(make: Callable[..., Any], channels: int) -> None:
    """Closed form: the mean of the channels of a start is kept, in the order given; a Canvas by its protocol."""
    start = torch.arange(1, channels + 1, dtype=torch.float64)[None, :, None, None] / 8 + 0.1 * pictures(1, 1, 6, 5)
    canvas = make(1, channels, 6, 5, generator=seeded(), start=start)
    assert isinstance(canvas, Canvas)
    assert torch.allclose(canvas.image().double(), start, rtol=0, atol=1e-6)
    assert canvas.alpha() is None


@pytest.mark.parametrize("make", EVERY)
def test_alpha_is_a_channel_of_its_own(make: Callable[..., Any]) -> None:
    """Invariant: near 0.5 at the start, in [0, 1], and neither changes with the other's parameter."""
    canvas = make(2, 3, 16, 15, generator=seeded(), alpha=True)
    image, alpha = canvas.image().detach(), canvas.alpha().detach()
    assert alpha.shape == (2, 1, 16, 15)
    assert 0 < (alpha - 0.5).abs().max() < 0.05
    canvas.parameters[1].data.mul_(50)
    assert torch.equal(canvas.image(), image)
    assert not torch.equal(canvas.alpha(), alpha)
    canvas.parameters[0].data.mul_(2)
    assert not torch.equal(canvas.image(), image)


# ---- refusals ----


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"b": 0}, r"b=0: a canvas of \(b, c, h, w\) = \(0, 3, 6, 6\)"),
        ({"w": -1}, "w=-1"),
        ({"c": 4, "decorrelated": True}, "decorrelated=True with 4 channels"),
        ({"start": torch.zeros(1, 1, 6, 6)}, r"start of shape \(1, 1, 6, 6\): give one picture, \(1, 3, 6, 6\)"),
        ({"start": torch.zeros(3, 3, 6, 6)}, r"one for each, \(2, 3, 6, 6\)"),
        ({"start": torch.full((1, 3, 6, 6), 1.5)}, "from 1.5 to 1.5"),
        ({"start": torch.full((1, 3, 6, 6), float("nan"))}, "from nan"),
        ({"dtype": torch.float16}, "dtype=torch.float16"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make: Callable[..., Any], ask: dict[str, Any], says: str) -> None:
    """Each message names what was given and what is possible."""
    size = {name: ask.get(name, value) for name, value in (("b", 2), ("c", 3), ("h", 6), ("w", 6))}
    with pytest.raises(ConvscopeError, match=says):
        make(**size, generator=seeded(), **{name: value for name, value in ask.items() if name not in size})


@pytest.mark.parametrize("make", [pixel_canvas, fourier_canvas])
@pytest.mark.parametrize("sd", [-0.1, float("nan"), float("inf")])
def test_no_standard_deviation_is_refused(make: Callable[..., Any], sd: float) -> None:
    """The message names it."""
    with pytest.raises(ConvscopeError, match=f"sd={sd}"):
        make(1, 3, 6, 6, generator=seeded(), sd=sd)


@pytest.mark.parametrize(
    ("magnitude", "says"),
    [
        (torch.ones(1, 3, 6, 6), r"magnitude of shape \(1, 3, 6, 6\): give one for all, \(1, 3, 6, 4\)"),
        (-torch.ones(1, 3, 6, 4), "negative"),
        (torch.full((1, 3, 6, 4), float("nan")), "not finite"),
        (torch.arange(72.0).reshape(1, 3, 6, 4), "no real picture"),
    ],
)
def test_a_magnitude_that_is_none_is_refused(magnitude: Tensor, says: str) -> None:
    """Each message says what it should be."""
    with pytest.raises(ConvscopeError, match=says):
        maco_canvas(2, 3, 6, 6, generator=seeded(), magnitude=magnitude)
