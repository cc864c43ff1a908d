"""How the filters grew out of noise: the first convolution's weights, a row an epoch.

All weights of all epochs are on one grey scale, black the smallest of them, white the largest, so that a filter that
stays faint is seen to stay faint. Filters on three channels are colours, those on one are grey; of any other number
nobody knows what they show, and the first channel is drawn. The first row is what chance made of them.

Pitfalls: a filter that still looks like noise at the end learned nothing, or need not have: small networks read small
pictures without edges. In a film only the moments at which it rests were measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.colour import channels_picture
from convscope.render.colour_bar import ColourBar
from convscope.render.grid import About, Cell, rows_of_cells
from convscope.render.mosaic import Mosaic, tile_side
from convscope.render.scale import Scale
from convscope.render.typography import number_text
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.trainings.between_epochs import between
from convscope.trainings.training_run import TrainingRun, called, chosen_epochs

ROWS, FILTERS, FILMED = 10, 20, 64  # of the sheet; filters in the film
_WIDTH, _LEAST, _FILM_TILE = 1040, 34, 180  # points of a row at most; of a filter at least; pixels of one in a film


@dataclass(frozen=True, eq=False)
class FiltersGrown(Shown):
    """``values (epochs, n, c, kh, kw)`` raw; ``scale`` that of all of them."""

    name: str
    layer: str
    epochs: tuple[int, ...]
    values: Float[np.ndarray, "epochs n c kh kw"] = field(repr=False)
    lacking: str
    stamp: Stamp = field(repr=False)

    @property
    def scale(self) -> Scale:
        """From the smallest weight to the largest that is drawn."""
        return Scale(float(self._drawn.min()), float(self._drawn.max()))

    @property
    def changed(self) -> float:
        """How far the last weights are from the first, in lengths of the first: ``|w - v| / |v|``."""
        first = float(np.linalg.norm(self.values[0]))
        return float(np.linalg.norm(self.values[-1] - self.values[0])) / first if first else float("inf")

    @property
    def title(self) -> str:
        """``How the 9 filters of conv1 grew, epoch 0 to 20``."""
        count = self.values.shape[1]
        if len(self.epochs) == 1:
            return f"The {count} filters of {called(self.layer)} after epoch {self.epochs[0]}"
        return f"How the {count} filters of {called(self.layer)} grew, epoch {self.epochs[0]} to {self.epochs[-1]}"

    @property
    def _subtitle(self) -> str:
        _, count, channels, height, width = self.values.shape
        parts = [f"{self.name}: {channels} x {height} x {width} each"]
        if channels not in (1, 3):
            parts.append(f"input channel 0 of {channels} is drawn")
        if count > FILTERS:
            parts.append(f"the first {FILTERS} are drawn, all are in the raw values")
        if len(self.epochs) > 1:
            parts.append(f"from first to last they moved by {number_text(self.changed)} times their length at first")
        return " · ".join([*parts, *([self.lacking] if self.lacking else [])])

    def picture(self) -> Image.Image:
        """A row an epoch, a column a filter."""
        drawn, shown = self._drawn[:, :FILTERS], chosen_epochs(self.epochs, ROWS)
        rows = [[Cell((self._tile(one),), outlined=True) for one in drawn[self.epochs.index(epoch)]] for epoch in shown]
        about: About = {"title": self.title, "subtitle": self._subtitle, "footer": self.stamp.line()}
        about["bar"], about["said"] = ColourBar(self.scale, "grey", unit="weight"), "One scale for all epochs"
        return rows_of_cells(
            rows, row_headings=[f"epoch {epoch}" for epoch in shown],
            column_headings=[str(number) for number in range(drawn.shape[1])],
            tile_width=max(_LEAST, min(72, _WIDTH // drawn.shape[1])), **about,
        )  # fmt: skip

    def frames(self) -> list[Image.Image]:
        """Of a film: the filters side by side, growing from snapshot to snapshot."""
        drawn = list(self._drawn[:, :FILMED])
        height, width = drawn[0].shape[2:]
        times = max(1, min(_FILM_TILE, tile_side(len(drawn[0]))) // max(height, width))
        mosaic = Mosaic(tuple(map(str, range(len(drawn[0])))), (times * width, times * height), called(self.layer))
        frames: list[Image.Image] = []
        for at in between(len(drawn)):
            tiles = [Image.fromarray(self._tile(one)) for one in at.of(drawn)]
            enlarged = [tile.resize(mosaic.tile, Image.Resampling.NEAREST) for tile in tiles]
            frames.append(mosaic.frame(enlarged, f"epoch {self.epochs[at.start]} of {self.epochs[-1]}"))
        return frames

    @property
    def _drawn(self) -> Float[np.ndarray, "epochs n c kh kw"]:
        return self.values if self.values.shape[2] in (1, 3) else self.values[:, :, :1]

    def _tile(self, weights: Float[np.ndarray, "c kh kw"]) -> np.ndarray:
        return channels_picture(weights, self.scale)

    def facts(self) -> Mapping[str, str]:
        """What is shown, and the range of the weights."""
        scale = Scale(float(self.values.min()), float(self.values.max()))
        facts = {"filters": self.title, "shown": self._subtitle, "layer": self.layer}
        return facts | {"weights": f"{scale.low:.4g} to {scale.high:.4g}"}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw weights of every epoch."""
        return {"epochs": np.array(self.epochs), "values": self.values}


def filters_grown(run: TrainingRun) -> FiltersGrown:
    """The first convolution's filters after each epoch.

    Raises:
        ConvscopeError: no snapshot has filters, filters of several shapes, weights that are not finite throughout.
    """
    kept = [(one.epoch, one.filters_layer, one.filters) for one in run.snapshots() if one.filters is not None]
    if not kept:
        why = run.last.left_out.get("filters", "what is trained does not begin with a convolution")
        raise ConvscopeError(f"{run.path.name} has no filters: {why}")
    sound = [(epoch, layer, values) for epoch, layer, values in kept if np.isfinite(values).all()]
    if not sound:
        raise ConvscopeError(f"{run.path.name}: the filters have weights that are NaN or infinite after every epoch")
    shapes = {values.shape for _, _, values in sound}
    if len(shapes) > 1:
        raise ConvscopeError(f"{run.path.name}: the filters change their shape: {_listed(sorted(shapes))}")
    bad = [epoch for epoch, _, values in kept if not np.isfinite(values).all()]
    lacking = "; ".join(
        part for part in (run.lacking(), f"NaN or infinite after epoch {bad[0]}" if bad else "") if part
    )
    stacked = np.stack([values for _, _, values in sound])
    return FiltersGrown(run.name, str(sound[-1][1]), tuple(e for e, _, _ in sound), stacked, lacking, run.stamp)


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)
