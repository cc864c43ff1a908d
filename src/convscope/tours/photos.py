"""The photos that come with scikit-image and need no network: a cat, a cup of coffee, a rocket."""

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

PHOTOS = MappingProxyType({"cat": "chelsea", "coffee": "coffee", "rocket": "rocket"})  # scikit-image's names


def photo(name: str) -> "Image.Image":
    """One of them, as any photo is read."""
    from skimage import data

    from convscope.network.pictures import read_image

    load: Callable[[], Any] = getattr(data, PHOTOS[name])
    return read_image(load())
