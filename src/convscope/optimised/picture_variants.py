"""Several different pictures of one unit: what else drives it.

Each starts from noise of its own and is rewarded for being unlike the others (``objectives.diversity``, by the Gram
matrices of a layer; Olah et al. 2017, "Feature Visualization", section "Diversity"). With s the score, D <= 0 the
diversity, and |s| taken as a number that does not climb itself,

    s + weight |s| D

so that unlikeness counts as much at the start as later, and in networks of any scale.

Pitfall: what is asked to differ will differ, also where the unit answers to one thing only: it is then bent or
cluttered. Look at what each variant reaches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.head import default_layer
from convscope.network.loading import Network
from convscope.optimised.made_pictures import make, run_of
from convscope.optimised.one_picture import Picture
from convscope.optimised.picture_cells import cell_of, layout_of
from convscope.optimised.picture_targets import Asked, Target
from convscope.optimised.reached import together
from convscope.optimised.unit_pictures import CLAIM, LIMITS, Pictures, pictures_of
from convscope.render.grid import About, grid
from convscope.results import Shown
from convscope.stamps import Stamp
from convscope.synthesis.objectives import Objective
from convscope.synthesis.objectives import diversity as unlikeness


@dataclass(frozen=True, eq=False)
class Variants(Shown):
    """Pictures of one ``target``, unlike each other at ``layer`` by ``diversity`` times the score."""

    target: str
    layer: str
    diversity: float
    made: Pictures = field(repr=False)
    stamp: Stamp = field(repr=False)

    @property
    def title(self) -> str:
        """``4 different pictures of what drives features.10:37``."""
        return f"{len(self.made.pictures)} different pictures of what drives {self.target}"

    @property
    def subtitle(self) -> str:
        """How they differ."""
        unlike = f", kept unlike at {self.layer} (diversity {self.diversity:g})" if self.diversity else ""
        return f"{self.made.how} · each from its own start{unlike}"

    def picture(self) -> Image.Image:
        """The sheet."""
        about: About = {"title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line()}
        columns, width = layout_of(len(self.made.pictures))
        cells = [
            cell_of(one, self.made.strongest, width, label=f"variant {i}")
            for i, one in enumerate(self.made.pictures, 1)
        ]
        return grid(cells, columns=columns, tile_width=width, **about)

    def facts(self) -> Mapping[str, str]:
        """What each reached, and what such pictures do not show."""
        reached = ", ".join(one.reached for one in self.made.pictures)
        facts = {"variants": self.title, "made": self.subtitle, "reached": reached}
        bent = "What is asked to differ will differ, also where the unit answers to one thing only. "
        return facts | {"what it shows": CLAIM, "what it does not": bent + LIMITS}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """As of ``Pictures``."""
        return self.made.arrays()

    def as_json(self) -> dict[str, Any]:
        """What ``convscope visualize --json`` prints of it."""
        return {"target": self.target, "diversity": self.diversity, "pictures": self.made.as_json()}


def variants(net: Network, target: Asked, n: int = 4, *, diversity: float = 1.0, **options: Any) -> Variants:
    """``n`` different pictures of one target: each has a start of its own, and is kept unlike the others.

    All are made in one batch, since they are compared with each other.

    Args:
        net: from ``load``.
        target: as ``visualize`` takes it, one.
        n: how many, from 2 on.
        diversity: how much unlikeness counts, as a share of the score; 0 is other starts alone.
        options: all that ``visualize`` takes.

    Raises:
        ConvscopeError: as ``visualize``; n below 2 or above ``batch``, several targets, a diversity below 0.
    """
    strongest = options.get("strongest")
    run = run_of(net, **{name: value for name, value in options.items() if name != "strongest"})
    if not 2 <= n <= run.batch:
        raise ConvscopeError(f"{n} variants: from 2 on, and at most the {run.batch} of one batch (--batch)")
    if not 0 <= diversity < float("inf"):
        raise ConvscopeError(f"diversity {diversity}: a share of the score, from 0 on")
    found = run.targets(target)
    if len(found) != 1:
        raise ConvscopeError(f"{target!r} stands for {len(found)} pictures: variants are of one target")
    one = found[0]
    layer = next(iter(one.objective.layers), None) or default_layer(net.module, run.grey)
    targets = [replace(one, name=f"{one.name} ({i})") for i in range(1, n + 1)]
    compared = replace(run, own_starts=True, objective=partial(kept_apart, layer=layer, weight=diversity))

    def sheet(made: Sequence[Picture], missing: Sequence[str]) -> Variants:
        done = pictures_of(run, strongest, made, missing)
        return Variants(one.name, layer, diversity, done, done.stamp)

    return make(compared, targets, sheet)


def kept_apart(targets: Sequence[Target], *, layer: str, weight: float) -> Objective:
    """Each its score, plus its unlikeness to the others at ``layer`` times the score's size."""
    scored, apart = together(targets), unlikeness(layer)
    if not weight:
        return scored

    def score(activations: Mapping[str, Tensor], output: Any) -> Tensor:
        values = scored.score(activations, output)
        return values + weight * values.detach().abs() * apart.score(activations, output)

    layers = tuple(dict.fromkeys([*scored.layers, layer]))
    return Objective(layers, scored.needs_output, score, f"{scored.label}, unlike at {layer}")
