"""What a network loses over a data set when units of it are switched off, one after the other: the ranking of a layer.

The friendly side of ``dataset.ablation_sweep``: units by name, data of any kind, labels found, the result as a sheet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.atlases.ablation_sheets import ablations_sheet
from convscope.atlases.ablations_asked import Names, check_request, first_input, judged_by, labelled, sets_of
from convscope.attribution.important_units import normalised_after
from convscope.attribution.unit_values import layers_of
from convscope.dataset.ablation_effects import Effects
from convscope.dataset.ablation_sweep import IMAGES, AblationPlan, Sets, ablation_sweep
from convscope.dataset.data_labels import DataLabels, data_labels
from convscope.dataset.data_means import unit_means_over
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.network.loading import Network
from convscope.network.targets import Unit
from convscope.results import Shown
from convscope.stamps import Stamp, stamp
from convscope.synthesis.keeping import NOTHING_KEPT, Keeper
from convscope.views.unit_names import in_words

OnStep = Callable[[int, int], None]
FEW_IMAGES = 10  # a class: one image is then ten points of its accuracy or more


@dataclass(frozen=True, eq=False, repr=False)
class DataAblation(Shown):
    """The cost of each set of units.

    ``effects`` has a row a set (``names``, ``sets``) and a column a class (``classes``). ``judged_by``: ``"labels"``,
    or ``"answers"`` where the data's labels are no classes of the network: accuracy is then the share of the intact
    network's answers that are kept. ``refused``: images left out, with reasons.
    """

    effects: Effects
    sets: Sets
    names: tuple[str, ...]
    classes: tuple[str, ...]
    mode: str
    judged_by: str
    data_line: str
    values: Mapping[Unit, float] | None
    refused: Mapping[str, str]
    notes: tuple[str, ...]
    stamp: Stamp

    def __repr__(self) -> str:
        return f"{self.title}. {self.summary}"

    @cached_property
    def ranking(self) -> tuple[int, ...]:
        """The sets' numbers, most costly first."""
        return tuple(self.effects.ranking().tolist())

    @property
    def images(self) -> int:
        """How many were used."""
        return int(self.effects.images.sum())

    @property
    def title(self) -> str:
        """``64 units of layer3 at zero, one at a time, over 1,000 photos in cifar10_test``."""
        units = list(dict.fromkeys(unit for units in self.sets for unit in units))
        how = ", one at a time," if len(self.sets) > 1 else ""
        put = "zero" if self.mode == "zero" else "their mean" if len(units) > 1 else "its mean"
        return f"{in_words(units)} at {put}{how} over {self.data_line}"

    @property
    def summary(self) -> str:
        """What the intact network reaches, and what costs and what helps most."""
        what = "right" if self.judged_by == "labels" else "of its own answers to be kept"
        first, last, right = self.ranking[0], self.ranking[-1], int(self.effects.right.sum())
        lost = self.effects.lost
        parts = [f"Intact: {100 * self.effects.accuracy:.1f} % {what} ({right:,} of {self.images:,})"]
        if len(self.sets) == 1:
            return f"{parts[0]}; without: {points(-lost[0])} points."
        costs = f"most costly {self.names[first]}: {points(-lost[first])} points"
        parts.append(costs if lost[first] > 0 else "none costs any accuracy")
        if lost[last] < 0:
            parts.append(f"better without {self.names[last]}: {points(-lost[last])} points")
        return "; ".join(parts) + "."

    @cached_property
    def cells(self) -> Literal["accuracy", "probability"]:
        """What tells classes apart: their accuracy lost; of few images a class, where that is all or nothing, the
        drop of the right class's probability.
        """
        images = self.effects.images[self.effects.images > 0]
        is_counted = np.median(images) >= FEW_IMAGES and np.any(self.effects.right != self.effects.right_without)
        return "accuracy" if is_counted else "probability"

    @cached_property
    def points_by_class(self) -> Float[np.ndarray, "k c"]:
        """That, in percentage points; NaN for a class without an image."""
        if self.cells == "accuracy":
            return self.effects.lost_by_class
        return 100 * self.effects.mean_probability_drop_by_class

    def most_hurt(self, number: int, most: int = 3) -> list[int]:
        """The classes that lose most without the set of this number, most first; none that loses nothing."""
        lost = np.nan_to_num(self.points_by_class[number])
        return [int(c) for c in np.argsort(-lost, kind="stable")[:most] if lost[c] > 0]

    def picture(self) -> Image.Image:
        """The ranking: bars, the cost class by class, the classes hurt most."""
        return ablations_sheet(self)

    def facts(self) -> Mapping[str, str]:
        """What was ablated, what it cost, and when not to believe it."""
        facts = {"ablation": self.title, "result": self.summary, "judged by": _JUDGED[self.judged_by]}
        if self.refused:
            facts["left out"] = f"{len(self.refused)} images that cannot be used"
        facts |= {f"note {number}": note for number, note in enumerate(self.notes, 1)}
        facts["what it shows"] = (
            "How much accuracy rests on each unit alone, and for which classes: answers that become wrong, less those "
            "that become right."
        )
        facts["what it does not"] = (
            "Units share work: two that stand in for each other cost nothing one at a time. Zero may be far from what "
            "a unit ever says (the mean is milder). Where a class has few images, one image is many points: see the "
            "counts."
        )
        return facts

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The counts and sums, with the names of rows and columns."""
        sums = {name: getattr(self.effects, name) for name in Effects.__dataclass_fields__}
        return {
            **sums,
            "units": np.array(self.names),
            "classes": np.array(self.classes),
            "ranking": np.array(self.ranking),
        }


_JUDGED = {
    "labels": "the data's labels",
    "answers": "the intact network's own answers (the data has no labels that are classes of the network)",
}


def points(value: float) -> str:
    """Percentage points with their sign: ``+1.6``, ``−0.2``, ``0``."""
    text = f"{value:+.1f}" if abs(value) >= 0.05 else f"{value:+.1g}"
    return text.replace("-", "−") if value else "0"


def ablate_data(
    net: Network,
    data: object,
    units: Names = None,
    *,
    layer: Sequence[str] | str | None = None,
    together: bool = False,
    mode: str = "zero",
    labels: str = "auto",
    images: int = IMAGES,
    rows: int | None = None,
    threads: int | None = None,
    on_step: OnStep | None = None,
    keeper: Keeper = NOTHING_KEPT,
) -> DataAblation:
    """Accuracy lost, and by which classes, with units switched off over a data set.

    Args:
        net: from ``load``.
        data: a folder, an archive, ``hf:NAME``, a Dataset, a list of photos, or an ``ImageSource``.
        units: as for ``ablate``; each is switched off alone.
        layer: instead, all units of a layer, or of several.
        together: all of them off at once.
        mode: ``"zero"``, or ``"mean"``, each unit's over this data, which takes a pass of its own.
        labels: ``auto``, ``folders``, ``names``, ``groups`` or ``none``, see ``dataset.data_labels``.
        images: in one pass below the layer.
        rows: in one pass above it; None: by the size of the layer.
        threads: None is one a core.
        on_step: called with (done, all) images.
        keeper: is given what was added up, and what it holds is gone on from.

    Raises:
        ConvscopeError: anything in this that does not exist or does not go together; no image that can be used.
    """
    names = check_request(units, layer, mode=mode)
    source = source_of(data)
    x = first_input(net, source)
    sets = sets_of(net, x, names, together=together)
    found = data_labels(source, net.classes, labels)
    right = found.right if judged_by(found) == "labels" else ()
    run: dict[str, Any] = {"threads": threads, "keeper": keeper}
    passes = _Passes(source, 2 if mode == "mean" else 1, on_step)
    values = None
    if mode == "mean":
        every = [unit for units in sets for unit in units]
        values = unit_means_over(
            net, source, labelled(source, found), every, batch=images, on_step=passes.step(0), **run
        )
    plan = AblationPlan(sets, values, right, len(found.classes), images, rows)
    swept = ablation_sweep(net, source, labelled(source, found), plan, on_step=passes.step(passes.count - 1), **run)
    effects = swept.sums.compute()
    return DataAblation(
        effects, sets, tuple(map(in_words, sets)), found.classes or _answer_names(net, effects), mode,
        judged_by(found), source.line(), values, swept.refused, _notes(net, x, sets, mode, found),
        replace(stamp(net), data_hash=swept.digest.hex()[:16]),
    )  # fmt: skip


def _answer_names(net: Network, effects: Effects) -> tuple[str, ...]:
    return tuple(net.class_name(number) for number in range(len(effects.images)))


def _notes(net: Network, x: Tensor, sets: Sets, mode: str, labels: DataLabels) -> tuple[str, ...]:
    layers = list(dict.fromkeys(layer for units in sets for layer in layers_of(units)))
    normalised = normalised_after(net.module, x, layers) if mode == "zero" else ()
    return (
        *([labels.note] if labels.note else []),
        *(
            f"A batch norm follows {layer} directly: the network goes on with the batch norm of zero, which is not "
            "zero; ablate the batch norm's output to switch its units off."
            for layer in normalised
        ),
    )


@dataclass(frozen=True)
class _Passes:
    """Passes over all images, as (done, all) of them together."""

    source: ImageSource
    count: int
    on_step: OnStep | None

    def step(self, number: int) -> Callable[[int], None] | None:
        """``on_step`` of one pass."""
        on_step = self.on_step
        if on_step is None:
            return None
        return lambda done: on_step(number * self.images + done, self.count * self.images)

    @cached_property
    def images(self) -> int:
        """How many there are, counted once."""
        return sum(1 for _ in self.source.names())
