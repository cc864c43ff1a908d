"""A snapshot's pictures. Oracles: the values by hand, and what is to be left out."""

import numpy as np
import pytest
from PIL import Image

from convscope.render.confusion import confusion_matrix
from convscope.training.adapters.snapshot_pictures import pictures_of
from convscope.training.snapshot import Embedded, SplitState
from tests.training.adapters.snapshots import PICTURES, a_snapshot


def contains(page: Image.Image, part: Image.Image) -> bool:
    """Whether the part stands on the page somewhere, pixel by pixel."""
    whole, sought = np.asarray(page.convert("RGB")), np.asarray(part.convert("RGB"))
    height, width = sought.shape[:2]
    return any(
        np.array_equal(whole[y : y + height, x : x + width], sought)
        for y in range(whole.shape[0] - height + 1)
        for x in range(whole.shape[1] - width + 1)
        if np.array_equal(whole[y, x : x + width], sought[0])
    )


def test_everything_that_a_snapshot_has_is_drawn_by_its_name() -> None:
    assert set(pictures_of(a_snapshot())) == PICTURES


def test_a_matrix_has_its_classes_names_and_counts() -> None:
    """Oracle: the matrix of the counts, drawn alone; another one is not found."""
    counts, names = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 10]]), ("cat", "dog", "owl")
    drawn = pictures_of(a_snapshot())["confusion/held out"]
    assert contains(drawn, confusion_matrix(counts, np.eye(3, dtype=bool), names, names, pixel_ratio=1))
    assert not contains(drawn, confusion_matrix(counts.T, np.eye(3, dtype=bool), names, names, pixel_ratio=1))


def test_filters_lie_between_black_and_white_each_in_its_place() -> None:
    weights = np.full((4, 1, 2, 2), 0.5)
    weights[0], weights[3] = 0, 1
    drawn = np.asarray(pictures_of(a_snapshot(filters=weights))["filters"].convert("L"))
    black, white = (np.argwhere(drawn == level) for level in (0, 128))
    assert len(black) > 1000
    assert black.max(0)[0] < drawn.shape[0] / 2
    assert len(white) > 2000


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_filters_of_any_number_of_channels_are_drawn(channels: int) -> None:
    """Oracle: of 3 channels colours, of others the first channel alone."""
    weights = np.random.default_rng(0).normal(size=(70, channels, 3, 3))
    drawn = pictures_of(a_snapshot(filters=weights))["filters"]
    same = pictures_of(a_snapshot(filters=weights[:64] if channels == 3 else weights[:64, :1]))["filters"]
    assert drawn.tobytes() == same.tobytes()
    assert (np.ptp(np.asarray(drawn)[40:300], axis=2).max() > 60) == (channels == 3)


def test_the_embedding_has_a_mark_where_each_point_is() -> None:
    points = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    embedded = Embedded("flatten", points, np.array([0, 1, 2, 7]), (0.9, 0.1), points)
    drawn = np.asarray(pictures_of(a_snapshot(embedding=embedded))["embedding"]).astype(int)
    coloured = np.argwhere(np.ptp(drawn[:, :440], axis=2) > 60)
    halves = coloured.mean(0)
    quarters = {(y > halves[0], x > halves[1]) for y, x in coloured.tolist()}
    assert len(quarters) == 4
    high, wide = np.ptp(coloured, axis=0)
    assert 0.4 < high / wide < 0.6  # one scale for both axes


def test_a_made_picture_has_its_pixels() -> None:
    values = np.zeros((1, 2, 2))
    values[0, 0, 1] = 1
    drawn = np.asarray(pictures_of(a_snapshot(pictures={"conv1:0": values}))["pictures/conv1:0"].convert("L"))
    side = len(drawn)
    assert [drawn[y, x] for y in (5, side - 5) for x in (5, side - 5)] == [0, 255, 0, 0]


def test_what_cannot_be_drawn_is_left_out() -> None:
    bad = np.full((2, 1, 3, 3), np.nan)
    many = SplitState(1.0, 0.1, 41, np.eye(41, dtype=np.int64))
    snapshot = a_snapshot(filters=bad, embedding=None, maps={"conv1:0": np.full((4, 3, 3), np.nan)}, pictures={})
    assert set(pictures_of(snapshot)) == {"confusion/train", "confusion/held out"}
    object.__setattr__(snapshot, "splits", {"train": many})
    assert pictures_of(snapshot) == {}


def test_classes_without_names_are_numbers() -> None:
    named, numbered = (pictures_of(a_snapshot(classes=names)) for names in (("0", "1", "2"), ()))
    assert all(named[name].tobytes() == numbered[name].tobytes() for name in PICTURES)
