"""How pictures by optimisation came about: frames from the random start on, all pictures side by side in each.

Early steps change most, so frame i of n is of step (i / (n - 1))^2 steps. Frames are kept with the states of unfinished
pictures, so that a run that goes on has those from before as well.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from convscope.drawing import picture_of
from convscope.optimised.picture_cells import SMOOTH_FROM
from convscope.render.mosaic import Mosaic, tile_side
from convscope.synthesis.keeping import Keeper

FRAMES = 60


def frame_steps(steps: int, frames: int = FRAMES) -> tuple[int, ...]:
    """The steps that frames are of: at most ``frames``, dense at first, the start and the last among them.

    >>> frame_steps(100, 6)
    (0, 4, 16, 36, 64, 100)
    """
    return tuple(sorted({round(steps * (i / (frames - 1)) ** 2) for i in range(frames)} | {steps}))


class Evolution:
    """Collects frames: ``on_frame`` of a run, and its keeper, which keeps the frames as well.

    Args:
        steps: of each picture.
        count: of pictures; the more there are, the smaller they are drawn.
        keeper: of the run.
    """

    def __init__(self, steps: int, count: int, keeper: Keeper) -> None:
        self.steps, self.keeper, self.side_px = frame_steps(steps), keeper, tile_side(count)
        self.last = steps
        self.tiles: dict[str, dict[int, np.ndarray]] = {}
        self._new: dict[str, Tensor] = {}
        self._parts = 0
        while (part := keeper.kept(self._key)) is not None:
            for named, values in part.items():
                step, _, name = named.partition(" ")
                self.tiles.setdefault(name, {})[int(step)] = values.numpy()
            self._parts += 1

    @property
    def _key(self) -> str:
        return f"frames {self._parts}"

    def on_frame(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """The pictures of a batch at one step."""
        if step not in self.steps:
            return
        for name, values in pictures.items():
            tile = _tile(values, self.side_px)
            self.tiles.setdefault(name, {})[step] = tile
            self._new[f"{step} {name}"] = torch.from_numpy(tile)

    # ---- the keeper of a run, which keeps frames before what is kept of the step that they lead to ----

    def kept(self, key: str) -> dict[str, Tensor] | None:
        """From the run's keeper."""
        return self.keeper.kept(key)

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """The new frames, then ``tensors``."""
        if self._new:
            new, self._new = self._new, {}
            self.keeper.keep(self._key, new)
            self._parts += 1
        self.keeper.keep(key, tensors)

    def forget(self, key: str) -> None:
        """Of the run's keeper."""
        self.keeper.forget(key)

    def is_due(self) -> bool:
        """As the run's keeper says."""
        return self.keeper.is_due()

    # ---- the frames ----

    def frames(self, names: Sequence[str], title: str) -> list[Image.Image]:
        """One picture a step, those of ``names`` side by side."""
        mosaic = Mosaic(tuple(names), self._shown(names[0], self.last).size, title)
        return [
            mosaic.frame([self._shown(name, step) for name in names], f"step {step} of {self.last}")
            for step in self.steps
        ]

    def _shown(self, name: str, step: int) -> Image.Image:
        return _fitted(self.tiles[name][step], self.side_px)


def _tile(values: Tensor, side_px: int) -> np.ndarray:
    """At most ``side_px`` a side."""
    drawn = picture_of(values.clamp(0, 1))
    return np.array(ImageOps.contain(drawn, (side_px, side_px)) if max(drawn.size) > side_px else drawn)


def _fitted(tile: np.ndarray, side_px: int) -> Image.Image:
    """Enlarged to ``side_px``; very small pictures with visible pixels, as on a sheet."""
    drawn = Image.fromarray(tile)
    if min(drawn.size) >= SMOOTH_FROM:
        return ImageOps.contain(drawn, (side_px, side_px), Image.Resampling.BICUBIC)
    times = max(1, side_px // max(drawn.size))
    return drawn.resize((times * drawn.width, times * drawn.height), Image.Resampling.NEAREST)
