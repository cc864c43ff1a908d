"""Pixels to network input and back: shorter side to ``size``, centre crop, divide by 255, subtract mean, divide by std.

The numbers are torchvision's (``transforms._presets.ImageClassification`` on a PIL image), to the last bit and without
importing it:

- the photo (w, h) becomes (size, floor(size h / w)) for w <= h, by Pillow's antialiased resampling;
- the crop starts at ``round((side - crop) / 2)``, Python's rounding to even (``crop_rounding="down"``: rounded down,
  as Hugging Face does);
- a crop larger than the resized photo is filled up with black *before* normalisation, the smaller half of an odd
  border on the left and at the top: the network then sees black bars, and so does whoever looks at ``view``;
- x = (pixel / 255 - mean) / std in float32.

A network of one channel gets the photo's luma, L = .299 R + .587 G + .114 B (ITU-R 601), before resizing.

``window`` and ``view`` go the other way, for drawing: the crop in the photo's own pixels. Its borders fall between
pixels (a factor of 2.34 or so), so ``view`` resamples that exact window, by less than one pixel; where the borders are
whole it is a plain crop. The size that it is resized to is rounded down, so both axes have a scale of their own.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.pictures import MAX_PIXELS, read_image

Interpolation = Literal["bilinear", "bicubic"]
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How a photo becomes the input of one network. Call it with a photo.

    ``size``: pixels of the shorter side after resizing, or (height, width) of both whatever the photo's shape (Hugging
    Face's ViT squeezes so), None leaves the photo's; ``crop``: pixels of the centre crop,
    one number for a square or (height, width), None keeps the whole; ``mean`` and ``std``: one number a channel, in
    units of pixel / 255.
    """

    size: int | tuple[int, int] | None
    crop: int | tuple[int, int] | None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    crop_rounding: Literal["even", "down"] = "even"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ConvscopeError(
                f"mean and std have a number a channel each, but {self.mean} and {self.std} were given"
            )
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std) <= 0:
            raise ConvscopeError(
                f"mean must be finite and std positive, but mean={self.mean}, std={self.std} were given"
            )
        _known(self.interpolation)
        sides = self.size if isinstance(self.size, tuple) else () if self.size is None else (self.size,)
        if any(side < 1 for side in (*sides, *(self._crop or ()))):
            raise ConvscopeError(f"sizes are at least 1 pixel, but size={self.size}, crop={self.crop} were given")

    @classmethod
    def from_torchvision(cls, preset: Any) -> "Preprocess":
        """Of a preset, e.g. ``ResNet50_Weights.DEFAULT.transforms()``: read off its attributes, torchvision unseen.

        Raises :class:`ConvscopeError` where it is another kind of preset or transform.
        """
        wanted = ("resize_size", "crop_size", "mean", "std", "interpolation")
        if missing := [name for name in wanted if not hasattr(preset, name)]:
            raise ConvscopeError(
                f"{type(preset).__name__} is no classification preset of torchvision: it has no {', '.join(missing)}; "
                "give Preprocess(size, crop, mean, std)"
            )
        if len(preset.resize_size) != 1:
            raise ConvscopeError(
                f"the preset resizes to {list(preset.resize_size)}, not one length of the shorter side"
            )
        height, width = preset.crop_size[0], preset.crop_size[-1]
        crop = height if height == width else (height, width)
        interpolation = _known(getattr(preset.interpolation, "value", preset.interpolation))
        return cls(preset.resize_size[0], crop, tuple(preset.mean), tuple(preset.std), interpolation)

    @property
    def channels(self) -> int:
        """Channels of the network's input: as many as ``mean`` has numbers."""
        return len(self.mean)

    @property
    def always_one_size(self) -> bool:
        """Whether all photos become input of the same height and width."""
        return self.crop is not None or isinstance(self.size, tuple)

    @property
    def _crop(self) -> tuple[int, int] | None:
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    def __call__(self, photo: Image.Image) -> Float[Tensor, "1 c h w"]:
        """The network's input, float32 on the CPU, of a photo that is first read by ``pictures.read_image``'s policy.

        Raises :class:`ConvscopeError` for a network of neither 1 nor 3 channels, which no photo fits, and for a photo
        so elongated that its resized form would pass 179 megapixels.
        """
        pixels = torch.from_numpy(np.array(self._crop_of(self._resized(photo))))
        pixels = pixels.reshape(*pixels.shape[:2], self.channels).permute(2, 0, 1).contiguous()
        mean, std = self._statistics()
        return pixels.to(torch.float32).div(255).sub(mean).div(std)[None]

    def _resized(self, photo: Image.Image) -> Image.Image:
        if self.channels not in (1, 3):
            raise ConvscopeError(
                f"a photo has 3 channels (or 1, its grey), but this network takes {self.channels}; "
                "give load() a preprocess of your own that makes its input"
            )
        photo = read_image(photo)
        if self.channels == 1:
            photo = photo.convert("L")
        return photo.resize(self._resized_size(*photo.size), _RESAMPLING[self.interpolation])

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        if self.size is None:
            return width, height
        if isinstance(self.size, tuple):
            return self.size[1], self.size[0]
        short, long = sorted((width, height))
        new_long = int(self.size * long / short)
        if self.size * new_long > MAX_PIXELS:
            raise ConvscopeError(
                f"the photo of {width} x {height} is too elongated: with its shorter side at {self.size} pixels "
                f"the longer would have {new_long}"
            )
        return (self.size, new_long) if width <= height else (new_long, self.size)

    def _crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in the resized photo; negative where black bars are added."""
        crop_height, crop_width = self._crop or (height, width)
        left, top = self._crop_start(width, crop_width), self._crop_start(height, crop_height)
        return left, top, left + crop_width, top + crop_height

    def _crop_start(self, side: int, crop: int) -> int:
        if crop > side:
            return -((crop - side) // 2)
        return round((side - crop) / 2) if self.crop_rounding == "even" else (side - crop) // 2

    def _crop_of(self, resized: Image.Image) -> Image.Image:
        left, top, right, bottom = self._crop_box(*resized.size)
        crop = Image.new(resized.mode, (right - left, bottom - top))  # black
        crop.paste(resized, (-left, -top))
        return crop

    def window(self, photo_size: tuple[int, int]) -> tuple[float, float, float, float]:
        """What the network sees of a photo of (width, height): (x0, y0, x1, y1) in the photo's own pixels.

        Pixel (0, 0) covers 0..1. The window leaves the photo where the crop is larger than the resized photo.
        """
        width, height = photo_size
        resized_width, resized_height = self._resized_size(width, height)
        x0, y0, x1, y1 = self._crop_box(resized_width, resized_height)
        # first times, then divided: exact where the border is whole
        return (
            x0 * width / resized_width,
            y0 * height / resized_height,
            x1 * width / resized_width,
            y1 * height / resized_height,
        )

    def view(self, photo: Image.Image) -> Image.Image:
        """That window of the photo at the photo's own resolution, RGB: what heat is drawn on, edge on edge."""
        photo = read_image(photo)
        x0, y0, x1, y1 = self.window(photo.size)
        size = max(1, round(x1 - x0)), max(1, round(y1 - y0))
        if self._crop and self._crop[0] == self._crop[1] and not isinstance(self.size, tuple):
            size = (max(size), max(size))  # the two scales may make them a pixel unequal
        left, top = min(0, math.floor(x0)), min(0, math.floor(y0))
        right, bottom = max(photo.width, math.ceil(x1)), max(photo.height, math.ceil(y1))
        if (left, top, right, bottom) != (0, 0, *photo.size):
            canvas = Image.new("RGB", (right - left, bottom - top))
            canvas.paste(photo, (-left, -top))
            photo = canvas
        return photo.resize(size, Image.Resampling.LANCZOS, box=(x0 - left, y0 - top, x1 - left, y1 - top))

    def inverse(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Network input back to values in [0, 1], clamped there; rounding ``255 * inverse`` gives the exact pixels."""
        if x.shape[1] != self.channels:
            raise ConvscopeError(
                f"an input of {self.channels} channels was expected, not one of shape {tuple(x.shape)}"
            )
        mean, std = (numbers.to(device=x.device, dtype=x.dtype) for numbers in self._statistics())
        return x.mul(std).add(mean).clamp(0, 1)

    def bounds(self) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
        """The input of a black and of a white pixel: between them lies every input that is a picture.

        Computed in the arithmetic of ``__call__``, so that its result never passes them by a rounding.
        """
        mean, std = self._statistics()
        return torch.zeros_like(mean).sub(mean).div(std), torch.ones_like(mean).sub(mean).div(std)

    def _statistics(self) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
        mean, std = (torch.tensor(each, dtype=torch.float32, device="cpu") for each in (self.mean, self.std))
        return mean[:, None, None], std[:, None, None]


def _known(interpolation: str) -> Interpolation:
    if interpolation != "bilinear" and interpolation != "bicubic":
        raise ConvscopeError(f"no interpolation {interpolation!r}; there are {', '.join(_RESAMPLING)}")
    return interpolation
