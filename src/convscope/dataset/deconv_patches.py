"""Each winner's deconvnet picture: what in the crop drove the unit, projected back from the winning position.

Zeiler & Fergus 2014, arXiv:1311.2901, fig. 2: the reconstruction beside the crop. The signal starts with the unit's
own activation at (y, x), all else 0, and cannot leave the receptive box, so the box of the projection holds all of it.

Sizes differ by orders of magnitude from unit to unit, so each picture has its own scale: 1/2 + R / 2m round grey, m
the 98th percentile of abs(R) in the box, since patches are looked at small, where fine faint strokes are lost. A
projection that is zero everywhere is grey everywhere. A winner that is not above 0 starts with nothing, relu(A) = 0,
and has no picture.

Pitfall: where a network goes down by strided convolutions, not by max-pooling, there are no switches, and deep pictures
show the filters' grid more than the photo (Springenberg et al. 2014, arXiv:1412.6806, section 4).

Several winners go through the network together, from several images, each with its own seed. Before a picture is
drawn the activation is set against the one that the survey found: another photo or network would give a plausible
picture of something else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from convscope.answers import refusing_input
from convscope.attribution.deconvolution import deconvnet
from convscope.attribution.unit_values import unit_axis
from convscope.dataset.patches import Keep, Photos, PictureRow, Winner, encoded
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import backward_rule, deconv
from convscope.network.layers import run_model
from convscope.network.loading import Network
from convscope.network.passes import image_leaf, outputs_of
from convscope.network.taps import tap
from convscope.network.targets import Unit
from convscope.render.colour import gradient_picture
from convscope.render.scale import scale_of

DECONV = "deconv"
PERCENTILE = 98.0  # as Captum's viewer clips
_AGREES = 1e-2  # of the value: another batch size rounds by 1e-6 of it, another photo by far more


def deconv_winners(
    net: Network,
    source: Photos,
    winners: Iterable[Winner],
    keep: Keep,
    *,
    batch: int = 8,
    partial: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[list[PictureRow]]:
    """The deconvnet pictures of these winners, stored; a list of rows a batch, so that each can be kept at once.

    Args:
        net: the network of the survey.
        source: its images.
        winners: of any layers.
        keep: stores an encoded picture and names it.
        batch: winners in one pass.
        partial: accept nonlinearities below the layer that are no rectifiers, and leave them plain.
        on_step: called with (done, all) winners.

    Raises:
        ConvscopeError: as ``refuse_undrawable``, before the first picture; an image that is no longer there; an
            activation that is not the survey's.
    """
    found = [winner for winner in winners if winner.value > 0]
    if found:
        x = net.input_of(source.read(found[0].image).image)
        refuse_undrawable(net, x, list(dict.fromkeys(winner.layer for winner in found)), partial=partial)
    done = 0
    for group, x in _batches(net, source, found, batch):
        with refusing_input(net, x):
            values = projections(net, x, group, partial=partial)
        yield [_row(one, projection, keep) for one, projection in zip(group, values, strict=True)]
        done += len(group)
        if on_step is not None:
            on_step(done, len(found))


def refuse_undrawable(
    net: Network, x: Float[Tensor, "b c H W"], layers: Sequence[str], *, partial: bool = False
) -> None:
    """One pass, that tells of all these layers whether they can have deconvnet pictures.

    Raises:
        ConvscopeError: a layer that keeps its positions as tokens, or a graph below it that ``deconvnet`` refuses.
    """
    with refusing_input(net, x), evaluation(net.module):
        image, inputs = image_leaf(x, 0)
        with tap(net.module, *layers, stop=True) as seen:
            run_model(net.module, inputs)
        for layer in layers:
            _refuse_tokens(seen[layer], x, layer)
            try:
                with backward_rule(seen[layer], deconv, to=image, partial=partial):
                    pass
            except ConvscopeError as error:
                raise ConvscopeError(f"no deconvnet pictures of {layer!r}: {error}") from error


def _refuse_tokens(activation: Tensor, x: Tensor, layer: str) -> None:
    if activation.ndim not in (2, 4) or unit_axis(activation, (x.shape[2], x.shape[3]), layer) != 1:
        raise ConvscopeError(
            f"layer {layer!r} keeps its positions as tokens, {tuple(activation.shape)}: a deconvnet picture starts at "
            "a position of a map, so name a layer that gives (b, c, h, w)"
        )


def projections(
    net: Network, x: Float[Tensor, "b c H W"], winners: Sequence[Winner], *, partial: bool = False
) -> list[Float[Tensor, "c h w"]]:
    """For each image the deconvnet picture of its winner, of one layer all, within its box: raw."""
    layer = winners[0].layer
    units = _positions(net, x, layer, winners)
    values = deconvnet(net.module, x, target=list(map(str, units)), layer=layer, partial=partial).float().cpu()
    boxes = [winner.box for winner in winners]
    return [part[:, box.y0 : box.y1, box.x0 : box.x1] for part, box in zip(values, boxes, strict=True)]


def _positions(net: Network, x: Tensor, layer: str, winners: Sequence[Winner]) -> list[Unit]:
    """The neurons that won, seen to have the values that they won by."""
    activation = outputs_of(net.module, x, layer)[layer]
    _refuse_tokens(activation, x, layer)
    units: list[Unit] = []
    for image, one in enumerate(winners):
        place = () if activation.ndim == 2 else (one.y, one.x)
        _same_value(one, float(activation[(image, one.unit, *place)]))
        units.append(Unit(layer, one.unit, (one.y, one.x) if place else None))
    return units


def _same_value(winner: Winner, value: float) -> None:
    if abs(value - winner.value) > _AGREES * max(abs(winner.value), abs(value)):
        raise ConvscopeError(
            f"{winner.layer}:{winner.unit} gives {value:.4g} at ({winner.y}, {winner.x}) of {winner.image}, but "
            f"{winner.value:.4g} in the survey: the photo, the network or its preprocessing is another"
        )


def _batches(
    net: Network, source: Photos, winners: Sequence[Winner], most: int
) -> Iterator[tuple[list[Winner], Tensor]]:
    """Winners of one layer and one input size, at most ``most`` at a time; a photo's are next to each other."""
    if most < 1:
        raise ConvscopeError(f"batch={most}: at least one winner goes through the network at a time")
    for layer in dict.fromkeys(winner.layer for winner in winners):
        of_layer = sorted((w for w in winners if w.layer == layer), key=lambda w: (w.image, w.unit, w.rank))
        waiting: list[tuple[Winner, Tensor]] = []
        name, x = "", torch.empty(0)
        for winner in of_layer:
            if winner.image != name:
                name, x = winner.image, net.input_of(source.read(winner.image).image)
            if waiting and (len(waiting) == most or waiting[0][1].shape != x.shape):
                yield _together(waiting)
                waiting = []
            waiting.append((winner, x))
        if waiting:
            yield _together(waiting)


def _together(waiting: Sequence[tuple[Winner, Tensor]]) -> tuple[list[Winner], Tensor]:
    return [winner for winner, _ in waiting], torch.cat([x for _, x in waiting])


def _row(winner: Winner, values: Float[Tensor, "c h w"], keep: Keep) -> PictureRow:
    picture = drawn(values)
    file = keep(encoded(picture))
    return PictureRow(winner.layer, winner.unit, winner.rank, DECONV, file, (picture.shape[0], picture.shape[1]))


def drawn(values: Float[Tensor, "c h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Round grey, on its own scale; of channels that have no colours their sum, in grey."""
    array = values.numpy() if len(values) in (1, 3) else values.sum(0, keepdim=True).numpy()
    return gradient_picture(array, scale_of(array, signed=True, percentile=PERCENTILE))
