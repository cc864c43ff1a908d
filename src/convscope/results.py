"""What the friendly calls return: frozen values that show and save themselves.

``.values`` are raw and never scaled; pictures are drawn from them on demand. A result saves as a picture (.png,
.jpg, .webp), as a page (.html), or as raw values (.npz), each with its stamp.
"""

import base64
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from jaxtyping import Float
from PIL import Image, PngImagePlugin
from torch import Tensor

from convscope.attribution.registry import METHODS
from convscope.drawing import draw_tile, scale_for, zero_reason
from convscope.errors import ConvscopeError
from convscope.render.chart import probability_bars
from convscope.render.page import page_of
from convscope.render.scale import Scale
from convscope.render.sheet import sheet
from convscope.render.tile import Tile
from convscope.stamps import Stamp
from convscope.writing import write_file

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
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
        np.savez_compressed(content, about=np.array(about), **self.arrays())
        return content.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        encoded = base64.b64encode(picture_bytes(self.picture(), "PNG", self.stamp)).decode()
        return {"image/png": encoded, "text/plain": repr(self)}


def picture_bytes(picture: Image.Image, form: str, stamp: Stamp) -> bytes:
    """An encoded picture; a PNG carries the stamp in its text."""
    content, options = io.BytesIO(), {}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("convscope", json.dumps(stamp.fields()))
        options = {"pnginfo": text, "optimize": True}
    picture.save(content, form, **(options or {"quality": 92}))
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
            Tile(fitted(self.photo), self.top[0][0], f"{self.top[0][1]:.1%}"),
            Tile(self.bars(), f"top {len(self)}"),
        ]
        return sheet(tiles, footer=self.stamp.line())

    def bars(self) -> Image.Image:
        """The probabilities as a bar chart."""
        return probability_bars(list(self.top), marked=[self.top[0][0]])

    def facts(self) -> Mapping[str, str]:
        """One line a class."""
        logits = self.logits[list(self.indices)].tolist()
        return {
            "prediction": ", ".join(f"{n} {p:.1%} (logit {v:.2f})" for (n, p), v in zip(self.top, logits, strict=True))
        }

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All logits."""
        return {"logits": self.logits.numpy()}


@dataclass(frozen=True, eq=False)
class Explanation(Shown):
    """One map of one photo. ``values`` are raw: ``(h, w)``, or ``(c, H, W)`` for pixel gradients; float32, on the CPU.

    ``photo`` is the part that the network saw; ``prediction`` is None where the network gives no class scores.
    """

    values: Float[Tensor, "*shape"] = field(repr=False)
    method: str
    layer: str | None
    target: str
    photo: Image.Image = field(repr=False)
    prediction: Prediction | None
    options: Mapping[str, Any]
    stamp: Stamp = field(repr=False)

    @property
    def note(self) -> str:
        """Layer and options in one line."""
        options = [f"{k} {v}" for k, v in self.options.items()]
        return " · ".join(part for part in [self.layer or "", *options] if part)

    @property
    def zero_because(self) -> str:
        """Why the map is zero everywhere; empty where it is not."""
        return zero_reason(self.method, self.values)

    def tile(self, scale: Scale | None = None, *, caption: str | None = None, note: str | None = None) -> Tile:
        """The map as a tile of a sheet, on its own scale or a shared one."""
        return draw_tile(
            self.method,
            self.values,
            fitted(self.photo),
            scale=scale or scale_for(self.method, [self.values]),
            caption=self.method if caption is None else caption,
            note=(f"{self.target} · {self.note}".strip(" ·") if note is None else note),
            warning=self.zero_because,
        )

    def picture(self) -> Image.Image:
        """The photo beside the map."""
        seen = "" if self.prediction is None else f"{self.prediction[0][0]} {self.prediction[0][1]:.1%}"
        return sheet([Tile(fitted(self.photo), "photo", seen), self.tile()], footer=self.stamp.line())

    def facts(self) -> Mapping[str, str]:
        """Method, target, what it claims and when not to believe it."""
        about = METHODS[self.method]
        facts = {"method": self.method, "target": self.target, "layer": self.layer or "", "options": self.note}
        if self.prediction is not None:
            facts["prediction"] = str(self.prediction.facts()["prediction"])
        facts |= {"what it shows": about.claim, "what it does not": about.limits, "source": about.source}
        return {k: v for k, v in (facts | {"zero map": self.zero_because}).items() if v}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw values."""
        return {"values": self.values.numpy()}


def fitted(photo: Image.Image, side_px: int = DRAWN_SIDE_PX) -> Image.Image:
    """The photo at no more than ``side_px`` a side."""
    if max(photo.size) <= side_px:
        return photo
    copy = photo.copy()
    copy.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return copy
