"""The photos that an atlas was made of: it keeps patches of the winners, not the photos, and reads these again.

A photo that is not there any more, cannot be read, or is another than it was (its content's digest tells) is None: its
place on a sheet stays empty and says so. That none at all can be found is refused, with the way out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from convscope.dataset.image_sources import source_of
from convscope.dataset.same_photos import SamePhotos
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

NOT_THERE = "photo not found, or another one"  # in the place of a picture
CHANGED = "is another picture than the survey saw; say with --data (data=) where that one is, or survey again"


def source_of_atlas(atlas: "Atlas", data: Any = None) -> SamePhotos:
    """The images of the atlas: those at ``data`` (anything that ``survey`` takes), else where they were then.

    Raises:
        ConvscopeError: they are not where they were, or were given as objects of a program.
    """
    place = atlas.about.get("data") if data is None else data
    if place is None:
        raise ConvscopeError(
            f"{atlas.path.name} was made of photos that a program gave, not of files; say with --data (data=) where "
            "they are"
        )
    try:
        return SamePhotos(source_of(place), atlas.digest, CHANGED)
    except ConvscopeError as error:
        if data is not None:
            raise
        raise ConvscopeError(
            f"the photos of {atlas.path.name} are not where they were: {error}; say with --data (data=) where they are"
        ) from error


@dataclass(frozen=True)
class AtlasPhotos:
    """Photos by the names they have in the atlas, read when they are asked for; a few are kept."""

    source: SamePhotos
    side_px: int
    _kept: dict[str, Image.Image | None] = field(default_factory=dict[str, Image.Image | None], repr=False)

    def photo(self, name: str) -> Image.Image | None:
        """The photo, RGB, at most ``side_px`` a side; None where it cannot be read."""
        if name not in self._kept:
            self._kept[name] = self._read(name)
        return self._kept[name]

    def _read(self, name: str) -> Image.Image | None:
        try:
            photo = self.source.read(name).image.convert("RGB")
        except (ConvscopeError, OSError, KeyError):
            return None
        if max(photo.size) > self.side_px:
            photo.thumbnail((self.side_px, self.side_px), Image.Resampling.LANCZOS)
        return photo

    def check(self, names: Sequence[str]) -> None:
        """Refuse where not one of these photos can be read."""
        if names and all(self.photo(name) is None for name in names):
            raise ConvscopeError(
                f"none of the {len(names)} photos can be read from {self.source.line()} as the survey saw them; the "
                f"first is {names[0]}: say with --data (data=) where they are"
            )


def photos_of(atlas: "Atlas", data: Any = None, *, side_px: int = 256) -> AtlasPhotos:
    """The photos of an atlas, to draw with; ``data`` as in :func:`source_of_atlas`."""
    return AtlasPhotos(source_of_atlas(atlas, data), side_px)
