"""What a network answers without some of its units: before and after, side by side on one scale."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.answers import Photo, Seen, prediction_of, refusing_input, seen_by
from convscope.attribution.important_units import most_important_units, normalised_after
from convscope.attribution.unit_ablation import Values, ablated
from convscope.attribution.unit_values import layer_outputs, unit_activations, unit_axis
from convscope.errors import ConvscopeError, nearest
from convscope.network.head import default_layer
from convscope.network.loading import Network
from convscope.network.targets import Target, Unit, class_logits, resolve_names
from convscope.network.token_grids import as_maps
from convscope.results import Prediction, Shown
from convscope.stamps import Stamp, combined
from convscope.views.ablation_sheet import ablation_sheet
from convscope.views.reference_photos import ReferencePhotos
from convscope.views.unit_names import in_words, layer_of, units_named
from convscope.wording import percent

Mode = Literal["zero", "mean", "resample"]
MODES: tuple[Mode, ...] = ("zero", "mean", "resample")


@dataclass(frozen=True, eq=False, repr=False)
class Ablation(Shown):
    """The answer with and without ``units``.

    ``before`` and ``after`` are as ``predict`` gives them; ``target`` is the class whose logit is followed. ``maps``
    are the units' raw feature maps ``(h, w)`` before; of a layer without maps they hold one number ``(1, 1)``.
    ``importance``: what the choice of the most important units rested on, empty where units were named.
    """

    before: Prediction
    after: Prediction
    units: tuple[Unit, ...]
    mode: str
    replaced_by: str
    target: str
    target_index: int
    maps: Mapping[Unit, Float[Tensor, "h w"]]
    importance: tuple[float, ...]
    notes: tuple[str, ...]
    stamp: Stamp

    def __repr__(self) -> str:
        return f"{in_words(self.units)} {self.replaced_by}. {self.effect_line}"

    @property
    def drop(self) -> float:
        """By how much the target's logit falls; negative where it rises."""
        return float(self.before.logits[self.target_index] - self.after.logits[self.target_index])

    @cached_property
    def probabilities(self) -> tuple[float, float]:
        """The target's, before and after."""
        before, after = (seen.logits.softmax(0)[self.target_index] for seen in (self.before, self.after))
        return float(before), float(after)

    def picture(self) -> Image.Image:
        """Photo and feature map, probabilities before and after, logits before and after."""
        return ablation_sheet(
            self.before,
            self.after,
            (self.target, self.target_index),
            {str(unit): values.numpy() for unit, values in self.maps.items()},
            title=f"{in_words(self.units)} {self.replaced_by}",
            subtitle=" ".join([self.effect_line, *self.notes]),
            importance=self.importance,
            footer=self.stamp.line(),
        )

    @property
    def effect_line(self) -> str:
        """What became of the target, in one line."""
        before, after = (float(seen.logits[self.target_index]) for seen in (self.before, self.after))
        digits = f"{-self.drop:+.2f}" if abs(self.drop) >= 0.005 else f"{-self.drop:+.1g}"
        change = digits if self.drop else "unchanged"
        now, then = map(percent, self.probabilities)
        logits = f"{before:.2f} → {after:.2f} ({change})".replace("-", "−")
        return f"{self.target}: logit {logits}, probability {now} → {then}."

    def facts(self) -> Mapping[str, str]:
        """What was ablated, what became of the target and of the answer, and when not to believe it."""
        facts = {
            "ablation": f"{in_words(self.units)} {self.replaced_by}",
            "units": ", ".join(map(str, self.units)),
            "effect": self.effect_line,
            "before": str(self.before.facts()["prediction"]),
            "after": str(self.after.facts()["prediction"]),
        }
        if self.importance:
            facts["importance"] = ", ".join(f"{value:.4g}" for value in self.importance)
        facts |= {f"note {number}": note for number, note in enumerate(self.notes, 1)}
        facts["what it shows"] = "What the network answers when nothing but these units has changed."
        facts["what it does not"] = (
            "Units share work: one that others stand in for looks unimportant alone. Zero may be far from anything the "
            "unit ever says; the mean and another photo's activations are milder."
        )
        return facts

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All logits before and after, and the units' maps."""
        maps = {str(unit): values.numpy() for unit, values in self.maps.items()}
        return {"before": self.before.logits.numpy(), "after": self.after.logits.numpy(), **maps}


def ablate(
    net: Network,
    photo: Photo,
    units: Sequence[str | Unit] | str | None = None,
    *,
    most_important: bool = False,
    count: int | None = None,
    layer: str | None = None,
    target: Target = None,
    mode: str = "zero",
    data: "str | Path | Sequence[Photo] | ReferencePhotos | None" = None,
    most: int | None = None,
    seed: int = 0,
    batch: int = 32,
    on_step: Callable[[int, int], None] | None = None,
) -> Ablation:
    """The answer to one photo before and after units of the network are replaced.

    Args:
        net: from ``load``.
        photo: a path, a PIL image or a uint8 array.
        units: ``"layer4.1.conv2:447"``, ``"layer4.1.conv2:447@3,4"`` for one position, ``"layer:3,7"``,
            ``"layer:0-15"``, ``"layer:all"``, or several of these, of several layers.
        most_important: instead of ``units``, those whose loss costs the target most, to first order.
        count: how many of the most important ones, 1 unless given.
        layer: where these are looked for; None is the last map before the head.
        target: the class whose logit is followed, by name or number; None is the top class.
        mode: ``"zero"``; ``"mean"``, each unit's over ``data`` and positions; ``"resample"``, its activations on
            another photo, one at random of ``data``.
        data: a folder of pictures or a list of photos.
        most: only the first so many of them, a folder's by path.
        seed: of the choice of the other photo.
        batch: photos of ``data`` in one pass.
        on_step: called with (done, all) photos of ``data``.

    Raises:
        ConvscopeError: anything in this that does not exist or does not go together.
    """
    check_request(units, most_important=most_important, count=count, layer=layer, mode=mode, data=data, most=most)
    seen = seen_by(net, photo)
    before = seen.answer
    index = _class_of(net, target, before)
    names = [units] if isinstance(units, str) else list(units or [])
    importance: tuple[float, ...] = ()
    if most_important:
        names, importance = _important(seen, index, layer, 1 if count is None else count)
    layers = list(dict.fromkeys(layer_of(name) for name in names))
    outputs = layer_outputs(net.module, seen.x, layers)
    size = (seen.x.shape[-2], seen.x.shape[-1])
    counts = {name: output.shape[unit_axis(output, size, name)] for name, output in outputs.items()}
    found = units_named(names, counts)
    reference = _reference(net, data, most, batch, on_step)
    values, replaced_by, data_stamps = _values(seen, found, mode, reference, seed)
    logits = class_logits(ablated(net.module, seen.x, found, values=values))[0].float().cpu()
    stamp = replace(combined([before.stamp, *data_stamps]), seed=seed if mode == "resample" else None)
    maps = {unit: _map(outputs[unit.layer], unit, size) for unit in found}
    notes = _notes(seen, layers) if mode == "zero" else ()
    after = prediction_of(seen, logits)
    return Ablation(
        before, after, found, mode, replaced_by, net.class_name(index), index, maps, importance, notes, stamp
    )


def check_request(
    units: Sequence[str | Unit] | str | None,
    *,
    most_important: bool = False,
    count: int | None = None,
    layer: str | None = None,
    mode: str = "zero",
    data: object = None,
    most: int | None = None,
) -> None:
    """Refuse what does not go together in a call of :func:`ablate`, before anything is loaded or computed."""
    if mode not in MODES:
        raise ConvscopeError(f"no mode {mode!r}{nearest(mode, MODES)}; there are {', '.join(MODES)}")
    if mode != "zero" and data is None:
        what = "the mean" if mode == "mean" else "the other photo"
        raise ConvscopeError(f"mode {mode!r} takes {what} from photos: give a folder of them (--data, or data=)")
    if mode == "zero" and (data is not None or most is not None):
        raise ConvscopeError("data (and most of it) changes nothing for mode 'zero'; it is for mean and resample")
    if layer is not None and not units and not most_important:
        raise ConvscopeError(
            f"layer {layer!r} names no units: of a picture give --unit {layer}:3,7 or {layer}:all (units=), or "
            "--most-important (most_important=True); all units of a layer are ranked over a data set, a folder without "
            "--each"
        )
    if most_important == bool(units):
        raise ConvscopeError(
            "both --unit and --most-important were given: name units, or ask for the most important ones"
            if units
            else "which units? Give --unit LAYER:NUMBER (units=), or --most-important (most_important=True)"
        )
    if not most_important and (count is not None or layer is not None):
        what = "count" if count is not None else "layer"
        raise ConvscopeError(f"{what} belongs to the most important units; units that are named have their layer")
    given = cast("object", units)  # a caller without a type checker may pass a bare number
    if given and not isinstance(given, Iterable):
        raise ConvscopeError(f"units={units!r}: give a name such as 'layer4.1.conv2:447', or a list of names")
    for name in [units] if isinstance(units, str) else units or []:
        layer_of(name)


def _class_of(net: Network, target: Target, before: Prediction) -> int:
    named = resolve_names(target, net.classes)
    if named is None:
        return before.indices[0]
    if not isinstance(named, int):
        raise ConvscopeError(f"an ablation follows the logit of a class; target {target!r} is none")
    classes = len(before.logits)
    if not 0 <= named < classes:
        raise ConvscopeError(f"no class {named} in {net.name}: it has {classes} (0 to {classes - 1})")
    return named


def _important(seen: Seen, index: int, layer: str | None, count: int) -> tuple[list[str | Unit], tuple[float, ...]]:
    name = layer or default_layer(seen.net.module, seen.x)
    numbers, importance = most_important_units(seen.net.module, seen.x, target=index, layer=name, count=count)
    return [Unit(name, unit) for unit in numbers[0].tolist()], tuple(importance[0].tolist())


def _reference(
    net: Network, data: Any, most: int | None, batch: int, on_step: Callable[[int, int], None] | None
) -> ReferencePhotos | None:
    if isinstance(data, ReferencePhotos) and data.net is not net:
        raise ConvscopeError(f"these photos are {data.net.name}'s to refer to, not {net.name}'s")
    if data is None or isinstance(data, ReferencePhotos):
        return data
    return ReferencePhotos(net, data, most=most, batch=batch, on_step=on_step)


def _values(
    seen: Seen, units: Sequence[Unit], mode: str, reference: ReferencePhotos | None, seed: int
) -> tuple[Values | None, str, list[Stamp]]:
    """What the units are replaced by, in numbers, in words, and with the stamps of where it comes from."""
    if reference is None:
        return None, "at zero", []
    if mode == "mean":
        means = reference.means(list(dict.fromkeys(unit.layer for unit in units)))
        values = {unit: means[unit.layer][unit.unit] for unit in units}
        stamp = replace(seen.stamp, data_hash=reference.data_hash())
        return values, f"at the mean over {reference.line}", [stamp]
    name, other = reference.another(seen.image, torch.Generator().manual_seed(seed))
    lent = Seen(seen.net, other)
    with refusing_input(seen.net, lent.x):
        values = unit_activations(seen.net.module, lent.x, units)
    return values, f"as for {name}, one of {reference.line}", [lent.stamp]


def _map(output: Tensor, unit: Unit, size: tuple[int, int]) -> Float[Tensor, "h w"]:
    maps = output[:, :, None, None] if output.ndim == 2 else as_maps(output, size, unit.layer, batch=1)
    return maps[0, unit.unit].float().cpu().clone()


def _notes(seen: Seen, layers: Sequence[str]) -> tuple[str, ...]:
    normalised = normalised_after(seen.net.module, seen.x, layers)
    return tuple(
        f"A batch norm follows {layer} directly: the network goes on with the batch norm of zero, which is not zero; "
        "ablate the batch norm's output to switch its units off."
        for layer in normalised
    )
