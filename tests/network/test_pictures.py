"""Reading pictures. Oracles: closed forms of pixels that Pillow wrote, hand-built PNG files, integer arithmetic."""

import contextlib
import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.network import pictures
from convscope.network.pictures import MAX_PIXELS, read_image

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def png(pixels: np.ndarray, *, colour: int, extra: bytes = b"", size: tuple[int, int] | None = None) -> bytes:
    """A 16-bit PNG of (h, w, channels), written by the book: Pillow cannot write 16-bit colour."""
    height, width = size or pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def quadrants() -> Image.Image:
    """No symmetry: 3 x 2 pixels, all different."""
    return Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14)


TURNS = {  # what the camera did to the upright picture; the reader undoes it
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", TURNS)
    @pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
    def test_is_undone_as_the_definition_of_the_tag_says(self, tmp_path, orientation, suffix):
        upright = np.asarray(quadrants())
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](upright)))
        lossless = {"lossless": True} if suffix == "webp" else {}
        path = saved(stored, tmp_path / f"turned.{suffix}", exif=exif, **lossless)
        assert np.array_equal(np.asarray(read_image(path)), upright)

    def test_of_a_jpeg_of_one_bright_corner(self, tmp_path):
        upright = np.zeros((16, 32, 3), np.uint8)
        upright[:8, 24:] = 255  # top right
        exif = Image.Exif()
        exif[0x0112] = 6
        stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1)))
        picture = read_image(saved(stored, tmp_path / "a.jpg", exif=exif, quality=95))
        assert picture.size == (32, 16)
        assert np.abs(np.asarray(picture).astype(int) - upright).max() < 16

    def test_is_applied_once_when_the_result_or_an_open_image_is_read_again(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = saved(quadrants(), tmp_path / "a.png", exif=exif)
        once = read_image(path)
        assert np.array_equal(np.asarray(read_image(once)), np.asarray(once))
        with Image.open(path) as opened:
            assert np.array_equal(np.asarray(read_image(opened)), np.asarray(once))
            assert np.array_equal(np.asarray(read_image(opened.convert("RGB"))), np.asarray(once))
        assert not once.info
        assert not once.getexif()

    def test_a_corrupt_exif_block_leaves_the_picture_as_it_is_stored(self, tmp_path):
        path = saved(quadrants(), tmp_path / "a.png", exif=b"Exif\0\0no TIFF header")
        with Image.open(path) as opened, pytest.raises(SyntaxError):
            opened.getexif()  # the trap is armed
        assert np.array_equal(np.asarray(read_image(path)), np.asarray(quadrants()))


class TestTransparency:
    def test_of_every_value_and_opacity_is_the_rounded_formula(self):
        value, opacity = np.meshgrid(np.arange(256), np.arange(256))
        rgba = np.dstack([value, value, value, opacity]).astype(np.uint8)
        over_white = (value * opacity + 255 * (255 - opacity) + 127) // 255
        picture = np.asarray(read_image(Image.fromarray(rgba)))
        assert np.array_equal(picture, np.dstack([over_white] * 3))

    @given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.sampled_from(["RGBA", "LA", "array"]))
    def test_of_any_colour_lies_between_it_and_white(self, rgba, mode):
        *colour, opacity = rgba
        if mode == "LA":
            colour = [colour[0]] * 3
        given_ = {
            "RGBA": lambda: Image.new("RGBA", (2, 1), tuple(rgba)),
            "LA": lambda: Image.new("LA", (2, 1), (colour[0], opacity)),
            "array": lambda: np.full((1, 2, 4), rgba, np.uint8),
        }[mode]()
        exact = [c * opacity / 255 + 255 - opacity for c in colour]
        assert np.abs(np.asarray(read_image(given_), float) - exact).max() <= 0.5

    @pytest.mark.parametrize(
        ("mode", "clear", "other", "shown"),
        [
            ("1", 0, 255, (255, 255, 255)),
            ("L", 7, 8, (8, 8, 8)),
            ("RGB", (7, 7, 7), (70, 7, 7), (70, 7, 7)),
            ("I;16", 7, 51400, (200, 200, 200)),
        ],
    )
    def test_by_a_key_colour_in_a_file(self, tmp_path, mode, clear, other, shown):
        image = Image.new(mode, (2, 1), clear)
        image.putpixel((1, 0), other)
        picture = read_image(saved(image, tmp_path / "a.png", transparency=clear))
        assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), shown]

    def test_by_a_palette_in_png_and_gif(self, tmp_path):
        image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
        image = image.convert("P")
        image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        by_byte = read_image(saved(image, tmp_path / "a.png", transparency=bytes([255, 51, 0])))
        assert [by_byte.getpixel((x, 0)) for x in range(3)] == [(10, 20, 30), (212, 214, 216), (255, 255, 255)]
        by_index = read_image(saved(image, tmp_path / "a.gif", transparency=1))
        assert [by_index.getpixel((x, 0)) for x in range(3)] == [(10, 20, 30), (255, 255, 255), (70, 80, 90)]

    def test_premultiplied_grey_and_colour(self):
        # premultiplied p over white is p + 255 - a; Pillow's way by the plain colour costs up to one level
        grey = read_image(Image.new("La", (1, 1), (100, 128))).getpixel((0, 0))
        colour = read_image(Image.new("RGBa", (1, 1), (100, 0, 0, 128))).getpixel((0, 0))
        assert np.abs(np.subtract(grey, 100 + 255 - 128)).max() <= 1
        assert np.abs(np.subtract(colour, (100 + 255 - 128, 127, 127))).max() <= 1


class TestModes:
    def test_grey_one_bit_palette_and_cmyk_become_their_rgb(self, tmp_path):
        grey = Image.new("L", (1, 1), 77)
        assert read_image(saved(grey, tmp_path / "l.png")).getpixel((0, 0)) == (77, 77, 77)
        assert read_image(saved(Image.new("1", (1, 1), 1), tmp_path / "1.png")).getpixel((0, 0)) == (255, 255, 255)
        palette = Image.new("P", (1, 1), 1)
        palette.putpalette([0, 0, 0, 9, 8, 7])
        assert read_image(saved(palette, tmp_path / "p.bmp")).getpixel((0, 0)) == (9, 8, 7)
        cmyk = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
        assert read_image(saved(cmyk, tmp_path / "c.tif")).getpixel((0, 0)) == (0, 255, 255)

    def test_cmyk_jpeg_is_not_inverted(self, tmp_path):
        path = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "c.jpg", quality=95)
        red, green, blue = read_image(path).getpixel((8, 8))
        assert red > 245
        assert green < 10
        assert blue < 10

    def test_of_an_animation_the_first_frame(self, tmp_path):
        frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "lime", "blue")]
        for name in ("a.gif", "a.webp", "a.png", "a.tif"):
            path = saved(frames[0], tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
            assert read_image(path).getpixel((1, 1)) == (255, 0, 0), name

    def test_arrays_of_every_shape(self):
        colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        assert np.array_equal(np.asarray(read_image(colour)), colour)
        assert np.array_equal(np.asarray(read_image(colour[:, ::-1])), colour[:, ::-1])
        grey = colour[:, :, 0]
        for given_ in (grey, grey[:, :, None]):
            assert np.array_equal(np.asarray(read_image(given_)), np.dstack([grey] * 3))

    def test_the_source_is_left_alone(self):
        source = Image.new("RGBA", (2, 2), (1, 2, 3, 4))
        read_image(source)
        assert (source.mode, source.getpixel((0, 0))) == ("RGBA", (1, 2, 3, 4))
        plain = Image.new("RGB", (2, 2))
        read_image(plain).putpixel((0, 0), (9, 9, 9))
        assert plain.getpixel((0, 0)) == (0, 0, 0)


class TestSixteenBits:
    NEAREST = np.rint(RAMP / 257).astype(int)

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "b.tif"])
    def test_grey_files_are_divided_by_257_and_rounded(self, tmp_path, name):
        image = Image.fromarray(RAMP.astype(np.int32) if name == "b.tif" else RAMP)
        picture = np.asarray(read_image(saved(image, tmp_path / name)))
        assert np.array_equal(picture, np.dstack([self.NEAREST] * 3))

    @pytest.mark.parametrize("dtype", [np.uint16, np.dtype(">u2"), np.int32])
    def test_open_images_of_either_byte_order_and_of_32_bits_too(self, dtype):
        picture = np.asarray(read_image(Image.fromarray(RAMP.astype(dtype))))
        assert np.array_equal(picture[:, :, 0], self.NEAREST)

    @pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
    def test_colour_png_is_within_one_level_and_exact_on_multiples_of_257(self, tmp_path, colour, channels):
        pixels = np.dstack([RAMP] * channels)
        if colour in (4, 6):
            pixels[..., -1] = 65535
        path = tmp_path / "a.png"
        path.write_bytes(png(pixels, colour=colour))
        red = np.asarray(read_image(path))[:, :, 0].astype(int)
        assert np.abs(red - RAMP / 257).max() < 1
        assert np.array_equal(red.ravel()[::257], np.arange(256))

    def test_integers_beyond_16_bits_and_floats_are_refused(self, tmp_path):
        for value in (-1, 65536):
            with pytest.raises(ConvscopeError, match=r"integers of .* not of 16 bits"):
                read_image(Image.fromarray(np.array([[0, value]], np.int32)))
        path = saved(Image.new("F", (2, 2), 0.5), tmp_path / "f.tif")
        with pytest.raises(ConvscopeError, match=r"f\.tif holds floating-point"):
            read_image(path)


class TestRefusals:
    def refused(self, path: Path, reason: str) -> str:
        with pytest.raises(ConvscopeError, match=reason) as caught:
            read_image(path)
        assert path.name in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
    def test_every_truncation_names_the_file(self, tmp_path, suffix):
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
        whole = saved(Image.fromarray(noise), tmp_path / f"whole.{suffix}").read_bytes()
        broken = tmp_path / f"broken.{suffix}"
        for share in (0.02, 0.3, 0.6, 0.9):
            broken.write_bytes(whole[: int(share * len(whole))])
            self.refused(broken, "is not a picture|cannot be read")

    def test_empty_text_folder_and_foreign_formats(self, tmp_path):
        (tmp_path / "empty.jpg").write_bytes(b"")
        self.refused(tmp_path / "empty.jpg", "is empty")
        (tmp_path / "text.png").write_text("I am no picture\n" * 9)
        self.refused(tmp_path / "text.png", "not a picture: its content is no readable JPEG, PNG")
        (tmp_path / "folder.jpg").mkdir()
        self.refused(tmp_path / "folder.jpg", "is a folder")
        foreign = saved(Image.new("RGB", (2, 2)), tmp_path / "a.png", format="PPM")
        self.refused(foreign, "not a picture")

    def test_a_picture_by_its_content_whatever_its_name(self, tmp_path):
        for suffix in ("gif", "txt", ""):
            path = saved(quadrants(), tmp_path / f"a{suffix and '.'}{suffix}", format="PNG")
            assert np.array_equal(np.asarray(read_image(str(path))), np.asarray(quadrants()))

    def test_a_missing_file_names_its_neighbours_or_the_missing_folder(self, tmp_path):
        for name in ("dog.jpg", "dogs.jpg", "elephant at dawn.jpg"):
            (tmp_path / name).write_bytes(b"x")
        (tmp_path / "photos").mkdir()
        message = self.refused(tmp_path / "dgo.jpg", "there is no file")
        assert "did you mean 'dog.jpg'" in message
        assert "elephant" not in message
        message = self.refused(tmp_path / "fotos" / "dog.jpg", "there is no folder")
        assert "did you mean 'photos'" in message

    def test_over_179_megapixels_before_decoding(self, tmp_path):
        # a header alone: whoever decoded would meet the end of the file instead
        path = tmp_path / "bomb.png"
        path.write_bytes(png(RAMP[:1, :1], colour=0, size=(20000, 20000)))
        self.refused(path, "179 megapixels: not decoded")
        path.write_bytes(png(RAMP[:1, :1], colour=0, size=(1, MAX_PIXELS + 1)))
        self.refused(path, "179 megapixels: not decoded")
        path.write_bytes(png(RAMP[:1, :1], colour=0, size=(10000, 10000)))  # Pillow alone would warn here
        self.refused(path, "cannot be read")

    def test_images_in_memory_and_files_have_one_limit(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pictures, "MAX_PIXELS", 5)
        for source in (quadrants(), saved(quadrants(), tmp_path / "a.png"), np.asarray(quadrants())):
            with pytest.raises(ConvscopeError, match="is 3 x 2, more than 0 megapixels: not decoded"):
                read_image(source)

    def test_of_arrays_say_what_to_give(self):
        with pytest.raises(
            ConvscopeError, match=r"float64 is no picture; give uint8, e\.g\. \(255 \* values\)\.round\(\)"
        ):
            read_image(np.zeros((4, 4, 3)))
        with pytest.raises(ConvscopeError, match="uint16 is no picture"):
            read_image(np.zeros((4, 4), np.uint16))
        for shape in ((3, 4, 4 + 1), (4,), (1, 3, 4, 4), (4, 4, 2)):
            with pytest.raises(ConvscopeError, match="channels last"):
                read_image(np.zeros(shape, np.uint8))
        for shape in ((0, 4, 3), (4, 0)):
            with pytest.raises(ConvscopeError, match="no pixels"):
                read_image(np.zeros(shape, np.uint8))
        with pytest.raises(ConvscopeError, match="no pixels"):
            read_image(Image.new("RGB", (0, 4)))

    def test_a_closed_image(self, tmp_path):
        with Image.open(saved(quadrants(), tmp_path / "a.png")) as opened:
            pass
        with pytest.raises(ConvscopeError, match="the given picture cannot be read"):
            read_image(opened)


class TestWarnings:
    def test_of_pillow_stay_inside_and_the_filters_come_back(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)  # six pixels: a warning at 4, an error at 8
        path = saved(quadrants(), tmp_path / "a.png")
        before = list(warnings.filters)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            with Image.open(path):
                assert heard  # the trap is armed
            del heard[:]
            read_image(path)
            assert not heard
        assert warnings.filters == before

    def test_filters_come_back_from_many_threads(self, tmp_path):
        path = saved(quadrants().resize((200, 200)), tmp_path / "a.png")
        before = list(warnings.filters)
        threads = [threading.Thread(target=lambda: [read_image(path) for _ in range(20)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), st.integers(0, 300))
def test_damage_anywhere_is_refused_or_read_and_never_another_error(noise, suffix, at):
    stream = io.BytesIO()
    quadrants().resize((12, 9)).save(stream, suffix)
    data = bytearray(stream.getvalue())
    data[at : at + len(noise)] = noise
    try:
        opened = Image.open(io.BytesIO(bytes(data)))
    except Exception:
        return
    with contextlib.suppress(ConvscopeError):
        assert read_image(opened).mode == "RGB"
