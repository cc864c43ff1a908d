"""Embeddings as results. Oracles: features pooled by a plain hook; classes known beforehand; an atlas of the data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.atlases.embedding_sheets import Embedding
from convscope.atlases.embeddings import embed_atlas, embed_data, embed_layers
from convscope.atlases.surveying import survey
from convscope.dataset.embedding import pca
from convscope.dataset.image_sources import source_of
from convscope.dataset.pooled_features import pooled_features
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.pictures import read_image
from convscope.network.preprocessing import Preprocess
from tests import friendly
from tests.atlases.surveyed import CLASSES, photo_folder
from tests.untouched import watch


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("embedded") / "photos", 24, corrupt=5)


def by_hand(photos: Path, layer: str) -> tuple[list[str], np.ndarray]:
    net, seen = friendly.network(), []
    handle = net.module.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2].mean((2, 3))[0].numpy()))
    names = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png") if "05" not in p.name)
    with torch.no_grad():
        for name in names:
            net.module(net.input_of(read_image(photos / name)))
    handle.remove()
    return names, np.stack(seen)


def test_features_are_the_means_of_the_maps_and_a_sample_is_spread_over_all(photos: Path) -> None:
    left_out: dict[str, str] = {}
    source, names = source_of(photos), by_hand(photos, "conv2")[0]
    asked = {"skipped": left_out.__setitem__, "batch": 5}
    found, features = pooled_features(friendly.network(), source, ["conv2", "conv1"], **asked)
    assert found == names
    assert [Path(name).name for name in left_out] == ["05.png"]
    for layer in ("conv1", "conv2"):
        np.testing.assert_allclose(features[layer], by_hand(photos, layer)[1], atol=1e-6)
    some, fewer = pooled_features(friendly.network(), source, ["conv2"], skipped=left_out.__setitem__, most=7)
    assert some == [name for number, name in enumerate(source.names()) if number % 4 == 0]  # ceil(24 / 7) = 4
    expected = features["conv2"][[names.index(name) for name in some]]
    np.testing.assert_allclose(fewer["conv2"], expected, atol=1e-7)


def test_straight_from_photos(photos: Path) -> None:
    found = embed_data(friendly.network(), photos, "conv2", "pca")
    names, features = by_hand(photos, "conv2")
    np.testing.assert_allclose(found.points, pca(features)[0], atol=1e-6)
    assert found.images == tuple(names)
    assert found.classes == tuple(name.split("/")[0] for name in names)
    assert found.named == tuple(sorted(CLASSES))
    assert found.alike is not None
    assert set(found.left_out) == {"crane/05.png"}
    assert found.title == "23 images in conv2, by PCA"


def test_several_layers_are_of_one_pass(photos: Path) -> None:
    """Each is what it is alone, and every photo went through the network once."""
    net, seen, layers = friendly.network(), [], ["conv2", "conv1"]
    alone = [embed_data(net, photos, layer, "pca") for layer in layers]
    handle = net.module.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    steps: list[tuple[int, int]] = []
    found = embed_layers(net, photos, layers, "pca", batch=4, on_step=lambda *step: steps.append(step))
    handle.remove()
    assert sum(seen) == 23
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert list(found) == layers
    for one, expected in zip(found.values(), alone, strict=True):
        assert (one.layer, one.images, dict(one.left_out)) == (expected.layer, expected.images, expected.left_out)
        np.testing.assert_allclose(one.points, expected.points, atol=1e-6)


def test_an_atlas_gives_the_same_as_its_photos(photos: Path, tmp_path: Path) -> None:
    net = friendly.network()
    atlas = survey(net, photos, tmp_path / "a.atlas", ["conv1", "conv2"], pictures=False)
    for layer in ("conv1", "conv2"):
        ours, straight = embed_atlas(atlas, layer, "pca"), embed_data(net, photos, layer, "pca")
        assert ours.images == straight.images
        assert ours.classes == straight.classes
        np.testing.assert_allclose(ours.points, straight.points, atol=1e-6)
        assert ours.thumbnails.keys() == straight.thumbnails.keys()
    assert embed_atlas(atlas, method="pca").layer == "conv2"
    with pytest.raises(ConvscopeError, match="no layer 'conv9'"):
        embed_atlas(atlas, "conv9")


def test_an_atlas_whose_photos_are_gone_has_its_points_and_says_so(photos: Path, tmp_path: Path) -> None:
    moved = photo_folder(tmp_path / "photos", 6)
    atlas = survey(friendly.network(), moved, tmp_path / "a.atlas", ["conv2"], pictures=False)
    moved.rename(tmp_path / "elsewhere")
    notes: list[str] = []
    found = embed_atlas(atlas, method="pca", on_note=notes.append)
    assert not found.thumbnails
    assert "no thumbnails" in notes[0]
    assert found.picture().width < embed_atlas(atlas, method="pca", data=tmp_path / "elsewhere").picture().width
    photo_folder(tmp_path / "others" / "deeper", 6)
    found = embed_atlas(atlas, method="pca", data=tmp_path / "others", on_note=notes.append)
    assert not found.thumbnails
    assert notes[-1] == (
        "no thumbnails: none of the photos can be read from 6 photos in others; say with --data where they are"
    )
    with pytest.raises(ConvscopeError, match="nowhere"):
        embed_atlas(atlas, method="pca", data=tmp_path / "nowhere")


@pytest.fixture(scope="module")
def found(photos: Path) -> Embedding:
    return embed_data(friendly.network(), photos, "conv2", "t-sne", seed=3)


def test_the_sheet_says_how_it_was_made_and_what_is_left(found: Embedding) -> None:
    assert "perplexity 7, seed 3" in found.subtitle
    assert found.alike is not None
    assert f"{100 * found.alike[1]:.0f} % on this page" in found.subtitle
    assert "by t-SNE (openTSNE 1." in found.subtitle
    picture = found.picture()
    assert picture.size[0] > 2000
    colours = {colour for _, colour in picture.getcolors(picture.width * picture.height) or ()}
    for place, small in found.thumbnails.items():
        assert max(small.size) <= 96
        assert found.images[place] in found.images
    assert len(colours) > 100


def test_it_saves_and_speaks(found: Embedding, tmp_path: Path) -> None:
    with np.load(found.save(tmp_path / "one.npz")) as arrays:
        np.testing.assert_array_equal(arrays["points"], found.points)
        assert arrays["images"].tolist() == list(found.images)
    row = json.loads(json.dumps(found.as_json()))["points"][2]
    assert row == {
        "image": found.images[2],
        "class": found.classes[2],
        "x": found.points[2, 0],
        "y": found.points[2, 1],
    }
    with Image.open(found.save(tmp_path / "one.png")) as picture:
        assert picture.size == found.picture().size


def test_without_labels_there_is_no_share_and_nothing_is_named(photos: Path) -> None:
    found = embed_data(friendly.network(), photos, "conv2", "pca", labels="none", thumbnails=False)
    assert (found.alike, found.named, found.thumbnails) == (None, (), {})
    assert "of its class" not in found.subtitle
    assert found.picture().size[0] > 1000


class _Spoiled(nn.Module):
    """Five units, of which 3 is never finite; 1 is infinite at one place of each image, 2 all over the brightest."""

    def forward(self, x):
        maps = torch.cat([x, -x[:, :2]], 1)
        maps[:, 1, 2, 2] = float("inf")
        maps[:, 3] = float("nan")
        maps[:, 2] = torch.where(x.mean((1, 2, 3))[:, None, None] > 0.36, float("nan"), maps[:, 2])
        return maps


def spoiled() -> Network:
    module = watch(nn.Sequential(_Spoiled(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return Network(module, friendly.PREPROCESS, (), "spoiled")


def test_a_unit_without_numbers_is_left_out_by_name_and_an_image_only_for_a_whole_map(
    photos: Path, tmp_path: Path
) -> None:
    net, notes = spoiled(), []
    found = embed_data(net, photos, "0", "pca", labels="groups", on_note=notes.append)
    assert "left out, NaN or infinite all over its map on most images: 0:3" in notes
    assert (found.units, found.units_left_out) == (4, (3,))
    assert ": 4 of the 5 units of 0, each averaged" in found.subtitle
    assert found.facts()["left out: 0:3"] == "NaN or infinite all over its map"
    assert found.as_json()["units_left_out"] == [3]
    pixels = {name: net.input_of(read_image(photos / name))[0] for name in by_hand(photos, "conv2")[0]}
    bright = {name for name, x in pixels.items() if x.mean() > 0.36}
    assert 0 < len(bright) < 12
    assert set(found.left_out) == bright | {"crane/05.png"}
    kept = [x for name, x in pixels.items() if name not in bright]
    second = torch.ones(12, 12, dtype=torch.bool)
    second[2, 2] = False
    means = [[x[0].mean(), x[1][second].mean(), x[2].mean(), -x[1].mean()] for x in kept]
    np.testing.assert_allclose(found.points, pca(np.array(means, np.float64))[0], atol=1e-6)
    atlas = survey(net, photos, tmp_path / "a.atlas", ["0"], labels="groups", pictures=False)
    ours = embed_atlas(atlas, "0", "pca", on_note=notes.append)
    assert (ours.images, ours.units_left_out) == (found.images, found.units_left_out)
    assert set(ours.left_out) == bright
    np.testing.assert_allclose(ours.points, found.points, atol=1e-6)
    assert notes.count("left out, NaN or infinite all over its map on most images: 0:3") == 2


def test_a_photo_that_the_network_does_not_take_is_left_out(photos: Path, tmp_path: Path) -> None:
    odd = photo_folder(tmp_path / "photos", 12)
    Image.new("RGB", (1, 1)).save(odd / CLASSES[0] / "zz.png")
    net = friendly.network(preprocess=Preprocess(None, None, (0.5,) * 3, (0.25,) * 3))
    net.module.conv1.padding = (0, 0)
    found = embed_data(net, odd, "conv2", "pca")
    assert list(found.left_out) == ["crane/zz.png"]
    assert "a small net cannot take an input of 3 x 1 x 1" in found.left_out["crane/zz.png"]
    assert len(found.images) == 12
    for photo in odd.rglob("*.png"):
        Image.new("RGB", (1, 1)).save(photo)
    with pytest.raises(
        ConvscopeError, match=r"none of the 13 photos in photos can be used; the first, crane/00.png: a"
    ):
        embed_data(net, odd, "conv2", "pca")
