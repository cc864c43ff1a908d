"""How a picture is made by optimisation: a recipe's fields, what they may be, and what they stand for.

Lengths are in pixels of a picture with a shorter side of 224 and shrink or grow with it: one recipe serves photos and
digits of 28 px. Penalties are divided by the picture's size already (``regularisers.py``).
"""

import math
from dataclasses import dataclass, fields, replace

from convscope.errors import ConvscopeError, nearest
from convscope.synthesis.ascent import Rate
from convscope.synthesis.regularisers import Regulariser, lp, total_variation
from convscope.synthesis.transforms import Transform, compose, jitter, noisy, pad, rotate, scale

IMAGES = ("natural", "fourier", "pixels", "maco")
# lucid's Adam; MaCo's phases are angles; natural parameters are in units of photos' magnitudes, and start near 1
RATES = {"natural": 0.5, "fourier": 0.05, "pixels": 0.05, "maco": 1.0}
SETTLED = 0.02  # what is left of the rate at the end, where it settles
SIDE = 224  # px, the side that lengths are given for
GREY = 0.5  # what costs nothing: a picture's values are in [0, 1]


def pixels_at(length: int | float, h: int, w: int) -> int:
    """A length for the side of 224 px, at this size; 1 at least."""
    return max(1, round(length * min(h, w) / SIDE))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_count(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConvscopeError(f"{name} {value!r}: a whole number from {least} on")


def _check_amount(name: str, value: object) -> None:
    if not _is_number(value) or value < 0:  # pyright: ignore[reportOperatorIssue] # a number
        raise ConvscopeError(f"{name} {value!r}: a number from 0 on; 0 is none of it")


def _two(values: object) -> tuple[int | float, int | float]:
    if isinstance(values, tuple) and len(values) == 2 and all(map(_is_number, values)):  # pyright: ignore
        return values  # pyright: ignore
    raise ConvscopeError(f"scale {values!r}: two numbers, the least and the largest factor")


@dataclass(frozen=True)
class Recipe:
    """How a picture is made; the defaults are what made the best pictures of classes and units.

    Attributes:
        image: ``"natural"`` (no more contrast than photos have, in each band of frequencies), ``"fourier"``,
            ``"pixels"``, or ``"maco"`` (the magnitudes of photos, phases alone climb).
        contrast: how many times that of photos, for ``"natural"`` (None is 1.2) and ``"maco"`` (None is 1).
        decorrelated: colours in the basis of photos; None is yes for three channels and no for others.
        steps: updates.
        rate: Adam's step; None is 0.5 for natural images, 1 for MaCo, 0.05 for the others.
        settle: the share of the steps, the last ones, in which the rate falls to a fiftieth.
        pad: pixels more on every side, mirrored, before all else; the network must take the larger picture.
        jitter: shifts of up to so many pixels, each step.
        rotate: turns of up to so many degrees, each step.
        scale: the least and the largest factor of size, each step.
        noise: standard deviation of noise on the picture, in [0, 1], each step: what it hides cannot be climbed.
        tv: weight of the total variation.
        tv_beta: its power: 2 spreads it, 1 lets edges be.
        l2: weight of the squared distance from grey.
        lp: weight of the 6-norm about grey: a soft bound of the values.
        blur: sigma in pixels of a blur of the picture itself.
        blur_every: so many steps from blur to blur.
        alpha: pictures with an opacity, over a backdrop drawn anew each step: what does not count becomes transparent.
        opacity: what the mean opacity costs, in shares of the score, where there is one; more leaves less.
        let_through: so many first steps in which shut rectifiers pass a gradient.
    """

    image: str = "natural"
    contrast: int | float | None = None
    decorrelated: bool | None = None
    steps: int = 160
    rate: int | float | None = None
    settle: int | float = 0.6
    pad: int = 0
    jitter: int | float = 14
    rotate: int | float = 10
    scale: tuple[int | float, int | float] = (0.9, 1.1)
    noise: int | float = 0.02
    tv: int | float = 0
    tv_beta: int | float = 2
    l2: int | float = 0
    lp: int | float = 0
    blur: int | float = 0
    blur_every: int = 4
    alpha: bool = False
    opacity: int | float = 1
    let_through: int = 16

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            ConvscopeError: naming the field and what it may be.
        """
        if self.image not in IMAGES:
            raise ConvscopeError(f"image {self.image!r}: one of {', '.join(IMAGES)}{nearest(self.image, IMAGES)}")
        for name in ("steps", "pad", "blur_every", "let_through"):
            _check_count(name, getattr(self, name), least=1 if name == "blur_every" else 0)
        for name in ("jitter", "rotate", "noise", "tv", "l2", "lp", "blur", "opacity"):
            _check_amount(name, getattr(self, name))
        if not _is_number(self.tv_beta) or self.tv_beta < 1:
            raise ConvscopeError(f"tv_beta {self.tv_beta!r}: a number from 1 on")
        if self.rate is not None and not (_is_number(self.rate) and self.rate > 0):
            raise ConvscopeError(f"rate {self.rate!r}: a number above 0, or None for the usual one of the image")
        if not _is_number(self.settle) or not 0 <= self.settle <= 1:
            raise ConvscopeError(f"settle {self.settle!r}: a share of the steps, from 0 to 1")
        self._check_contrast()
        low, high = _two(self.scale)
        if not 0 < low <= high:
            raise ConvscopeError(f"scale {self.scale!r}: the least and the largest factor, above 0")
        if self.blur and self.image not in ("fourier", "pixels"):
            raise ConvscopeError(f"blur with image {self.image!r}: its contrast at every scale is given already")

        if self.opacity != 1 and not self.alpha:
            raise ConvscopeError(f"opacity {self.opacity} goes with alpha: pictures have none without it")

    def _check_contrast(self) -> None:
        if self.contrast is None:
            return
        if not (_is_number(self.contrast) and self.contrast > 0):
            raise ConvscopeError(f"contrast {self.contrast!r}: a number above 0, 1 for that of photos")
        if self.image not in ("natural", "maco"):
            raise ConvscopeError(f"contrast with image {self.image!r}: only 'natural' and 'maco' are held to one")

    def changed(self, **changes: object) -> "Recipe":
        """The same with other values for some fields.

        Raises:
            ConvscopeError: a field that a recipe does not have, or a value that it cannot have.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise ConvscopeError(f"a recipe has no {name!r}{nearest(name, known)}; it has {', '.join(known)}")
        return replace(self, **changes)  # pyright: ignore[reportArgumentType] # checked at run time just above

    def transform(self, h: int, w: int) -> Transform | None:
        """What a picture of h x w must survive; None where it is nothing."""
        moves: list[Transform] = []
        if self.pad:
            moves.append(pad(pixels_at(self.pad, h, w)))
        if self.rotate:
            moves.append(rotate(self.rotate))
        if self.scale != (1, 1):
            moves.append(scale(*self.scale))
        if self.jitter:
            moves.append(jitter(pixels_at(self.jitter, h, w)))
        if self.noise:
            moves.append(noisy(self.noise))
        return compose(*moves) if moves else None

    @property
    def penalties(self) -> tuple[tuple[int | float, Regulariser], ...]:
        """What speaks against a picture, with its weight."""
        every = (
            (self.tv, total_variation(self.tv_beta)),
            (self.l2, lp(2, centre=GREY)),
            (self.lp, lp(6, centre=GREY)),
        )
        return tuple((weight, penalty) for weight, penalty in every if weight)

    @property
    def step_rate(self) -> Rate:
        """Adam's step after so many updates."""
        rate = RATES[self.image] if self.rate is None else self.rate
        last = self.settle * self.steps
        if last == 0:
            return rate

        def settling(number: int) -> float:
            share = max(0.0, (number - (self.steps - last)) / last)
            return rate * (SETTLED + (1 - SETTLED) * 0.5 * (1 + math.cos(math.pi * share)))

        return settling


STANDARD = Recipe()

PLAIN = Recipe(image="pixels", decorrelated=False, settle=0, jitter=0, rotate=0, scale=(1, 1), noise=0)
"""No regularisation at all: the objective alone, climbed pixel by pixel."""
