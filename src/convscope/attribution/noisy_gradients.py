"""SmoothGrad and VarGrad: look at the gradients of many noisy copies of the image.

    SmoothGrad   mean_j g_j                     Smilkov et al. 2017, arXiv:1706.03825, section 3
    VarGrad      mean_j (g_j - mean_i g_i)^2    Adebayo et al. 2018, arXiv:1810.03307

    g_j = dS/dx at x + n_j,   n_j ~ N(0, sigma^2) in every pixel and channel,   sigma = noise * (max x - min x)

with 25 samples and noise 0.15. A network of ReLUs is linear in patches that a little noise leaves, and its gradient
jumps between them; the mean is the gradient of the score smoothed by a Gaussian, the variance says where it jumps. The
variance is that of the population, divided by n as in the paper of Seo et al. 2018, arXiv:1806.03000.

Every image of a batch has its own sigma, from its own range, and the same draws n_j / sigma: a map does not depend on
the image's neighbours, nor on how many noisy copies go through the network at a time.

Pitfalls: a sigma in absolute units means another thing for each image and preprocessing. No sample is noiseless, and
nothing is squared or made absolute before the mean (SmoothGrad-squared is another method). The class is decided once,
on the image itself: noisy copies are mostly named otherwise (at noise 0.15 a CIFAR ResNet-20 still names 12 % of them
as the image, SqueezeNet 6 %), and what the map then tells of is them. The mean of n gradients has the noise of one
divided by sqrt(n): 25 do not show where the smoothed gradient is zero.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.attribution.gradients import Reduction, reduce_channels
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.passes import Inputs, explained_input, raw
from convscope.network.questions import check_batch, questions
from convscope.network.targets import Target

MOST_NOISE = 100  # times the range: nothing of an image is left long before that


class RunningMoments:
    """Mean and variance of tensors that come one after the other and are not kept (Welford 1962).

    Equal tensors give exactly their value and exactly 0; sums of squares would leave rounding there.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._squares = torch.zeros((), device="cpu")  # takes any device by itself

    def update(self, values: Float[Tensor, "n ..."]) -> None:
        """Take in n more."""
        for value in values:
            self.count += 1
            difference = value - self._mean
            self._mean = self._mean + difference / self.count
            self._squares = self._squares + difference * (value - self._mean)

    @property
    def mean(self) -> Tensor:
        """Of all so far."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """Of the population: divided by the count."""
        return self._squares / self.count


def noise_sigma(image: Float[Tensor, "1 c H W"], noise: float) -> float:
    """A share of one image's max - min, over its channels and pixels; 0 for a constant one."""
    span = float(image.max() - image.min())
    if not math.isfinite(span):  # noise without end would leave nothing of the image, and a ReLU's gradient hides it
        raise ConvscopeError(
            "the image has values that are not finite (NaN or infinite): noise has no share of its range"
        )
    return noise * span


def draw_noise(count: int, image: Tensor, generator: torch.Generator) -> Float[Tensor, "n c H W"]:
    """Standard normal, drawn one after the other on the generator's device: the same, however many at a time."""
    shape, device = image.shape[1:], generator.device
    drawn = [torch.randn(shape, generator=generator, device=device, dtype=torch.float32) for _ in range(count)]
    return torch.stack(drawn).to(image.device)


def smooth_grad(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    samples: int = 25,
    noise: float = 0.15,
    score: str = "logit",
    batch: int = 32,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, int], None] | None = None,
    wrt: int | str = 0,
    reduce: Reduction | None = None,
) -> Float[Tensor, "b c H W"] | Float[Tensor, "b H W"]:
    """The mean gradient of noisy copies of each image (Smilkov et al. 2017), raw and signed.

    Args:
        model: any module; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs of which ``wrt`` is explained.
        target: see ``gradient``; None is the top class of the image without noise.
        samples: noisy copies of each image; memory does not grow with them.
        noise: sigma as a share of max - min of each image; 0 gives the gradient.
        score: ``"logit"`` or ``"probability"``.
        batch: noisy copies in one pass; memory grows with it.
        generator: of the noise; by default a new one with seed 0, so that the same call gives the same map.
        on_step: called with (done, all) noisy copies.
        wrt: which of several inputs is explained; the others repeat with its batch and get no noise.
        reduce: one map of the mean's channels, see ``reduce_channels``; None keeps them.

    Raises:
        ConvscopeError: no sample, noise that is no share, a target out of range.
    """
    _check(samples, 1, noise, batch)
    with evaluation(model):
        found = _moments(model, x, target, samples, noise, score, batch, generator, on_step, wrt)
        return reduce_channels(torch.stack([moments.mean for moments in found]), reduce)


def var_grad(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    samples: int = 25,
    noise: float = 0.15,
    score: str = "logit",
    batch: int = 32,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, int], None] | None = None,
    wrt: int | str = 0,
    reduce: Reduction | None = None,
) -> Float[Tensor, "b c H W"] | Float[Tensor, "b H W"]:
    """The variance of the gradients of noisy copies (Adebayo et al. 2018), of the population, in squared units.

    Arguments as ``smooth_grad``; two samples at least. ``noise=0`` and a constant image give zeros.

    Raises:
        ConvscopeError: fewer than two samples, noise that is no share, a target out of range.
    """
    _check(samples, 2, noise, batch)
    with evaluation(model):
        found = _moments(model, x, target, samples, noise, score, batch, generator, on_step, wrt)
        return reduce_channels(torch.stack([moments.variance for moments in found]), reduce)


def _moments(
    model: nn.Module,
    x: Inputs,
    target: Target,
    samples: int,
    noise: float,
    score: str,
    batch: int,
    generator: torch.Generator | None,
    on_step: Callable[[int, int], None] | None,
    wrt: int | str,
) -> list[RunningMoments]:
    """Of the gradients of each image's noisy copies; inside ``evaluation(model)``."""
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    asked = questions(model, x, target=target, score=score, wrt=wrt)
    found = [RunningMoments() for _ in asked]
    sigmas = [noise_sigma(ask.image, noise) for ask in asked]
    for start in range(0, samples, batch):
        count = min(batch, samples - start)
        drawn = draw_noise(count, explained_input(x, wrt), generator)
        for i, (ask, sigma, moments) in enumerate(zip(asked, sigmas, found, strict=True)):
            if sigma == 0:  # one pass for all: equal to the last bit, so that the variance is exactly 0
                moments.update(ask.gradient(ask.image).expand(count, -1, -1, -1))
            else:
                noisy = raw(ask.image) + sigma * drawn.to(raw(ask.image))  # not in half precision
                moments.update(ask.gradient(noisy.to(ask.image)))
            if on_step is not None:
                on_step(start * len(asked) + (i + 1) * count, samples * len(asked))
    return found


def _check(samples: int, least: int, noise: float, batch: int) -> None:
    if samples < least:
        needed = "a variance needs at least two" if least == 2 else "at least one is needed"
        raise ConvscopeError(f"samples={samples}: {needed}")
    if not 0 <= noise <= MOST_NOISE:
        raise ConvscopeError(f"noise={noise}: give a share of the image's range, 0 to {MOST_NOISE}, such as 0.15")
    check_batch(batch)
