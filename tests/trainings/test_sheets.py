"""The sheets of a training. Oracles: the snapshots that were written, closed forms, pixels."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.epoch_curves import EpochLine
from convscope.render.typography import font
from convscope.trainings import confusion_over_epochs as confusion_module
from convscope.trainings import loss_curves as curves_module
from convscope.trainings.between_epochs import between
from convscope.trainings.confusion_over_epochs import confusion_over_epochs
from convscope.trainings.filters_grown import filters_grown
from convscope.trainings.layer_health import layer_health
from convscope.trainings.loss_curves import loss_curves
from convscope.trainings.training_run import open_training
from convscope.trainings.unit_maps_grown import unit_maps_grown
from tests.trainings.runs import HELD_OUT, TRAIN, confusion, layer, snapshot, split, usual, write_run

NAN = float("nan")


def one_epoch(folder: Path):
    return open_training(write_run(folder / "one.run", [snapshot(0)], epochs=0))


# ---- curves ----


def test_the_curves_are_those_of_the_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[list[EpochLine], dict]] = []

    def record(lines, **about):
        drawn.append((list(lines), about))
        return Image.new("RGB", (40, 30), "white")

    monkeypatch.setattr(curves_module, "epoch_curves", record)
    curves = loss_curves(open_training(usual(tmp_path)))
    curves.picture()
    (losses, about), (shares, limits) = drawn
    assert losses == [EpochLine("train", (0, 1, 2, 3), TRAIN), EpochLine("held out", (0, 1, 2, 3), HELD_OUT)]
    assert about["log"] is True  # 2.1 is more than eight times 0.1
    assert about["marked"] == (2, "lowest held out: epoch 2")
    right = tuple(np.trace(confusion(epoch)) / 12 for epoch in range(4))
    assert [line.values for line in shares] == [pytest.approx(right), pytest.approx(right)]
    assert limits["level"] == (pytest.approx(4 / 12), "largest class 33.3%")
    np.testing.assert_array_equal(curves.arrays()["losses"], [TRAIN, HELD_OUT])
    assert curves.title == "75.0% of the held out images answered rightly after epoch 3"


def test_losses_that_are_no_numbers_leave_gaps_and_are_null(tmp_path: Path) -> None:
    bad = snapshot(1, splits={"held out": split(NAN, confusion(1)), "train": split(math.inf, confusion(1))})
    curves = loss_curves(open_training(write_run(tmp_path / "a.run", [snapshot(0), bad])))
    assert curves.as_json()[1] == {
        "epoch": 1,
        "train": {"loss": None, "accuracy": 1.0},
        "held out": {"loss": None, "accuracy": 1.0},
    }
    assert curves.best_epoch == 0
    curves.picture()


def test_a_run_without_scores_has_no_curves(tmp_path: Path) -> None:
    run = open_training(write_run(tmp_path / "a.run", [snapshot(0, splits={})]))
    with pytest.raises(ConvscopeError, match="has no losses"):
        loss_curves(run)
    with pytest.raises(ConvscopeError, match="has no losses"):
        confusion_over_epochs(run)


# ---- confusions ----


def test_counts_mistakes_and_since_when(tmp_path: Path) -> None:
    found = confusion_over_epochs(open_training(usual(tmp_path)))
    np.testing.assert_array_equal(found.counts, [confusion(epoch) for epoch in range(4)])
    assert found.mistakes == ((1, 2),)  # dogs called cats, hens called cats: only at first
    assert found.since((1, 2)) == 2
    assert found.since((1, 0)) is None
    assert found.title == "Most often mixed up: dog, called hen (3 of 4 images)"
    np.testing.assert_allclose(found.accuracies[:, 1], [0, 1, 0.25, 0.25])
    assert found.facts()["dog called hen"] == "3 of 4 images, since epoch 2"


def test_a_small_matrix_is_as_wide_as_what_is_said_above_it(tmp_path: Path) -> None:
    found = replace(confusion_over_epochs(open_training(usual(tmp_path))), classes=("a", "b", "c"))
    said = font(25, bold=True).getlength(f"epoch 0: {found.counts[0].trace() / found.counts[0].sum():.1%} right")
    assert found.matrix(0).width >= said > 3 * 68 + 40


def test_of_two_long_names_both_are_seen() -> None:
    shortened = confusion_module._shortened
    assert shortened("cat", "dog") == ("cat", "dog")
    assert shortened("a" * 40, "b" * 40) == ("a" * 16 + "…", "b" * 16 + "…")
    assert shortened("a" * 40, "dog") == ("a" * 30 + "…", "dog")
    assert shortened("dog", "b" * 31) == ("dog", "b" * 31)


def test_a_mistake_that_was_always_made_is_since_the_first_epoch(tmp_path: Path) -> None:
    always = [snapshot(e, splits={"held out": split(1.0, np.array([[3, 1], [0, 4]]))}) for e in range(3)]
    found = confusion_over_epochs(open_training(write_run(tmp_path / "a.run", always, classes=("a", "b"))))
    assert found.since((0, 1)) == 0
    assert found.title == "1 of 8 images mixed up, no two of them in the same way"


def test_all_matrices_are_on_one_scale_which_says_where_it_is_clipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends at the largest mistake of the later half, 3 of 4 dogs; at first all dogs were called cats."""
    ends: list[float] = []
    drawn = confusion_module.confusion_matrix

    def record(*given, **about):
        ends.append(about["worst"])
        return drawn(*given, **about)

    monkeypatch.setattr(confusion_module, "confusion_matrix", record)
    legends: list[dict] = []
    legend = confusion_module.matrix_legend
    monkeypatch.setattr(confusion_module, "matrix_legend", lambda *g, **a: (legends.append(a), legend(*g, **a))[1])
    confusion_over_epochs(open_training(usual(tmp_path))).picture()
    assert ends == [0.75] * 3
    assert legends == [{"is_clipped": True}]


def test_the_film_of_confusions_has_a_frame_an_epoch_of_one_size(tmp_path: Path) -> None:
    frames = confusion_over_epochs(open_training(usual(tmp_path)), "train").frames()
    assert len(frames) == 4
    assert len({frame.size for frame in frames}) == 1
    assert len({frame.tobytes() for frame in frames}) == 4  # the headings alone tell them apart


def test_of_many_epochs_the_film_has_the_first_and_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = confusion_over_epochs(open_training(usual(tmp_path)))
    monkeypatch.setattr(confusion_module, "FRAMES", 3)
    places: list[int] = []
    monkeypatch.setattr(
        type(found), "matrix", lambda _, place, **about: (places.append(place), Image.new("RGB", (4, 4)))[1]
    )
    many = replace(found, epochs=tuple(range(9)), counts=np.repeat(found.counts[:1], 9, axis=0))
    assert len(many.frames()) == 3
    assert places == [0, 4, 8]


def test_one_epoch_has_one_matrix_and_no_strips(tmp_path: Path) -> None:
    found = confusion_over_epochs(one_epoch(tmp_path))
    assert len(found.frames()) == 1
    assert found.picture().height < confusion_over_epochs(open_training(usual(tmp_path))).picture().height


# ---- filters ----


def test_filters_are_those_of_the_snapshots_on_one_scale(tmp_path: Path) -> None:
    found = filters_grown(open_training(usual(tmp_path)))
    values = np.stack([snapshot(epoch).filters for epoch in range(4)])
    np.testing.assert_array_equal(found.values, values)
    assert (found.scale.low, found.scale.high) == (pytest.approx(values.min()), pytest.approx(values.max()))
    assert found.changed == pytest.approx(np.linalg.norm(values[3] - values[0]) / np.linalg.norm(values[0]), rel=1e-5)
    assert found.layer == "conv1"


def test_the_film_of_filters_ends_at_the_last_weights(tmp_path: Path) -> None:
    found = filters_grown(open_training(usual(tmp_path)))
    frames = found.frames()
    assert len(frames) == len(list(between(4)))
    assert len({frame.size for frame in frames}) == 1
    # the first filter's first pixel, in the film's last frame: its colour by hand
    low, high = found.values.min(), found.values.max()
    colour = np.rint(255 * (found.values[-1, 0, :, 0, 0] - low) / (high - low))
    pixels = np.asarray(frames[-1]).reshape(-1, 3).astype(int)
    assert (np.abs(pixels - colour).max(1) <= 1).sum() > 100


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_filters_of_any_number_of_channels_are_drawn(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(0).normal(size=(30, channels, 3, 3)).astype(np.float32)
    run = open_training(write_run(tmp_path / "a.run", [snapshot(0, filters=values)]))
    found = filters_grown(run)
    found.picture()
    assert ("input channel 0 of 5" in found.facts()["shown"]) is (channels == 5)
    assert "first 20" in found.facts()["shown"]


def test_no_convolution_first_and_weights_that_are_no_numbers(tmp_path: Path) -> None:
    bare = open_training(write_run(tmp_path / "a.run", [snapshot(0, filters=None, filters_layer=None)]))
    with pytest.raises(ConvscopeError, match="has no filters: what is trained does not begin with a convolution"):
        filters_grown(bare)
    nan = np.full((4, 3, 5, 5), np.nan, np.float32)
    some = filters_grown(open_training(write_run(tmp_path / "b.run", [snapshot(0), snapshot(1, filters=nan)])))
    assert some.epochs == (0,)
    assert "NaN or infinite after epoch 1" in some.facts()["shown"]
    with pytest.raises(ConvscopeError, match="after every epoch"):
        filters_grown(open_training(write_run(tmp_path / "c.run", [snapshot(1, filters=nan)])))


# ---- layers ----


def test_layers_that_die_and_stand_still_are_named(tmp_path: Path) -> None:
    found = layer_health(open_training(usual(tmp_path)))
    assert found.layers == ("conv1", "relu1", "frozen")
    np.testing.assert_array_equal(found.values["weight_norm"], [[1, 2, 3, 4]] * 3)
    np.testing.assert_array_equal(found.values["relative_change"][0], [NAN, 0.1, 0.1, 0.1])
    assert found.dying == (("relu1", 0.5),)
    assert found.still == ("frozen",)
    assert found.title == "Dead units: 50.0% of relu1"
    found.picture()
    worse = [snapshot(0, layers=tuple(layer(str(i), 0, dead=0.1 * i) for i in range(8)))]
    worst = layer_health(open_training(write_run(tmp_path / "c.run", worse)))
    assert worst.title == (
        "Dead units: 70.0% of layer 7, 60.0% of layer 6, 50.0% of layer 5, and many in 2 more layers"
    )
    sound = [snapshot(e, layers=(layer("conv1", e),)) for e in (0, 1)]
    assert layer_health(open_training(write_run(tmp_path / "b.run", sound))).title == (
        "Every layer learns; no unit is dead"
    )
    some = [snapshot(e, layers=(layer("conv1", e), layer("conv2", e, dead=0.2))) for e in (0, 1)]
    assert layer_health(open_training(write_run(tmp_path / "d.run", some))).title == (
        "Every layer learns; at most 20.0% of a layer's units are dead, in conv2"
    )
    assert layer_health(open_training(write_run(tmp_path / "e.run", sound[:1]))).title.startswith(
        "Whether layers learn"
    )
    nan = replace(layer("conv1", 1), weight_norm=NAN, relative_change=NAN)
    broken = [snapshot(0, layers=(layer("conv1", 0),)), snapshot(1, layers=(nan,))]
    assert layer_health(open_training(write_run(tmp_path / "f.run", broken))).title == (
        "Weights that are NaN or infinite: conv1"
    )


def test_one_epoch_layers_without_weights_and_none_at_all(tmp_path: Path) -> None:
    layer_health(one_epoch(tmp_path)).picture()
    bare = replace(layer("pool", 0, dead=None), weight_norm=None, mean=NAN)
    found = layer_health(open_training(write_run(tmp_path / "a.run", [snapshot(0, layers=(bare, layer("conv", 0)))])))
    assert np.isnan(found.values["weight_norm"][0, 0])
    found.picture()
    with pytest.raises(ConvscopeError, match="has no layers"):
        layer_health(open_training(write_run(tmp_path / "b.run", [snapshot(0, layers=())])))


# ---- units ----


def test_maps_and_pictures_of_units_are_those_of_the_snapshots(tmp_path: Path) -> None:
    made = [snapshot(e, pictures={"conv1:0": np.full((3, 8, 8), 0.2 * e, np.float32)}) for e in range(3)]
    found = unit_maps_grown(open_training(write_run(tmp_path / "a.run", made)))
    np.testing.assert_array_equal(found.maps["conv1:2"][:, 0, 0, 0], [0, 1, 2])
    np.testing.assert_allclose(found.pictures["conv1:0"][:, 0, 0, 0], [0, 0.2, 0.4])
    found.picture()
    only = [snapshot(0, maps={}, images=None, pictures={"conv1:0": np.zeros((1, 8, 8), np.float32)})]
    unit_maps_grown(open_training(write_run(tmp_path / "b.run", only))).picture()
    with pytest.raises(ConvscopeError, match="has no maps of units"):
        unit_maps_grown(open_training(write_run(tmp_path / "c.run", [snapshot(0, maps={}, images=None)])))
