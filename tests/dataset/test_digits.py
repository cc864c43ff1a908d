"""The digits in the box as data. Oracles: scikit-learn's classes, and the same pictures as files in class folders."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from convscope.dataset.data_labels import data_labels
from convscope.dataset.digits import Digits
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.errors import ConvscopeError
from convscope.network.digit_pictures import digit_image

TARGETS = load_digits().target
TEN = tuple("0123456789")


@pytest.mark.parametrize(
    ("given", "count", "line"),
    [
        ("bundled:digits", 1797, "1,797 photos in digits"),
        ("bundled:digits/train", 1352, "1,352 photos in digits-train"),
        ("bundled:digits/held-out", 445, "445 photos in digits-held-out"),
    ],
)
def test_whole_and_parts_are_sources_that_know_their_place(given: str, count: int, line: str) -> None:
    """A quarter of each class rounded down makes 445, by hand; a path from the command line is as good as a text."""
    source = source_of(given)
    names = list(source.names())
    assert len(names) == len(set(names)) == count
    assert names == sorted(names)
    assert source.line() == line
    assert source.place == given
    assert source_of(source.place) == source_of(Path(given)) == source


def test_they_are_what_class_folders_of_the_same_pictures_are(tmp_path: Path) -> None:
    """Oracle: the pictures as PNG files in folders."""
    source = source_of("bundled:digits/held-out")
    some = list(source.names())[::45]
    for name in some:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        digit_image(name).save(tmp_path / name)
    folder = source_of(tmp_path)
    assert list(folder.names()) == some
    for name in some:
        assert source.read(name).image.tobytes() == folder.read(name).image.tobytes()
        assert source.label(name) is folder.label(name) is None


def test_labels_are_the_classes_of_a_network_of_ten() -> None:
    source = source_of("bundled:digits")
    labels = data_labels(source, TEN)
    assert (labels.kind, labels.classes) == ("folders", TEN)
    assert labels.right == tuple((digit,) for digit in range(10))
    assert [labels.number(name) for name in source.names()] == [TARGETS[int(name[2:6])] for name in source.names()]


def test_labels_are_groups_for_any_other_network() -> None:
    """The digit 7 is not the class number 7 of a network of other things."""
    labels = data_labels(source_of("bundled:digits"), [f"thing {k}" for k in range(50)])
    assert (labels.kind, labels.classes) == ("groups", TEN)
    assert labels.right == ((),) * 10


def test_a_digest_is_of_the_pixels_and_travels() -> None:
    source = source_of("bundled:digits")
    assert isinstance(source, ImageSource)
    again = pickle.loads(pickle.dumps(source))
    names = list(source.names())
    digests = [again.digest(name) for name in names[:200]]
    assert digests[0] == source.read(names[0]).digest
    pixels = {np.asarray(source.read(name).image).tobytes() for name in names[:200]}
    assert len(set(digests)) == len(pixels)
    assert source.facts(names[0]) == (-1, -1)


@pytest.mark.parametrize("given", ["bundled:digits/held_out", "bundled:digit", "bundled:digits:7"])
def test_what_is_no_part_is_refused_with_the_parts(given: str) -> None:
    with pytest.raises(ConvscopeError, match=f"no '{given}' in the box; did you mean .*bundled:digits/held-out"):
        source_of(given)


def test_an_unknown_digit_is_refused_by_its_id() -> None:
    with pytest.raises(ConvscopeError, match=r"no digit '0/0001\.png' in bundled:digits; did you mean"):
        Digits().read("0/0001.png")  # it is a one
