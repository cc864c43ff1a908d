"""What the network takes for each class: the photo that it is surest of, the one that excites it most, and doubts.

    least loss      argmin over the images of class c of -log p_c: no other class competes
    largest logit   argmax of S_c: what excites the class most, be others excited as well
    label suspects  the images of largest loss of all that are answered wrongly, or with L > log 2: p_c below one half

The first two are two columns, since they often differ: a loss of 0.000 is reached by many images, and a photo full of
the class's patterns may excite its neighbours too. Pitfall: a prototype shows one photo, not the class; three in four
of a class's images may look otherwise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convscope.atlases.atlas_photos import NOT_THERE, AtlasPhotos, photos_of
from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.classes_asked import classes_asked
from convscope.errors import ConvscopeError
from convscope.render import frame
from convscope.render.grid import Cell, grid
from convscope.render.typography import number_text
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.wording import percent

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

KEPT = 100  # images of largest loss, in an atlas
IN_DOUBT = math.log(2)  # of a larger loss the right class has less than half of the probability
KINDS = ("least loss", "largest logit")
MOST_CLASSES, MOST_SUSPECTS = 100, 20  # on a sheet
_WIDE = 24  # cells; more are drawn smaller
Answered = Mapping[str, Any]  # image, label, predicted, predicted_name, probability, loss, logit


@dataclass(frozen=True, eq=False)
class Prototypes(Shown):
    """``rows`` by class: for each kind the class's images, best first; ``of`` how many classes the atlas has.

    ``accuracies`` (right, judged) of each class; ``without``: classes that the network has no answer for.
    """

    rows: Mapping[str, Mapping[str, Sequence[Answered]]]
    accuracies: Mapping[str, tuple[int, int]]
    of: int
    without: tuple[str, ...]
    photos: AtlasPhotos
    stamp: Stamp

    def picture(self) -> Image.Image:
        """A cell a class: its photo of least loss, and that of largest logit."""
        self.photos.check([row["image"] for kinds in self.rows.values() for row in _first_of(kinds)])
        cells = [self._cell(name, kinds) for name, kinds in self.rows.items()]
        is_wide = len(cells) <= _WIDE
        columns = min(len(cells), 4 if is_wide else 7)
        return grid(
            cells, columns=columns, tile_width=128 if is_wide else 84, title=self.title, subtitle=self._subtitle,
            footer=self.stamp.line(),
        )  # fmt: skip

    def _cell(self, name: str, kinds: Mapping[str, Sequence[Answered]]) -> Cell:
        images = tuple(self._image(kinds[kind]) for kind in KINDS)
        best, excited = (kinds[kind][0] if kinds[kind] else None for kind in KINDS)
        right, judged = self.accuracies.get(name, (0, 0))
        notes = [f"{percent(right / judged)} of {judged} right"] if judged else []
        below = [f"loss {_loss(best)} | logit {_number(excited, 'logit')}"]
        below += [f"right: called {excited['predicted_name']}"] if excited and _is_wrong(excited, name, best) else []
        return Cell(images, name, tuple(notes), smooth=True, below=tuple(below))

    def _image(self, rows: Sequence[Answered]) -> "Image.Image | str":
        if not rows:
            return "none"
        return self.photos.photo(rows[0]["image"]) or NOT_THERE

    @property
    def title(self) -> str:
        """What is shown."""
        return "What the network takes for each class"

    @property
    def _subtitle(self) -> str:
        parts = ["Left: the photo of least loss, of which it is surest; right: of largest logit, which excites it most"]
        shown = len(self.rows)
        if shown < self.of - len(self.without):
            parts += [f"{shown} of {self.of} classes, those that it is surest of"]
        parts += [f"Left out, since the network has no such class: {_listed(self.without)}"] if self.without else []
        return ". ".join(parts) + "."

    def facts(self) -> Mapping[str, str]:
        """The two images of each class."""
        named = {
            name: "; ".join(f"{kind}: {kinds[kind][0]['image']}" for kind in KINDS if kinds[kind])
            for name, kinds in self.rows.items()
        }
        return {"sheet": self.title, **named, "what it does not": "One photo is not the class."}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Loss and logit of the first of each kind, by class."""
        both = [
            [_value(kinds[kind], key) for kind, key in zip(KINDS, ("loss", "logit"), strict=True)]
            for kinds in self.rows.values()
        ]
        return {"loss_and_logit": np.array(both), "classes": np.array(list(self.rows))}

    def as_json(self) -> list[dict[str, Any]]:
        """All that the atlas keeps of each class on the sheet."""
        return [
            {"class": name, **{kind.replace(" ", "_"): [dict(row) for row in kinds[kind]] for kind in KINDS}}
            for name, kinds in self.rows.items()
        ]


def prototypes(
    atlas: "Atlas", classes: Sequence[str] | None = None, *, data: Any = None, most: int = MOST_CLASSES
) -> Prototypes:
    """The prototypes of each class.

    Args:
        atlas: a finished one, of images with labels.
        classes: by name; None: all, or the ``most`` whose least loss is the smallest.
        data: where the photos are now, if not where they were surveyed.
        most: classes on the sheet where none are named.

    Raises:
        ConvscopeError: an atlas without labels, no such class, or photos that are nowhere.
    """
    wanted = classes_asked(classes, atlas.classes, atlas)
    kept = {name: atlas.prototypes(name) for name in (wanted or atlas.classes)}
    without = tuple(name for name, kinds in kept.items() if not any(kinds.values()))
    rows = {name: kinds for name, kinds in kept.items() if name not in without}
    if not rows:
        raise ConvscopeError(
            f"no class of {atlas.path.name} is one of the network's: {_listed(without)}; without a right answer there "
            "is no loss and no logit"
        )
    accuracies = dict(atlas.accuracy())
    if wanted is None and len(rows) > most:
        surest = set(sorted(rows, key=lambda name: _value(rows[name][KINDS[0]], "loss"))[:most])
        rows = {name: kinds for name, kinds in rows.items() if name in surest}
    return Prototypes(rows, accuracies, len(atlas.classes), without, photos_of(atlas, data), stamp_of(atlas))


@dataclass(frozen=True, eq=False)
class Suspects(Shown):
    """The images in doubt, the largest loss first; ``of``: how many there are, of the 100 that an atlas keeps."""

    rows: tuple[Answered, ...]
    of: int
    photos: AtlasPhotos
    stamp: Stamp

    def picture(self) -> Image.Image:
        """A cell an image: what it should be, and what it was called."""
        if not self.rows:
            return frame.page(frame.blank(1, 1), title=self.title, subtitle=f"{self.line}.", footer=self.stamp.line())
        self.photos.check([row["image"] for row in self.rows])
        cells = [self._cell(row) for row in self.rows]
        subtitle = f"{self.line}. The label may be wrong, the photo odd, or the network."
        about: dict[str, Any] = {"title": self.title, "subtitle": subtitle, "footer": self.stamp.line()}
        return grid(cells, columns=min(len(cells), 5), tile_width=150, **about)

    def _cell(self, row: Answered) -> Cell:
        photo = self.photos.photo(row["image"]) or NOT_THERE
        below = (f"{percent(row['probability'])}, loss {_loss(row)}", row["image"])
        return Cell(
            (photo,), f"labelled {row['label']}", (f"called {row['predicted_name']}",), smooth=True, below=below
        )

    @property
    def title(self) -> str:
        """What is shown."""
        return "Are these labels right?"

    @property
    def line(self) -> str:
        """``The 20 of largest loss of 43 images that are answered wrongly, or with the right class below one half``."""
        what = "answered wrongly, or with the right class below one half"
        if self.of <= 1:
            return f"The only image that is {what}" if self.of else f"No image is {what}"
        every = f"{KEPT} or more" if self.of >= KEPT else str(self.of)
        shown = "All" if len(self.rows) == self.of < KEPT else f"The {len(self.rows)} of largest loss of"
        return f"{shown} {every} images that are {what}"

    def facts(self) -> Mapping[str, str]:
        """Every image on the sheet."""
        said = {r["image"]: f"labelled {r['label']}, called {r['predicted_name']}, loss {_loss(r)}" for r in self.rows}
        return {"sheet": self.title, "shown": self.line, **said}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Losses and names."""
        losses, names = [row["loss"] for row in self.rows], [row["image"] for row in self.rows]
        return {"loss": np.array(losses, float), "images": np.array(names)}

    def as_json(self) -> list[dict[str, Any]]:
        """Every image."""
        return [dict(row) for row in self.rows]


def suspects(atlas: "Atlas", most: int = MOST_SUSPECTS, *, data: Any = None) -> Suspects:
    """The ``most`` images of largest loss that are answered wrongly, or with the right class below one half.

    Raises:
        ConvscopeError: as :func:`prototypes`.
    """
    classes_asked(None, atlas.classes, atlas)
    kept = atlas.suspects(KEPT)
    if not kept:
        raise ConvscopeError(f"{atlas.path.name} has no image with a loss: its classes are none of the network's")
    right = {name: atlas.right(name) for name in {row["label"] for row in kept}}
    rows = tuple(row for row in kept if row["loss"] > IN_DOUBT or row["predicted"] not in right[row["label"]])
    return Suspects(rows[:most], len(rows), photos_of(atlas, data), stamp_of(atlas))


def _first_of(kinds: Mapping[str, Sequence[Answered]]) -> list[Answered]:
    return [kinds[kind][0] for kind in KINDS if kinds[kind]]


def _is_wrong(row: Answered, name: str, best: Answered | None) -> bool:
    """Whether the network calls the most exciting image something else than the one that it is surest of."""
    return best is not None and row["predicted"] != best["predicted"] and row["predicted_name"] != name


def _value(rows: Sequence[Answered], key: str) -> float:
    value = rows[0][key] if rows else None
    return float("nan") if value is None else float(value)


def _loss(row: Answered | None) -> str:
    """``0.00012``; a float32 softmax says 0 for what is only very small."""
    if row is None or row["loss"] is None:
        return "–"
    return number_text(float(row["loss"])) if row["loss"] else "< 10⁻⁷"


def _number(row: Answered | None, key: str) -> str:
    return "–" if row is None or row[key] is None else number_text(float(row[key]))


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
