"""Dissections as results. The numbers are proved in ``tests/dataset/test_dissection``; oracles here: a unit that is a
detector by construction, colours read back from the sheet."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.atlases.dissections import Dissection, dissect
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.render.regions import OUTLINE
from tests.untouched import watch

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0)}


def colour_net() -> Network:
    """Unit 0 is on where a pixel is red and not green, unit 1 the reverse, unit 2 always alike, unit 3 never."""
    with torch.random.fork_rng(devices=[]):
        conv = nn.Conv2d(3, 4, 1)
        net = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    weights = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [0, 0, 0], [0, 0, 0]])
    with torch.no_grad():
        conv.weight.copy_(weights[:, :, None, None])
        conv.bias.copy_(torch.tensor([0.0, 0.0, 1.0, -1.0]))
    return Network(watch(net.eval()), Preprocess(16, 16, (0.0,) * 3, (1.0,) * 3), ("red", "green"), "colours")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos with a square of red or green each, and its box."""
    folder = tmp_path_factory.mktemp("squares")
    rng, rows = np.random.default_rng(0), ["path,x0,y0,x1,y1"]
    for number in range(12):
        name = ("red", "green")[number % 2]
        pixels = np.full((16, 16, 3), 90, np.uint8)
        y, x = rng.integers(0, 12, 2)
        pixels[y : y + 4, x : x + 4] = COLOURS[name]
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
        rows.append(f"photos/{name}/{number}.png,{x},{y},{x + 3},{y + 3}")
    (folder / "boxes.csv").write_text("\n".join(rows))
    (folder / "masks").mkdir()
    Image.new("L", (16, 16)).save(folder / "masks" / "other.png")
    return folder


@pytest.fixture(scope="module")
def found(data: Path) -> Dissection:
    return dissect(colour_net(), data / "photos", data / "boxes.csv", layers="1", level=0.05)["1"]


def test_units_that_are_detectors_are_found_and_the_others_are_not(found: Dissection) -> None:
    """At 5 % of all places a red square is wholly on: 6 squares of 16 cells in 12 photos of 256 are 3.1 %."""
    assert [(unit, concept, pytest.approx(iou)) for unit, concept, iou in found.detectors] == [
        (0, "red", 1.0),
        (1, "green", 1.0),
    ]
    assert found.unique == ("red", "green")
    assert found.title == "2 of 4 units of 1 detect 2 concepts"
    assert found.table.precision[0].tolist() == [1.0, 0.0]
    assert found.table.unit_areas.tolist() == [96, 96, 0, 0]
    assert found.table.thresholds[3] == 0


def test_the_sheet_outlines_what_was_counted(found: Dissection) -> None:
    assert list(found.shown) == [0, 1]
    for unit, photos in found.shown.items():
        assert len(photos) == 6
        for photo in photos:
            assert photo.image.startswith(("red", "green")[unit])
            assert photo.caption == ("red", "green")[unit]
            pixels = np.asarray(photo.picture).astype(int)
            assert photo.picture.size == (256, 256)
            outline = np.argwhere((pixels == OUTLINE).all(2))
            box = [*outline.min(0) / 16, *outline.max(0) / 16]  # a photo's pixel is 16 of the picture's
            colour = COLOURS[photo.caption]
            square = np.argwhere((np.abs(pixels - colour) < 3).all(2)) / 16
            np.testing.assert_allclose(box[:2], square.min(0), atol=1.1)
            np.testing.assert_allclose(box[2:], square.max(0), atol=1.1)
    assert found.picture().size[0] > 1500


def test_it_saves_and_says_what_was_counted(found: Dissection, tmp_path: Path) -> None:
    with np.load(found.save(tmp_path / "one.npz")) as arrays:
        np.testing.assert_array_equal(arrays["iou"], found.table.iou)
        assert arrays["concepts"].tolist() == list(found.table.concepts)
    said = json.dumps(found.as_json())
    assert '"unit": 0, "concept": "red", "IoU": 1.0' in said
    assert found.facts()["unit 0"] == "red, IoU 1.000"
    assert "12 photos in photos, 12 of them annotated: 12 boxes of boxes.csv" in found.subtitle
    assert "IoU above 0.04" in found.subtitle


def test_units_can_be_named_and_a_layer_without_detectors_shows_the_nearest_to_one(data: Path) -> None:
    net = colour_net()
    asked = dissect(net, data / "photos", data / "boxes.csv", layers="1", level=0.05, units=[3, 1], photos=2)["1"]
    assert {unit: len(photos) for unit, photos in asked.shown.items()} == {3: 2, 1: 2}
    none = dissect(net, data / "photos", data / "boxes.csv", layers="1", level=0.001, least=0.5)["1"]
    assert none.title == "0 of 4 units of 1 detect 0 concepts"
    assert none.detectors == []
    assert len(none.shown) == 1
    assert none.picture().size[0] > 100


def test_the_last_map_is_the_default_and_progress_counts_both_passes(data: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = dissect(colour_net(), data / "photos", data / "boxes.csv", level=0.05, on_step=lambda *s: steps.append(s))
    assert list(found) == ["1"]
    assert steps == [(n, 24) for n in range(1, 25)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "boxes .* or masks .*, one of the two"),
        ({"boxes": "boxes.csv", "masks": "photos"}, "one of the two"),
        ({"boxes": "boxes.csv", "names": "names.csv"}, "names are of masks' numbers"),
        ({"boxes": "boxes.csv", "layers": ["7"]}, "no layer '7'"),
        ({"boxes": "boxes.csv", "units": [4]}, "unit 4 was asked for, but layer '1' has 4 units"),
        ({"boxes": "boxes.csv", "units": []}, "no unit of layer '1' was asked for; give at least one of its 4"),
        ({"boxes": "boxes.csv", "layers": "4"}, "layer '4' gives one number an image.*the last map is '1'"),
        ({"boxes": "boxes.csv", "layers": ["1", "2"]}, "layer '2' gives one number an image"),
        ({"boxes": "boxes.csv", "least": 1.5}, "least=1.5: .* from 0 to below 1"),
        ({"boxes": "boxes.csv", "least": -0.1}, "least=-0.1: "),
        ({"boxes": "boxes.csv", "least": float("nan")}, "least=nan: "),
        ({"masks": "masks"}, "the masks in masks: none has the name of one of the 12 photos in photos, such as green/"),
    ],
)
def test_refusals(data: Path, options: dict, message: str) -> None:
    paths = {k: data / v for k, v in options.items() if k in ("boxes", "masks", "names")}
    passed: list[tuple[int, int]] = []
    with pytest.raises(ConvscopeError, match=message):
        dissect(colour_net(), data / "photos", **{**options, **paths}, on_step=lambda *s: passed.append(s))
    assert not passed  # before any photo was looked at


def test_boxes_are_found_in_an_archive_and_in_a_folder_of_another_name(
    data: Path, found: Dissection, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", data / "photos"))
    renamed = Path(shutil.copytree(data / "photos", tmp_path / "renamed"))
    absolute = tmp_path / "absolute.csv"
    head, *rows = (data / "boxes.csv").read_text().splitlines()
    absolute.write_text("\n".join([head, *(f"{data}/{row}" for row in rows)]))
    for photos, table in ((archive, data / "boxes.csv"), (renamed, data / "boxes.csv"), (data / "photos", absolute)):
        one = dissect(colour_net(), photos, table, layers="1", level=0.05)["1"]
        np.testing.assert_array_equal(one.table.intersections, found.table.intersections)
    assert (
        "12 photos in renamed, 12 of them annotated"
        in dissect(colour_net(), renamed, data / "boxes.csv", layers="1", level=0.05)["1"].subtitle
    )


def test_a_concept_that_no_region_can_reach_is_named(data: Path, found: Dissection, tmp_path: Path) -> None:
    """Boxes over the whole of six photos, 1536 cells, where a unit that marks all squares of one colour has 96."""
    assert found.out_of_reach == {}
    assert found.notes == ()
    assert "note" not in found.facts()
    head, *rows = (data / "boxes.csv").read_text().splitlines()
    table = tmp_path / "boxes.csv"
    table.write_text("\n".join([head, *(f"{row.split(',')[0]},0,0,15,15" if "red" in row else row for row in rows)]))
    one = dissect(colour_net(), data / "photos", table, layers="1", level=0.05, least=0.1)["1"]
    most = 96 / 1536
    assert one.out_of_reach == {"red": most}
    assert json.loads(json.dumps(one.as_json()))["out_of_reach"] == {"red": most}
    assert one.unique == ("green",)
    said = "oo large or too small to be detected: red (IoU 0.062 at most)"
    assert said in one.facts()["note"]
    assert said in one.subtitle


def test_a_photo_that_the_network_does_not_take_is_left_out_and_the_others_count_alike(
    data: Path, tmp_path: Path
) -> None:
    """One of a row of pixels, of which valid convolution leaves nothing."""
    net = colour_net()
    net = Network(
        watch(nn.Sequential(nn.AvgPool2d(2, 2), net.module).eval()),
        Preprocess(None, None, (0.0,) * 3, (1.0,) * 3),
        net.classes,
        "pooled",
    )
    shutil.copytree(data / "photos", tmp_path / "photos")
    expected = dissect(net, tmp_path / "photos", data / "boxes.csv", layers="1.1", level=0.05)["1.1"]
    Image.new("RGB", (9, 1)).save(tmp_path / "photos" / "red" / "1x.png")
    table = tmp_path / "boxes.csv"
    table.write_text((data / "boxes.csv").read_text() + "\nphotos/red/1x.png,0,0,3,0")
    found = dissect(net, tmp_path / "photos", table, layers="1.1", level=0.05)["1.1"]
    assert list(found.skipped) == ["red/1x.png"]
    assert "pooled cannot take an input of 3 x 1 x 9" in found.skipped["red/1x.png"]
    for name, values in found.arrays().items():
        np.testing.assert_array_equal(values, expected.arrays()[name])
    assert {u: [p.image for p in row] for u, row in found.shown.items()} == {
        u: [p.image for p in row] for u, row in expected.shown.items()
    }
