"""Regularisers: what speaks against a picture, whatever the network says of it.

x* = argmax objective(x) - sum lambda_i R_i(x). Mahendran & Vedaldi 2015, "Understanding Deep Image Representations by
Inverting Them", arXiv:1412.0035, section 2.1; weight decay: Simonyan et al. 2013, arXiv:1312.6034, section 2.

    l2           sum x^2
    power_sum    sum |x - centre|^p                               p = 6: a box with soft walls, flat within
    variation    sum_{c, y < H - 1, x < W - 1} (dx^2 + dy^2)^(beta / 2)
                 dx = I[y, x + 1] - I[y, x],  dy = I[y + 1, x] - I[y, x]

``variation`` runs over the trimmed grid, where both differences exist, each channel for itself. On [[0, 1], [2, 5]] it
is 5 with beta 2 and sqrt(5) with beta 1; ``anisotropic_variation``, all forward differences each for itself, is 10 with
power 1 and 30 with power 2. Four numbers, all called "TV" somewhere: weights do not carry over from one to another.

These are raw sums. As loss terms, ``lp(p)`` and ``total_variation(beta)`` divide by H * W * range^p (range^beta), so
that a weight means the same at every size and for images in [0, 1], [0, 255] or normalised (Mahendran & Vedaldi 2016,
arXiv:1512.02017, with their ranges B and V). ``lp(2)`` is the L2 so divided. All give one number an image, (b,).
That later paper takes the p-norm over pixels whose colours were first joined by a 2-norm; here, as in 2015, over all
values alike.

As a loss term the variation runs over the whole grid, with differences of 0 across the border: on the trimmed one the
pixel in the lower right corner costs nothing, and stays a dot of its own in every picture.

Slopes: beta 1 has none where dx = dy = 0, and the formula's is infinite. There the subgradient 0 is taken: values stay
exact, flat places stay as they are. Beta or p below 1 has slopes without bound beside 0 too, and is refused. Below 2
a step costs no more (beta 1) or little more than a ramp of the same height, and variation may gather in few sharp
"spikes"; beta 2 spreads it.

``blur`` is no loss: Yosinski et al. 2015, arXiv:1506.06579, section 3, blur the picture itself every few steps. It
penalises high frequencies, the more the higher; on a Fourier canvas the 1/f scale does that already.

Pitfalls: the p-norm of an image in [0, 1] about 0 draws to black; the paper's image has its mean removed (``centre``
0.5). Half precision would overflow in the sum: it is taken in float32.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import ConvscopeError
from convscope.synthesis.transforms import padded

Regulariser = Callable[[Tensor], Tensor]  # (b, c, h, w) -> (b,)


def l2(image: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """The sum of x^2, divided by nothing: w . x - lambda l2 has its maximum at w / (2 lambda)."""
    return power_sum(image, 2)


def power_sum(image: Float[Tensor, "b c h w"], p: int | float, *, centre: int | float = 0.0) -> Float[Tensor, " b"]:
    """The sum of |x - centre|^p over channels and pixels: the p-norm to the power p."""
    _check_power(p, "p")
    return (_wide(image) - centre).abs().pow(p).sum((1, 2, 3))


def lp(p: int | float = 6.0, *, centre: int | float = 0.0, value_range: int | float = 1.0) -> Regulariser:
    """The loss term sum |x - centre|^p / (H W range^p).

    Args:
        p: 1 or more; 6 in Mahendran & Vedaldi 2015.
        centre: the value that costs nothing: 0 for normalised or mean-free images, 0.5 for those in [0, 1].
        value_range: largest minus smallest value that an image is meant to have.

    Raises:
        ConvscopeError: p below 1, a range that is not above 0, a centre that is not finite.
    """
    _check_power(p, "p")
    _check_range(value_range)
    if not math.isfinite(centre):
        raise ConvscopeError(f"centre={centre}: give the finite value that costs nothing")

    def regulariser(image: Tensor) -> Tensor:
        return power_sum(image, p, centre=centre) / _cells(image, value_range, p)

    return regulariser


def variation(image: Float[Tensor, "b c h w"], beta: int | float = 2.0) -> Float[Tensor, " b"]:
    """The sum of (dx^2 + dy^2)^(beta/2) over the trimmed grid; subgradient 0 where both differences are 0."""
    _check_power(beta, "beta")
    _check_sides(image)
    image = _wide(image)
    corner = image[:, :, :-1, :-1]
    squared = (image[:, :, :-1, 1:] - corner).square() + (image[:, :, 1:, :-1] - corner).square()
    # both branches are differentiated: without the 1 in place of 0, infinity times 0 is NaN; a NaN itself goes through
    flat = squared == 0
    powers = torch.where(flat, 1.0, squared).pow(beta / 2)
    return torch.where(flat, 0.0, powers).sum((1, 2, 3))


def anisotropic_variation(image: Float[Tensor, "b c h w"], power: int | float = 1.0) -> Float[Tensor, " b"]:
    """The sum of |dx|^power and |dy|^power over all forward differences, in the last row and column too."""
    _check_power(power, "power")
    image = _wide(image)
    return sum((image.diff(dim=axis).abs().pow(power).sum((1, 2, 3)) for axis in (2, 3)), image.new_zeros(len(image)))


def total_variation(beta: int | float = 2.0, value_range: int | float = 1.0) -> Regulariser:
    """The loss term ``variation`` over the whole grid / (H W range^beta).

    Args:
        beta: 1 or more; 1 is total variation proper, 2 in Mahendran & Vedaldi 2015.
        value_range: largest minus smallest value that an image is meant to have.

    Raises:
        ConvscopeError: beta below 1, a range that is not above 0.
    """
    _check_power(beta, "beta")
    _check_range(value_range)

    def regulariser(image: Tensor) -> Tensor:
        whole = F.pad(_wide(image), (0, 1, 0, 1), mode="replicate")
        return variation(whole, beta) / _cells(image, value_range, beta)

    return regulariser


def blur(image: Float[Tensor, "b c h w"], sigma_px: int | float) -> Float[Tensor, "b c h w"]:
    """Gaussian blur of each channel, cut at 3 sigma, edges mirrored; sigma 0 gives the image back."""
    if not (math.isfinite(sigma_px) and sigma_px >= 0):
        raise ConvscopeError(f"a blur of sigma {sigma_px} px: give a finite number, 0 or more")
    if sigma_px == 0:
        return image
    radius, channels = math.ceil(3 * sigma_px), image.shape[1]
    offsets = torch.arange(-radius, radius + 1, device=image.device).to(_wide(image).dtype)
    kernel = (-0.5 * (offsets / sigma_px) ** 2).exp()
    kernel = (kernel / kernel.sum()).repeat(channels, 1)
    blurred = F.conv2d(padded(_wide(image), radius), kernel[:, None, :, None], groups=channels)
    return F.conv2d(blurred, kernel[:, None, None, :], groups=channels).to(image)


def _wide(image: Tensor) -> Tensor:
    return image if image.dtype == torch.float64 else image.float()


def _cells(image: Tensor, value_range: int | float, power: int | float) -> float:
    return image.shape[2] * image.shape[3] * value_range**power


def _check_power(power: int | float, name: str) -> None:
    if not (math.isfinite(power) and power >= 1):
        raise ConvscopeError(f"{name}={power}: give 1 or more; below 1 the slope beside 0 has no bound")


def _check_range(value_range: int | float) -> None:
    if not (math.isfinite(value_range) and value_range > 0):
        raise ConvscopeError(f"value_range={value_range}: give a finite number above 0, such as 1 for images in [0, 1]")


def _check_sides(image: Tensor) -> None:
    if min(image.shape[2:]) < 2:
        raise ConvscopeError(
            f"an image of {image.shape[2]} x {image.shape[3]} px has no total variation: 2 x 2 or more; "
            "anisotropic_variation takes a single row or column"
        )
