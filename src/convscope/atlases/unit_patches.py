"""The patches of a unit, taken from the atlas: its exemplars' crops, what is around them, their deconvnet pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convscope.dataset.deconv_patches import DECONV
from convscope.dataset.patches import CONTEXT, CROP
from convscope.network.targets import Unit
from convscope.render.patch_block import GROUND, Patch, block
from convscope.render.typography import number_text

if TYPE_CHECKING:
    from PIL import Image

    from convscope.store.atlas import Atlas

PIXELS_UP_TO = 5  # of the longest side: smaller patches are shown as squares, for smoothed they would be a blur
NO_SIGNAL = "#808080"  # of a deconvnet picture
SEPARATE_FROM = 1.5  # times the crop's side: a context that shows hardly more is not worth its place


@dataclass(frozen=True, eq=False)
class UnitPatches:
    """``exemplars``: (value, image id, y, x), best first; the patches in that order, some without a picture."""

    unit: Unit
    exemplars: tuple[tuple[float, str, int, int], ...]
    crops: tuple[Patch, ...] = field(repr=False)
    contexts: tuple[Patch, ...] = field(repr=False)
    deconvs: tuple[Patch, ...] = field(repr=False)
    dead: bool = False

    @property
    def has_deconvs(self) -> bool:
        """Whether any reconstruction was made."""
        return any(patch.image is not None for patch in self.deconvs)

    @property
    def fires(self) -> bool:
        """Whether any exemplar is above 0, so that there is something to reconstruct."""
        return bool(self.exemplars) and self.exemplars[0][0] > 0

    @property
    def range_line(self) -> str:
        """From the strongest exemplar to the last, ``31.2 to 24.8``."""
        if not self.exemplars:
            return "no finite value"
        first, last = self.exemplars[0][0], self.exemplars[-1][0]
        return f"{number_text(first)} to {number_text(last)}" if first != last else f"{number_text(first)} everywhere"

    def as_json(self) -> dict[str, Any]:
        """Its name, and its exemplars."""
        found = [{"value": v, "image": image, "y": y, "x": x} for v, image, y, x in self.exemplars]
        return {"unit": str(self.unit), "exemplars": found, "dead": self.dead}


def patches_of(atlas: "Atlas", units: Sequence[Unit], top: int | None = None) -> tuple[UnitPatches, ...]:
    """The patches of these units, at most ``top`` of each.

    Raises:
        ConvscopeError: a layer or unit that the atlas has not.
    """
    dead = set(atlas.dead())
    return tuple(_patches(atlas, unit, top, str(unit) in dead) for unit in units)


def _patches(atlas: "Atlas", unit: Unit, top: int | None, dead: bool) -> UnitPatches:
    name = str(unit)
    exemplars = tuple(atlas.exemplars(name))[:top]
    ranks = range(len(exemplars))
    crops, deconvs = (tuple(Patch(atlas.picture(name, rank, kind)) for rank in ranks) for kind in (CROP, DECONV))
    contexts = tuple(_marked(atlas, name, rank) for rank in ranks)
    return UnitPatches(unit, exemplars, crops, contexts, deconvs, dead)


def _marked(atlas: "Atlas", unit: str, rank: int) -> Patch:
    return Patch(atlas.picture(unit, rank, CONTEXT), atlas.picture_box(unit, rank, CONTEXT))


def longest_side(patches: Iterable[Patch]) -> int:
    """In the patches' own pixels."""
    return max((max(patch.image.size) for patch in patches if patch.image is not None), default=1)


def contexts_say_more(shown: Sequence[UnitPatches]) -> bool:
    """Whether the views around the crops are much wider than these."""
    crops = longest_side(patch for one in shown for patch in one.crops)
    return longest_side(patch for one in shown for patch in one.contexts) >= SEPARATE_FROM * crops


def block_of(patches: Sequence[Patch], side_px: int, longest: int, *, ground: str = GROUND) -> "Image.Image | str":
    """A square of them; a word where there is none at all."""
    if not any(patch.image is not None for patch in patches):
        return "no picture"
    return block(patches, side_px, longest=longest, pixels=longest <= PIXELS_UP_TO, ground=ground)


def deconv_block(patches: Sequence[Patch], side_px: int, longest: int) -> "Image.Image | str":
    """As :func:`block_of`, for deconvnet pictures: where one was cut off, its grey goes on."""
    if not any(patch.image is not None for patch in patches):
        return "none made, or zero"
    return block_of(patches, side_px, longest, ground=NO_SIGNAL)
