"""Sets of units switched off in turn over a whole data set; what each costs, see ``ablation_effects``.

A batch of b images goes through the network once; kept of that are its answers and what the cuts of the network give
(``network.branching``). Then only what lies above a cut runs, on copies of that, in each copy another set off:

    images (b, ...)  ->  below the cut, once  ->  rows (k b, ...)  ->  above the cut  ->  logits (k, b, classes)

with k sets in a pass, as many as fill ``rows`` rows, until all are through. Right below a head that takes the mean of
the maps and one linear layer the logits are read off its weights (``head_effects``). Off is zero, or a number a unit,
such as its mean over the same data (``data_means``).
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from convscope.answers import refusing_input
from convscope.attribution.unit_values import layers_of, unit_axis, unit_part
from convscope.dataset.ablation_effects import EffectSums, Outcome, Sets, answers, outcome
from convscope.dataset.data_sums import Batch, Labelled, Summed, summed_over
from convscope.dataset.head_effects import MeanHead, is_near, mean_head, single_units
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.room import NoRoomError, Room
from convscope.errors import ConvscopeError
from convscope.network.branching import Branch, find_branch
from convscope.network.loading import Network
from convscope.network.memory_layout import run_on_copy
from convscope.network.passes import raw
from convscope.network.taps import Edit, tap
from convscope.network.targets import Unit, class_logits
from convscope.synthesis.keeping import NOTHING_KEPT, Keeper

IMAGES = 8  # in one pass below the cut
_READ_OFF = 4096  # rows of logits at once, where there is no pass
_ROWS, _NUMBERS = 256, 2**19  # above it: as many at most, and as many as have 2 MiB at the cut: a core's cache


@dataclass(frozen=True, eq=False)
class AblationPlan:
    """What is ablated.

    ``sets``: units that are off together, one set after the other. ``values``: what each unit is replaced by, None is
    zero. ``right``: for each data class the network's classes that are right for it; empty: what the intact network
    answers is right, and images are grouped by data class if there are such (``classes`` of them), else by answer.
    ``images``, ``rows``: in one pass below and above the cut; rows None: by the size of what the cut gives.
    """

    sets: Sets
    values: Mapping[Unit, float] | None = None
    right: tuple[tuple[int, ...], ...] = ()
    classes: int = 0
    images: int = IMAGES
    rows: int | None = None


def ablation_sweep(
    net: Network,
    source: ImageSource,
    images: Iterable[Labelled],
    plan: AblationPlan,
    *,
    threads: int | None = None,
    on_step: Callable[[int], None] | None = None,
    keeper: Keeper = NOTHING_KEPT,
) -> Summed[EffectSums]:
    """Every image through the network, intact and without each set of units; arguments as ``summed_over``.

    Raises:
        ConvscopeError: no image that can be used, an output that is no logits, a unit or position that a layer has not.
    """
    sweeper = _Sweeper(net, plan)
    return summed_over(
        net, source, images, sweeper.of_batch, EffectSums, batch=plan.images, key="effects", threads=threads,
        on_step=on_step, keeper=keeper,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Group:
    """Sets of units of the same layers, with the number of the first: they share a branch."""

    layers: tuple[str, ...]
    first: int
    sets: Sets


_At = tuple[Branch, Tensor, MeanHead | None]


class _Sweeper:
    """What is known of the network once a batch was seen, shared by the threads."""

    def __init__(self, net: Network, plan: AblationPlan) -> None:
        self.net, self.plan = net, plan
        self.groups = _grouped(plan.sets)
        self.branches: dict[tuple[tuple[str, ...], tuple[int, ...]], Branch] = {}
        self.heads: dict[tuple[int, tuple[int, ...]], MeanHead | None] = {}
        self.limits: dict[int, int] = {}  # sets a pass, where more did not fit
        self.lock = threading.Lock()

    def of_batch(self, batch: Batch) -> EffectSums:
        """One batch, intact and without each of the sets."""
        model, x = self.net.module, batch.x
        branches = [self.branch(group, x) for group in self.groups]
        cuts = dict.fromkeys(branch.cut for branch in branches if branch.cut is not None)
        with refusing_input(self.net, x), tap(model, *cuts) as seen:
            before = raw(class_logits(run_on_copy(model, x)))
        below = {None: x, **seen}
        is_right, labels = self.right(before, batch.labels)
        sums = EffectSums(len(self.plan.sets), self.plan.classes or before.shape[1])
        sums.begin(labels, is_right.gather(1, answers(before)[:, None])[:, 0].cpu().numpy())
        for group, branch in zip(self.groups, branches, strict=True):
            here, head = below[branch.cut], self.head(group, branch, x)

            def without(sets: Sequence[tuple[Unit, ...]], at: _At = (branch, here, head)) -> Outcome:
                branch, here, head = at
                off = tuple(sets)
                after = self.read_off(head, off, before, here) if head else self.without(off, branch, x, here)
                return outcome(before, after, is_right)

            first = group.first
            rows = _READ_OFF if head else self.plan.rows or _rows(here)
            for found in self.in_room(group, without, max(1, rows // len(x))):
                sums.update(first, labels, found)
                first += len(found.right)
        return sums

    def in_room(
        self, group: _Group, without: Callable[[Sequence[tuple[Unit, ...]]], Outcome], most: int
    ) -> list[Outcome]:
        """The group's sets, ``most`` a pass, or as many as there was room for."""
        room = Room(without, min(most, self.limits.get(group.first, most)), 1)
        try:
            return room.run(group.sets)
        except NoRoomError as error:
            raise ConvscopeError(
                f"a batch of images does not fit into memory above {' and '.join(group.layers)}; give a smaller input "
                "(--size), or fewer threads"
            ) from error
        finally:
            if room.limit < most:
                self.limits[group.first] = room.limit

    def branch(self, group: _Group, x: Tensor) -> Branch:
        """Where the network is branched for these layers, found and proved for each size of image once."""
        with self.lock:
            key = (group.layers, tuple(x.shape[1:]))
            if key not in self.branches:
                with refusing_input(self.net, x):
                    self.branches[key] = find_branch(self.net.module, x, group.layers)
            return self.branches[key]

    def head(self, group: _Group, branch: Branch, x: Tensor) -> MeanHead | None:
        """The head right above the group's layer, proved likewise; None where there is none that can be read off."""
        with self.lock:
            key = (group.first, tuple(x.shape[1:]))
            if key not in self.heads:
                self.heads[key] = self._proved_head(group, branch, x)
            return self.heads[key]

    def _proved_head(self, group: _Group, branch: Branch, x: Tensor) -> MeanHead | None:
        """Proved with all units off at once: what else uses the layer's output would show."""
        (layer, *others), model = group.layers, self.net.module
        if others or branch.cut != layer or single_units(group.sets) is None:
            return None
        head = mean_head(model, x, layer)
        with tap(model, layer) as seen:
            before = raw(class_logits(run_on_copy(model, x)))
        maps = seen[layer]
        if head is None or maps.ndim != 4 or unit_axis(maps, (x.shape[-2], x.shape[-1]), layer) != 1:
            return None
        every = tuple(unit for units in group.sets for unit in units)
        alone = self.read_off(head, group.sets, before, maps)
        together = before + (alone - before).sum(0)
        return head if is_near(together, self.without((every,), branch, x, maps)[0]) else None

    def read_off(self, head: MeanHead, sets: Sets, before: Tensor, maps: Tensor) -> Tensor:
        """``(k, b, classes)`` logits without each of the k units."""
        units, values = [units[0] for units in sets], self.plan.values
        put = [0.0 if values is None else values[unit] for unit in units]
        return head.without(before, maps, [unit.unit for unit in units], put)

    def without(self, sets: Sets, branch: Branch, x: Tensor, below: Tensor) -> Tensor:
        """``(k, b, classes)`` logits, without each of the k sets."""
        size = (x.shape[-2], x.shape[-1])
        edits = {layer: _off(layer, sets, self.plan.values, len(x), size) for layer in branch.layers}
        rows = torch.cat([below] * len(sets))  # cat keeps the memory layout
        return raw(class_logits(branch.above(x, rows, edits))).unflatten(0, (len(sets), len(x)))

    def right(self, before: Tensor, labels: np.ndarray) -> tuple[Bool[Tensor, "b classes"], np.ndarray]:
        """Which classes are right for each image, and the class it is counted under."""
        answer = answers(before)
        if not before.isfinite().all():
            raise ConvscopeError("the network's logits for it are NaN or infinite")
        is_right = torch.zeros_like(before, dtype=torch.bool)
        if not self.plan.right:
            is_right[torch.arange(len(before)), answer] = True
            return is_right, labels if self.plan.classes else answer.cpu().numpy()
        for row, label in enumerate(labels.tolist()):
            is_right[row, list(self.plan.right[label])] = True
        return is_right, labels


def _grouped(sets: Sets) -> list[_Group]:
    """Neighbours of the same layers together."""
    groups: list[_Group] = []
    for number, units in enumerate(sets):
        layers = layers_of(units)
        if groups and groups[-1].layers == layers:
            groups[-1] = _Group(layers, groups[-1].first, (*groups[-1].sets, units))
        else:
            groups.append(_Group(layers, number, (units,)))
    return groups


def _rows(below: Tensor) -> int:
    return min(_ROWS, _NUMBERS // max(1, below[0].numel()))


def _off(layer: str, sets: Sets, values: Mapping[Unit, float] | None, images: int, size: tuple[int, int]) -> Edit:
    """The edit of a layer's output of ``len(sets)`` copies of ``images``: in the i-th copy set i is off."""
    own = [(copy, unit) for copy, units in enumerate(sets) for unit in units if unit.layer == layer]
    whole = [(copy, unit) for copy, unit in own if unit.position is None]
    copies = torch.tensor([copy for copy, _ in whole], dtype=torch.long)
    numbers = torch.tensor([unit.unit for _, unit in whole], dtype=torch.long)
    put = torch.tensor([0.0 if values is None else values[unit] for _, unit in whole], dtype=torch.float64)

    def edit(activation: Tensor) -> Tensor:
        axis = unit_axis(activation, size, layer, batch=len(sets) * images)
        by_unit = activation.movedim(axis, 1).unflatten(0, (len(sets), images))  # views: activation is written into
        if whole:
            by_unit[copies, :, numbers] = put.to(activation).reshape(-1, *[1] * (by_unit.ndim - 2))
        for copy, unit in own:
            if unit.position is not None:
                part = unit_part(activation.unflatten(0, (len(sets), images))[copy], unit, axis)
                part.fill_(0.0 if values is None else values[unit])
        return activation

    return edit
