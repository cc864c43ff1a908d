"""Eigen-CAM: the strongest pattern that a layer's channels have in common, whatever the class.

With A the activations of a layer for one image, as a matrix of h w positions by c channels,

    A = U Sigma V',    map = A v1 = sigma1 u1

(Muhammad & Yeasin 2020, arXiv:2008.00299): of all weighted sums of the channels' maps, with weights of length 1, the
one of the largest sum of squares. No gradient, no class: the map is the same for every target, which is only checked.

The sign of v1 is arbitrary; here the map's mean is positive. Where no activation is negative, nor is any entry of
A'A, so that abs(v1) is a first singular vector too (Perron, Frobenius) and the map has no negative value. The
activations are not centred, as in the paper. (grad-cam subtracts each channel's mean first: that is the first
principal component, another map, with both signs on a rectified layer.)

Cost: the eigenvectors of A'A or A A', whichever is smaller, in float64, one image after the other.

Pitfalls: what all channels share is often the mean activation, and so the largest or most textured thing in view,
not what was named. Where the two largest singular values are equal, every mixture of their vectors is a first one:
the map is then one of them, the same for the same call, but not for another order of the channels.
"""

from collections.abc import Sequence
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.attribution.layer_maps import Layers, as_asked, image_size, layer_names
from convscope.network.evaluation import evaluation
from convscope.network.passes import Inputs, explained_input, forward, raw
from convscope.network.targets import Target
from convscope.network.token_grids import as_maps


def eigen_cam_map(activation: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """sigma1 u1 of each image's (h w, c) activations, its mean positive; NaN where they are not finite."""
    # one by one: bounded memory; on the CPU: not every device has float64
    found = [first_component(maps.flatten(1).T.to("cpu", torch.float64)) for maps in activation]
    return torch.stack(found).to(activation).unflatten(1, activation.shape[2:])


def first_component(matrix: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """The projection of the rows on the first right singular vector, not centred."""
    if not bool(matrix.isfinite().all()):
        return torch.full_like(matrix[:, 0], torch.nan)
    scale = matrix.abs().max()
    if scale == 0:
        return torch.zeros_like(matrix[:, 0])
    unit = matrix / scale  # its squares neither overflow nor vanish
    n, c = unit.shape
    # eigh sorts ascending; of the two square matrices the smaller one has all that is not zero
    first = torch.linalg.eigh(unit.T @ unit if c <= n else unit @ unit.T).eigenvectors[:, -1]
    if not bool((unit < 0).any()):
        first = first.abs()  # Perron, Frobenius: an eigenvector too
    direction = first if c <= n else unit.T @ first
    values = matrix @ (direction / direction.norm())
    return -values if values.mean() < 0 else values


@overload
def eigen_cam(
    model: nn.Module, x: Inputs, *, target: Target = ..., layer: str | None = ..., wrt: int | str = ...
) -> Float[Tensor, "b h w"]: ...
@overload
def eigen_cam(
    model: nn.Module, x: Inputs, *, target: Target = ..., layer: Sequence[str], wrt: int | str = ...
) -> dict[str, Tensor]: ...


def eigen_cam(
    model: nn.Module, x: Inputs, *, target: Target = None, layer: Layers = None, wrt: int | str = 0
) -> Tensor | dict[str, Tensor]:
    """A v1 of a layer's activations, raw, its mean positive. One forward pass.

    Args:
        model: any module; given back as it was. A network without a head will do.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        target: as for the other methods, and checked as they do; the map does not depend on it.
        layer: a layer that gives maps; several give a dict of maps; None is the last map before the head.
        wrt: which of several inputs is the image.

    Raises:
        ConvscopeError: a layer without maps, or a target that the network does not have.
    """
    image, size = explained_input(x, wrt), image_size(x, wrt)

    def no_class(_: object) -> Tensor:
        return image.new_zeros(len(image))

    with evaluation(model), torch.no_grad():
        names = layer_names(model, x, layer)
        # the whole pass, though its end is not needed: a layer that runs again must be refused, not taken at its first
        run = forward(model, x, target=no_class if target is None else target, layers=names, wrt=wrt)
        found = {name: as_maps(run.activations[name], size, name, batch=len(image)) for name in names}
        maps = {name: eigen_cam_map(raw(each)) for name, each in found.items()}
    return as_asked(layer, maps)
