"""Reading image files: the one policy, so that every number and every drawing starts from the same pixels.

A picture is read as a person sees it, 8-bit RGB:

- the orientation that the camera noted (EXIF, or XMP where EXIF has none) is applied, and only once: the result
  carries no metadata, and reading it again changes nothing; an EXIF block that cannot be parsed has no orientation;
- of an animation the first frame;
- transparency lies over white: ``out = (a c + (255 - a) 255) / 255``, rounded;
- CMYK, YCbCr, palettes, grey and 1-bit become RGB; colour profiles are not applied, as in the training pipelines;
- 16-bit values are divided by 257 (65535 / 255) and rounded, never clipped. Pillow hands 16-bit *colour* over by
  its high byte only: that is within one level of v / 257, and equal to it wherever v is a multiple of 257.
  32-bit integers within 0..65535 are 16-bit pictures; beyond that, and floating point, the white point is unknown
  and the picture is refused;
- the format is told from the content, never from the name, and comes from a short list;
- more than 179 megapixels (Pillow's own limit, 2/3 GiB of RGB) are refused before anything is decoded.
"""

import io
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from convscope.errors import ConvscopeError, nearest
from convscope.network.digit_pictures import digit_picture, is_in_the_box

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 178_956_970  # 2 * PIL.Image.MAX_IMAGE_PIXELS, where Pillow speaks of a decompression bomb

_ORIENTATION = 0x0112  # the EXIF tag; its values: https://www.media.mit.edu/pia/Research/deepview/exif.html
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: str | Path | Image.Image | np.ndarray) -> Image.Image:
    """The picture as upright 8-bit RGB; see the module's policy.

    ``source`` is a file, a digit (``bundled:digits:7``, see ``digit_pictures``), a Pillow image (its current frame) or
    a uint8 array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), whose fourth channel is opacity. Whatever cannot
    be read is a :class:`ConvscopeError` that names the file and the reason. The source is left as it is.
    """
    return _read(source)


def _read(source: object) -> Image.Image:
    if is_in_the_box(source):
        return read_image(digit_picture(str(source))[1])
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    if isinstance(source, Image.Image):
        with _no_pillow_warnings(), _refusing("the given picture"):
            return _upright_rgb(source, "the given picture")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise ConvscopeError(
        f"cannot read a picture from a {type(source).__name__}; give a path, a PIL image, "
        "or a uint8 array of shape (H, W, 3)"
    )


def _read_file(path: Path) -> Image.Image:
    with _no_pillow_warnings(), _refusing(str(path)):
        if not path.exists():
            raise ConvscopeError(missing(path, "file"))
        if path.is_dir():
            raise ConvscopeError(f"{path} is a folder, not a picture; give one of the files in it")
        if not path.is_file():
            raise ConvscopeError(f"{path} is not a regular file")
        if not path.stat().st_size:
            raise ConvscopeError(f"{path} is empty (0 bytes)")
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            return _upright_rgb(image, str(path))


def decode_image(content: bytes, name: str) -> Image.Image:
    """The picture in a file's bytes, by the same policy; ``name`` is what an error calls it."""
    if not content:
        raise ConvscopeError(f"{name} is empty (0 bytes)")
    with _no_pillow_warnings(), _refusing(name), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return _upright_rgb(image, name)


def missing(path: Path, kind: str) -> str:
    """Why there is no such file, with the names that come near, in the first folder above it that exists."""
    parent = path.parent
    if not parent.is_dir():
        return f"there is no {kind} {path}: {missing(parent, 'folder')}"
    wanted = {"folder": Path.is_dir, "file": Path.is_file}.get(kind, Path.exists)
    beside = sorted(child.name for child in parent.iterdir() if wanted(child))
    return f"there is no {kind} {path}{nearest(path.name, beside)}"


@contextmanager
def _refusing(name: str) -> Generator[None]:
    """Every way in which decoding fails becomes one error that names the picture."""
    try:
        yield
    except ConvscopeError:
        raise
    except UnidentifiedImageError as error:
        raise ConvscopeError(f"{name} is not a picture: its content is no readable {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ConvscopeError(f"{name} has more than {MAX_PIXELS / 1e6:.0f} megapixels: not decoded") from error
    except Exception as error:  # Pillow's decoders let nearly every built-in exception out on damaged data
        raise ConvscopeError(f"{name} cannot be read: {error or type(error).__name__}") from error


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    if not image.width or not image.height:
        raise ConvscopeError(f"{name} has no pixels: it is {image.width} x {image.height}")
    if image.width * image.height > MAX_PIXELS:
        raise ConvscopeError(
            f"{name} is {image.width} x {image.height}, more than {MAX_PIXELS / 1e6:.0f} megapixels: not decoded"
        )
    image.load()  # before EXIF: a PNG's comes after its pixels, and a TIFF is turned by Pillow while it loads
    upright = _rgb(image, name)
    turn = _UPRIGHT.get(_orientation(image))
    if turn is not None:
        upright = upright.transpose(turn)
    upright.info = {}  # else EXIF would be applied again by whoever reads this next
    return upright


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # an unreadable EXIF block says nothing about the orientation
        return 1


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """A new RGB image of the same pixels, transparency over white."""
    if image.mode == "F":
        raise ConvscopeError(f"{name} holds floating-point values, whose white is unknown; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _eight_bits(image, name).convert("RGB")
    if not image.has_transparency_data:
        return image.copy() if image.mode == "RGB" else image.convert("RGB")
    if image.mode == "La":  # premultiplied grey: Pillow knows the way by LA only
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image, dtype=np.int32)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ConvscopeError(f"{name} holds integers of {low} to {high}, not of 16 bits; save it with 8 or 16 bits")
    grey = (values + 128) // 257  # 257 = 65535 / 255, rounded to the nearest
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey.astype(np.uint8))


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        advice = "(255 * values).round()" if np.issubdtype(array.dtype, np.floating) else "values of 0..255"
        raise ConvscopeError(
            f"an array of {array.dtype} is no picture; give uint8, e.g. {advice} with .astype('uint8')"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise ConvscopeError(
            f"an array of shape {array.shape} is no picture; give (H, W), (H, W, 3) or (H, W, 4), channels last"
        )
    if not array.size:
        raise ConvscopeError(f"an array of shape {array.shape} has no pixels")
    return _upright_rgb(Image.fromarray(array), "the given array")


_quiet = threading.Lock()
_readers = 0
_saved = warnings.catch_warnings()


@contextmanager
def _no_pillow_warnings() -> Generator[None]:
    """Pillow warns of large pictures and damaged tags; the policy above has answered both.

    The filters are the whole process's, so they are counted: threads that read at once share one change of them,
    and the last one out puts them back.
    """
    global _readers, _saved
    with _quiet:
        if not _readers:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _readers += 1
    try:
        yield
    finally:
        with _quiet:
            _readers -= 1
            if not _readers:
                _saved.__exit__(None, None, None)
