"""An ablation over data and its sheet. Oracles: the sweep itself (tested elsewhere); rankings and words by hand."""

import numpy as np
import pytest

from convscope.atlases.ablation_sheets import drawn_classes, drawn_units, hurt_text
from convscope.atlases.data_ablations import DataAblation, ablate_data, points
from convscope.dataset.ablation_effects import EffectSums
from convscope.errors import ConvscopeError
from convscope.network.targets import Unit
from convscope.stamps import Stamp
from tests import friendly, nets


def made(images, right, right_without, probability_drop=None) -> DataAblation:
    sums = EffectSums(len(right_without), len(images))
    sums.sums.images[:], sums.sums.right[:], sums.sums.right_without[:] = images, right, right_without
    sums.sums.finite[:] = images
    if probability_drop is not None:
        sums.sums.probability_drop[:] = probability_drop
    sets = tuple((Unit("conv", number),) for number in range(len(right_without)))
    return DataAblation(
        sums.compute(), sets, tuple(str(units[0]) for units in sets), tuple("abcdefgh"[: len(images)]), "zero",
        "labels", "some photos", None, {}, (), Stamp("net", "", "", "", None, ""),
    )  # fmt: skip


def test_the_ranking_and_what_it_says() -> None:
    found = made([100, 100], [80, 90], [[80, 91], [60, 90], [80, 88]])
    assert found.ranking == (1, 2, 0)
    assert found.summary == (
        "Intact: 85.0 % right (170 of 200); most costly conv:1: −10.0 points; better without conv:0: +0.5 points."
    )
    assert found.cells == "accuracy"
    assert found.most_hurt(1) == [0]
    assert found.most_hurt(0) == []
    assert hurt_text(found, 1, 0) == "a −20"
    assert hurt_text(found, 2, 1) == "b −2"


def test_of_few_images_a_class_cells_are_probabilities() -> None:
    found = made([1, 1, 0], [1, 1, 0], [[0, 1, 0], [1, 1, 0]], [[0.4, 0.052, 0], [-0.2, 0.3, 0]])
    assert found.cells == "probability"
    np.testing.assert_allclose(found.points_by_class, [[40, 5.2, np.nan], [-20, 30, np.nan]])
    assert found.most_hurt(0) == [0, 1]
    assert found.most_hurt(1) == [1]
    assert hurt_text(found, 0, 1) == "b −5.2"
    same = made([50], [40], [[40], [40]])  # no accuracy is lost at all
    assert (same.cells, same.summary) == ("probability", "Intact: 80.0 % right (40 of 50); none costs any accuracy.")
    assert found.picture().width > 500


def test_of_many_units_and_classes_some_are_drawn() -> None:
    assert drawn_units(tuple(range(36))) == list(range(36))
    assert drawn_units(tuple(range(100))) == [*range(32), 96, 97, 98, 99]
    values = np.zeros((2, 60))
    values[0, 7], values[1, 55] = 3, -2
    images = np.ones(60, int)
    images[3] = 0
    drawn = drawn_classes(values, images)
    assert (len(drawn), drawn) == (50, sorted(drawn))
    assert {7, 55} < set(drawn)
    assert 3 not in drawn
    assert drawn_classes(values[:, :10], images[:10]) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_points_have_a_sign() -> None:
    assert [points(value) for value in (1.6, -0.2, 0.0, -0.04, 100.0)] == ["+1.6", "−0.2", "0", "−0.04", "+100.0"]


def test_photos_in_a_list_are_judged_by_the_answers() -> None:
    """All that a result has; no labels, so that intact it is right throughout."""
    net, steps = friendly.network(nets.residual), []
    photos = [friendly.photo(20, 16, seed) for seed in range(9)]
    found = ablate_data(net, photos, layer=["down", "conv1"], mode="mean", on_step=lambda *step: steps.append(step))
    assert found.judged_by == "answers"
    assert found.effects.accuracy == 1
    assert (len(found.sets), found.images) == (16, 9)
    assert found.title == "down:0-7 and conv1:0-7 at their mean, one at a time, over 9 photos in the given photos"
    assert found.values is not None
    assert set(found.values) == {unit for units in found.sets for unit in units}
    assert (steps[-1], steps == sorted(steps)) == ((18, 18), True)
    assert "own answers" in found.facts()["judged by"]
    assert found.arrays()["units"].tolist() == list(found.names)
    assert found.stamp.data_hash
    assert found.picture().width > 500
    again = ablate_data(net, photos[:8], layer="down")
    assert again.stamp.data_hash != found.stamp.data_hash


def test_a_batch_norm_that_follows_is_said() -> None:
    net = friendly.network(nets.residual)
    photos = [friendly.photo()]
    assert ablate_data(net, photos, layer="conv1").notes[0].startswith("A batch norm follows conv1 directly")
    assert ablate_data(net, photos, layer="conv1", mode="mean").notes == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "which units"),
        ({"units": "down:0", "layer": "down"}, "both units and a layer"),
        ({"units": "down:9"}, "unit 9 was asked for, but layer 'down' has 8 units"),
        ({"units": "linear:0@1,1"}, "position 1,1 was asked for, but layer 'linear' has no map"),
        ({"layer": "dawn"}, "no layer 'dawn'.*; did you mean 'down'"),
        ({"layer": "down", "mode": "resample"}, "no mode 'resample'"),
    ],
)
def test_what_cannot_be_asked(options, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        ablate_data(friendly.network(nets.residual), [friendly.photo()], **options)
