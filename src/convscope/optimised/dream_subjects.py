"""What a dream is of, what it begins with and at which sizes: found and checked before the first step.

A dream at maps has any size: the photo's, its longest side at most ``SIDE_PX`` unless another bound is given, never
enlarged. Where the objective reads what has no positions (classes, fully connected layers) the photo is what the
network sees of it, at the network's own size. Octaves that the network cannot take are left out, which is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from convscope.answers import Photo, refusing_input
from convscope.errors import ConvscopeError
from convscope.network.finer_maps import last_finer_layer
from convscope.network.layers import find_calls
from convscope.network.loading import Network
from convscope.network.passes import outputs_of
from convscope.network.pictures import read_image
from convscope.network.pixel_inputs import PixelInput, pixel_input
from convscope.network.preprocessing import Preprocess
from convscope.optimised.picture_targets import targets_found
from convscope.results import fitted
from convscope.synthesis import objectives
from convscope.synthesis.dreaming import octave_bases, octave_sizes
from convscope.synthesis.guides import guide as guided_by
from convscope.synthesis.objectives import Objective

SIDE_PX = 512
NOISE_SD = 0.01  # as canvases start: stronger noise keeps its grain in the dream


@dataclass(frozen=True, eq=False)
class Subject:
    """``objective`` and what it is called; ``own_size``: it needs the network's own."""

    objective: Objective
    label: str
    guide: Image.Image | None
    own_size: bool


@dataclass(frozen=True, eq=False)
class Setting:
    """One network, and what all dreams in it have in common."""

    net: Network
    pixels: PixelInput
    side: int | None

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the network's own; of a square of the largest size where it has none."""
        return self.pixels.size or (self.bound, self.bound)

    @property
    def bound(self) -> int:
        """The longest side of a dream in pixels."""
        return self.side or SIDE_PX

    def outputs(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """What ``layers`` say of pictures in [0, 1]."""
        x = self.pixels(image)
        with refusing_input(self.net, x):
            return outputs_of(self.net.module, x, *layers)

    def start(self, photo: Image.Image | None, own_size: bool, generator: torch.Generator) -> Tensor:
        """``(1, c, h, w)`` in [0, 1]: the photo, or noise."""
        if photo is not None:
            made = self.seen(photo) if own_size else self.bounded(photo)
        else:
            size = self.size if own_size else (self.bound, self.bound)
            noise = torch.randn(1, self.pixels.channels, *size, generator=generator)
            made = (0.5 + NOISE_SD * noise).clamp(0, 1)
        return made.to(self.pixels.device, self.pixels.dtype)

    def bounded(self, photo: Image.Image) -> Float[Tensor, "1 c h w"]:
        """The whole photo, its longest side at most the bound; its own pixels where it is no larger."""
        return self._tensor(fitted(photo, self.bound))

    def seen(self, photo: Image.Image) -> Float[Tensor, "1 c h w"]:
        """What the network sees of the photo, at its own size."""
        if self.pixels.size is None:
            return self.bounded(photo)
        if isinstance(self.net.preprocess, Preprocess):
            return self.net.preprocess.inverse(self.net.preprocess(photo))
        height, width = self.pixels.size
        return self._tensor(ImageOps.fit(photo, (width, height), Image.Resampling.BICUBIC))

    def _tensor(self, photo: Image.Image) -> Tensor:
        if self.pixels.channels not in (1, 3):
            raise ConvscopeError(
                f"a photo has 3 channels (or 1, its grey), but {self.net.name} takes {self.pixels.channels}: "
                "its dreams begin with noise (photo=None, --noise)"
            )
        levels = np.array(photo.convert("RGB" if self.pixels.channels == 3 else "L"))
        values = torch.from_numpy(levels).reshape(photo.height, photo.width, self.pixels.channels)
        return values.permute(2, 0, 1)[None].contiguous().float().div(255)


def setting(net: Network, side: int | None) -> Setting:
    """Checked.

    Raises:
        ConvscopeError: a side below 1, or a preprocess that is not (pixel - mean) / std.
    """
    if side is not None and side < 1:
        raise ConvscopeError(f"side={side}: a dream has at least one pixel a side")
    return Setting(net, pixel_input(net), side)


def subject(at: Setting, layer: str | None, unit: Any, guide: Photo | None) -> Subject:
    """What is to rise.

    Raises:
        ConvscopeError: what does not go together, and what the network has not.
    """
    if unit is not None:
        if layer is not None or guide is not None:
            raise ConvscopeError("a unit or class is dreamt of without a layer or guide: its name says where it is")
        return _of_units(at, unit)
    grey = at.start(None, True, torch.Generator().manual_seed(0))
    if layer is None:
        with refusing_input(at.net, at.pixels(grey)):
            layer = last_finer_layer(at.net.module, at.pixels(grey))
    find_calls(at.net.module, [layer])
    own_size = at.side is None and at.outputs(grey, [layer])[layer].ndim != 4
    if guide is None:
        return Subject(objectives.layer(layer, 2), layer, None, own_size)
    picture = read_image(guide)
    led = (at.seen(picture) if own_size else at.bounded(picture)).to(at.pixels.device, at.pixels.dtype)
    objective = guided_by(layer, at.outputs(led, [layer])[layer])
    return Subject(objective, layer, picture, own_size)


def _of_units(at: Setting, unit: Any) -> Subject:
    """The sum of units, classes or objectives."""
    grey = at.start(None, True, torch.Generator().manual_seed(0))
    found = targets_found(at.net, unit, at.pixels(grey))
    for one in found:
        if one.unit is not None and one.kind == "neuron":
            whole = f"{one.unit.layer}:{one.unit.unit}"
            raise ConvscopeError(f"{one.name} is one neuron, whose place no two octaves share; its unit is {whole}")
    objective = sum((one.objective for one in found[1:]), found[0].objective)
    outputs = at.outputs(grey, objective.layers) if objective.layers else {}
    has_places = not objective.needs_output and all(output.ndim == 4 for output in outputs.values())
    own_size = at.side is None and not has_places
    return Subject(objective, " + ".join(one.name for one in found), None, own_size)


def octaves_that_fit(
    at: Setting, objective: Objective, start: Tensor, octaves: int, scale: int | float
) -> tuple[list[tuple[int, int]], tuple[str, ...], float]:
    """(h, w) of the octaves from small to large, what is to be said of those left out, the objective of the start.

    Raises:
        ConvscopeError: the network does not take the largest.
    """
    wanted = octave_sizes((start.shape[2], start.shape[3]), octaves, scale)
    bases = octave_bases(start, wanted)
    before = _score(at, objective, bases[-1])
    first = 0
    why = ""
    for base in bases[:-1]:
        try:
            _score(at, objective, base)
        except ConvscopeError as error:
            first, why = first + 1, str(error)
        else:
            break
    missing = octaves - len(wanted) + first
    if not missing:
        return wanted, (), before
    left_out = f"{missing} of {octaves} octaves left out"
    if not first:
        return wanted, (f"{left_out}: the picture cannot be made smaller",), before
    largest = " x ".join(map(str, wanted[first - 1]))
    note = f"{left_out}: they are too small for {at.net.name}, at {largest} px and below ({why})"
    return wanted[first:], (note,), before


def _score(at: Setting, objective: Objective, image: Tensor) -> float:
    """Refuses a size at which there is none."""
    x = at.pixels(image)
    with refusing_input(at.net, x), torch.no_grad():
        scores = objectives.evaluate(at.net.module, objective, x)
        if bool(torch.isnan(scores).all()) and not _has_cells(at, objective, image):
            size = " x ".join(map(str, x.shape[1:]))
            raise ConvscopeError(f"{at.net.name} has no cell left of an input of {size}")
        return float(scores[0])


def _has_cells(at: Setting, objective: Objective, image: Tensor) -> bool:
    return all(output.numel() for output in at.outputs(image, objective.layers).values())
