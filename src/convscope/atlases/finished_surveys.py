"""What a survey does where its atlas is finished: sees that it is the one that is asked for, and adds what it lacks.

An atlas that says "finished" under other options, of another network or of photos that were changed is not what was
asked for, and to say that nothing is left to do would be wrong. What is compared are the network, the list of images,
the contents of those whose size or time of change differs, and the options that were given.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from convscope.atlases.added_pictures import add_deconvs
from convscope.atlases.atlas_photos import CHANGED
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.plan import Plan
from convscope.dataset.plan_changes import WAY_OUT, refuse_changed
from convscope.dataset.same_photos import SamePhotos
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.targets import Unit
from convscope.store.atlas import Atlas, open_atlas


def refuse_another(
    folder: Path, net: Network, source: ImageSource, asked: Mapping[str, Any], *, pictures: bool | None = None
) -> Atlas:
    """The finished atlas in ``folder``, where it is what is asked for.

    Args:
        folder: of the atlas.
        net: the network that is asked about.
        source: its images, as they are now.
        asked: keywords of ``make_plan`` that were given.
        pictures: whether crops are asked for; None: as it is.

    Raises:
        ConvscopeError: another network, other images or options, by name.
    """
    atlas, plan = open_atlas(folder), Plan.load(folder)
    refuse_changed(plan, source, net, partial(_digests, atlas, plan), asked, finished=True)
    has_pictures = any(atlas.sprites(layer.name) for layer in atlas.layers)
    if pictures is not None and pictures != has_pictures:
        before, now = ("with", "without") if has_pictures else ("without", "with")
        raise ConvscopeError(
            f"the survey was made {before} pictures, not {now} them; give the same again, or {WAY_OUT}"
        )
    return atlas


def _digests(atlas: Atlas, plan: Plan, shard: int) -> dict[int, bytes]:
    """Of the images of a shard that were read."""
    found: dict[int, bytes] = {}
    for image in plan.shard(shard).images:
        with suppress(ConvscopeError):  # it was skipped
            found[image.number] = atlas.digest(image.name)
    return found


def complete_deconvs(atlas: Atlas, net: Network, source: ImageSource, show: Callable[[str, int, int], None]) -> int:
    """Make the deconvnet pictures that the atlas lacks; how many. Raises ConvscopeError as ``add_deconvs``."""
    units = [Unit(layer.name, number) for layer in atlas.layers for number in range(layer.units)]
    photos = SamePhotos(source, atlas.digest, CHANGED)
    return add_deconvs(atlas, net, photos, units, batch=atlas.about["batch"], on_step=partial(show, "deconvnet"))
