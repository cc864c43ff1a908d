"""Crops hold exactly the pixels that a unit sees: a net that is shown them alone, in noise, answers as before."""

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.dataset.patches import CONTEXT, CROP, LOSSLESS_PX, PictureRow, Winner, cut_winners, encoded, input_pixels
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.passes import outputs_of
from convscope.network.preprocessing import Preprocess
from convscope.network.receptive_fields import Box
from tests import nets
from tests.dataset.kept_pictures import KeptPictures, winners_of
from tests.dataset.small_survey import Photos, network, noise

LAYERS = ("conv1", "conv2")


class Counting(Photos):
    """Counts how often each photo is read."""

    def __init__(self, files: Any) -> None:
        super().__init__(files)
        self.reads: Counter[str] = Counter()

    def read(self, name: str) -> Any:
        self.reads[name] += 1
        return super().read(name)


def _by_key(rows: list[PictureRow]) -> dict[tuple[str, int, int, str], PictureRow]:
    return {(row.layer, row.unit, row.rank, row.kind): row for row in rows}


@pytest.mark.parametrize("factory", [nets.plain, nets.overlapping_pool, nets.strided, nets.functional_relu])
def test_a_crop_is_all_that_the_unit_saw(factory: Any) -> None:
    """All pixels but the crop's are replaced by noise: the unit's value at (y, x) stays, to the last bit."""
    net, source, store = network(factory()), Photos(noise(6)), KeptPictures()
    winners = [w for layer in LAYERS for w in winners_of(net, source, layer, top=2)]
    rows = _by_key(cut_winners(net, source, winners, store.keep))
    rng = np.random.default_rng(1)
    for one in winners:
        crop = np.asarray(store.read(rows[one.layer, one.unit, one.rank, CROP].file))
        pixels = rng.integers(0, 256, (nets.SIDE, nets.SIDE, 3), np.uint8)
        pixels[one.box.y0 : one.box.y1, one.box.x0 : one.box.x1] = crop
        again = outputs_of(net.module, net.input_of(Image.fromarray(pixels)), one.layer)[one.layer]
        assert float(again[0, one.unit, one.y, one.x]) == one.value


def test_a_context_has_the_crop_at_the_place_that_its_row_says() -> None:
    net, source, store = network(nets.plain()), Photos(noise(5)), KeptPictures()
    winners = winners_of(net, source, "conv1", top=3)
    rows = _by_key(cut_winners(net, source, winners, store.keep))
    for one in winners:
        crop, row = rows["conv1", one.unit, one.rank, CROP], rows["conv1", one.unit, one.rank, CONTEXT]
        view, (h, w) = np.asarray(store.read(row.file)), crop.size
        assert view.shape[:2] == row.size == (nets.SIDE, nets.SIDE)  # 32 pixels and more are the whole image
        assert np.array_equal(view[row.y : row.y + h, row.x : row.x + w], np.asarray(store.read(crop.file)))


def test_photos_are_read_once_and_regions_stored_once_whatever_the_threads() -> None:
    net, store = network(nets.plain()), KeptPictures()
    sources = [Counting(noise(6)) for _ in range(3)]
    winners = [w for layer in LAYERS for w in winners_of(net, sources[0], layer, top=4)]
    sources[0].reads.clear()
    done: list[tuple[int, int]] = []
    first = cut_winners(net, sources[0], winners, store.keep, threads=1, on_step=lambda *step: done.append(step))
    used = {one.image for one in winners}
    assert sources[0].reads == Counter(used)
    assert done == [(number, len(used)) for number in range(1, len(used) + 1)]
    regions = {(one.image, one.box) for one in winners} | {(one.image, "whole") for one in winners}
    whole = {(one.image, one.box) for one in winners if one.box == (0, 0, nets.SIDE, nets.SIDE)}
    assert store.calls == len(regions) - len(whole)
    before = dict(store.files)
    for source, threads in zip(sources[1:], (3, None), strict=True):
        assert cut_winners(net, source, winners, store.keep, threads=threads) == first
    assert store.files == before  # a second run writes nothing new
    assert [(row.layer, row.unit, row.rank) for row in first[::2]] == [(w.layer, w.unit, w.rank) for w in winners]


@pytest.mark.parametrize("size", [(24, 40), (40, 24), (9, 30)])
def test_input_pixels_are_those_that_the_network_is_shown(size: tuple[int, int]) -> None:
    """Against the resizing and cropping of Pillow by hand, and their normalisation against the network's input."""
    preprocess = Preprocess(14, 12, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    net = Network(nets.plain(), preprocess, (), "tiny")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    pixels = input_pixels(net, photo)
    x = preprocess(photo)[0].permute(1, 2, 0)
    again = (torch.from_numpy(pixels.copy()).float() / 255 - torch.tensor(preprocess.mean)) / torch.tensor(
        preprocess.std
    )
    assert torch.allclose(again, x, rtol=0, atol=1e-6)
    assert pixels.shape == (12, 12, 3)


def test_a_grey_network_shows_the_photo_in_grey() -> None:
    net = Network(nets.grey(), Preprocess(12, 12, (0.5,), (0.25,)), (), "grey")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8))
    assert np.array_equal(input_pixels(net, photo), np.asarray(photo.convert("L").convert("RGB")))


def test_of_a_preprocessing_of_its_own_the_input_is_drawn_from_its_smallest_to_its_largest_value() -> None:
    net = Network(nets.plain(), lambda photo: torch.linspace(-3, 5, 3 * 4 * 4).reshape(1, 3, 4, 4), (), "own")
    pixels = input_pixels(net, Image.new("RGB", (4, 4)))
    expected = torch.linspace(0, 255, 48).round().reshape(3, 4, 4).permute(1, 2, 0)
    assert np.array_equal(pixels, expected.numpy().astype(np.uint8))


@pytest.mark.parametrize("side", [1, 7, 48, 49, 90])
def test_small_pictures_are_stored_without_loss_and_large_ones_nearly(side: int) -> None:
    rng = np.random.default_rng(side)
    smooth = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth)
    with Image.open(io.BytesIO(encoded(pixels))) as image:
        difference = np.abs(np.asarray(image.convert("RGB"), int) - pixels)
    assert difference.max() == 0 if side * side <= LOSSLESS_PX else difference.mean() < 4


def test_an_image_that_is_gone_is_refused_by_name() -> None:
    net, source = network(nets.plain()), Photos(noise(2) | {"x.png": b"no picture"})
    winner = Winner("conv1", 0, 0, "x.png", Box(0, 0, 3, 3), 1.0, 0, 0)
    with pytest.raises(ConvscopeError, match=r"x\.png is not a picture"):
        cut_winners(net, source, [winner], KeptPictures().keep)


def test_no_winners_give_no_pictures() -> None:
    assert cut_winners(network(nets.plain()), Photos({}), [], KeptPictures().keep) == []
