"""Pictures in [0, 1] to network input, with gradients: preprocessing without its resizing and cropping.

    x_k = (v_{s(k)} - mean_k) / std_k        v the picture's channels, x the network's, s(k) = k for most networks

A picture that is optimised has the network's own size already, so of its ``Preprocess`` only this is left, to the same
bits. A ``Preprocess`` of any number of channels will do: no photo fits a network of four, but pictures can be made
for it.

Of a bare callable nothing is known, so the map is measured: mean and std from a black and a white photo, s from a red,
a green and a blue one (networks from Caffe want blue first). Where all channels read one mixture of the three colours
(``Grayscale``), the picture is grey. The map is then tried on a photo of four colours: a transform that does anything
else (a gamma, each photo by its own mean and deviation, chance) is refused.

Pitfall: photos that were tried are read a sixth in from their corners, since a transform may put a border round them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.loading import Network, one_input
from convscope.network.preprocessing import Preprocess

_ROUNDING = 1e-5  # of the range of input values; one level of 255 is 4e-3 of it
_TWO_LEVELS = 2 / 255  # Pillow rounds the grey of a colour to a level
_SIDES = (1024, 896)  # larger than networks' crops: a transform that only crops finds pixels to crop
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_PURE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_FOUR_COLOURS = ((20, 70, 200), (90, 230, 40), (160, 120, 10), (240, 30, 140))
_FOUR_GREYS = ((20, 20, 20), (90, 90, 90), (160, 160, 160), (240, 240, 240))

Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class PixelInput:
    """Call it with pictures in [0, 1]; ``dtype`` and ``device`` are those that their canvas should have.

    ``channels`` is how many a picture has: 3 are red, green and blue, 1 is grey, others are as the network takes them.
    ``size`` is the network's own (height, width), None where its preprocessing keeps the photo's. The network's channel
    k is picture channel ``source[k]``, minus ``mean[k]``, divided by ``std[k]``.
    """

    channels: int
    size: tuple[int, int] | None
    device: torch.device
    dtype: torch.dtype
    network_dtype: torch.dtype
    source: tuple[int, ...]
    mean: Float[Tensor, "k 1 1"]
    std: Float[Tensor, "k 1 1"]

    def __call__(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The network's input, computed in the picture's precision (float32 at least) and given in the network's.

        Raises:
            ConvscopeError: another number of channels.
        """
        if image.shape[1] != self.channels:
            raise ConvscopeError(f"a picture of shape {tuple(image.shape)}: {self.channels} channel(s) were expected")
        values = image.to(self.device)
        values = values if values.dtype == torch.float64 else values.float()
        if self.source != tuple(range(self.channels)):
            values = torch.stack([values[:, k] for k in self.source], 1)
        mean, std = (each.to(values) for each in (self.mean, self.std))
        return values.sub(mean).div(std).to(self.network_dtype)


def pixel_input(net: Network) -> PixelInput:
    """What turns pictures in [0, 1] into the input of ``net``, as its preprocessing turns photos.

    Raises:
        ConvscopeError: a bare callable that is no such map, or fails on a photo of one colour.
    """
    with torch.inference_mode(False), torch.no_grad():  # mean and std take part in graphs that outlive one around this
        if isinstance(net.preprocess, Preprocess):
            size, source = _own_size(net.preprocess), tuple(range(net.preprocess.channels))
            channels, numbers = len(source), (net.preprocess.mean, net.preprocess.std)
            mean, std = (torch.tensor(each, dtype=torch.float32, device="cpu")[:, None, None] for each in numbers)
        else:
            size, source, mean, std = _measured(net)
            channels = 3 if any(source) else 1
    wanted = net.precision
    canvas = torch.float64 if wanted.dtype == torch.float64 else torch.float32
    return PixelInput(channels, size, wanted.device, canvas, wanted.dtype, source, mean, std)


def _own_size(preprocess: Preprocess) -> tuple[int, int] | None:
    """(height, width) of what a square photo becomes."""
    size = preprocess.size if preprocess.crop is None else preprocess.crop
    return (size, size) if isinstance(size, int) else size


# ---- a bare callable, by trying it ----


def _measured(net: Network) -> tuple[tuple[int, int] | None, tuple[int, ...], Tensor, Tensor]:
    """Size, source, mean and std of what the callable does to photos."""
    first = [_tried(net, _photo([_BLACK] * 4, side)) for side in _SIDES]
    sizes, rounding = {tuple(each.shape[1:]) for each in first}, _rounding(first[0])
    black, white, *pure = (_corners(_tried(net, _photo([colour] * 4))).mean(1) for colour in (_BLACK, _WHITE, *_PURE))
    slope, reach = white - black, float(torch.stack([black, white]).abs().max())
    parts = (torch.stack(pure, 1) - black[:, None]) / slope[:, None]
    source = _source(parts, rounding) if bool((slope.abs() > rounding * reach).all()) else None
    if source is None:
        raise _refusal(net, "no photo of one colour becomes (colour - mean) / std, channel by channel")
    four = _FOUR_COLOURS if any(source) else _FOUR_GREYS
    values = torch.tensor(four, dtype=torch.float64, device="cpu").T[list(source)] / 255
    error = float((_corners(_tried(net, _photo(four))) - (slope[:, None] * values + black[:, None])).abs().max())
    if not error <= rounding * reach:  # NaN is not
        raise _refusal(net, f"a photo of four colours is {error:.3g} away from (colour - mean) / std")
    mean, std = (numbers.float()[:, None, None] for numbers in (-black / slope, 1 / slope))
    size = next(iter(sizes))
    return (size[0], size[1]) if len(sizes) == 1 else None, source, mean, std


def _rounding(given: Tensor) -> float:
    return max(_ROUNDING, 2 * torch.finfo(given.dtype).eps) if given.is_floating_point() else _ROUNDING


def _source(parts: Tensor, rounding: float) -> tuple[int, ...] | None:
    """Which colour each channel reads, from the (k, 3) shares of red, green and blue in it; all 0 for one grey."""
    if bool(((parts - parts[:1]).abs() <= _TWO_LEVELS).all()):
        return (0,) * len(parts)
    chosen = parts.argmax(1)
    pure = torch.nn.functional.one_hot(chosen, 3)
    return tuple(chosen.tolist()) if bool(((parts - pure).abs() <= 4 * rounding).all()) else None


def _tried(net: Network, photo: Image.Image) -> Tensor:
    """``(k, h, w)`` as the callable itself gives it."""
    try:
        return one_input(net.preprocess(photo))[0].detach().cpu()
    except ConvscopeError:
        raise
    except Exception as error:  # any code of the user's
        raise _refusal(net, f"on a photo of {photo.size} it raised {type(error).__name__}: {error}") from error


def _photo(quarters: Sequence[Colour], side: int = _SIDES[0]) -> Image.Image:
    """A square photo in four quarters: top left, top right, bottom left, bottom right."""
    grid = np.array(quarters, np.uint8).reshape(2, 2, 3)
    return Image.fromarray(grid.repeat(side // 2, 0).repeat(side // 2, 1))


def _corners(given: Tensor) -> Tensor:
    """(k, 4): one pixel of each quarter, away from the borders of the photo and of the quarters."""
    rows, columns = ((side // 6, side - 1 - side // 6) for side in given.shape[1:])
    return torch.stack([given[:, y, x] for y in rows for x in columns], 1).double()


def _refusal(net: Network, why: str) -> ConvscopeError:
    name = getattr(net.preprocess, "__name__", type(net.preprocess).__name__)
    return ConvscopeError(
        f"no pictures can be made through the preprocess {name!r} of {net.name}: {why}; give "
        "Preprocess(size, crop, mean, std)"
    )
