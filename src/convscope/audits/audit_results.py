"""What an audit found: numbers, the worst errors, and what is said of them on a sheet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.audits.answered import Answered, Judged
from convscope.audits.lifting_units import Confusion
from convscope.audits.map_places import Place, Places, mean_place
from convscope.audits.shown_errors import Near, ShownError
from convscope.render import frame
from convscope.render.grid import Cell, rows_of_cells
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.wording import percent

_ROWS, _NEAR, _TILE = 10, 3, 150  # of the sheet
_AREAS = (
    ("below a quarter", 0.0, 0.25),
    ("a quarter to a half", 0.25, 0.5),
    ("a half to three quarters", 0.5, 0.75),
    ("more", 0.75, math.inf),
)


@dataclass(frozen=True, eq=False)
class Looking:
    """Where the maps of the answers lie: of the errors, and of the right answers; ``by_image`` of each by number."""

    errors: Places
    right: Places
    by_image: Mapping[int, Place] = field(repr=False)
    boxes: str


@dataclass(frozen=True, eq=False)
class Audit(Shown):
    """Why a network is wrong. ``answers.errors`` are ranked by loss; ``near`` has, in their order, what lies near.

    ``suspects``: errors whose label is in doubt; ``looking``: None without boxes; ``known``: the images that errors
    were held against, the data itself where ``is_itself``. ``shown``: the worst errors, with their pictures.
    """

    answers: Answered = field(repr=False)
    confusions: tuple[Confusion, ...]
    looking: Looking | None
    near: tuple[tuple[Near, ...], ...] = field(repr=False)
    suspects: tuple[ShownError, ...] = field(repr=False)
    suspected: int
    shown: tuple[ShownError, ...] = field(repr=False)
    data: str
    known: str
    is_itself: bool
    method: str
    layer: str
    near_layer: str
    units_by: str
    classes: tuple[str, ...] = field(repr=False)
    notes: tuple[str, ...]
    skipped: Mapping[str, str] = field(repr=False)
    stamp: Stamp = field(repr=False)

    @property
    def errors(self) -> tuple[Judged, ...]:
        """The largest loss first."""
        return self.answers.errors

    @property
    def accuracy(self) -> float:
        """Of the images that could be judged."""
        return self.answers.table.accuracy

    @property
    def title(self) -> str:
        """``19.6% of 1,000 images are answered wrongly``."""
        judged = len(self.answers.images)
        if not self.errors:
            return f"No error: {'the image is' if judged == 1 else f'all {judged:,} images are'} answered rightly"
        return f"{percent(1 - self.accuracy)} of {judged:,} images are answered wrongly"

    @property
    def persuaded(self) -> int:
        """Errors most of whose nearest images are of the class that was answered."""
        return sum(2 * sum(each.says == "called" for each in near) > len(near) > 0 for near in self.near)

    @property
    def by_area(self) -> tuple[tuple[str, Places, Places], ...]:
        """(boxes of what share of the picture, errors, right answers): small objects are harder, and easily missed."""
        if self.looking is None:
            return ()
        pairs = [(one.is_right, self.looking.by_image.get(one.number)) for one in self.answers.images]
        found = [(is_right, place) for is_right, place in pairs if place is not None]
        made: list[tuple[str, Places, Places]] = []
        for says, low, high in _AREAS:
            wrong, right = (
                mean_place([p for is_right, p in found if is_right is side and low <= p.area < high])
                for side in (False, True)
            )
            made.append((says, wrong, right))
        return tuple(made)

    def label_of(self, one: Judged) -> str:
        """The data's word for it."""
        return self.answers.labels.classes[one.label]

    def called(self, one: Judged) -> str:
        """The class that was answered."""
        return self.classes[one.predicted] if self.classes else f"class {one.predicted}"

    def picture(self) -> Image.Image:
        """The ten worst errors, a row each."""
        if not self.shown:
            return frame.page(frame.blank(1, 1), title=self.title, subtitle=self.data, footer=self.stamp.line())
        near = min(_NEAR, max((len(one.near) for one in self.shown), default=0))
        headings = ["photo", f"{self.method}: answered", "expected", *([""] * near)]
        if near:
            headings[3] = "nearest others" if self.is_itself else "nearest training"
        rows = [_row(one, near) for one in self.shown[:_ROWS]]
        about: dict[str, Any] = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        return rows_of_cells(rows, column_headings=headings, tile_width=_TILE, **about)

    def save_page(self, folder: str | Path) -> Path:
        """Write ``audit.html``, its pictures and ``audit.json`` into a folder of their own; the page's path.

        Raises:
            ConvscopeError: something else has that name, or it cannot be written there.
        """
        from convscope.audits.audit_page import write_page

        return write_page(self, Path(folder))

    @property
    def subtitle(self) -> str:
        """What the sheet shows."""
        shown = [one.judged for one in self.shown[:_ROWS]]
        are_worst = shown == list(self.errors[: len(shown)])
        which = (
            f"The {len(shown)} errors of largest loss" if are_worst else f"{len(shown)} of {len(self.errors):,} errors"
        )
        parts = [f"{self.data}. {which}"]
        parts += ["both maps of a row on one scale"]
        parts += ["dashed: the object's box"] if self.looking else []
        return "; ".join(parts) + "."

    def facts(self) -> Mapping[str, str]:
        """The summary."""
        facts = {"audit": self.title, "data": self.data, "held against": self.known}
        for one in self.confusions:
            units = ", ".join(f"{each.unit} {each.lift:+.2f} ({each.usual:+.2f})" for each in one.units)
            facts[f"{one.label} → {one.called}"] = f"{images_word(one.images)}, {percent(one.share)}; lifted by {units}"
        if self.looking:
            facts |= {"maps of errors": place_words(self.looking.errors)}
            facts |= {"maps of right answers": place_words(self.looking.right)}
        facts |= {"most of the nearest are of the wrong class": f"{self.persuaded} of {len(self.errors)} errors"}
        facts |= {"labels in doubt": f"{self.suspected}"}
        return facts | {f"left out: {name}": why for name, why in self.skipped.items()}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Of every error, ranked: name, label, answer, loss, probabilities."""
        errors = self.errors
        return {
            "images": np.array([one.name for one in errors], str),
            "labels": np.array([self.label_of(one) for one in errors], str),
            "predicted": np.array([one.predicted for one in errors], np.int64),
            "expected": np.array([one.expected for one in errors], np.int64),
            "loss": np.array([one.loss for one in errors], np.float64),
            "probability": np.array([one.probability for one in errors], np.float64),
        }

    def as_json(self) -> dict[str, Any]:
        """All of it but the pictures; null for what is not known."""
        about = {"data": self.data, "images": len(self.answers.images), "unjudged": self.answers.unjudged}
        about |= {"accuracy": self.accuracy, "method": self.method, "layer": self.layer}
        about |= {"held_against": self.known, "held_against_itself": self.is_itself, "nearest_at": self.near_layer}
        return {
            **about,
            "units_by": self.units_by,
            "confusions": [_confusion_json(each) for each in self.confusions],
            "maps": None if self.looking is None else self._maps_json(self.looking),
            "most_nearest_of_wrong_class": self.persuaded,
            "suspected": self.suspected,
            "suspects": [one.judged.name for one in self.suspects],
            "errors": [self._error_json(rank) for rank in range(len(self.errors))],
            "skipped": dict(self.skipped),
            "notes": list(self.notes),
        }

    def _maps_json(self, looking: Looking) -> dict[str, Any]:
        by_area = [
            {"box": says, "accuracy": _known(share_right(wrong, right)), **_sides_json(wrong, right)}
            for says, wrong, right in self.by_area
        ]
        return {**_sides_json(looking.errors, looking.right), "by_box": by_area}

    def _error_json(self, rank: int) -> dict[str, Any]:
        one, near = self.errors[rank], self.near[rank]
        place = self.looking.by_image.get(one.number) if self.looking else None
        return {
            "image": one.name,
            "label": self.label_of(one),
            "called": self.called(one),
            "loss": one.loss,
            "probability": one.probability,
            "expected_probability": one.expected_probability,
            "nearest": [{"image": each.name, "label": each.label, "distance": each.distance} for each in near],
            "map": None if place is None else _place_json(place),
        }


def images_word(count: int) -> str:
    """``1 image``, ``16 images``."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def place_words(places: Places) -> str:
    """``41.3% outside, 57% of the map inside a box of 46%``."""
    if not places.images:
        return "none with a box" if not places.empty else f"none; {places.empty} without a map"
    empty = f"; {places.empty} without a map" if places.empty else ""
    return (
        f"{percent(places.outside)} of {places.images:,} have their maximum outside the box; "
        f"{percent(places.inside)} of the map is inside, the box is {percent(places.area)} of the picture{empty}"
    )


def share_right(wrong: Places, right: Places) -> float:
    """Of the images with a box, those answered rightly; NaN of none."""
    rights = right.images + right.empty
    images = wrong.images + wrong.empty + rights
    return rights / images if images else math.nan


def _row(one: ShownError, near: int) -> list[Cell]:
    judged = one.judged
    below = [] if one.places is None else [_where(place) for place in one.places]
    cells = [
        Cell((one.photo,), f"labelled {one.label}", (judged.name.rpartition("/")[2],), smooth=True),
    ]
    classes = (one.called, judged.probability), (one.expected, judged.expected_probability)
    for place, (name, probability) in enumerate(classes):
        unseen = [why.partition(":")[0] for why in one.empty[place : place + 1] if why]
        under = (*unseen, *below[place : place + 1])
        cells.append(Cell((one.maps[place],), name, (percent(probability),), (one.bar,), True, below=under))
    for place in range(near):
        if place < len(one.near):
            photo = one.near_photos[place]
            cells.append(Cell((photo or "not found",), one.near[place].label, smooth=True))
        else:
            cells.append(Cell(("",)))
    return cells


def _where(place: Place) -> str:
    if place.is_empty:
        return "no map"
    return f"{place.inside:.0%} inside{', maximum outside' if place.outside else ''}"


def _confusion_json(one: Confusion) -> dict[str, Any]:
    units = [{"unit": u.unit, "lift": u.lift, "on_right_answers": _known(u.usual)} for u in one.units]
    about: dict[str, Any] = {"label": one.label, "called": one.called, "images": one.images, "share": one.share}
    return {**about, "looked_at": one.looked_at, "margin": _known(one.margin), "units": units}


def _sides_json(errors: Places, right: Places) -> dict[str, Any]:
    sides: Sequence[tuple[str, Places]] = [("errors", errors), ("right_answers", right)]
    return {
        name: {
            "images": places.images,
            "without_map": places.empty,
            "inside": _known(places.inside),
            "box": _known(places.area),
            "maximum_outside": _known(places.outside),
        }
        for name, places in sides
    }


def _place_json(place: Place) -> dict[str, Any]:
    return {"inside": _known(place.inside), "box": place.area, "maximum_outside": place.outside}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
