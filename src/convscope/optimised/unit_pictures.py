"""What units and classes look for: pictures made by optimisation, one a target, on one sheet.

Each picture starts at faint noise and is changed step by step until the network answers to it with as much as it can
of one unit, one neuron, a layer or a class (``synthesis.maximisation``). The reached activation stands below: a fine
picture of a unit that hardly fires is a picture of nothing.

A picture does not depend on how many are made at once, nor on what else is asked for, but for rounding: all start from
the same noise and are moved alike. Pictures are made layer by layer, so that a pass ends where it may.

Pitfall: a unit that never fires, whatever the picture, has no gradient to follow. It is marked, and its tile is grey.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.network.loading import Network
from convscope.optimised.made_pictures import OnFrame, OnMade, OnStep, Run, make, run_of
from convscope.optimised.one_picture import Picture
from convscope.optimised.picture_cells import cell_of, layout_of, recipe_words, said_of
from convscope.optimised.picture_targets import Asked
from convscope.render.grid import About, grid
from convscope.results import Shown
from convscope.stamps import Stamp, stamp
from convscope.synthesis.keeping import Keeper
from convscope.synthesis.recipes import Recipe

CLAIM = "What drives each unit, or class, most of all that the recipe can draw."
LIMITS = (
    "Made by optimisation: it shows what drives the unit most, not what the unit sees in photos. It depends on the "
    "regularisation, the start and the transforms: another recipe gives another picture. A unit may answer to other "
    "things as well. Compare with the patches of real photos that drive it most."
)


@dataclass(frozen=True, eq=False)
class Pictures(Shown):
    """Pictures of units and classes, in the order asked for. ``pictures`` has one of each with all that is known of it.

    ``recipe`` is how they were made; ``strongest``: name -> strongest activation over real data, where known;
    ``missing`` are the targets that an interrupted run did not come to.
    """

    pictures: tuple[Picture, ...] = field(repr=False)
    recipe: Recipe
    stamp: Stamp = field(repr=False)
    strongest: Mapping[str, float] = field(default_factory=dict[str, float], repr=False)
    missing: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """``features.10:37``, a class's name, a layer, an objective's label."""
        return tuple(one.name for one in self.pictures)

    @property
    def values(self) -> Float[Tensor, "b c h w"]:
        """The pictures, in [0, 1]."""
        return torch.stack([one.values for one in self.pictures])

    @property
    def scores(self) -> Float[Tensor, " b"]:
        """What each picture reaches as it is: a unit's mean over its map, a neuron's value, a class's logit."""
        return torch.tensor([one.score for one in self.pictures])

    @property
    def peaks(self) -> Float[Tensor, " b"]:
        """The largest value on each unit's map; NaN for what is no unit."""
        return torch.tensor([torch.nan if one.peak is None else one.peak for one in self.pictures])

    @property
    def probabilities(self) -> Float[Tensor, "b 3"]:
        """Of each class picture's class: for the picture as it is, shifted, and turned; NaN for what is no class."""
        return torch.tensor([one.probabilities or (torch.nan,) * 3 for one in self.pictures])

    @property
    def dead(self) -> tuple[str, ...]:
        """The units that never fired, at no step."""
        return tuple(one.name for one in self.pictures if one.dead)

    @property
    def title(self) -> str:
        """``What drives features.10:37 most``, ``What drives 16 units of features.10 most``."""
        return said_of(self.pictures)

    @property
    def how(self) -> str:
        """Size and recipe in one line, and what an interrupted run left out."""
        h, w = self.pictures[0].values.shape[1:]
        dead = f"{len(self.dead)} never fired" if self.dead else ""
        missing = f"{len(self.missing)} not made: interrupted" if self.missing else ""
        parts = (f"Made by optimisation, {h} x {w} px", recipe_words(self.recipe), dead, missing)
        return " · ".join(part for part in parts if part)

    def picture(self) -> Image.Image:
        """The sheet: a tile a picture, with what it reached below it."""
        about: About = {"title": self.title, "subtitle": self.how, "footer": self.stamp.line()}
        columns, width = layout_of(len(self.pictures))
        cells = [cell_of(one, self.strongest, width) for one in self.pictures]
        return grid(cells, columns=columns, tile_width=width, **about)

    def facts(self) -> Mapping[str, str]:
        """What was reached, how it was made, and what such a picture does not show."""
        facts = {"pictures by optimisation": self.title, "made": self.how}
        facts["reached"] = ", ".join(f"{one.name} {one.reached}" for one in self.pictures)
        if self.dead:
            facts["never fires"] = ", ".join(self.dead)
        if self.missing:
            facts["not made"] = ", ".join(self.missing)
        return facts | {"what it shows": CLAIM, "what it does not": LIMITS}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Pictures, scores, peaks, probabilities, names; also the scores after shift and turn."""
        moved = np.array([one.moved_scores for one in self.pictures], dtype=np.float32)
        arrays = {"values": self.values.numpy(), "scores": self.scores.numpy(), "peaks": self.peaks.numpy()}
        arrays |= {"probabilities": self.probabilities.numpy(), "moved_scores": moved, "names": np.array(self.names)}
        alphas = [one.alpha for one in self.pictures if one.alpha is not None]
        return arrays | ({"alpha": torch.stack(alphas).numpy()} if alphas else {})

    def as_json(self) -> list[dict[str, Any]]:
        """What ``convscope visualize --json`` prints of it."""
        return [one.as_json(self.strongest) for one in self.pictures]


def visualize(
    net: Network,
    units_or_classes: Asked | Sequence[Asked],
    *,
    steps: int | None = None,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    batch: int = 16,
    recipe: Recipe | None = None,
    strongest: Mapping[str, float] | None = None,
    keeper: Keeper | None = None,
    on_step: OnStep | None = None,
    on_made: OnMade | None = None,
    on_frame: OnFrame | None = None,
    **fields: Any,
) -> Pictures:
    """Pictures of what drives units, neurons, layers and classes most.

    Args:
        net: from ``load``.
        units_or_classes: one or several of ``"layer4.1.conv2:447"``, ``"layer4.1.conv2:447@3,4"`` for one neuron,
            ``"layer:0-15"`` or ``"layer:all"`` for several units, a layer's name for all that it says, a class by name
            or number, an ``Objective``.
        steps: updates of each picture; None is the recipe's.
        size: pixels a side, or (height, width); None is the network's own input size, 224 where its preprocessing keeps
            that of the photo.
        seed: of the start and of the moves.
        batch: pictures made at once; memory grows with it, the pictures do not change, but for rounding.
        recipe: how they are made; None is ``Recipe()``.
        strongest: name of a unit -> its strongest activation over real data: the peak is also given in per cent of it.
        keeper: keeps finished pictures and the state of unfinished ones, and gives them back; None keeps nothing.
        on_step: called with (done, all) steps of all batches.
        on_made: called with each finished picture.
        on_frame: called with (step, name -> ``(c, h, w)`` picture) for each step of each batch, the start as step 0.
        fields: fields of the recipe to change, such as ``tv=0.5`` or ``image="pixels"``.

    Raises:
        ConvscopeError: before the first step, a target that does not exist, a size that the network refuses, a
            recipe that is none.
        UnfinishedError: an objective that is not finite; it has what is ready and the last good pictures.
        Interrupted: on Ctrl-C; a ``KeyboardInterrupt`` that has what is ready.
    """
    run = run_of(
        net, recipe=recipe, steps=steps, size=size, seed=seed, batch=batch, keeper=keeper,
        on_step=on_step, on_made=on_made, on_frame=on_frame, **fields,
    )  # fmt: skip
    targets = run.targets(units_or_classes)
    return make(run, targets, partial(pictures_of, run, strongest))


def pictures_of(
    run: Run, strongest: Mapping[str, float] | None, made: Sequence[Picture], missing: Sequence[str]
) -> Pictures:
    """The result of a run, finished or not."""
    known = dict(strongest or {})
    return Pictures(tuple(made), run.recipe, stamp(run.net, seed=run.seed), known, tuple(missing))
