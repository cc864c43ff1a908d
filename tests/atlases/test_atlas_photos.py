"""Photos read again: what is refused, and in which words."""

from pathlib import Path

import pytest

from convscope.atlases.atlas_photos import CHANGED, AtlasPhotos
from convscope.dataset.image_sources import source_of
from convscope.dataset.same_photos import SamePhotos
from convscope.errors import ConvscopeError
from tests.atlases.surveyed import photo_folder


def test_photos_that_are_all_gone_are_refused_by_where_they_were(tmp_path: Path) -> None:
    source = source_of(photo_folder(tmp_path / "photos", 2))
    photos = AtlasPhotos(SamePhotos(source, source.digest, CHANGED), 8)
    there = next(iter(source.names()))
    photos.check(["gone.png", there])  # some are enough
    photos.check([])
    with pytest.raises(ConvscopeError) as refused:
        photos.check(["gone.png", "too.png"])
    assert str(refused.value) == (
        "none of the 2 photos can be read from 2 photos in photos as the survey saw them; the first is gone.png: say "
        "with --data (data=) where they are"
    )


def test_another_picture_under_the_same_name_is_not_drawn(tmp_path: Path) -> None:
    """It would stand under the first one's numbers. Oracle: the two photos change their names."""
    source = source_of(photo_folder(tmp_path / "photos", 2))
    first, second = source.names()
    seen = {name: source.read(name).digest for name in (first, second)}
    photos = SamePhotos(source, seen.__getitem__, CHANGED)
    assert photos.read(first).digest == seen[first]
    assert source_of(photos) is photos  # whoever takes data takes these
    assert (list(photos.names()), photos.place, photos.line()) == ([first, second], source.place, source.line())
    assert (photos.facts(first), photos.label(first)) == (source.facts(first), None)
    assert photos.digest(second) == seen[second]
    aside = tmp_path / "aside"
    for one, other in ((first, aside), (second, first), (aside, second)):
        (tmp_path / "photos" / one).rename(tmp_path / "photos" / other)
    with pytest.raises(ConvscopeError, match=f"{first} of photos is another picture than the survey saw"):
        photos.read(first)
    assert AtlasPhotos(photos, 8).photo(second) is None
