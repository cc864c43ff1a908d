"""DeepDream of a photo or of noise: the friendly call, and the dream beside what it began with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.answers import Photo, Seen
from convscope.drawing import picture_of
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.pictures import read_image
from convscope.optimised.dream_subjects import Setting, Subject, octaves_that_fit, setting, subject
from convscope.render.sheet import sheet
from convscope.render.tile import Tile
from convscope.render.typography import number_text
from convscope.results import PICTURES, Shown, fitted, picture_bytes
from convscope.seeds import seeded
from convscope.stamps import Stamp, stamp
from convscope.synthesis import dreaming
from convscope.synthesis.dreaming import DreamStep, dream_steps, zoomed
from convscope.synthesis.keeping import NOTHING_KEPT, Keeper, keep_finished, keep_state, kept_state
from convscope.writing import write_file

_FEW_PIXELS = 128  # a picture of fewer a side is drawn with its pixels


@dataclass(frozen=True)
class Octave:
    """``size`` (h, w) in pixels; the objective of its picture before its first step and after its last."""

    size: tuple[int, int]
    start: float
    end: float

    def line(self) -> str:
        """``4690 → 46900``."""
        return f"{number_text(self.start)} → {number_text(self.end)}"


@dataclass(frozen=True, eq=False)
class Dream(Shown):
    """``values (c, h, w)`` in [0, 1]; ``start``, what it began with, alike.

    ``objective`` names what was to rise, ``before`` and ``after`` are its values for the two.
    """

    values: Float[Tensor, "c h w"] = field(repr=False)
    start: Float[Tensor, "c h w"] = field(repr=False)
    objective: str
    before: float
    octaves: tuple[Octave, ...]
    options: Mapping[str, Any]
    notes: tuple[str, ...]
    guide: Image.Image | None = field(repr=False)
    from_noise: bool
    stamp: Stamp = field(repr=False)

    @property
    def after(self) -> float:
        """The objective of the dream."""
        return self.octaves[-1].end

    def image(self) -> Image.Image:
        """The dream alone, in its own pixels."""
        return picture_of(self.values)

    def save_image(self, path: str | Path) -> Path:
        """Write the dream alone (.png .jpg .jpeg .webp).

        Raises:
            ConvscopeError: another ending, or a place that cannot be written to.
        """
        path = Path(path)
        if path.suffix.lower() not in PICTURES:
            raise ConvscopeError(f"cannot save {path.name!r}: the ending is none of {', '.join(PICTURES)}")
        return write_file(path, picture_bytes(self.image(), PICTURES[path.suffix.lower()], self.stamp))

    def picture(self) -> Image.Image:
        """What it began with, the guide if there is one, and the dream."""
        what, size = "noise" if self.from_noise else "photo", _by(self.values.shape[1:])
        tiles = [self._tile(picture_of(self.start), what, f"objective {number_text(self.before)} · {size} px")]
        if self.guide is not None:
            tiles.append(self._tile(self.guide, "guide", f"its features at {self.objective}"))
        tiles.append(self._tile(self.image(), "dream", f"objective {number_text(self.after)}"))
        footer = self.stamp.line()
        return sheet(tiles, tile_width=280, title=self.title, subtitle=self.subtitle, footer=footer)

    @staticmethod
    def _tile(image: Image.Image, caption: str, note: str) -> Tile:
        return Tile(fitted(image), caption, note, pixels=max(image.size) < _FEW_PIXELS)

    @property
    def title(self) -> str:
        """What is dreamt of."""
        return f"Dream of {self.objective}" + (", guided" if self.guide is not None else "")

    @property
    def subtitle(self) -> str:
        """Steps, and the objective at the start and end of each octave."""
        sizes = [_by(octave.size) for octave in self.octaves]
        octaves = (
            f"{len(sizes)} octaves of {sizes[0]} to {sizes[-1]} px" if len(sizes) > 1 else f"1 octave of {sizes[0]} px"
        )
        how = f"{self.options['steps']} steps of {self.options['rate']:g} grey levels in each"
        reached = f"the objective in each: {', '.join(octave.line() for octave in self.octaves)}"
        return " · ".join([octaves, how, f"jitter {self.options['jitter']} px", reached, *self.notes])

    def facts(self) -> Mapping[str, str]:
        """What was to rise, what it reached in each octave, and when not to believe it."""
        reached = f"{self.objective}: {number_text(self.before)} → {number_text(self.after)}"
        facts = {"dream": self.title, "objective": reached}
        facts |= {f"octave {i}": f"{_by(octave.size)} px: {octave.line()}" for i, octave in enumerate(self.octaves, 1)}
        facts |= {name.replace("_", " "): f"{value:g}" for name, value in self.options.items()}
        facts |= {f"note {i}": note for i, note in enumerate(self.notes, 1)}
        facts["what it shows"] = "The patterns that a layer answers to, grown where the picture is a little like them."
        facts["what it does not"] = (
            "It is no explanation of an answer: a layer dreams of its favourite patterns on any photo, and on noise. "
            "Sizes and number of the patterns follow the octaves and steps as much as the network."
        )
        return facts

    def as_json(self) -> dict[str, Any]:
        """What ``convscope dream --json`` prints of it."""
        octaves = [{"size": list(o.size), "start": o.start, "end": o.end} for o in self.octaves]
        about = {"objective": self.objective, "guided": self.guide is not None, "size": list(self.values.shape[1:])}
        about |= {"before": self.before, "after": self.after}
        return about | {"octaves": octaves, **self.options, "seed": self.stamp.seed, "notes": list(self.notes)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The dream, what it began with, and the objective before and after each octave."""
        reached = np.array([[octave.start, octave.end] for octave in self.octaves])
        return {"values": self.values.numpy(), "start": self.start.numpy(), "reached": reached}


def dream(
    net: Network,
    photo: Photo | None,
    layer: str | None = None,
    *,
    unit: Any = None,
    guide: Photo | None = None,
    octaves: int = dreaming.OCTAVES,
    octave_scale: int | float = dreaming.OCTAVE_SCALE,
    steps: int = dreaming.STEPS,
    rate: int | float = dreaming.RATE,
    jitter: int = dreaming.JITTER_PX,
    side: int | None = None,
    seed: int = 0,
    keeper: Keeper = NOTHING_KEPT,
    key: str = "dream",
    on_step: Callable[[int, int], None] | None = None,
    on_frame: Callable[[Image.Image], None] | None = None,
) -> Dream:
    """DeepDream: the photo, changed so that a layer says more of what it says already.

    Args:
        net: from ``load``.
        photo: a path, a PIL image or a uint8 array; None begins with noise.
        layer: its mean square is to rise; None is the last layer whose maps are finer than the last of all.
        unit: instead of a layer ``"layer4.1.conv2:447"``, a class by name or number, an ``Objective`` with its
            algebra, or several of these, whose sum is to rise.
        guide: another picture, whose features at the layer are dreamt into this one.
        octaves: sizes at which is dreamt, one after the other, at most so many as the network can take.
        octave_scale: each is so many times as large as the one before.
        steps: in each octave; 0 gives the photo back.
        rate: mean change of a pixel in a step, in grey levels of 255.
        jitter: the largest shift of a step, in pixels.
        side: longest side of the dream in pixels. None: 512, or the network's own size where the objective has no
            positions (classes, fully connected layers). Photos are never enlarged to it.
        seed: of the jitter, and of the noise.
        keeper: where the unfinished dream is kept, under ``key``.
        key: see ``keeper``.
        on_step: called with (done, all) steps.
        on_frame: called with the picture of each step, at the dream's size.

    Raises:
        ConvscopeError: anything in this that does not exist, does not go together or does not fit the network.
    """
    at, generator = setting(net, side), seeded(seed)
    image = None if photo is None else photo.image if isinstance(photo, Seen) else read_image(photo)
    wanted = subject(at, layer, unit, guide)
    start, sizes, notes, before = _begun(at, wanted, image, generator, octaves, octave_scale)
    if (done := keeper.kept(key)) is None:
        state = kept_state(keeper, key)
        made = dream_steps(
            net.module, wanted.objective, start,
            to_input=at.pixels, sizes=sizes, steps=steps, rate=rate, jitter=jitter, generator=generator, state=state,
        )  # fmt: skip
        tell = _Told(steps, len(sizes) * steps, (start.shape[2], start.shape[3]), on_step, on_frame)
        done = _finished(made, _reached_before(state, len(sizes)), steps, keeper, key, tell)
    reached = [Octave(size, *pair) for size, pair in zip(sizes, done["scores"].tolist(), strict=True)]
    options = {"octave_scale": octave_scale, "steps": steps, "rate": rate, "jitter": jitter}
    still = _still(steps, done["values"], start[0].float().cpu(), wanted)
    return Dream(
        done["values"], start[0].float().cpu(), wanted.label, before, tuple(reached), options, notes + still,
        wanted.guide, image is None, replace(stamp(net, image), seed=seed),
    )  # fmt: skip


def _begun(
    at: Setting,
    wanted: Subject,
    image: Image.Image | None,
    generator: torch.Generator,
    octaves: int,
    scale: int | float,
) -> tuple[Tensor, list[tuple[int, int]], tuple[str, ...], float]:
    """What it begins with, the octaves, what is to be said of them, and the objective of the start."""
    start = at.start(image, wanted.own_size, generator)
    try:
        sizes, notes, before = octaves_that_fit(at, wanted.objective, start, octaves, scale)
    except ConvscopeError as refused:
        size = tuple(start.shape[2:])
        if wanted.own_size or at.side is not None or at.pixels.size in (None, size):
            raise
        start = at.start(image, True, generator)
        sizes, notes, before = octaves_that_fit(at, wanted.objective, start, octaves, scale)
        notes = (f"at the network's own size, for: {refused}", *notes)
    if wanted.own_size and at.pixels.size is not None:
        notes = ("at the network's own size, as classes and fully connected layers without a side are", *notes)
    return start, sizes, notes, before


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _still(steps: int, values: Tensor, start: Tensor, wanted: Subject) -> tuple[str, ...]:
    if steps and torch.equal(values, start):
        return (f"the picture is as it was: {wanted.label} has no gradient here, nothing that could rise",)
    return ()


def _reached_before(state: Mapping[str, Tensor] | None, octaves: int) -> Tensor:
    """The objective at the start and end of every octave, as far as it is known."""
    return torch.zeros(octaves, 2, dtype=torch.float64) if state is None else state["reached"].clone()


@dataclass(frozen=True, eq=False)
class _Told:
    """Who is told of a step."""

    steps: int
    every: int
    size: tuple[int, int]
    on_step: Callable[[int, int], None] | None
    on_frame: Callable[[Image.Image], None] | None

    def __call__(self, made: DreamStep) -> None:
        if self.on_step is not None and self.every:
            self.on_step(made.octave * self.steps + made.step, self.every)
        if self.on_frame is not None:  # an octave may begin beyond black and white
            self.on_frame(picture_of(zoomed(made.image, self.size)[0].clamp(0, 1)))


def _finished(
    dreams: Iterator[DreamStep],
    reached: Tensor,
    steps: int,
    keeper: Keeper,
    key: str,
    tell: Callable[[DreamStep], None],
) -> dict[str, Tensor]:
    """The last picture, and the objective by octave; both are kept."""
    made = None
    for made in dreams:
        for at, when in ((0, 0), (steps, 1)):
            if made.step == at:
                reached[made.octave, when] = made.scores[0].double()
        tell(made)
        keep_state(keeper, key, partial(_state, made, reached))
    assert made is not None  # every dream has a start
    done = {"values": made.image[0].float().cpu(), "scores": reached}
    keep_finished(keeper, key, done)
    return done


def _state(made: DreamStep, reached: Tensor) -> dict[str, Tensor]:
    return made.state() | {"reached": reached.clone()}
