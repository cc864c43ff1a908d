"""What the friendly calls return: frozen values that show and save themselves.

``.values`` are raw and never scaled; pictures are drawn from them on demand. A result saves as a picture (.png,
.jpg, .webp), as a page (.html), or as raw values (.npz), each with its stamp.
"""

import base64
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from jaxtyping import Float
from PIL import Image, PngImagePlugin
from torch import Tensor

from convscope.attribution.registry import METHODS
from convscope.drawing import draw_tile, on_the_photo, scale_for, zero_reason
from convscope.errors import ConvscopeError
from convscope.render.chart import probability_bars
from convscope.render.colour_bar import ColourBar
from convscope.render.page import page_of
from convscope.render.scale import Scale
from convscope.render.sheet import matrix, sheet
from convscope.render.tile import Tile
from convscope.stamps import Stamp
from convscope.wording import percent
from convscope.writing import write_file

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
MOST_PIXELS_A_SIDE = {"JPEG": 65535, "WEBP": 16383}  # of the formats themselves
MOST_BARS = 10  # more are too small to be read beside a photo
DRAWN_SIDE_PX = 1024  # a photo is drawn at most this large; the values know nothing of it


class Shown:
    """What every result can do, given ``picture``, ``facts``, ``arrays`` and a ``stamp``."""

    stamp: Stamp

    def picture(self) -> Image.Image:
        """The result as one picture."""
        raise NotImplementedError

    def facts(self) -> Mapping[str, str]:
        """What a page says about it: label -> text."""
        raise NotImplementedError

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw values for an ``.npz``."""
        raise NotImplementedError

    def show(self) -> None:
        """Display in a notebook; elsewhere open the system's picture viewer."""
        if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
            sys.modules["IPython"].display.display(self)
        else:
            self.picture().show()

    def save(self, path: str | Path) -> Path:
        """Write a picture (.png .jpg .jpeg .webp), a page (.html) or raw values (.npz), by the ending.

        Raises:
            ConvscopeError: another ending, or a place that cannot be written to.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending == ".npz":
            return write_file(path, self._npz())
        if ending == ".html":
            return write_file(path, self.to_html().encode())
        if ending not in PICTURES:
            raise ConvscopeError(
                f"cannot save {path.name!r}: the ending is none of {', '.join([*PICTURES, '.html', '.npz'])}"
            )
        return write_file(path, picture_bytes(self.picture(), PICTURES[ending], self.stamp))

    def to_html(self) -> str:
        """A page of its own: the picture, what it says, where it comes from. Needs no other file."""
        return page_of(str(next(iter(self.facts().values()))), [self.picture()], self.facts(), self.stamp.fields())

    def _npz(self) -> bytes:
        content = io.BytesIO()
        about = json.dumps({**self.facts(), "stamp": self.stamp.fields()})
        # not np.savez: it takes names as keywords, and there are classes called "file"
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in {**self.arrays(), "about": np.array(about)}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
        return content.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        encoded = base64.b64encode(picture_bytes(self.picture(), "PNG", self.stamp)).decode()
        return {"image/png": encoded, "text/plain": repr(self)}


def picture_bytes(picture: Image.Image, form: str, stamp: Stamp) -> bytes:
    """An encoded picture; a PNG carries the stamp in its text.

    Raises:
        ConvscopeError: a picture larger than the format can hold.
    """
    content, options = io.BytesIO(), {"quality": 92}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("convscope", json.dumps(stamp.fields()))
        options = {"pnginfo": text}
    most = MOST_PIXELS_A_SIDE.get(form, max(picture.size))
    if max(picture.size) > most:
        raise ConvscopeError(
            f"a sheet of {picture.width} x {picture.height} pixels is too large for {form}, which holds {most} a side; "
            "save it as .png, or put fewer pictures on it"
        )
    picture.save(content, form, **options)
    return content.getvalue()


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Shown, Sequence[tuple[str, float]]):
    """The most probable classes, best first: a sequence of (class name, probability).

    ``logits (classes,)`` are those of all classes, ``indices`` the numbers of the listed ones.
    """

    top: tuple[tuple[str, float], ...]
    logits: Float[Tensor, " classes"]
    indices: tuple[int, ...]
    photo: Image.Image
    stamp: Stamp

    @overload
    def __getitem__(self, index: int) -> tuple[str, float]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[str, float], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.top[index]

    def __len__(self) -> int:
        return len(self.top)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(self.top)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.top)

    def __repr__(self) -> str:
        return repr(list(self.top))

    def picture(self) -> Image.Image:
        """The photo beside its bars."""
        tiles = [
            Tile(fitted(self.photo), self.top[0][0], percent(self.top[0][1])),
            Tile(self.bars(), f"top {min(len(self), MOST_BARS)}"),
        ]
        return sheet(tiles, footer=self.stamp.line())

    def bars(self) -> Image.Image:
        """The probabilities as a bar chart, of the first ten."""
        return probability_bars(list(self.top[:MOST_BARS]), marked=[self.top[0][0]])

    def facts(self) -> Mapping[str, str]:
        """One line a class."""
        logits = self.logits[list(self.indices)].tolist()
        return {
            "prediction": ", ".join(
                f"{n} {percent(p)} (logit {v:.2f})" for (n, p), v in zip(self.top, logits, strict=True)
            )
        }

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All logits."""
        return {"logits": self.logits.numpy()}


@dataclass(frozen=True, eq=False)
class Explanation(Shown):
    """One map of one photo. ``values`` are raw: ``(h, w)``, or ``(c, H, W)`` for pixel gradients; float32, on the CPU.

    ``measures`` are what the method says of how well it worked (the completeness gap of integrated gradients).
    ``photo`` is the part that the network saw, ``input_size`` (H, W) the pixels it saw it at; ``prediction`` is None
    where the network gives no class scores.
    """

    values: Float[Tensor, "*shape"] = field(repr=False)
    method: str
    layer: str | None
    target: str
    photo: Image.Image = field(repr=False)
    prediction: Prediction | None
    options: Mapping[str, Any]
    input_size: tuple[int, int]
    stamp: Stamp = field(repr=False)
    measures: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def note(self) -> str:
        """Layer and options in one line: ``layer4``, ``square of 56 px, every 28 px``."""
        layer = "" if self.layer is None or self.target.startswith(f"{self.layer}:") else self.layer
        measured = [f"{name} {value:.2g}" for name, value in self.measures.items()]
        return " · ".join(part for part in (layer, self._options_line, *measured) if part)

    @property
    def _options_line(self) -> str:
        parts = [f"{k} {v}" for k, v in self.options.items() if k not in ("size", "stride", "batch")]
        if "size" in self.options:
            parts.insert(0, f"square of {_side(self.options['size'])} px, every {_side(self.options['stride'])} px")
        return " · ".join(parts)

    @property
    def zero_because(self) -> str:
        """Why the map is zero everywhere; empty where it is not."""
        return zero_reason(self.method, self.values)

    def tile(self, scale: Scale | None = None, *, caption: str | None = None, note: str | None = None) -> Tile:
        """The map as a tile of a sheet, on its own scale or a shared one."""
        return draw_tile(
            self.method,
            on_the_photo(self.method, self.values, self.options, self.input_size),
            fitted(self.photo),
            scale=scale or scale_for(self.method, [self.values]),
            caption=self.method if caption is None else caption,
            note=(f"{self.target} · {self.note}".strip(" ·") if note is None else note),
            warning=self.zero_because,
        )

    def picture(self) -> Image.Image:
        """The photo beside the map."""
        seen = "" if self.prediction is None else f"{self.prediction[0][0]} {percent(self.prediction[0][1])}"
        return sheet([Tile(fitted(self.photo), "photo", seen), self.tile()], footer=self.stamp.line())

    def facts(self) -> Mapping[str, str]:
        """Method, target, what it claims and when not to believe it."""
        about = METHODS[self.method]
        facts = {"method": self.method, "target": self.target, "layer": self.layer or "", "options": self._options_line}
        facts |= {name: f"{value:.6g}" for name, value in self.measures.items()}
        if self.prediction is not None:
            facts["prediction"] = str(self.prediction.facts()["prediction"])
        facts |= {"what it shows": about.claim, "what it does not": about.limits, "source": about.source}
        return {k: v for k, v in (facts | {"zero map": self.zero_because}).items() if v}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw values."""
        return {"values": self.values.numpy()}


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
    """Explanations side by side. ``left_out`` says what does not apply to the network, and why."""

    title: str
    subtitle: str
    tiles: tuple[tuple[Tile | None, ...], ...] = field(repr=False)
    explanations: Mapping[str, Explanation] = field(repr=False)
    left_out: Mapping[str, str]
    stamp: Stamp = field(repr=False)
    row_headings: tuple[str, ...] = ()
    column_headings: tuple[str, ...] = ()
    bar: ColourBar | None = field(default=None, repr=False)

    def picture(self) -> Image.Image:
        """The sheet."""
        about: dict[str, Any] = {"title": self.title, "subtitle": self.subtitle, "bar": self.bar}
        about["footer"] = self.stamp.line()
        if not self.row_headings and not self.column_headings:
            return sheet([tile for tile in self.tiles[0] if tile is not None], **about)
        headings = {"row_headings": self.row_headings, "column_headings": self.column_headings}
        return matrix(self.tiles, **headings, tile_width=200, **about)

    def facts(self) -> Mapping[str, str]:
        """Title, what each method shows and does not show, what was left out."""
        facts = {"sheet": f"{self.title} · {self.subtitle}" if self.subtitle else self.title}
        for method in dict.fromkeys(e.method for e in self.explanations.values()):
            facts[method] = f"{METHODS[method].claim} {METHODS[method].limits}"
        return facts | {f"left out: {name}": why for name, why in self.left_out.items()}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw values of every map."""
        return {name: e.values.numpy() for name, e in self.explanations.items()}


def fitted(photo: Image.Image, side_px: int = DRAWN_SIDE_PX) -> Image.Image:
    """The photo at no more than ``side_px`` a side."""
    if max(photo.size) <= side_px:
        return photo
    copy = photo.copy()
    copy.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return copy


def _side(sides: tuple[int, int]) -> str:
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]} x {sides[1]}"
