"""Network dissection: which units of a layer are detectors of something that people have a word for.

Bau et al. (2017, arXiv:1704.05796). With A_k(x) the map of unit k on image x, and L_c(x) the mask of concept c:

    T_k      the level that unit k exceeds at a share of 0.005 of all positions of all images
    M_k(x)   where A_k(x), enlarged to the mask, is above T_k
    IoU_kc   = sum_x |M_k(x) and L_c(x)| / sum_x |M_k(x) or L_c(x)|

Both sums run over the data set before they are divided, so that an image on which the unit is silent counts for nothing
and one with a large region for much. A unit is a detector of its best concept where that IoU is above 0.04, and a
layer's *unique detectors* are the concepts that any unit detects.

As decided here, where the paper leaves it open or its code does otherwise:
- T_k is taken over the layer's own positions, before they are enlarged, over all images; see ``upper_quantiles`` for
  its bound. M_k is ``>``, not ``>=``: a unit that is silent nearly everywhere has T_k = 0.
- A map is enlarged with its numbers at the middles of the units' receptive fields; see ``field_upsampling``.
- The mask has the input's resolution up to 112 cells a side (the paper's), else the input's divided by a whole number.
- The sums run over the images with any annotation; boxes and masks are all taken as of one category.
- Boxes and masks are cropped as the photo is; see ``concepts``.

Two passes over the data: T_k has to be known before any M_k is. Memory: counts a unit, and one number for each unit and
concept; nothing grows with the images.

Pitfalls: IoU punishes a unit for being precise: one that marks the dog's head of every dog box has a small one, which
``precision`` (the share of M_k that lies in L_c) tells apart. And it is never more than the smaller area over the
larger: a concept of 1 % of all pixels and a region of 0.5 % cannot reach more than 0.5, and one of more than
0.005 / 0.04 = 12.5 % has no detector at all, see ``out_of_reach``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from convscope.dataset.concepts import Region
from convscope.dataset.exemplars import Candidates

LEVEL = 0.005  # Bau et al. 2017
LEAST_IOU = 0.04  # of a detector, likewise
MOST_CELLS = 112  # a side of their masks


@dataclass(frozen=True, eq=False)
class LayerDissection:
    """One layer of u units against c concepts.

    ``thresholds (u,)`` are T, ``above (u,)`` the shares of activations that are above; ``intersections (u, c)``,
    ``unit_areas (u,)`` and ``concept_areas (c,)`` count mask cells over all annotated images; ``winners`` are the
    annotated images of the largest activations, ``annotated`` how many there were. ``nonfinite (u,)``: activations that
    were NaN or infinite.
    """

    layer: str
    concepts: tuple[str, ...]
    thresholds: Float[np.ndarray, " u"]
    above: Float[np.ndarray, " u"]
    intersections: Int[np.ndarray, "u c"]
    unit_areas: Int[np.ndarray, " u"]
    concept_areas: Int[np.ndarray, " c"]
    winners: Candidates
    annotated: int
    nonfinite: Int[np.ndarray, " u"]

    @property
    def iou(self) -> Float[np.ndarray, "u c"]:
        """Intersection over union; 0 where neither is anywhere."""
        either = self.unit_areas[:, None] + self.concept_areas - self.intersections
        return self.intersections / np.maximum(either, 1)

    @property
    def precision(self) -> Float[np.ndarray, "u c"]:
        """The share of each unit's region that lies in the concept's."""
        return self.intersections / np.maximum(self.unit_areas, 1)[:, None]

    @property
    def best(self) -> Int[np.ndarray, " u"]:
        """Each unit's concept of the largest IoU, of equals the first."""
        return self.iou.argmax(1)

    def detectors(self, least: float = LEAST_IOU) -> list[tuple[int, int, float]]:
        """(unit, concept, IoU) of the units above ``least``, the largest IoU first."""
        iou, best = self.iou, self.best
        found = [(unit, int(c), float(iou[unit, c])) for unit, c in enumerate(best) if iou[unit, c] > least]
        return sorted(found, key=lambda each: (-each[2], each[0]))

    def out_of_reach(self, least: float = LEAST_IOU) -> dict[int, float]:
        """Concepts of which no unit can be a detector, and the largest IoU that areas allow: see the pitfalls."""
        units = self.unit_areas[:, None]
        smaller, larger = np.minimum(units, self.concept_areas), np.maximum(units, self.concept_areas)
        most = (smaller / np.maximum(larger, 1)).max(0)
        return {int(c): float(most[c]) for c in np.flatnonzero((most <= least) & (self.concept_areas > 0))}


class Overlaps:
    """Areas of units' regions, of concepts, and of both together: ``update`` image by image, ``merge``."""

    def __init__(self, units: int) -> None:
        self.intersections = np.zeros((units, 0), np.int64)
        self.unit_areas = np.zeros(units, np.int64)
        self.concept_areas = np.zeros(0, np.int64)

    def update(self, regions: Bool[Tensor, "u h w"], concepts: Sequence[Region]) -> None:
        """Take in one annotated image: where each unit is above its threshold, and where its concepts are."""
        units = regions.flatten(1).float()
        self.unit_areas += units.sum(1).long().cpu().numpy()
        if not concepts:
            return
        self._grow(max(region.concept for region in concepts) + 1)
        numbers = [region.concept for region in concepts]
        cells = np.stack([region.cells.ravel() for region in concepts])
        # whole numbers below 2^24, which float32 adds exactly
        both = units @ torch.from_numpy(cells).to(units).T
        self.intersections[:, numbers] += both.long().cpu().numpy()
        self.concept_areas[numbers] += cells.sum(1)

    def merge(self, other: "Overlaps") -> None:
        """Take in another's."""
        self._grow(len(other.concept_areas))
        self.unit_areas += other.unit_areas
        self.intersections[:, : len(other.concept_areas)] += other.intersections
        self.concept_areas[: len(other.concept_areas)] += other.concept_areas

    def _grow(self, concepts: int) -> None:
        more = concepts - len(self.concept_areas)
        if more > 0:
            self.intersections = np.pad(self.intersections, ((0, 0), (0, more)))
            self.concept_areas = np.pad(self.concept_areas, (0, more))


def mask_cells(input_size: tuple[int, int], most: int = MOST_CELLS) -> tuple[int, int]:
    """Rows and columns of the masks over an input of (H, W) pixels."""
    by = math.ceil(max(input_size) / most)
    return max(1, round(input_size[0] / by)), max(1, round(input_size[1] / by))
