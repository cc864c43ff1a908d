"""Whether an atlas's duplicate units were looked for: of few images nothing can be told (``dataset/duplicates.py``)."""

from typing import TYPE_CHECKING

from convscope.dataset.duplicates import IMAGES_AN_EXEMPLAR

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas


def enough_images(atlas: "Atlas") -> int:
    """From so many images on duplicates are looked for."""
    return IMAGES_AN_EXEMPLAR * int(atlas.about.get("top", 0))


def sought(atlas: "Atlas") -> bool:
    """False where there were too few images; none found is then no finding."""
    return atlas.images >= enough_images(atlas)


def not_sought(enough: int) -> str:
    """What a sheet says then."""
    return f"duplicates not looked for, with fewer than {enough} images"
