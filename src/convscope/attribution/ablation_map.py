"""Ablation-CAM: a channel weighs what the score loses, in shares of itself, when that channel is switched off.

Desai & Ramaswamy 2020, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
Localization", WACV, eqs. 3 and 4. With A the activations of a layer, y the score of the image, and y_k its score
with A_k set to zero and all else as it is:

    w_k = (y - y_k) / |y|,      map = ReLU( sum_k w_k A_k )

A finite step where Grad-CAM takes a derivative: a saturated score, whose gradient is gone, still falls. On a global
average and a linear layer, w_k = w_ck mean(A_k) / |y|.

Pitfalls: dividing by y and not by its size turns the map round wherever the score is negative (evidence against the
class then shows as evidence for it). y = 0 leaves nothing to take shares of: the map is zero. A channel goes to zero,
also where the layer's values are negative (grad-cam 1.5.7 sets such a channel to its minimum less 1e7, "deviating
from the paper"). Where a batch norm follows, zero is not "off", and channels that back each other up lose nothing
one at a time. Of a transformer's tokens the channel is switched off in all, class token included.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from convscope.attribution.channel_weights import Trials, channel_maps, channel_method
from convscope.attribution.layer_maps import Layers
from convscope.network.passes import Inputs, raw
from convscope.network.taps import tap
from convscope.network.targets import Target
from convscope.network.token_grids import channel_axis


def ablation_weights(whole: Float[Tensor, ""], ablated: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """w_k = (y - y_k) / |y|, eq. 3 of Desai & Ramaswamy 2020; zero where y is."""
    if not whole:
        return torch.zeros_like(ablated)
    return (whole - ablated) / whole.abs()


def ablated_scores(trials: Trials) -> Float[Tensor, " c"]:
    """y_k: the score with each channel of the layer at zero, in passes of ``batch`` copies of the image."""
    image, found = trials.ask.image, list[Tensor]()
    size, off = (image.shape[2], image.shape[3]), list[Tensor]()

    def without(values: Tensor) -> Tensor:
        return _switched_off(values, off.pop(), channel_axis(values, size, trials.layer))

    with tap(trials.ask.model, edit={trials.layer: without}):
        for channels in trials.channels:
            off.append(channels)
            found.append(raw(trials.ask(image.expand(len(channels), *image.shape[1:]))))
            trials.tell(len(channels))
    return torch.cat(found)


def _switched_off(values: Tensor, channels: Int[Tensor, " n"], axis: int) -> Tensor:
    """Channel ``channels[i]`` of the i-th of n copies set to zero; in place, on the copy that an edit is given."""
    copies = torch.arange(len(channels), device=values.device)
    values.movedim(axis, 1)[copies, channels.to(values.device)] = 0
    return values


def _ablation(trials: Trials) -> Tensor:
    return ablation_weights(trials.score, ablated_scores(trials))


@channel_method
def ablation_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layers = None,
    relu: bool = True,
    score: str = "logit",
    batch: int = 32,
    on_step: Callable[[int, int], None] | None = None,
    wrt: int | str = 0,
) -> Tensor | dict[str, Tensor]:
    """ReLU(sum_k (y - y_k) / |y| A_k), raw, at the layer's resolution.

    One pass an image, and for each layer one more and one a channel.

    Args:
        model: any module; given back as it was. No gradient is taken.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        target: see ``gradient``; units above the layer too.
        layer: a layer that gives maps; several give a dict of maps; None is the last map before the head.
        relu: False keeps the channels' evidence against the target, as negative values.
        score: ``"logit"`` or ``"probability"``.
        batch: ablated copies in one pass; memory grows with it and not with the number of channels.
        on_step: called with (done, all) channels, over all images and layers.
        wrt: which of several inputs is the image; the others repeat with its copies.

    Raises:
        ConvscopeError: a layer without maps, or one that the score does not depend on.
    """
    return channel_maps(
        _ablation, model, x, target=target, layer=layer, relu=relu, score=score, batch=batch, on_step=on_step, wrt=wrt
    )
