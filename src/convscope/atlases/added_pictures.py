"""Pictures that are added to a finished atlas: those that are asked for and not there yet.

A deconvnet picture takes a pass forwards and back, a thousand times what a crop costs, and a picture by optimisation a
thousand such passes; both are therefore made on request. Each batch is kept as soon as it is made, in a transaction of
its own: what is broken off goes on where it stopped.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial as bound
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.dataset.deconv_patches import DECONV, deconv_winners
from convscope.dataset.patches import PictureRow, Winner, encoded
from convscope.drawing import picture_of
from convscope.network.receptive_fields import Box
from convscope.network.targets import Unit
from convscope.store import schema
from convscope.store.picture_files import keep_picture
from convscope.store.tables import add_rows

if TYPE_CHECKING:
    from convscope.dataset.patches import Photos
    from convscope.network.loading import Network
    from convscope.store.atlas import Atlas

SYNTHETIC = "synthetic"
OnStep = Callable[[int, int], None]


def add_deconvs(
    atlas: "Atlas",
    net: "Network",
    source: "Photos",
    units: Sequence[Unit],
    *,
    top: int | None = None,
    batch: int = 8,
    partial: bool = False,
    on_step: OnStep | None = None,
) -> int:
    """Make and keep the deconvnet pictures of these units' exemplars that the atlas lacks; how many were made.

    Args:
        atlas: a finished one.
        net: the network that it was made with.
        source: its photos.
        units: of any of its layers.
        top: exemplars a unit; None is as many as the atlas has.
        batch: winners in one pass.
        partial: accept nonlinearities below a layer that are no rectifiers, and leave them plain.
        on_step: called with (done, all) pictures.

    Raises:
        ConvscopeError: as ``deconv_winners``.
    """
    missing = lacking(atlas, units, top)
    made = 0
    keep = bound(keep_picture, atlas.path)
    for rows in deconv_winners(net, source, missing, keep, batch=batch, partial=partial, on_step=on_step):
        add_pictures(atlas, rows)
        made += len(rows)
    return made


def lacking(atlas: "Atlas", units: Sequence[Unit], top: int | None = None) -> list[Winner]:
    """The exemplars of these units without a deconvnet picture, but those that start with nothing: relu(A) = 0."""
    made = {unit: set(atlas.pictures(str(unit))) for unit in units}
    return [
        winner
        for unit in units
        for winner in winners_of(atlas, unit)[:top]
        if winner.value > 0 and (winner.rank, DECONV) not in made[unit]
    ]


def winners_of(atlas: "Atlas", unit: Unit) -> list[Winner]:
    """The exemplars of a unit with their boxes, as the survey left them."""
    found = zip(atlas.exemplars(str(unit)), atlas.boxes(str(unit)), strict=True)
    return [
        Winner(unit.layer, unit.unit, rank, image, Box(*box), value, y, x)
        for rank, ((value, image, y, x), box) in enumerate(found)
    ]


def add_synthetics(
    atlas: "Atlas", net: "Network", units: Sequence[Unit], *, on_step: OnStep | None = None, **how: Any
) -> int:
    """Make and keep the pictures by optimisation of these units that the atlas lacks; how many were made.

    Args:
        atlas: a finished one.
        net: the network that it was made with.
        units: of any of its layers.
        on_step: called with (done, all) steps.
        how: as ``visualize`` takes it: ``steps=``, ``size=``, ``seed=``, fields of the recipe.

    Raises:
        ConvscopeError: as ``visualize``.
    """
    from convscope.optimised.one_picture import Picture
    from convscope.optimised.unit_pictures import visualize

    missing = {str(unit): unit for unit in units if atlas.picture(str(unit), 0, SYNTHETIC) is None}

    def kept(made: Picture) -> None:
        pixels = np.asarray(picture_of(made.shown))
        unit, file = missing[made.name], keep_picture(atlas.path, encoded(pixels))
        size = (pixels.shape[0], pixels.shape[1])
        add_pictures(atlas, [PictureRow(unit.layer, unit.unit, 0, SYNTHETIC, file, size)])

    if missing:
        visualize(net, list(missing), on_made=kept, on_step=on_step, **how)
    return len(missing)


def add_pictures(atlas: "Atlas", rows: Iterable[PictureRow]) -> None:
    """Rows of stored pictures into the atlas, in one transaction; those of the same place and kind are replaced."""
    added = [
        schema.PictureRow(atlas.layer(row.layer).number, row.unit, row.rank, row.kind, row.file, row.y, row.x)
        for row in rows
    ]
    add_rows(atlas.path, {"pictures": added})
