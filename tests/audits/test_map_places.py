"""Where maps lie. Oracles: closed forms; a map that is the object by construction."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convscope.attribution import METHODS
from convscope.audits.answered import Answered, answered, known_labels
from convscope.audits.map_places import Objects, Place, checked_method, maps_of, mean_place, place_of, places
from convscope.dataset.concept_boxes import read_boxes
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from tests import nets
from tests.audits.squares import colour_net, make_photos


def box(y0: int, y1: int, x0: int, x1: int, side: int = 8) -> np.ndarray:
    cells = np.zeros((side, side), bool)
    cells[y0:y1, x0:x1] = True
    return cells


def test_a_flat_map_has_the_share_of_the_area_and_no_maximum_outside() -> None:
    found = place_of(np.full((2, 2), 3.0), box(1, 4, 2, 8))
    assert found.inside == pytest.approx(18 / 64)
    assert found == Place(found.inside, 18 / 64, False)


def test_shares_by_hand() -> None:
    values = np.zeros((8, 8))
    values[2, 3], values[7, 7], values[0, 0] = 3.0, 5.0, -100.0
    found = place_of(values, box(2, 4, 3, 5))
    assert (found.inside, found.area, found.outside) == (pytest.approx(3 / 8), 4 / 64, True)
    assert not place_of(values, box(2, 8, 3, 8)).outside
    assert place_of(values, box(2, 8, 3, 8)).inside == 1


def test_a_coarse_map_is_measured_as_it_is_drawn() -> None:
    """2 cells over 8 pixels: 0 up to pixel 1.5, then 1/4 a pixel up to 1 at 5.5: 0, 0, .125, .375, .625, .875, 1, 1."""
    found = place_of(np.array([[0.0, 1.0]]), box(0, 8, 4, 8))
    assert found.inside == pytest.approx((0.625 + 0.875 + 1 + 1) / 4)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_a_positive_value_lies_nowhere(value: float) -> None:
    found = place_of(np.full((4, 4), value), box(0, 4, 0, 4))
    assert found.is_empty
    assert not found.outside


def test_means_leave_out_what_lies_nowhere() -> None:
    found = mean_place([Place(0.25, 0.5, True), Place(float("nan"), 0.9, False), Place(0.75, 0.1, False)])
    assert (found.images, found.empty, found.inside, found.area, found.outside) == (2, 1, 0.5, pytest.approx(0.3), 0.5)
    assert np.isnan(mean_place([]).outside)


def objects(net: Network, source: ImageSource, table: Path) -> tuple[Answered, Objects]:
    labels = known_labels(source, net, "auto")
    answers = answered(net, source, labels, "1", skipped=lambda *_: None)
    return answers, Objects(net, read_boxes(table, source.names, ("photos",)), labels)


def test_a_network_that_looks_at_the_square_only_has_its_map_inside(tmp_path: Path) -> None:
    """Unit 0 or 1 is the square, and no other is on anywhere."""
    net, source = colour_net(constant=0.0), source_of(make_photos(tmp_path))
    answers, found = objects(net, source, tmp_path / "boxes.csv")
    told: list[str] = []
    steps: list[int] = []
    measured = places(
        net, source, answers.images, found, METHODS["cam"], "1", skipped=lambda name, _: told.append(name), batch=3,
        on_image=lambda: steps.append(1),
    )  # fmt: skip
    assert sorted(measured) == list(range(10))
    for number, place in measured.items():
        side = 4 + int(answers.images[number].name.split("/")[1].removesuffix(".png")) % 5
        assert (place.inside, place.area, place.outside) == (pytest.approx(1.0), side**2 / 256, False)
    assert told == []
    assert len(steps) == 10


def test_each_image_is_asked_about_its_own_answer(tmp_path: Path) -> None:
    """Oracle: the method, an image and class at a time."""
    net, source = colour_net(), source_of(make_photos(tmp_path))
    answers, found = objects(net, source, tmp_path / "boxes.csv")
    measured = places(net, source, answers.images, found, METHODS["grad-cam"], "1", skipped=pytest.fail, batch=4)
    for one in answers.images:
        x = net.input_of(source.read(one.name).image)
        values = METHODS["grad-cam"](net.module, x, target=one.predicted, layer="1")[0].numpy()
        cells = found.cells(one.name, one.label, (16, 16), (16, 16))
        expected = place_of(values, cells)
        assert measured[one.number].inside == pytest.approx(expected.inside, rel=1e-5)
        assert measured[one.number].outside == expected.outside


def test_the_boxes_of_the_label_are_the_object_and_all_where_none_bears_it(tmp_path: Path) -> None:
    net, source = colour_net(), source_of(make_photos(tmp_path, [("red", "red"), ("green", "green")]))
    table = tmp_path / "many.csv"
    lines = ["path,x0,y0,x1,y1,class", "red/0.png,0,0,3,3,Red", "red/0.png,8,8,9,9,green", "red/0.png,4,4,4,4,sky"]
    table.write_text("\n".join([*lines, "green/1.png,0,0,1,1,sky", "green/1.png,15,15,15,15,sea"]))
    _, found = objects(net, source, table)
    red, green = (
        found.cells(name, label, (16, 16), (16, 16)) for name, label in (("red/0.png", 1), ("green/1.png", 0))
    )
    assert red is not None
    assert green is not None
    np.testing.assert_array_equal(red, box(0, 4, 0, 4, 16))
    np.testing.assert_array_equal(green, box(0, 2, 0, 2, 16) | box(15, 16, 15, 16, 16))


def test_a_box_that_leaves_its_photo_is_told_and_the_image_left_out(tmp_path: Path) -> None:
    net, source = colour_net(), source_of(make_photos(tmp_path))
    (tmp_path / "boxes.csv").write_text("path,x0,y0,x1,y1\nred/0.png,0,0,40,3\nred/2.png,0,0,5,5\n")
    answers, found = objects(net, source, tmp_path / "boxes.csv")
    told: dict[str, str] = {}
    measured = places(net, source, answers.images, found, METHODS["cam"], "1", skipped=told.__setitem__)
    assert [answers.images[n].name for n in measured] == ["red/2.png"]
    assert "leaves the photo" in told["red/0.png"]


@pytest.mark.parametrize(
    "name", [m.name for m in METHODS.values() if not m.classless and m.output != "pixels" and not m.slow]
)
def test_every_method_with_a_map_of_a_class_gives_one(name: str) -> None:
    net, x = colour_net(), nets.images(2, 3, 16, 16, dtype=torch.float32)
    for values in maps_of(net, x, checked_method(name), [0, 1], "1"):
        assert values.ndim == 2
        assert values.isfinite().all()


@pytest.mark.parametrize(("name", "why"), [("gradient", "no map"), ("eigen-cam", "one map for every class")])
def test_methods_without_a_map_of_a_class_are_refused(name: str, why: str) -> None:
    with pytest.raises(ConvscopeError, match=rf"{why}.*grad-cam"):
        checked_method(name)
