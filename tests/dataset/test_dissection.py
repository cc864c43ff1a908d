"""Dissection. Oracle: loops in float64 over 20 photos of many shapes, with everything by hand: where the network's
input lies in the photo, where units lie on the input, the exact thresholds, and the areas, cell by cell."""

import csv
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.dataset.concept_boxes import read_boxes
from convscope.dataset.concept_masks import read_masks
from convscope.dataset.concepts import Concepts, Region
from convscope.dataset.dissecting import dissect_layers
from convscope.dataset.dissection import LayerDissection, Overlaps, mask_cells
from convscope.dataset.exemplars import Exemplars
from convscope.dataset.image_sources import source_of
from convscope.dataset.upper_quantiles import RELATIVE_WIDTH
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from tests import friendly
from tests.nets.building import hard_net, mean_and_linear

LEVEL = 0.03
CROPPED = Preprocess(size=20, crop=16, mean=(0.5,) * 3, std=(0.2,) * 3)
BARRED = Preprocess(size=12, crop=18, mean=(0.5,) * 3, std=(0.2,) * 3)
ANCHORS = {"relu1": (2.5, 2), "relu2": (4.5, 2), "pool2": (5.5, 4)}  # centre of the first unit in pixels, step


@hard_net
def unpadded() -> nn.Module:
    """Every layer's first unit lies further in: maps that are merely stretched over the image are off."""
    layers = OrderedDict(
        conv1=nn.Conv2d(3, 7, 5, stride=2),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(7, 9, 3),
        relu2=nn.ReLU(inplace=True),
        pool2=nn.MaxPool2d(2),
    )
    head = dict(zip(("pool", "flatten", "linear"), mean_and_linear(9), strict=True))
    return nn.Sequential(OrderedDict(**layers, **head))


@dataclass(frozen=True)
class Data:
    folder: Path
    boxes: Path
    masks: Path
    names: list[str]

    def photo(self, name: str) -> Image.Image:
        return pixels(self.folder / name)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """20 photos of two classes, boxes for 18 of them (two of one photo overlap), masks for 19 of numbers 0 to 3."""
    root = tmp_path_factory.mktemp("dissection")
    rng = np.random.default_rng(0)
    names, rows = [], []
    for number in range(20):
        name = f"{('n01443537_goldfish', 'tabby')[number % 2]}/{number:02}.png"
        width, height = int(rng.integers(20, 50)), int(rng.integers(20, 50))
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        friendly.photo(width, height, seed=number).save(root / "photos" / name)
        for _ in range(0 if number in (3, 8) else 1 + (number % 5 == 0)):
            x0, x1 = np.sort(rng.integers(0, width, 2))
            y0, y1 = np.sort(rng.integers(0, height, 2))
            rows.append((f"./{name}", x0, y0, x1, y1))
        if number != 5:
            numbers = np.kron(rng.integers(0, 4, (5, 5)), np.ones((10, 10), int))[:height, :width].astype(np.uint8)
            mask = Image.fromarray(numbers)
            if number % 3 == 1:
                mask = Image.fromarray(numbers.astype(np.uint16))
            if number % 3 == 2:
                mask.putpalette([9, 9, 9] * 256)
            mask.save(root / "masks" / name)
        names.append(name)
    with (root / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "x0", "y0", "x1", "y1"), *rows])
    return Data(root / "photos", root / "boxes.csv", root / "masks", sorted(names))


def pixels(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.load()
        return image


def network(preprocess: Preprocess = CROPPED) -> Network:
    return friendly.network(unpadded, preprocess=preprocess)


def dissected(data: Data, net: Network, concepts: Concepts, **options) -> dict[str, LayerDissection]:
    skipped: dict[str, str] = {}
    found = dissect_layers(
        net, source_of(data.folder), concepts, list(ANCHORS), skipped=skipped.__setitem__, level=LEVEL, **options
    )
    assert not skipped
    return found


def boxes_of(data: Data) -> Concepts:
    return read_boxes(data.boxes, source_of(data.folder).names)


# ---- by hand ----


def maps_of(data: Data, net: Network, layer: str) -> dict[str, np.ndarray]:
    seen: list[torch.Tensor] = []
    handle = net.module.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2].clone()))
    with torch.no_grad():
        for name in data.names:
            net.module(net.input_of(data.photo(name)))
    handle.remove()
    return {name: each[0].numpy() for name, each in zip(data.names, seen, strict=True)}


def in_photo(preprocess: Preprocess, size: tuple[int, int], at: tuple[float, float]) -> tuple[Fraction, Fraction]:
    """A point (y, x) of the network's input in the photo's pixels: the crop's corner added, the resizing undone."""
    assert isinstance(preprocess.size, int)
    assert isinstance(preprocess.crop, int)
    short = min(size)
    resized = [preprocess.size if side == short else int(preprocess.size * side / short) for side in size]
    point = []
    for place, side, large in zip(at, size[::-1], resized[::-1], strict=True):
        rest = large - preprocess.crop
        start = round(rest / 2) if rest >= 0 else -((-rest) // 2)
        point.append((Fraction(place) + start) * side / large)  # a middle may lie on an edge exactly
    return point[0], point[1]


def between(map_: np.ndarray, place: float, axis: int) -> tuple[int, int, float]:
    place = min(max(place, 0.0), map_.shape[axis] - 1.0)
    low = min(math.floor(place), map_.shape[axis] - 1)
    return low, min(low + 1, map_.shape[axis] - 1), place - low


def enlarged(map_: np.ndarray, at: tuple[float, float], anchors) -> float:
    first, step = anchors
    top, bottom, down = between(map_, (at[0] - first) / step, 0)
    left, right, across = between(map_, (at[1] - first) / step, 1)
    upper = (1 - across) * map_[top, left] + across * map_[top, right]
    return (1 - down) * upper + down * ((1 - across) * map_[bottom, left] + across * map_[bottom, right])


def boxed(data: Data, name: str, y: Fraction, x: Fraction) -> set[str]:
    concept = {"n01443537_goldfish": "goldfish", "tabby": "tabby"}[name.split("/")[0]]
    with data.boxes.open() as file:
        rows = [row for row in csv.DictReader(file) if row["path"] == f"./{name}"]
    inside = any(int(r["x0"]) <= x < int(r["x1"]) + 1 and int(r["y0"]) <= y < int(r["y1"]) + 1 for r in rows)
    return {concept} if inside else set()


def masked(data: Data, name: str, y: Fraction, x: Fraction) -> set[str]:
    width, height = data.photo(name).size
    if not (0 <= y < height and 0 <= x < width):
        return set()
    number = int(np.array(pixels(data.masks / name))[int(y), int(x)])
    return {{1: "sky", 3: "sea"}[number]} if number in (1, 3) else set()


def by_hand(data: Data, net: Network, layer: str, thresholds: np.ndarray, annotated: list[str], shows) -> Iterator:
    """(unit, concepts there, on) of every cell of every annotated photo."""
    assert isinstance(net.preprocess, Preprocess)
    assert isinstance(net.preprocess.crop, int)
    maps, side = maps_of(data, net, layer), net.preprocess.crop
    for name in annotated:
        for i in range(side):
            for j in range(side):
                at = i + 0.5, j + 0.5
                there = shows(data, name, *in_photo(net.preprocess, data.photo(name).size, at))
                for unit, map_ in enumerate(maps[name]):
                    yield unit, there, enlarged(map_, at, ANCHORS[layer]) > thresholds[unit]


def areas_by_hand(units: int, names: tuple[str, ...], cells: Iterator):
    both, on_area, area = np.zeros((units, len(names)), int), np.zeros(units, int), np.zeros(len(names), int)
    for unit, there, on in cells:
        on_area[unit] += on
        for concept in there:
            both[unit, names.index(concept)] += on
            area[names.index(concept)] += unit == 0
    return both, on_area, area


@pytest.mark.parametrize("preprocess", [CROPPED, BARRED], ids=["a crop", "black bars"])
@pytest.mark.parametrize("layer", list(ANCHORS))
def test_boxes_equal_brute_force(data: Data, layer: str, preprocess: Preprocess) -> None:
    net = network(preprocess)
    found = dissected(data, net, boxes_of(data))[layer]
    annotated = [name for name in data.names if name[-6:-4] not in ("03", "08")]
    cells = by_hand(data, net, layer, found.thresholds, annotated, boxed)
    both, on_area, area = areas_by_hand(len(found.thresholds), found.concepts, cells)
    assert set(found.concepts) == {"goldfish", "tabby"}
    assert found.annotated == len(annotated) == 18
    assert both.any()
    np.testing.assert_array_equal(found.intersections, both)
    np.testing.assert_array_equal(found.unit_areas, on_area)
    np.testing.assert_array_equal(found.concept_areas, area)
    np.testing.assert_allclose(found.iou, both / np.maximum(on_area[:, None] + area - both, 1))
    np.testing.assert_allclose(found.precision, both / np.maximum(on_area, 1)[:, None])


@pytest.mark.parametrize("preprocess", [CROPPED, BARRED], ids=["a crop", "black bars"])
def test_masks_equal_brute_force_and_numbers_without_a_name_are_nothing(data: Data, tmp_path, preprocess) -> None:
    (tmp_path / "names.csv").write_text("number,name\n1,sky\n3,sea\n")
    net = network(preprocess)
    found = dissected(data, net, read_masks(data.masks, tmp_path / "names.csv"))["pool2"]
    annotated = [name for name in data.names if "05" not in name]
    cells = by_hand(data, net, "pool2", found.thresholds, annotated, masked)
    both, on_area, area = areas_by_hand(len(found.thresholds), found.concepts, cells)
    assert set(found.concepts) == {"sky", "sea"}
    np.testing.assert_array_equal(found.intersections, both)
    np.testing.assert_array_equal(found.unit_areas, on_area)
    np.testing.assert_array_equal(found.concept_areas, area)


@pytest.mark.parametrize("layer", list(ANCHORS))
def test_thresholds_are_those_of_all_activations_of_all_photos_within_the_bound(data: Data, layer: str) -> None:
    net = network()
    found = dissected(data, net, boxes_of(data))[layer]
    maps = maps_of(data, net, layer)
    for unit, (threshold, above) in enumerate(zip(found.thresholds, found.above, strict=True)):
        values = np.sort(np.concatenate([map_[unit].ravel() for map_ in maps.values()]))[::-1]
        q = values[math.floor(LEVEL * len(values) + 1e-6)]
        assert q - 1e-6 <= threshold <= q * (1 + RELATIVE_WIDTH) + 1e-6
        assert above == pytest.approx((values > threshold).mean())
        assert above <= LEVEL


def test_batches_change_nothing_and_the_winners_are_the_annotated_photos_of_the_largest_values(data: Data) -> None:
    net = network()
    one, other = (dissected(data, net, boxes_of(data), batch=batch, top=4) for batch in (1, 7))
    for layer, found in one.items():
        for name in ("intersections", "unit_areas", "concept_areas", "thresholds"):
            np.testing.assert_array_equal(getattr(found, name), getattr(other[layer], name))
        np.testing.assert_array_equal(found.winners.images, other[layer].winners.images)
        largest = np.stack([map_.max((1, 2)) for map_ in maps_of(data, net, layer).values()])
        largest[[data.names.index(n) for n in data.names if n[-6:-4] in ("03", "08")]] = -1
        np.testing.assert_array_equal(found.winners.images, (-largest).argsort(0, kind="stable")[:4].T)


def test_a_photo_that_cannot_be_read_or_has_a_wrong_annotation_is_left_out_and_told(data: Data, tmp_path) -> None:
    """The others give what they give without it."""
    folder = tmp_path / "photos"
    for name in data.names[:8]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((data.folder / name).read_bytes())
    net = network()
    clean = dissect_layers(net, source_of(folder), boxes_of(data), ["pool2"], skipped=lambda *_: None, level=LEVEL)[
        "pool2"
    ]
    (folder / "a.png").write_text("no picture")
    (folder / "tabby").mkdir(exist_ok=True)
    friendly.photo(30, 30).save(folder / "tabby" / "zz.png")
    table = tmp_path / "boxes.csv"
    table.write_text(data.boxes.read_text() + "./tabby/zz.png,0,0,31,99\n")
    skipped: dict[str, str] = {}
    found = dissect_layers(
        net, source_of(folder), read_boxes(table, source_of(folder).names), ["pool2"], skipped=skipped.__setitem__,
        level=LEVEL,
    )["pool2"]  # fmt: skip
    assert set(skipped) == {"a.png", "tabby/zz.png"}
    assert "leaves the photo, which is 30 x 30" in skipped["tabby/zz.png"]
    np.testing.assert_array_equal(found.concept_areas, clean.concept_areas)


def test_overlaps_merge_and_grow() -> None:
    rng = np.random.default_rng(0)
    regions = [torch.from_numpy(rng.random((3, 4, 5)) < 0.5) for _ in range(6)]
    shown = [[Region(int(c), rng.random((4, 5)) < 0.5) for c in rng.permutation(5)[: n % 4]] for n in range(6)]
    whole, first, second = Overlaps(3), Overlaps(3), Overlaps(3)
    for number, (region, concepts) in enumerate(zip(regions, shown, strict=True)):
        whole.update(region, concepts)
        (first if number < 2 else second).update(region, concepts)
    first.merge(second)
    np.testing.assert_array_equal(first.intersections, whole.intersections)
    np.testing.assert_array_equal(first.concept_areas, whole.concept_areas)
    np.testing.assert_array_equal(first.unit_areas, whole.unit_areas)
    slow = np.zeros((3, whole.intersections.shape[1]), int)
    for region, concepts in zip(regions, shown, strict=True):
        for concept in concepts:
            slow[:, concept.concept] += (region.numpy() & concept.cells).sum((1, 2))
    np.testing.assert_array_equal(whole.intersections, slow)


def test_concepts_that_no_unit_could_detect_however_well_it_fits() -> None:
    """Areas alone bound the IoU: the smaller over the larger. Oracle: the largest overlap that they allow."""
    rng = np.random.default_rng(0)
    on, there = rng.integers(0, 60, 5), np.append(rng.integers(1, 3000, 30), 0)
    found = LayerDissection(
        "1", tuple(map(str, there)), *np.zeros((2, 5)), np.minimum(on[:, None], there), on, there,
        Exemplars(1).compute(), 9, np.zeros(5, int),
    )  # fmt: skip
    most = {c: max(min(u, a) / max(u, a, 1) for u in on) for c, a in enumerate(there) if a}
    expected = {c: iou for c, iou in most.items() if iou <= 0.04}
    assert 0 < len(expected) < 30
    assert found.out_of_reach(0.04) == pytest.approx(expected)
    assert found.iou.max(0)[list(expected)] == pytest.approx(list(expected.values()))


@pytest.mark.parametrize(
    ("pixels", "cells"), [((64, 64), (64, 64)), ((224, 224), (112, 112)), ((227, 227), (76, 76)), ((32, 500), (6, 100))]
)
def test_masks_have_the_inputs_resolution_up_to_112_cells(pixels, cells) -> None:
    assert mask_cells(pixels) == cells


def test_refusals(data: Data, tmp_path: Path) -> None:
    source, concepts = source_of(data.folder), boxes_of(data)

    def refused(match: str, net: Network, of: Concepts = concepts, layers=("pool2",), **options) -> None:
        with pytest.raises(ConvscopeError, match=match):
            dissect_layers(net, source, of, layers, skipped=lambda *_: None, **options)

    refused("no layer 'relu7' in Sequential; did you mean", network(), layers=("relu7",))
    reads: list[None] = []
    refused("a share between 0 and 1", network(), level=2.0, on_image=lambda: reads.append(None))
    assert not reads  # not after a pass over all of the data
    refused("does not say which part of a photo it takes", friendly.network(preprocess=lambda photo: photo))
    Image.new("L", (2, 2)).save(tmp_path / "other.png")
    none = "the masks in .*: none has the name of one of the 20 photos in photos, such as n01443537_goldfish/00.png$"
    refused(none, network(), read_masks(tmp_path), on_image=lambda: reads.append(None))
    assert not reads
    masks = tmp_path / "masks"
    for name in data.names:
        file = (masks / name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), 4).save(file)
    refused("; the first that is not: the mask of .* is 2 x 2 pixels, the photo", network(), read_masks(masks))
    for name in data.names:
        with Image.open(data.folder / name) as photo:
            Image.new("L", photo.size, 4).save((masks / name).with_suffix(".png"))
    names = tmp_path / "names.csv"
    names.write_text("number,name\n7,sky\n")
    refused("no number in them stands for a concept", network(), read_masks(masks, names))
