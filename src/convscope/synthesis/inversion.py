"""Feature inversion: what a layer still knows of a photo, as the picture that gives the layer the same features.

Mahendran & Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them", arXiv:1412.0035, eq. 1-4. With
Phi a layer, Phi_0 = Phi(x_0) its features of the photo, N = |Phi_0|^2:

    x* = argmin_x |Phi(x) - Phi_0|^2 / N + lambda_p |x - 1/2|_6^6 / (H W) + lambda_TV s V(x) / (H W)

    V(x) = sum (dx^2 + dy^2)^(beta/2),    s = sqrt(H W / (h w)), at most 32

x is in [0, 1], so the p-norm's origin is grey; both sums are over pixels and colours (``regularisers.py``).
s is how many pixels a side one cell of the layer's h x w maps stands for; a layer without positions has one cell.

    error(x) = |Phi(x) - Phi_0|^2 / N          minus the score of ``objectives.match``

The error reported is this first term, of the finished picture, without the two others: 0 where the layer cannot tell
the pictures apart, 1 for features that are all zero, 0.01 where the features are off by a tenth of their length. (The
paper's tables have the root of the same distance, over the mean distance between the features of two photos.) It means
little without that of a picture that knows nothing, the grey start's, which is the score of step 0.

One weight serves all layers of all networks: the first term is divided by N, so that it begins near 1 at every layer,
and deep layers, whose cells stand for many pixels and leave more open, get s times as much variation against grain (the
paper's weights grow a hundredfold from the first layer to the last, chosen by hand). In deep layers it lowers the error
too, for grain leads the ascent astray: features.12 of SqueezeNet from 0.15 to 0.07. The step falls from ``rate`` to a
hundredth of it along half a cosine: a step that reaches a photo's contrast in time is too long to end with.

Pitfalls: the regularisers fill in what the layer forgot, so that smoothness in the picture is ours. A strange picture
with a low error is the finding: the layer does not see the difference. A high one may be the layer's doing, which the
optimiser cannot climb, and not forgetting. Behind a rectifier that is shut all over there is no gradient (``ascent``
lets it through at the start); a layer all of whose features are zero has no relative error.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.passes import Inputs, outputs_of
from convscope.network.token_grids import as_maps
from convscope.synthesis.ascent import Step, ascend
from convscope.synthesis.canvases import fourier_canvas, pixel_canvas
from convscope.synthesis.objectives import match
from convscope.synthesis.regularisers import Regulariser, lp, total_variation

IMAGES = ("pixels", "fourier")
RATES = {"pixels": 0.2, "fourier": 0.1}  # the lowest errors of four rates, over layers of SqueezeNet
LAST_SHARE = 0.01  # of the rate, at the last step
LARGEST_CELL = 32.0  # pixels a side: more variation leaves nothing but grey
GREY = 0.5


@dataclass(frozen=True)
class Inverting:
    """How features are inverted; ``rate`` None is ``RATES`` of the image's kind.

    ``tv`` and ``lp`` weigh total variation (times the side of a layer's cells; its power ``tv_beta``) and the norm (its
    power ``lp_power``).
    """

    steps: int = 200
    rate: int | float | None = None
    tv: int | float = 0.5
    lp: int | float = 0.1
    image: str = "pixels"
    tv_beta: int | float = 2
    lp_power: int | float = 6  # Mahendran & Vedaldi 2015, section 2.1

    def __post_init__(self) -> None:
        if self.image not in IMAGES:
            raise ConvscopeError(
                f"image={self.image!r} is none of {', '.join(IMAGES)}{nearest(str(self.image), IMAGES)}"
            )
        if isinstance(self.steps, bool) or self.steps < 0:
            raise ConvscopeError(f"steps={self.steps}: a whole number, 0 or more")
        for name, weight in (("tv", self.tv), ("lp", self.lp)):
            if not (math.isfinite(weight) and weight >= 0):
                raise ConvscopeError(f"{name}={weight}: a weight is a finite number, 0 or more (0 leaves it out)")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise ConvscopeError(f"rate={self.rate}: a step is a finite number above 0")
        total_variation(self.tv_beta)
        lp(self.lp_power)

    def penalties(self, cell_px: int | float) -> list[tuple[int | float, Regulariser]]:
        """(weight, regulariser) pairs for a layer whose cells are of so many pixels a side; none where it is 0."""
        both = (
            (self.tv * min(cell_px, LARGEST_CELL), total_variation(self.tv_beta)),
            (self.lp, lp(self.lp_power, centre=GREY)),
        )
        return [(weight, regulariser) for weight, regulariser in both if weight]

    def rate_at(self, step: int) -> float:
        """Adam's step after so many updates: half a cosine, from ``rate`` to a hundredth of it."""
        first = RATES[self.image] if self.rate is None else self.rate
        fallen = 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps)))
        return first * (LAST_SHARE + (1 - LAST_SHARE) * fallen)


def features_of(model: nn.Module, x: Inputs, layer: str) -> Float[Tensor, "b ..."]:
    """A layer's output for network input, detached; the pass ends there.

    Raises:
        ConvscopeError: no such layer, or one that ran twice (name a call: ``relu#2``).
    """
    return outputs_of(model, x, layer)[layer].clone()


def cell_px(features: Float[Tensor, "b ..."], size: tuple[int, int], layer: str) -> float:
    """How many pixels a side of a picture of ``size`` one cell of the layer's maps stands for."""
    try:
        h, w = as_maps(features, size, layer).shape[2:]
    except ConvscopeError:  # no positions
        h, w = 1, 1
    return math.sqrt(size[0] * size[1] / (h * w))


def invert_features(
    model: nn.Module,
    layer: str,
    features: Float[Tensor, "b ..."],
    *,
    c: int,
    size: tuple[int, int],
    to_input: Callable[[Tensor], Inputs],
    generator: torch.Generator,
    how: Inverting | None = None,
    state: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Step]:
    """Pictures whose features at ``layer`` approach the given ones: grey as step 0, then one after every update.

    The scores are minus the relative error. A batch is so many single runs from the same start.

    Args:
        model: any module; nothing of it is changed.
        layer: its name.
        features: the layer's output for the pictures that are looked for, one row a picture.
        c: channels of the pictures.
        size: (h, w) of them, those of the input that gave the features.
        to_input: pictures in [0, 1] -> what the network is given.
        generator: of the start.
        how: weights, steps and rate; None is ``Inverting()``.
        state: a ``Step.state()`` of the same run, which goes on from there.
        device: where it is computed.
        dtype: of the pictures: float32 or float64.

    Raises:
        ConvscopeError: no such layer, features that are all zero or not finite, or of another shape.
        AscentError: an error or a gradient that is not finite.
    """
    how = how or Inverting()
    make = pixel_canvas if how.image == "pixels" else fourier_canvas
    canvas = make(len(features), c, *size, generator=generator, device=device, dtype=dtype)
    return ascend(
        model,
        match(layer, features),
        canvas,
        steps=how.steps,
        to_input=to_input,
        penalties=how.penalties(cell_px(features, size, layer)),
        rate=how.rate_at,
        state=state,
    )
