"""The sheet of an embedding: the points by class, and beside them the same page in small pictures.

It says how much of the layer's own neighbourhoods is left: the share of an image's ten nearest that are of its class,
in the layer and on the page. Where the page's share is far below the layer's it hides what the layer knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.dataset.embedding import Projection
from convscope.dataset.finite_features import NO_NUMBER
from convscope.render import frame
from convscope.render.grid import About
from convscope.render.scatter import MOST_NAMES, scatter
from convscope.render.thumbnail_map import cells_for, one_a_cell, thumbnail_map
from convscope.render.tile import column_of
from convscope.render.typography import GREY, Type, text_block
from convscope.results import Shown
from convscope.stamps import Stamp

NEAREST = 10  # neighbours of an image whose class is looked at
_SIDE, _GAP, _RATIO = 560, 28, 2  # points; pixels a point
_CAPTION = Type(10.5, GREY, lines=2)


@dataclass(frozen=True, eq=False)
class Embedding(Shown):
    """``points (n, 2)`` of ``images``, with the class of each or None; their features are of ``units`` of ``layer``.

    ``alike`` is the share of an image's nearest that are of its class, in the layer and on the page, None without
    classes; ``left_out`` image -> why it has no point, ``units_left_out`` the numbers of units without numbers on most
    images; ``thumbnails`` by place, of those that the sheet shows.
    """

    projection: Projection = field(repr=False)
    images: tuple[str, ...] = field(repr=False)
    classes: tuple[str | None, ...] = field(repr=False)
    layer: str
    units: int
    data: str
    alike: tuple[float, float] | None
    left_out: Mapping[str, str] = field(repr=False)
    units_left_out: tuple[int, ...] = field(repr=False)
    thumbnails: Mapping[int, Image.Image] = field(repr=False)
    stamp: Stamp = field(repr=False)

    @property
    def points(self) -> Float[np.ndarray, "n 2"]:
        """Where each image lies."""
        return self.projection.points

    @property
    def title(self) -> str:
        """``1,000 images in layer3, by t-SNE``."""
        return f"{len(self.images):,} images in {self.layer}, by {self.projection.facts['method']}"

    @property
    def subtitle(self) -> str:
        """Where from, how, and how much of the layer's neighbourhoods is left."""
        facts = [(name, value) for name, value in self.projection.facts.items() if name != "method"]
        how = ", ".join(value if name == "program" else f"{name} {value}" for name, value in facts)
        method = f"by {self.projection.facts['method']}" + (f" ({how})" if how else "")
        every = f" of the {self.units + len(self.units_left_out)}" if self.units_left_out else ""
        parts = [f"{self.data}: {self.units}{every} units of {self.layer}, each averaged over its map, {method}"]
        if self.alike is not None:
            layer, page = (f"{100 * share:.0f} %" for share in self.alike)
            parts.append(f"Of an image's {NEAREST} nearest, {layer} are of its class in the layer, {page} on this page")
        if self.projection.method != "pca":
            parts.append("Sizes of clusters and distances between them mean little")
        return ". ".join(parts)

    @property
    def named(self) -> tuple[str, ...]:
        """The classes that occur."""
        return tuple(sorted({name for name in self.classes if name is not None}))

    def picture(self) -> Image.Image:
        """The points by class, and beside them the same page in thumbnails."""
        points = scatter(self.points, self.classes, axes_names=self._axes, side=_SIDE, pixel_ratio=_RATIO)
        blocks = [column_of(points, self._text(self._points_line), gap_px=6 * _RATIO)]
        if self.thumbnails:
            cells = cells_for(len(self.images))
            shown = one_a_cell(self.points, cells)
            small = thumbnail_map(shown, self.thumbnails, self.classes, cells, side=_SIDE, pixel_ratio=_RATIO)
            said = (
                f"{len(shown):,} of them, one a cell: the one nearest to its middle; the line is in its class's colour"
            )
            blocks.append(column_of(small, self._text(said), gap_px=6 * _RATIO))
        body = frame.blank(len(blocks) * (_SIDE + _GAP) * _RATIO - _GAP * _RATIO, max(b.height for b in blocks))
        for place, block in enumerate(blocks):
            body.paste(block, (place * (_SIDE + _GAP) * _RATIO, 0))
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        return frame.page(body, pixel_ratio=_RATIO, **about)

    @property
    def _points_line(self) -> str:
        count = len(self.named)
        if not count:
            return "no classes are known of these images"
        many = f", of which the {MOST_NAMES} of the most images are named" if count > MOST_NAMES else ""
        without = sum(name is None for name in self.classes)
        grey = f"; {without:,} images without a class in grey" if without else ""
        return f"{count} classes{many}, each name at the middle of its images{grey}"

    @property
    def _axes(self) -> tuple[str, str]:
        if self.projection.shares is None:
            return "", ""
        first, second = (f"component {n + 1} · {100 * s:.0f} %" for n, s in enumerate(self.projection.shares))
        return f"{first} of the variance", f"{second} of the variance"

    def _text(self, text: str) -> Image.Image:
        return text_block(text, _SIDE * _RATIO, _CAPTION, pixel_ratio=_RATIO)

    def facts(self) -> Mapping[str, str]:
        """How it was made, and of what."""
        facts = {"embedding": self.title, "how": self.subtitle, "layer": self.layer, **self.projection.facts}
        if self.projection.shares is not None:
            facts["share of the variance"] = " and ".join(f"{100 * share:.1f} %" for share in self.projection.shares)
        facts |= {f"left out: {self.layer}:{unit}": NO_NUMBER for unit in self.units_left_out}
        return facts | {f"left out: {name}": why for name, why in self.left_out.items()}

    def as_json(self) -> dict[str, Any]:
        """What ``convscope embed --json`` prints of it."""
        about: dict[str, Any] = {
            "layer": self.layer,
            "units": self.units,
            "units_left_out": list(self.units_left_out),
            "images": len(self.images),
            **self.projection.facts,
        }
        about["shares"] = None if self.projection.shares is None else list(self.projection.shares)
        alike = None if self.alike is None else {"layer": self.alike[0], "page": self.alike[1]}
        rows = zip(self.images, self.classes, self.points.tolist(), strict=True)
        points = [{"image": image, "class": name, "x": x, "y": y} for image, name, (x, y) in rows]
        return about | {"nearest_of_the_same_class": alike, "points": points, "left_out": dict(self.left_out)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The points, the images' names, and their classes, empty where there is none."""
        names = np.array([name or "" for name in self.classes])
        return {"points": self.points, "images": np.array(self.images), "classes": names}
