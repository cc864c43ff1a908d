"""Score-CAM: a channel weighs what the network says of the picture lit by that channel's map alone.

Wang et al. 2020, "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
arXiv:1910.01279, eqs. 4 to 8. With A the activations of a layer and S the score:

    M_k = (U_k - min U_k) / (max U_k - min U_k),   U_k = A_k enlarged to the image (bilinear)
    w   = softmax over k of S(x * M_k),            map = ReLU( sum_k w_k A_k )

The paper's increase of confidence is S(x * M_k) - S(baseline); the baseline is one number for all channels and drops
out of the softmax. x * M_k shows the mean colour (0 of the normalised input) where the map is lowest.

A flat channel (max = min) makes no mask: 0 / 0 gives NaN, or with an epsilon an empty picture, whose score would
weigh in the softmax like any other. As in the authors' code it is left out: weight 0, and the softmax runs over
the rest. Where all are flat, as on a map of one pixel, the map is zero.

Pitfalls: a softmax of logits is steep. Channels 10 logits apart weigh 22,000 to 1, and the map is then that of the
one best channel; of probabilities (``score="probability"``) it is so gentle that the map tends to the mean of all
maps. Aligned corners, as in grad-cam 1.5.7, shift the masks against what the channel saw.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from convscope.attribution.activation_maps import upsample
from convscope.attribution.channel_weights import Trials, channel_maps, channel_method
from convscope.attribution.layer_maps import Layers
from convscope.network.passes import Inputs, raw
from convscope.network.targets import Target


def map_masks(maps: Float[Tensor, "c h w"], size: tuple[int, int]) -> tuple[Float[Tensor, "c H W"], Bool[Tensor, " c"]]:
    """Each map enlarged and stretched to [0, 1], and whether it is a mask at all: a flat one is not, and is 0."""
    enlarged = upsample(maps, size)
    # asked of the map itself: enlarging a flat one leaves rounding, which the stretch would make a pattern
    uneven = (maps.amax((1, 2)) > maps.amin((1, 2))) & (enlarged.amax((1, 2)) > enlarged.amin((1, 2)))
    low, high = enlarged.amin((1, 2), keepdim=True), enlarged.amax((1, 2), keepdim=True)
    span = torch.where(uneven[:, None, None], high - low, 1.0)
    return torch.where(uneven[:, None, None], (enlarged - low) / span, 0.0), uneven


def score_weights(scores: Float[Tensor, " c"], uneven: Bool[Tensor, " c"]) -> Float[Tensor, " c"]:
    """The softmax over the channels that made a mask; 0 for the others, and for all where none did."""
    weights = torch.zeros_like(scores)
    weights[uneven] = scores[uneven].softmax(0)
    return weights


def _score(trials: Trials) -> Tensor:
    image, maps = trials.ask.image, trials.maps[0]
    size, scores = (image.shape[2], image.shape[3]), torch.zeros_like(maps[:, 0, 0])
    uneven = torch.zeros_like(scores, dtype=torch.bool)
    for channels in trials.channels:
        masks, made = map_masks(maps[channels], size)
        uneven[channels] = made
        if made.any():
            scores[channels[made]] = raw(trials.ask(image * masks[made, None].to(image))).to(scores)
        trials.tell(len(channels))
    return score_weights(scores, uneven)


@channel_method
def score_cam(
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
    """ReLU(sum_k softmax_k(S(x * M_k)) A_k), raw, at the layer's resolution.

    One pass an image, and for each layer one more and one a channel.

    Args:
        model: any module; given back as it was. No gradient is taken.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        target: see ``gradient``.
        layer: a layer that gives maps; several give a dict of maps; None is the last map before the head.
        relu: False keeps negative values; the weights are never negative, so only a layer's own are.
        score: ``"logit"`` or ``"probability"``: what the softmax is taken of.
        batch: masked copies in one pass; memory grows with it and not with the number of channels.
        on_step: called with (done, all) channels, over all images and layers.
        wrt: which of several inputs is the image; the others repeat with its copies.

    Raises:
        ConvscopeError: a layer without maps, or one that the score does not depend on.
    """
    return channel_maps(
        _score, model, x, target=target, layer=layer, relu=relu, score=score, batch=batch, on_step=on_step, wrt=wrt
    )
