"""What a probe looks at: names to layers, units and images, tried on two images before the training begins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from convscope.dataset.readings import unit_maps
from convscope.errors import ConvscopeError
from convscope.network.filters import filter_layers
from convscope.network.layers import find_calls
from convscope.network.preprocessing import Preprocess
from convscope.network.rectified_layers import LayersOfPass, layers_of_pass
from convscope.network.taps import tap
from convscope.network.targets import Unit, check_unit, parse_unit
from convscope.training.fixed_sample import Sample
from convscope.training.looking import Wanted, answers, as_the_network_takes, image_size, look

WATCHED = "held out"
SHOWN = 4  # images that the chosen units' maps are of


def what_to_look_at(
    model: nn.Module,
    samples: Mapping[str, Sample],
    *,
    classes: tuple[str, ...],
    layers: Sequence[str] | None,
    units: Sequence[str],
    embed: str | bool | None,
    pictures: bool,
    preprocess: Any,
    batch: int,
) -> Wanted:
    """Arguments as those of ``Probe``; the model within ``undisturbed``.

    Raises:
        ConvscopeError: a layer or unit that there is not, or of which no units can be read; data that does not fit.
    """
    watched = WATCHED if WATCHED in samples else list(samples)[-1]
    sample = samples[watched]
    find_calls(model, [*(layers or ()), *([embed] if isinstance(embed, str) else [])])
    ran = layers_of_pass(model, as_the_network_takes(model, sample.images[:2]))
    chosen = tuple(_unit(text) for text in ([units] if isinstance(units, str) else units))
    if pictures and not chosen:
        raise ConvscopeError("pictures=True makes pictures of units: name some, as in units=['conv1:0', 'conv2:3']")
    named = _readable(ran, sample.images) if layers is None else tuple(dict.fromkeys(layers))
    wanted = Wanted(
        samples, watched, classes, named, ran.judged_by, _first_that_learns(model), chosen,
        spread_over_classes(sample.labels, SHOWN), _bounds(sample.images, preprocess),
        _embedded(embed, ran, sample.images), pictures, batch,
    )  # fmt: skip
    _refuse_units(model, wanted)
    _try_out(model, wanted)
    return wanted


def _first_that_learns(model: nn.Module) -> str | None:
    """The first convolution, unless it is frozen: its filters do not grow."""
    first = next(iter(filter_layers(model)), None)
    if first is None or not any(each.requires_grad for each in find_calls(model, [first])[first].module.parameters()):
        return None
    return first


def _unit(text: str) -> Unit:
    unit = parse_unit(text)
    if unit is None or unit.position is not None:
        raise ConvscopeError(f"{text!r} names no unit; a unit is LAYER:NUMBER, such as conv1:0")
    return unit


def _readable(ran: LayersOfPass, images: Tensor) -> tuple[str, ...]:
    return tuple(name for name in ran.weighted if _has_units(name, ran, images))


def _has_units(name: str, ran: LayersOfPass, images: Tensor) -> bool:
    try:
        unit_maps(torch.empty(ran.outputs[name], device="meta"), image_size(images), name)
    except ConvscopeError:
        return False
    return True


def _embedded(embed: str | bool | None, ran: LayersOfPass, images: Tensor) -> str | None:
    if isinstance(embed, str):
        return embed
    name = None if embed is False else ran.before_head
    return name if name is not None and _has_units(name, ran, images) else None


def spread_over_classes(labels: Int[Tensor, " n"], most: int) -> tuple[int, ...]:
    """The places of the first images of up to ``most`` classes, evenly spread over those that there are; sorted."""
    there = labels.unique().tolist()
    count = min(most, len(there))
    chosen = [there[i * len(there) // count] for i in range(count)]
    return tuple(sorted(int((labels == label).nonzero()[0]) for label in chosen))


def _bounds(images: Tensor, preprocess: Any) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]] | None:
    """Black and white, as inputs of the network: those of the preprocessing, else the sample's least and largest."""
    if isinstance(preprocess, Preprocess) and images.ndim == 4 and images.shape[1] == preprocess.channels:
        return preprocess.bounds()
    if images.ndim != 4:
        return None
    wide = images.float()
    return wide.amin((0, 2, 3))[:, None, None], wide.amax((0, 2, 3))[:, None, None]


def _refuse_units(model: nn.Module, wanted: Wanted) -> None:
    x = wanted.samples[wanted.watched].images[:1]
    with torch.no_grad(), tap(model, *dict.fromkeys(unit.layer for unit in wanted.units)) as outputs:
        answers(model, x)
    for unit in wanted.units:
        check_unit(unit, unit_maps(outputs[unit.layer], image_size(x), unit.layer))


def _try_out(model: nn.Module, wanted: Wanted) -> None:
    """What fails does so now, and not after the first epoch."""
    two = {name: Sample(each.images[:2], each.labels[:2], len(each)) for name, each in wanted.samples.items()}
    look(model, replace(wanted, samples=two, shown=(0,), pictures=False), 0, {}, {}, None)
