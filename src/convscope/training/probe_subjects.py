"""What a probe looks at: names to layers, units and images, tried on two images before the training begins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from convscope.dataset.readings import unit_maps
from convscope.errors import ConvscopeError, nearest
from convscope.network.filters import filter_layers
from convscope.network.layers import find_calls, refuse_opaque, run_model
from convscope.network.preprocessing import Preprocess
from convscope.network.rectified_layers import LayersOfPass, layers_of_pass
from convscope.network.taps import tap
from convscope.network.targets import Unit, check_unit, parse_unit
from convscope.training.aligned_embedding import FOLLOWED
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
    embedding: str,
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
    _refuse_answers(model, sample, classes)
    find_calls(model, [*(layers or ()), *([embed] if isinstance(embed, str) else [])])
    ran = layers_of_pass(model, as_the_network_takes(model, sample.images[:2]))
    chosen = tuple(_unit(text) for text in ([units] if isinstance(units, str) else units))
    if pictures and not chosen:
        raise ConvscopeError("pictures=True makes pictures of units: name some, as in units=['conv1:0', 'conv2:3']")
    if embedding not in FOLLOWED:
        raise ConvscopeError(f"no embedding {embedding!r}{nearest(embedding, FOLLOWED)} (pca and t-sne)")
    named = _readable(ran, sample.images) if layers is None else tuple(dict.fromkeys(layers))
    laid_out = _embedded(model, embed, ran, sample.images)
    wanted = Wanted(
        samples, watched, classes, named, ran.judged_by, _first_that_learns(model), chosen,
        spread_over_classes(sample.labels, SHOWN), _bounds(sample.images, preprocess),
        laid_out, laid_out is None or _learns(model, laid_out, sample.images), embedding, pictures, batch,
    )  # fmt: skip
    _refuse_units(model, wanted)
    _try_out(model, wanted)
    return wanted


def _refuse_answers(model: nn.Module, sample: Sample, classes: tuple[str, ...]) -> None:
    refuse_opaque(model)
    try:
        with torch.no_grad():
            output = run_model(model, as_the_network_takes(model, sample.images[:2]))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape, why = "x".join(map(str, sample.images.shape[1:])), (str(error).splitlines() or [type(error).__name__])[0]
        raise ConvscopeError(f"{type(model).__name__} cannot take inputs of {shape}: {why}") from error
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = f" of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else ""
        raise ConvscopeError(
            f"{type(model).__name__} returns a {type(output).__name__}{shape}, not (b, classes) logits; give the probe "
            "a module that holds it and whose forward returns them, such as self.net(x)['logits']"
        )
    if classes and len(classes) != logits.shape[1]:
        raise ConvscopeError(f"{len(classes)} classes are named, and the network answers {logits.shape[1]}")


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


def _embedded(model: nn.Module, embed: str | bool | None, ran: LayersOfPass, images: Tensor) -> str | None:
    """What the last linear layer is given; where that is frozen, what the layer makes of it."""
    if isinstance(embed, str):
        return embed
    found = [] if embed is False else [ran.before_head, ran.head]
    names = [name for name in found if name is not None and _has_units(name, ran, images)]
    return next((name for name in names if _learns(model, name, images)), names[0] if names else None)


def _learns(model: nn.Module, layer: str, images: Tensor) -> bool:
    """Whether a parameter that wants gradients comes before the layer's output."""
    with torch.enable_grad(), tap(model, layer) as outputs:
        answers(model, images[:2])
    return outputs[layer].requires_grad


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
