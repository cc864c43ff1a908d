"""Colours in a basis in which those of photos hardly correlate, and values without bounds in place of [0, 1].

Olah, Mordvintsev & Schubert 2017, "Feature Visualization", doi:10.23915/distill.00007, section "Preconditioning and
Parameterization". In photos red, green and blue rise and fall together; a step up the gradient of the three separately
is short in the one direction where photos vary and long in the others. With V (``values``) the optimised picture and C
(``correlated``) a square root of the colours' covariance over ImageNet, its first column of norm 1:

    image = sigmoid(C V),    V = C^-1 logit(image)

at every pixel: the first of V is light against dark, the second red against blue, the third green against the two.
Networks of other than three channels have no such basis: image = sigmoid(V).

Pitfalls: C's columns are orthogonal only up to the two digits in which it is published (the second and third by 97
degrees), so that its inverse is no transpose. The mean colour of ImageNet is not added: V = 0 is grey, 0.5. A sigmoid
reaches neither 0 nor 1: ``values_of_image`` holds a given picture ``EDGE`` away from them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

EDGE = 1 / 512  # less than half a step of 8 bits: black is saved as black, and still has a gradient

# lucid/optvis/param/color.py, Olah et al. 2017: U S^(1/2) of the colours' covariance; rows red, green, blue
_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def correlated(like: Tensor) -> Float[Tensor, "3 3"]:
    """C, with the dtype and device of ``like``."""
    root = torch.tensor(_ROOT, dtype=torch.float64, device=like.device)
    return (root / root.norm(dim=0).max()).to(like.dtype)


def recorrelate(values: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """C V: red, green and blue of decorrelated values."""
    return torch.einsum("dc,bchw->bdhw", correlated(values), values)


def decorrelate(colours: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """C^-1 applied to red, green and blue: exactly undoes ``recorrelate``."""
    return torch.einsum("dc,bchw->bdhw", torch.linalg.inv(correlated(colours)), colours)


def image_of_values(values: Float[Tensor, "b c h w"], decorrelated: bool) -> Float[Tensor, "b c h w"]:
    """sigmoid(C V), or sigmoid(V) where the values are colours themselves: a picture in [0, 1]."""
    return torch.sigmoid(recorrelate(values) if decorrelated else values)


def values_of_image(image: Float[Tensor, "b c h w"], decorrelated: bool) -> Float[Tensor, "b c h w"]:
    """The values of a picture in [0, 1], held ``EDGE`` away from 0 and 1: undoes ``image_of_values`` between them."""
    colours = torch.logit(image.clamp(EDGE, 1 - EDGE))
    return decorrelate(colours) if decorrelated else colours
