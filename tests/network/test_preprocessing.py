"""Preprocessing. Oracles: torchvision's preset to the last bit; closed forms of windows and bounds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import models
from torchvision.transforms import CenterCrop, Compose, Grayscale, InterpolationMode, Normalize, Resize, ToTensor
from torchvision.transforms._presets import ImageClassification, SemanticSegmentation

from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth and noisy at once: resampling, rounding and clipping all leave traces."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (height, width, 3))
    ramp = np.linspace(0, 255, width)[None, :, None]
    return Image.fromarray(np.where(random.random((height, width, 1)) < 0.5, noise, ramp).astype(np.uint8))


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype == torch.float32 and torch.equal(a.view(torch.int32), b.view(torch.int32))


class TestEqualsTorchvisionToTheLastBit:
    @pytest.mark.parametrize(
        ("size", "crop"), [(256, 224), (232, 224), (342, 299), (64, 64), (235, 224), (32, 33), (8, 21), (40, 24)]
    )
    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    def test_on_landscape_portrait_square_and_tiny_photos(self, size, crop, interpolation):
        preset = ImageClassification(
            crop_size=crop, resize_size=size, interpolation=InterpolationMode(interpolation), mean=MEAN, std=STD
        )
        ours = Preprocess(size, crop, MEAN, STD, interpolation)
        for width, height in [(451, 300), (300, 451), (333, 333), (size, size), (17, 5), (5, 18), (640, size)]:
            picture = photo(width, height)
            assert same_bits(ours(picture), preset(picture)[None]), (width, height)

    @given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 60), st.integers(1, 60))
    @settings(max_examples=150, deadline=None)
    def test_on_any_size_and_a_crop_that_may_be_larger(self, width, height, size, crop_height, crop_width):
        picture = photo(width, height)
        theirs = Compose([Resize(size), CenterCrop((crop_height, crop_width)), ToTensor(), Normalize(MEAN, STD)])
        assert same_bits(Preprocess(size, (crop_height, crop_width), MEAN, STD)(picture), theirs(picture)[None])

    def test_on_one_channel_it_is_the_luma_before_resizing(self):
        theirs = Compose([Grayscale(), Resize(31), CenterCrop(28), ToTensor(), Normalize((0.13,), (0.31,))])
        ours = Preprocess(31, 28, (0.13,), (0.31,))
        picture = photo(77, 41)
        assert ours(picture).shape == (1, 1, 28, 28)
        assert same_bits(ours(picture), theirs(picture)[None])
        grey = picture.convert("L")
        assert same_bits(ours(grey), theirs(grey)[None])

    def test_without_resizing_or_crop(self):
        picture = photo(23, 19)
        theirs = Compose([ToTensor(), Normalize(MEAN, STD)])
        assert same_bits(Preprocess(None, None, MEAN, STD)(picture), theirs(picture)[None])
        theirs = Compose([CenterCrop(11), ToTensor(), Normalize(MEAN, STD)])
        assert same_bits(Preprocess(None, 11, MEAN, STD)(picture), theirs(picture)[None])

    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    def test_when_read_off_the_preset(self, interpolation):
        preset = ImageClassification(
            crop_size=29,
            resize_size=34,
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
            interpolation=InterpolationMode(interpolation),
        )
        ours = Preprocess.from_torchvision(preset)
        assert ours == Preprocess(34, 29, (0.5,) * 3, (0.25,) * 3, interpolation)
        assert same_bits(ours(photo(50, 70)), preset(photo(50, 70))[None])

    def test_for_every_preset_of_every_classifier(self):
        presets = [
            weights.transforms()
            for name in models.list_models(module=models)
            for weights in models.get_model_weights(name)
        ]
        different = {repr(preset): preset for preset in presets}
        assert len(different) > 25
        picture = photo(301, 227)
        for preset in different.values():
            assert same_bits(Preprocess.from_torchvision(preset)(picture), preset(picture)[None]), preset

    def test_the_result_is_contiguous(self):
        assert Preprocess(20, 16)(photo(30, 40)).is_contiguous()


def test_a_photo_is_read_by_the_one_policy():
    turned = photo(30, 20)
    turned.info["exif"] = exif_of_orientation(3)
    upright = turned.transpose(Image.Transpose.ROTATE_180)
    upright.info = {}
    clear = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    preprocess = Preprocess(16, 16)
    assert torch.equal(preprocess(turned), preprocess(upright))
    assert torch.equal(preprocess(clear), preprocess(Image.new("RGB", (30, 20), "white")))


def exif_of_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


class TestWindow:
    def test_closed_forms(self):
        # 500 x 400 -> 320 x 256, crop 224 at (48, 16): times 400 / 256
        assert Preprocess(256, 224).window((500, 400)) == (75, 25, 425, 375)
        assert Preprocess(64, 64).window((300, 300)) == (0, 0, 300, 300)
        assert Preprocess(None, None).window((7, 9)) == (0, 0, 7, 9)
        assert Preprocess(None, (4, 3)).window((7, 10)) == (2, 3, 5, 7)
        # 100 x 50 -> 16 x 8; crop 20 adds (20 - 8) // 2 = 6 rows above and 2 columns on the left, in units of 50 / 8
        assert Preprocess(8, 20).window((100, 50)) == (-12.5, -37.5, 112.5, 87.5)

    def test_each_axis_has_its_own_scale(self):
        # 451 x 300 -> int(256 * 451 / 300) = 384 x 256
        x0, y0, x1, y1 = Preprocess(256, 224).window((451, 300))
        assert (x0, x1) == pytest.approx((80 * 451 / 384, 304 * 451 / 384))
        assert (y0, y1) == pytest.approx((16 * 300 / 256, 240 * 300 / 256))

    @given(st.integers(20, 300), st.integers(20, 300), st.integers(8, 60), st.integers(8, 80))
    @settings(max_examples=100, deadline=None)
    def test_a_ramp_has_the_values_that_the_network_gets(self, width, height, size, crop):
        """Oracle: a photo whose red is x and green is y tells every input pixel's place; its centre is the window's."""
        xs, ys = np.meshgrid((np.arange(width) + 0.5) * 255 / width, (np.arange(height) + 0.5) * 255 / height)
        ramp = Image.fromarray(np.dstack([xs, ys, 0 * xs]).round().astype(np.uint8))
        preprocess = Preprocess(size, crop)
        resized_short = min(preprocess._resized_size(width, height))
        if crop > resized_short:
            return
        seen = preprocess.inverse(preprocess(ramp))[0]
        x0, y0, x1, y1 = preprocess.window((width, height))
        assert seen[0].mean() * width == pytest.approx((x0 + x1) / 2, abs=0.02 * width)
        assert seen[1].mean() * height == pytest.approx((y0 + y1) / 2, abs=0.02 * height)


class TestView:
    def test_is_a_plain_crop_where_the_window_is_whole(self):
        picture = photo(500, 400)
        assert np.array_equal(np.asarray(Preprocess(256, 224).view(picture)), np.asarray(picture)[25:375, 75:425])
        assert np.array_equal(np.asarray(Preprocess(64, 64).view(photo(90, 90))), np.asarray(photo(90, 90)))

    def test_is_the_whole_photo_where_both_sides_are_squeezed(self):
        """Hugging Face's ViT; then with a crop, which is a share of each side by itself."""
        picture = photo(500, 400)
        assert np.array_equal(np.asarray(Preprocess((32, 32), None).view(picture)), np.asarray(picture))
        assert Preprocess((32, 32), None)(picture).shape == (1, 3, 32, 32)
        squeezed = Preprocess((40, 40), 32)
        assert squeezed.window(picture.size) == (50, 40, 450, 360)
        assert np.array_equal(np.asarray(squeezed.view(picture)), np.asarray(picture)[40:360, 50:450])

    def test_a_crop_may_start_at_a_rounded_or_at_a_cut_off_half(self):
        """23 - 20 = 3: torchvision starts at round(1.5) = 2, Hugging Face at 1."""
        assert Preprocess(None, 20).window((23, 20)) == (2, 0, 22, 20)
        assert Preprocess(None, 20, crop_rounding="down").window((23, 20)) == (1, 0, 21, 20)

    def test_shows_the_black_bars_that_the_network_sees(self):
        picture = Image.new("RGB", (100, 50), (200, 100, 50))
        view = np.asarray(Preprocess(8, 20).view(picture))  # window (-12.5, -37.5, 112.5, 87.5)
        assert view.shape == (125, 125, 3)
        assert view[62, 62].tolist() == [200, 100, 50]
        for corner in ((0, 62), (124, 62), (62, 0), (62, 124), (30, 62), (95, 62)):
            assert view[corner].tolist() == [0, 0, 0], corner
        for edge in ((40, 62), (85, 62), (62, 15), (62, 110)):
            assert np.abs(view[edge] - np.array([200, 100, 50])).max() < 9, edge  # Lanczos rings a little

    @given(st.integers(40, 200), st.integers(40, 200), st.integers(8, 40), st.integers(8, 40))
    @settings(max_examples=60, deadline=None)
    def test_shrunk_to_the_crop_it_is_what_the_network_saw(self, width, height, size, crop):
        """Oracle: the network's own crop, of a photo smooth enough that the order of crop and resize hardly matters."""
        ys, xs = np.mgrid[0:height, 0:width]
        waves = 127 + 120 * np.sin(np.dstack([xs / width * 5, ys / height * 5, (xs + 2 * ys) / (width + height) * 5]))
        smooth = Image.fromarray(waves.astype(np.uint8))
        preprocess = Preprocess(size, crop)
        if crop > size:
            return
        seen = preprocess.inverse(preprocess(smooth))[0].permute(1, 2, 0).numpy() * 255
        shrunk = np.asarray(preprocess.view(smooth).resize((crop, crop), Image.Resampling.BILINEAR), float)
        inner = (slice(1, -1), slice(1, -1))
        assert np.abs(seen - shrunk)[inner].mean() < 3

    @given(st.integers(5, 300), st.integers(5, 300), st.integers(8, 60), st.integers(8, 80))
    @settings(max_examples=60, deadline=None)
    def test_of_a_square_crop_is_square_and_of_the_windows_size(self, width, height, size, crop):
        x0, y0, x1, y1 = Preprocess(size, crop).window((width, height))
        view = Preprocess(size, crop).view(Image.new("RGB", (width, height)))
        assert view.width == view.height
        assert 0 <= view.width + 0.5 - max(x1 - x0, y1 - y0) <= 1 or view.width == 1

    def test_of_one_channel_is_the_photo_in_colour(self):
        picture = photo(90, 90)
        assert np.array_equal(np.asarray(Preprocess(64, 64, (0.5,), (0.5,)).view(picture)), np.asarray(picture))


class TestInverse:
    @pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ((0.5,), (0.5,)), ((0.1307,), (0.3081,))])
    def test_gives_back_every_pixel_exactly(self, mean, std):
        every = np.arange(256, dtype=np.uint8).reshape(16, 16)
        picture = Image.fromarray(np.dstack([every, every[::-1], every.T]) if len(mean) == 3 else every)
        preprocess = Preprocess(None, None, mean, std)
        back = preprocess.inverse(preprocess(picture))
        pixels = (back[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(pixels.squeeze(), np.asarray(picture))
        assert (back[0] * 255 - (back[0] * 255).round()).abs().max() < 1e-3

    def test_keeps_the_type_and_clamps_to_pictures(self):
        preprocess = Preprocess(None, None)
        x = torch.full((2, 3, 1, 1), 1e3, dtype=torch.float64)
        assert torch.equal(preprocess.inverse(x), torch.ones_like(x))
        assert torch.equal(preprocess.inverse(-x), torch.zeros_like(x))

    def test_bounds_are_black_and_white_to_the_last_bit(self):
        preprocess = Preprocess(None, None)
        low, high = preprocess.bounds()
        assert same_bits(preprocess(Image.new("RGB", (1, 1), "black"))[0], low)
        assert same_bits(preprocess(Image.new("RGB", (1, 1), "white"))[0], high)
        assert low.shape == high.shape == (3, 1, 1)
        exact = [(-m / s, (1 - m) / s) for m, s in zip(MEAN, STD, strict=True)]
        assert torch.allclose(torch.stack([low, high], -1).flatten(0, 2), torch.tensor(exact), atol=1e-6)


class TestRefusals:
    def test_of_channels_that_no_photo_has(self):
        preprocess = Preprocess(8, 8, (0.5,) * 4, (0.5,) * 4)
        assert preprocess.channels == 4
        with pytest.raises(ConvscopeError, match=r"3 channels .* but this network takes 4"):
            preprocess(photo(9, 9))
        with pytest.raises(ConvscopeError, match=r"4 channels was expected, not one of shape \(1, 3, 2, 2\)"):
            preprocess.inverse(torch.zeros(1, 3, 2, 2))

    def test_of_an_elongated_photo_before_it_fills_the_memory(self):
        with pytest.raises(ConvscopeError, match=r"1 x 20000 is too elongated.* would have 5120000"):
            Preprocess(256, 224)(Image.new("RGB", (1, 20000)))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"std": (1.0, 1.0)}, "a number a channel"),
            ({"mean": (), "std": ()}, "a number a channel"),
            ({"std": (1.0, 0.0, 1.0)}, "std positive"),
            ({"mean": (1.0, float("nan"), 1.0)}, "finite"),
            ({"size": 0}, "at least 1 pixel"),
            ({"size": -5}, "at least 1 pixel"),
            ({"crop": 0}, "at least 1 pixel"),
            ({"crop": (5, 0)}, "at least 1 pixel"),
        ],
    )
    def test_of_numbers_that_mean_nothing(self, change, reason):
        with pytest.raises(ConvscopeError, match=reason):
            Preprocess(**{"size": 8, "crop": 8, "mean": MEAN, "std": STD} | change)

    def test_of_presets_that_are_none(self):
        with pytest.raises(ConvscopeError, match=r"SemanticSegmentation is no classification .* no crop_size"):
            Preprocess.from_torchvision(SemanticSegmentation(resize_size=520))
        both = ImageClassification(crop_size=8)
        both.resize_size = [9, 10]
        with pytest.raises(ConvscopeError, match=r"resizes to \[9, 10\]"):
            Preprocess.from_torchvision(both)
        with pytest.raises(ConvscopeError, match=r"no interpolation 'nearest'"):
            Preprocess.from_torchvision(ImageClassification(crop_size=8, interpolation=InterpolationMode.NEAREST))


def test_is_frozen_and_compares_by_value():
    assert Preprocess(8, 8) == Preprocess(8, 8, MEAN, STD)
    assert hash(Preprocess(8, 8)) == hash(Preprocess(8, 8))
    with pytest.raises(AttributeError):
        Preprocess(8, 8).size = 9
