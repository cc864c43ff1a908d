"""An atlas, opened for reading: what a survey found of every unit, by name.

    atlas = open_atlas("photos.atlas")
    atlas.exemplars("features.3:5")     [(value, image id, y, x), ...], best first
    atlas.statistics("features.3:5")    mean, variance, share_positive, ..., by_class

Names are those of the network: a layer ``features.3``, a unit ``features.3:5``, an image's POSIX path relative to its
folder, a data class by its text; classes that the network *answers* are given by number, since two of them may share a
name. Nothing is read before it is asked for, and nothing is written: what comes later is added by
``store.tables.add_rows``.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.errors import ConvscopeError, nearest
from convscope.store import unit_statistics
from convscope.store.answered_images import ANSWERED, answered
from convscope.store.database import Database, Row
from convscope.store.feature_file import FEATURES, PATTERNS, mapped_tensor
from convscope.store.manifest import finished_manifest
from convscope.store.picture_files import read_picture
from convscope.store.schema import DATABASE
from convscope.store.unit_names import StoredLayer, find_layer, find_unit, stored_layer
from convscope.store.unit_statistics import numbers_of

Box = tuple[int, int, int, int]  # y0, x0, y1, x1: rows y0 <= y < y1


def open_atlas(path: str | Path) -> "Atlas":
    """Open a finished atlas.

    Raises:
        ConvscopeError: no such folder (with the nearest names), no atlas, an unfinished one, or a newer layout.
    """
    return Atlas(Path(path))


class Atlas:
    """What ``open_atlas`` gives; see the module's docstring."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        finished_manifest(self.path)
        self._base = Database(self.path / DATABASE)

    def __repr__(self) -> str:
        return f"Atlas({str(self.path)!r}: {len(self.layers)} layers, {self.images} images)"

    def close(self) -> None:
        """Let go of the tables; asking anything opens them again."""
        self._base.close()

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """Facts of the survey: ``network``, ``data``, ``data_line``, ``stamp``, ``top``, ``labels``, ..."""
        return {row["key"]: json.loads(row["value"]) for row in self._base.rows("SELECT * FROM about")}

    @cached_property
    def layers(self) -> tuple[StoredLayer, ...]:
        """In the order in which they run."""
        return tuple(stored_layer(row) for row in self._base.rows("SELECT * FROM layers ORDER BY number"))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The data classes, sorted; () without labels."""
        return tuple(row["name"] for row in self._class_rows)

    @cached_property
    def images(self) -> int:
        """How many images were read."""
        return self._base.rows("SELECT count(*) FROM images")[0][0]

    @property
    def network_classes(self) -> tuple[str, ...]:
        """The network's own class names, () where it has none."""
        return tuple(self.about.get("network_classes", ()))

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(image id, why it was left out)."""
        return [(row["name"], row["reason"]) for row in self._base.rows("SELECT * FROM skipped ORDER BY number")]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Who worked on it, where and for how long."""
        return [dict(row) for row in self._base.rows("SELECT * FROM runs ORDER BY number")]

    def layer(self, name: str) -> StoredLayer:
        """A layer's facts. Raises ConvscopeError, with the nearest names, where there is none."""
        return find_layer(self._by_name, name, self.path.name)

    def label(self, image: str) -> str | None:
        """The data class of an image; None where it has none. Raises ConvscopeError for no image of the atlas."""
        return self._class_name(self._image(image)["label"]) or None

    def digest(self, image: str) -> bytes:
        """Of the image's content as the survey read it. Raises ConvscopeError for no image of the atlas."""
        return self._image(image)["digest"]

    def _image(self, image: str) -> Row:
        for row in self._base.rows("SELECT label, digest FROM images WHERE name = ?", (image,)):
            return row
        raise ConvscopeError(f"no image {image!r} was read in {self.path.name}")

    def units(self, layer: str) -> list[str]:
        """The names of a layer's units."""
        return [f"{layer}:{number}" for number in range(self.layer(layer).units)]

    def exemplars(self, unit: str) -> list[tuple[float, str, int, int]]:
        """(value, image id, y, x on the layer's map) of the strongest activations, best first."""
        statement = (
            "SELECT value, name, y, x FROM exemplars JOIN images ON images.number = image "
            "WHERE layer = ? AND unit = ? ORDER BY rank"
        )
        return [(row["value"], row["name"], row["y"], row["x"]) for row in self._unit_rows(statement, unit)]

    def boxes(self, unit: str) -> list[Box]:
        """(y0, x0, y1, x1): the receptive boxes of the exemplars, in pixels of the network's input."""
        statement = "SELECT y0, x0, y1, x1 FROM exemplars WHERE layer = ? AND unit = ? ORDER BY rank"
        return [(row["y0"], row["x0"], row["y1"], row["x1"]) for row in self._unit_rows(statement, unit)]

    def statistics(self, unit: str) -> dict[str, Any]:
        """What the unit did over all images.

        ``mean``, ``variance``, ``share_positive``, ``maximum``, ``minimum``, ``count`` (positions), ``selectivity``,
        ``class`` (of the largest ``rectified``), ``dead``, ``quantiles`` {q: value}, ``histogram`` (edges, counts),
        ``by_class`` {data class: mapping alike, with ``rectified``, the mean of max(A, 0)}, empty without labels.
        """
        layer, number = self._unit(unit)
        return unit_statistics.of_unit(self._base, self.about, self.classes, layer.number, number)

    def neighbours(self, unit: str, n: int = 10) -> list[tuple[str, float]]:
        """(unit of the same layer, correlation of the pooled activations), most alike first."""
        layer = self._unit(unit)[0].name
        rows = self._unit_rows(
            "SELECT other, correlation FROM neighbours WHERE layer = ? AND unit = ? ORDER BY rank LIMIT ?", unit, n
        )
        return [(f"{layer}:{row['other']}", row["correlation"]) for row in rows]

    def ablation(self, unit: str, mode: str = "zero") -> dict[str, dict[str, Any]]:
        """What switching it off did: data class ("" is all images) -> images, correct_before, correct_after, and the
        mean logit_drop and probability_drop of the right class.

        Empty where that was never measured (``convscope ablate DATA --into NAME.atlas``).
        """
        rows = self._unit_rows(
            "SELECT * FROM ablations WHERE layer = ? AND unit = ? AND mode = ? ORDER BY class_number", unit, mode
        )
        figures = ("images", "correct_before", "correct_after", "logit_drop", "probability_drop")
        return {self._class_name(row["class_number"]): {key: row[key] for key in figures} for row in rows}

    def picture(self, unit: str, rank: int = 0, kind: str = "crop") -> Image.Image | None:
        """A picture of a unit (``crop``, ``context``, ``deconv`` of its exemplars, ``synthetic``); None: not made."""
        rows = self._picture_rows(unit, rank, kind)
        return read_picture(self.path, rows[0]["file"]) if rows else None

    def picture_box(self, unit: str, rank: int = 0, kind: str = "context") -> Box | None:
        """Where the receptive box lies in that picture, in its pixels; None where the picture was not made."""
        rows, boxes = self._picture_rows(unit, rank, kind), self.boxes(unit)
        if not rows or rank >= len(boxes):
            return None
        (y, x), (y0, x0, y1, x1) = (rows[0]["y"], rows[0]["x"]), boxes[rank]
        return y, x, y + y1 - y0, x + x1 - x0

    def pictures(self, unit: str) -> list[tuple[int, str]]:
        """(rank, kind) of the pictures that were made of a unit."""
        rows = self._unit_rows("SELECT rank, kind FROM pictures WHERE layer = ? AND unit = ? ORDER BY rank, kind", unit)
        return [(row["rank"], row["kind"]) for row in rows]

    def layer_statistics(self, layer: str) -> dict[str, Any]:
        """Of all its units at once: arrays ``(units,)`` by the names of ``statistics``; ``class`` a list."""
        return unit_statistics.of_layer(self._base, self.classes, self.layer(layer).number)

    def class_statistics(self, layer: str, figure: str = "mean") -> tuple[tuple[str, ...], NDArray[Any]]:
        """(data classes, ``(classes, units)``) of one figure; NaN where a class has no image."""
        number = self.layer(layer).number
        return self.classes, unit_statistics.of_classes(self._base, self.classes, number, figure)

    def features(self, layer: str) -> tuple[list[str], NDArray[np.float32]]:
        """(image ids, pooled activations ``(n, units)``) of a sample of the images, read from disk where looked at."""
        name = self.layer(layer).name
        numbers = mapped_tensor(self.path / FEATURES, "features/images").tolist()
        return self._image_names(numbers), mapped_tensor(self.path / FEATURES, f"{name}/features")  # pyright: ignore

    def mean_patterns(self, layer: str, data_class: str | None) -> NDArray[np.float32]:
        """``(units, gh, gw)``: the units' mean maps over the images of a class (None: those without a label).

        Raises:
            ConvscopeError: they were not kept of this layer, or there is no image of that class.
        """
        name = self.layer(layer).name
        if name not in (kept := self.about.get("pattern_layers", ())):
            which = f"those of {', '.join(kept)} were" if kept else "none were"
            raise ConvscopeError(
                f"mean patterns of {name} were not kept in {self.path.name}: {which} (survey --patterns LAYER)"
            )
        number = -1 if data_class is None else self._class_number(data_class)
        held = mapped_tensor(self.path / PATTERNS, f"{name}/classes").tolist()
        if number not in held:
            raise ConvscopeError(f"no image of class {data_class!r} in {self.path.name} gave a mean pattern")
        return mapped_tensor(self.path / PATTERNS, f"{name}/maps")[held.index(number)]  # pyright: ignore

    def sprites(self, layer: str, kind: str = "crop") -> list[dict[str, Any]]:
        """Sheets of a layer's pictures: first_unit, units, columns, cell (px), file (below ``images/``)."""
        statement = "SELECT * FROM sprites WHERE layer = ? AND kind = ? ORDER BY first_unit"
        return [dict(row) for row in self._base.rows(statement, (self.layer(layer).number, kind))]

    def right(self, data_class: str) -> tuple[int, ...]:
        """The numbers of the network's classes that count as a data class; () where it knows none."""
        return numbers_of(self._class_rows[self._class_number(data_class)]["network_classes"])

    def accuracy(self) -> dict[str, tuple[int, int]]:
        """Data class -> (answered rightly, images that have a right answer); {} without labels."""
        return {row["name"]: (row["correct"], row["judged"]) for row in self._class_rows}

    def confusion(self) -> list[tuple[str, int, int]]:
        """(data class, number of the class that the network answered, images), where there are some."""
        rows = self._base.rows("SELECT * FROM confusion ORDER BY class_number, predicted")
        return [(self._class_name(row["class_number"]), row["predicted"], row["images"]) for row in rows]

    def prototypes(self, data_class: str) -> dict[str, list[dict[str, Any]]]:
        """``least loss`` and ``largest logit``: a class's images, best first (see ``suspects`` for the rows)."""
        statement = f"SELECT kind, {ANSWERED} FROM prototypes JOIN images ON images.number = image "
        statement += "WHERE class_number = ? ORDER BY kind, rank"
        rows = self._base.rows(statement, (self._class_number(data_class),))
        kinds = ("least loss", "largest logit")
        return {kind: [self._answered(row) for row in rows if row["kind"] == kind] for kind in kinds}

    def suspects(self, n: int = 20) -> list[dict[str, Any]]:
        """The images of largest loss: image, label, predicted (number), predicted_name, probability, loss, logit."""
        statement = f"SELECT {ANSWERED} FROM suspects JOIN images ON images.number = image ORDER BY rank LIMIT ?"
        return [self._answered(row) for row in self._base.rows(statement, (n,))]

    def duplicates(self) -> list[tuple[str, str, list[str]]]:
        """(unit, unit of the same layer, ids of the images whose crops they share)."""
        rows = self._base.rows("SELECT * FROM duplicates ORDER BY layer, unit, other")
        images = [self._image_names(numbers_of(row["images"])) for row in rows]
        pairs = [(self._name(row["layer"], row["unit"]), self._name(row["layer"], row["other"])) for row in rows]
        return [(unit, other, shared) for (unit, other), shared in zip(pairs, images, strict=True)]

    def dead(self) -> list[str]:
        """Units that no image switches on."""
        rows = self._base.rows("SELECT layer, unit FROM units WHERE dead = 1 ORDER BY layer, unit")
        return [self._name(row["layer"], row["unit"]) for row in rows]

    def nonfinite(self) -> list[tuple[str, int, int, int, str]]:
        """(unit, NaN values, infinite values, images that have some, the first of these)."""
        statement = "SELECT layer, unit, nans, infinities, nonfinite_images, name FROM units LEFT JOIN images "
        statement += "ON images.number = first_nonfinite WHERE nonfinite_images > 0 ORDER BY layer, unit"
        return [(self._name(layer, unit), *rest, name or "") for layer, unit, *rest, name in self._base.rows(statement)]

    @cached_property
    def _by_name(self) -> dict[str, StoredLayer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _class_rows(self) -> list[Row]:
        return self._base.rows("SELECT * FROM classes ORDER BY number")

    def _class_number(self, data_class: str) -> int:
        if data_class in self.classes:
            return self.classes.index(data_class)
        why = nearest(data_class, self.classes) if self.classes else ": its images had no labels"
        raise ConvscopeError(f"no class {data_class!r} in {self.path.name}{why}")

    def _class_name(self, number: int) -> str:
        return self.classes[number] if number >= 0 else ""

    def _name(self, layer: int, unit: int) -> str:
        return f"{self.layers[layer].name}:{unit}"

    def _unit(self, name: str) -> tuple[StoredLayer, int]:
        return find_unit(self._by_name, name, self.path.name)

    def _unit_rows(self, statement: str, unit: str, *values: Any) -> list[Row]:
        layer, number = self._unit(unit)
        return self._base.rows(statement, (layer.number, number, *values))

    def _picture_rows(self, unit: str, rank: int, kind: str) -> list[Row]:
        statement = "SELECT file, y, x FROM pictures WHERE layer = ? AND unit = ? AND rank = ? AND kind = ?"
        return self._unit_rows(statement, unit, rank, kind)

    def _image_names(self, numbers: Sequence[int]) -> list[str]:
        listed = json.dumps(list(numbers))
        statement = "SELECT number, name FROM images WHERE number IN (SELECT value FROM json_each(?))"
        names = {row["number"]: row["name"] for row in self._base.rows(statement, (listed,))}
        return [names[number] for number in numbers]

    def _answered(self, row: Row) -> dict[str, Any]:
        return answered(row, self.classes, self.network_classes)
