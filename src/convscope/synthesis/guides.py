"""Guided dreaming: a picture in which the features of another one are grown.

Mordvintsev, Olah & Tyka 2015, the last part of google/deepdream's ``dream.ipynb``. With x_p the dream's features at
position p of a layer and y_q the guide's at its position q, each position goes after the one that it is most like:

    S = mean_p max_q x_p . y_q,        dS/dx_p ~ y_q*(p),    q*(p) = argmax_q x_p . y_q

which is the notebook's rule (``objective_guide``: the best match is the gradient at the layer), written as what rises.

Pitfalls: a dot product is largest with the guide's strongest features, whatever the position looks like; a guide with
one glaring spot leads to that spot everywhere. Guide and dream may have any sizes; the features' size in pixels is
the layer's, so a guide that is shown larger lends larger patterns.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.objectives import Objective


def guide(name: str, features: Tensor) -> Objective:
    """The mean over positions of the largest dot product with the features of another picture, its size any.

    Args:
        name: the layer.
        features: its output ``(1, c, h, w)`` or ``(1, c)`` for the guide.

    Raises:
        ConvscopeError: features of several pictures, all zero or not finite; when scored, of other channels.
    """
    if features.ndim not in (2, 4) or len(features) != 1:
        raise ConvscopeError(f"layer {name!r} gives {tuple(features.shape)} for the guide: one picture's maps or units")
    wanted = features.detach().reshape(features.shape[1], -1).clone()
    if not torch.isfinite(wanted).all() or not wanted.any():
        raise ConvscopeError(f"the guide's features at layer {name!r} are all zero or not finite: they lead nowhere")

    def score(activations: Mapping[str, Tensor], _: object) -> Tensor:
        output = activations[name]
        if output.ndim not in (2, 4) or output.shape[1] != len(wanted):
            raise ConvscopeError(
                f"the guide has {len(wanted)} features, but layer {name!r} gives {tuple(output.shape)}"
            )
        here, there = output.reshape(*output.shape[:2], -1), wanted.to(output)
        return (here * there[:, best_matches(here.detach(), there)].movedim(1, 0)).sum(1).mean(1)

    return Objective((name,), False, score, f"{name} guided")


def best_matches(here: Float[Tensor, "b c p"], there: Float[Tensor, "c q"], *, block: int = 1024) -> Tensor:
    """``(b, p)``: the q of the largest dot product, for each p; ``block`` of them at a time bound the memory."""
    parts = [(part.mT @ there).argmax(2) for part in here.split(block, dim=2)]
    return torch.cat(parts, 1)
