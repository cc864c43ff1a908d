"""Nearest images. Oracle: all distances, sorted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.audits import nearest_images
from convscope.audits.nearest_images import NearestImages, Queries, distances, last_features, training_data
from convscope.dataset.image_sources import source_of
from convscope.dataset.pooled_features import pooled_features
from convscope.errors import ConvscopeError
from tests import nets
from tests.audits.squares import colour_net, make_photos


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(43, 5)).astype(np.float32)


def brute(queries: np.ndarray, images: np.ndarray) -> np.ndarray:
    return np.linalg.norm(queries[:, None].astype(float) - images[None].astype(float), axis=2)


@pytest.mark.parametrize("batch", [1, 5, 43])
def test_they_are_those_of_brute_force_whatever_the_batches(rows, batch: int) -> None:
    queries, images = rows
    found = NearestImages(queries, 4)
    for first in range(0, 43, batch):
        found.update(np.arange(first, min(43, first + batch)), images[first : first + batch])
    expected = brute(queries, images)
    order = np.argsort(expected, 1, kind="stable")[:, :4]
    np.testing.assert_array_equal(found.numbers, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(expected, order, 1), rtol=1e-12)


def test_an_image_is_not_its_own_neighbour_and_equals_go_to_the_earlier(rows) -> None:
    _, images = rows
    images[30] = images[2] = images[9]
    found, asked = NearestImages(images[[9]], 3), list[int]()

    def own(place: int) -> list[int]:
        asked.append(place)
        return [0] if place == 9 else []

    found.update(np.arange(43), images, own)
    assert asked == [2, 9, 30]  # at distance 0; of the others nobody asks
    assert [number for number, _ in found.of(0)][:2] == [2, 30]
    assert found.of(0)[0][1] == 0
    assert found.again == {0}


@pytest.mark.parametrize("as_atlas", [False, True])
def test_a_query_among_the_images_is_left_out_by_content_and_a_copy_with_another_label_is_not(
    tmp_path: Path, as_atlas: bool
) -> None:
    """Oracle: three copies of one file, of which one has the other label."""
    net, photos = colour_net(), make_photos(tmp_path)
    (photos / "red" / "copy.png").write_bytes((photos / "red" / "2.png").read_bytes())
    (photos / "green" / "other.png").write_bytes((photos / "red" / "2.png").read_bytes())
    names, features = pooled_features(net, source_of(photos), ["1"], skipped=lambda *_: None)
    known = photos if not as_atlas else cs.survey(net, photos, tmp_path / "it.atlas", layers=["1"])
    place = names.index("red/2.png")
    found = NearestImages(features["1"][[place]] * np.float32(1.0001), 3)  # as another batch may give it
    queries = Queries(source_of(photos), ["red/2.png"], [(0,)])
    made = training_data(net, "1", known, "auto").fill(found, queries, skipped=lambda *_: None)
    near = [made.names[number] for number, _ in found.of(0)]
    assert near[0] == "green/other.png"
    assert not {"red/2.png", "red/copy.png"} & set(near)
    assert found.again == {0}


def test_images_without_a_number_are_near_nothing(rows) -> None:
    queries, images = rows
    images[3:, 1] = np.nan
    found = NearestImages(queries, 5)
    found.update(np.arange(43), images)
    for query in range(7):
        assert sorted(number for number, _ in found.of(query)) == [0, 1, 2]


def test_a_distance_is_never_below_zero_nor_nan_by_rounding() -> None:
    row = np.full((1, 300), 1e4 / 3)
    assert distances(row, row) == 0


def test_training_images_and_an_atlas_of_them_say_the_same(tmp_path: Path) -> None:
    net, layer = colour_net(), "1"
    photos = make_photos(tmp_path)
    names, features = pooled_features(net, source_of(photos), [layer], skipped=lambda *_: None)
    queries = features[layer][:3] + np.float32(0.01)
    atlas = cs.survey(net, photos, tmp_path / "it.atlas", layers=[layer])
    answers, nobody = [], Queries(source_of(photos), [], [])
    for known in (photos, tmp_path / "it.atlas", atlas):
        found = NearestImages(queries, 3)
        made = training_data(net, layer, known, "auto").fill(found, nobody, skipped=lambda *_: None)
        answers.append([[(made.names[n], made.label(made.names[n])) for n, _ in found.of(q)] for q in range(3)])
        assert made.right("red") == (0,)
        assert made.photo(found.of(0)[0][0]).size == (16, 16)
    order = np.argsort(brute(queries, features[layer]), 1, kind="stable")[:, :3]
    assert answers[0] == [[(names[n], names[n].split("/")[0]) for n in row] for row in order.tolist()]
    assert answers[1:] == answers[:1] * 2


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)], "1"),
        ([nn.Flatten(), nn.Linear(1024, 2)], "2"),
        ([nn.Flatten(), nn.Linear(1024, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 2)], "5"),
        ([nn.Conv2d(4, 2, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten()], "1"),
        ([nn.Conv2d(4, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()], "1"),
    ],
)
def test_distances_are_of_what_the_last_linear_layer_is_given(head: list[nn.Module], expected: str) -> None:
    net = colour_net()
    whole = replace(net, module=nn.Sequential(*net.module[:2], *head).eval())
    assert last_features(whole, nets.images(1, 3, 16, 16, dtype=torch.float32), "1") == expected


def test_a_gate_within_the_maps_is_no_last_feature() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 4, 1), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x)
            return maps * self.gate(maps.mean((2, 3)))[:, :, None, None]

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = Gated(), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).amax((2, 3)))

    with torch.random.fork_rng(devices=[]):
        net = replace(colour_net(), module=Whole().eval())
    assert last_features(net, nets.images(1, 3, 16, 16, dtype=torch.float32), "body") == "body"


def test_a_layer_of_too_many_numbers_is_not_kept_for_every_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_images, "MOST_FEATURES", 1023)
    x = nets.images(1, 3, 16, 16, dtype=torch.float32)
    assert last_features(colour_net(flat=True), x, "1") == "1"


def test_an_atlas_without_the_layer_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    net, photos = colour_net(flat=True), make_photos(tmp_path)
    cs.survey(net, photos, tmp_path / "it.atlas", layers=["1"])
    with pytest.raises(ConvscopeError, match=r"no layer '2'.*survey it too \(--layers\), or give --layer"):
        cs.audit(net, photos, train=tmp_path / "it.atlas")
    assert cs.audit(net, photos, train=tmp_path / "it.atlas", layer="1").near_layer == "1"


def test_training_data_that_cannot_be_held_against_is_refused(tmp_path: Path) -> None:
    net, photos = colour_net(), make_photos(tmp_path)
    cs.survey(net, photos, tmp_path / "it.atlas", layers=["1"])
    cs.survey(net, photos, tmp_path / "bare.atlas", layers=["1"], labels="none")

    def ask(net: cs.Network, known: Path, layer: str = "1") -> None:
        training_data(net, layer, known, "auto")

    other = colour_net(flat=True)
    with pytest.raises(ConvscopeError, match=r"it\.atlas was made with another network"):
        ask(other, tmp_path / "it.atlas")
    with pytest.raises(ConvscopeError, match=r"bare\.atlas is of images without labels"):
        ask(net, tmp_path / "bare.atlas")
    with pytest.raises(ConvscopeError, match="no layer '0'"):
        ask(net, tmp_path / "it.atlas", "0")
    (tmp_path / "alone").mkdir()
    (photos / "red" / "0.png").rename(tmp_path / "alone" / "x.png")
    (photos / "blue").mkdir()
    (photos / "red" / "2.png").rename(photos / "blue" / "2.png")
    with pytest.raises(ConvscopeError, match="photos, given as training data: 1 of 9 folders' names are no class"):
        ask(net, photos)
    with pytest.raises(ConvscopeError, match="1 photo in alone, given as training data, has no labels"):
        ask(net, tmp_path / "alone")
